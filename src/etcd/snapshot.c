/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/snapshot.h"
#include "base/alloc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct SnapSaver {
        sd_event *event;
        sd_event_source *slice, *news;
        Disk *disk; /* weak */
        SnapSaved saved;
        void *user;
        StoreSnapshot *view; /* being serialised; loop only */
        bool busy;
        int eventfd;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        /* under the lock */
        Buf queue;
        RaftSnapMeta meta;
        bool started, last, abandoned, quit, finished;
        int result;
        char error[256];
};

typedef struct Work {
        Buf data;
        RaftSnapMeta meta;
        bool started, last, abandoned;
} Work;

/* Thread: waits for something to do; false = quit. */
static bool take_work(SnapSaver *s, Work *w) {
        bool go = true;
        pthread_mutex_lock(&s->lock);
        while (!s->quit && !s->started && s->queue.len == 0 && !s->last && !s->abandoned)
                pthread_cond_wait(&s->wake, &s->lock);
        if (s->quit)
                go = false;
        *w = (Work){ .data = s->queue,
                     .meta = s->meta,
                     .started = s->started,
                     .last = s->last,
                     .abandoned = s->abandoned };
        s->queue = (Buf){};
        s->started = s->last = s->abandoned = false;
        pthread_mutex_unlock(&s->lock);
        return go;
}

static void tell_loop(SnapSaver *s) {
        uint64_t one = 1;
        ssize_t n = write(s->eventfd, &one, sizeof(one));
        assert(n == sizeof(one));
}

static void report(SnapSaver *s, int r, const Err *err) {
        pthread_mutex_lock(&s->lock);
        s->finished = true;
        s->result = r;
        snprintf(s->error, sizeof(s->error), "%s", r < 0 ? err_msg(err) : "");
        pthread_mutex_unlock(&s->lock);
        tell_loop(s);
}

static void *saver_main(void *arg) {
        SnapSaver *s = arg;
        _cleanup_(snap_writer_freep) SnapWriter *w = NULL; /* NULL: nothing begun, or it has failed */
        Work work;
        while (take_work(s, &work)) {
                _cleanup_(err_done) Err err = {};
                int r = 0;
                if (work.started) {
                        w = snap_writer_free(w);
                        r = snap_writer_open(s->disk, &work.meta, &w, &err);
                        if (r < 0)
                                report(s, r, &err);
                }
                if (w && work.data.len > 0)
                        r = snap_writer_add(w, work.data.data, work.data.len, &err);
                if (w && work.abandoned)
                        r = err_set(&err, -ECANCELED, "given up");
                if (w && r >= 0 && work.last)
                        r = snap_writer_finish(w, &err);
                buf_done(&work.data);
                if (w && (r < 0 || work.last)) {
                        w = snap_writer_free(w);
                        report(s, r, &err);
                } else
                        tell_loop(s);
        }
        buf_done(&work.data);
        return NULL;
}

static void hand_over(SnapSaver *s, Buf *piece, bool last) {
        pthread_mutex_lock(&s->lock);
        buf_add(&s->queue, piece->data, piece->len);
        s->last = last;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
}

static size_t queued(SnapSaver *s) {
        pthread_mutex_lock(&s->lock);
        size_t n = s->queue.len;
        pthread_mutex_unlock(&s->lock);
        return n;
}

static int on_slice(sd_event_source *src, void *user) {
        SnapSaver *s = user;
        if (!s->view || queued(s) >= SNAP_QUEUE_MAX) {
                (void) sd_event_source_set_enabled(s->slice, SD_EVENT_OFF);
                return 0;
        }
        _cleanup_(buf_done) Buf piece = {};
        int more = store_snapshot_next(s->view, &piece);
        if (more <= 0) {
                s->view = store_snapshot_end(s->view);
                (void) sd_event_source_set_enabled(s->slice, SD_EVENT_OFF);
        }
        hand_over(s, &piece, more <= 0);
        return 0;
}

static int on_news(sd_event_source *src, int fd, uint32_t events, void *user) {
        SnapSaver *s = user;
        uint64_t n;
        (void) !read(fd, &n, sizeof(n));
        pthread_mutex_lock(&s->lock);
        bool finished = s->finished;
        int r = s->result;
        uint64_t index = s->meta.index, term = s->meta.term;
        s->finished = false;
        pthread_mutex_unlock(&s->lock);
        if (!finished) {
                if (s->view)
                        (void) sd_event_source_set_enabled(s->slice, SD_EVENT_ON);
                return 0;
        }
        s->view = store_snapshot_end(s->view);
        (void) sd_event_source_set_enabled(s->slice, SD_EVENT_OFF);
        pthread_mutex_lock(&s->lock);
        buf_clear(&s->queue);
        s->last = false;
        pthread_mutex_unlock(&s->lock);
        s->busy = false;
        s->saved(s->user, index, term, r, s->error);
        return 0;
}

int snap_saver_new(sd_event *event, Disk *disk, SnapSaved saved, void *user, SnapSaver **ret, Err *err) {
        SnapSaver *s = xnew(SnapSaver, 1);
        *s = (SnapSaver){ .event = sd_event_ref(event), .disk = disk, .saved = saved, .user = user };
        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->wake, NULL);
        s->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->eventfd < 0) {
                int r = -errno;
                sd_event_unref(s->event);
                free(s);
                return err_errno(err, r, "eventfd");
        }
        int r = sd_event_add_io(event, &s->news, s->eventfd, EPOLLIN, on_news, s);
        if (r >= 0)
                r = sd_event_add_defer(event, &s->slice, on_slice, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->slice, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_priority(s->slice, SD_EVENT_PRIORITY_NORMAL + 10);
        if (r >= 0)
                r = -pthread_create(&s->thread, NULL, saver_main, s);
        assert(r >= 0); /* fixed small resources at the start of the process */
        *ret = s;
        return 0;
}

void snap_saver_start(SnapSaver *s, const RaftSnapMeta *meta, StoreSnapshot *view) {
        assert(!s->busy);
        s->busy = true;
        s->view = view;
        pthread_mutex_lock(&s->lock);
        s->meta = *meta;
        s->started = view != NULL;
        if (!view) {
                s->finished = true;
                s->result = -EBUSY;
                snprintf(s->error, sizeof(s->error), "the store could not be frozen");
        }
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        if (view)
                (void) sd_event_source_set_enabled(s->slice, SD_EVENT_ON);
        else
                tell_loop(s);
}

void snap_saver_abort(SnapSaver *s) {
        if (!s->view)
                return;
        s->view = store_snapshot_end(s->view);
        (void) sd_event_source_set_enabled(s->slice, SD_EVENT_OFF);
        pthread_mutex_lock(&s->lock);
        s->abandoned = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
}

SnapSaver *snap_saver_free(SnapSaver *s) {
        if (!s)
                return NULL;
        pthread_mutex_lock(&s->lock);
        s->quit = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        (void) pthread_join(s->thread, NULL);
        store_snapshot_end(s->view);
        sd_event_source_disable_unref(s->slice);
        sd_event_source_disable_unref(s->news);
        sd_event_unref(s->event);
        close(s->eventfd);
        buf_done(&s->queue);
        pthread_cond_destroy(&s->wake);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}

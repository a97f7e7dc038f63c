/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/disk/wal-thread.h"

#include "base/alloc.h"
#include "base/list.h"
#include "base/time.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

/* Batches are gathered into one write up to this size; the rest makes the next group. */
#define GROUP_BYTES_MAX ((size_t) 8 << 20)

typedef struct Job Job;
struct Job {
        Buf b; /* owned */
        uint64_t seq;
        bool must_sync, purge;
        LIST_LINK(Job) link;
};
typedef LIST_HEAD(Job) Jobs;

struct WalThread {
        Wal *wal; /* owned; the thread's alone while it runs */
        int fd;   /* eventfd */
        pthread_t thread;
        pthread_mutex_t lock; /* all below */
        pthread_cond_t wake;
        Jobs jobs;
        size_t n_jobs, n_bytes;
        bool stop;
        uint64_t done; /* highest seq */
        uint64_t oldest_mark;
        Err err;
        WalThreadStats stats;
};

static Job *job_free(Job *j) {
        buf_done(&j->b);
        free(j);
        return NULL;
}

static void jobs_done(Jobs *l) {
        LIST_FOREACH(j, l, link) {
                LIST_REMOVE(l, j, link);
                job_free(j);
        }
}

static void notify(WalThread *t) {
        uint64_t one = 1;
        ssize_t r = write(t->fd, &one, sizeof(one));
        assert(r == (ssize_t) sizeof(one) || errno == EAGAIN);
}

/* Waits for work and takes a group of it; false when it is time to end. */
static bool take_group(WalThread *t, Jobs *ret) {
        (void) pthread_mutex_lock(&t->lock);
        while (!t->jobs.first && !t->stop)
                (void) pthread_cond_wait(&t->wake, &t->lock);
        size_t bytes = 0;
        while (t->jobs.first && (bytes == 0 || bytes + t->jobs.first->b.len <= GROUP_BYTES_MAX)) {
                Job *j = t->jobs.first;
                LIST_REMOVE(&t->jobs, j, link);
                LIST_APPEND(ret, j, link);
                bytes += j->b.len;
        }
        (void) pthread_mutex_unlock(&t->lock);
        return ret->first != NULL;
}

/* One write, one sync. */
static int write_group(WalThread *t, Jobs *group, Buf *b, bool *ret_synced, Usec *ret_sync, Err *err) {
        bool must_sync = false;
        buf_clear(b);
        LIST_FOREACH(j, group, link) {
                buf_add(b, j->b.data, j->b.len);
                must_sync |= j->must_sync || j->purge;
        }
        int r = wal_write(t->wal, b, err);
        *ret_synced = must_sync;
        if (r < 0 || !must_sync)
                return r;
        Usec begin = now_monotonic();
        r = wal_sync(t->wal, err);
        *ret_sync = usec_sub(now_monotonic(), begin);
        return r;
}

static void report(WalThread *t, Jobs *group, int r, size_t bytes, bool synced, Usec sync, Err *err) {
        (void) pthread_mutex_lock(&t->lock);
        LIST_FOREACH(j, group, link) {
                if (r == 0 && j->seq > 0)
                        t->done = j->seq;
                t->n_jobs--;
                t->n_bytes -= j->b.len;
                t->stats.batches++;
        }
        t->stats.bytes += bytes;
        if (synced && r == 0) {
                t->stats.syncs++;
                t->stats.sync_usec_sum += sync;
                t->stats.sync_usec_max = MAX(t->stats.sync_usec_max, sync);
        }
        if (r < 0 && t->err.code == 0) {
                t->err = *err;
                *err = (Err){};
        }
        (void) pthread_mutex_unlock(&t->lock);
        notify(t);
}

static void purge(WalThread *t, const Jobs *group) {
        bool wanted = false;
        for (const Job *j = group->first; j; j = j->link.next)
                wanted |= j->purge;
        if (!wanted)
                return;
        /* Old segments that stay are a matter of space only; an unusable log shows at the next write. */
        (void) wal_purge(t->wal, NULL);
        (void) pthread_mutex_lock(&t->lock);
        t->oldest_mark = wal_oldest_mark(t->wal);
        (void) pthread_mutex_unlock(&t->lock);
}

static void *run(void *arg) {
        WalThread *t = arg;
        _cleanup_(buf_done) Buf b = {};
        int r = 0;
        for (;;) {
                Jobs group = {};
                if (!take_group(t, &group))
                        return NULL;
                _cleanup_(err_done) Err err = {};
                bool synced = false;
                Usec sync = 0;
                /* After a failure nothing is written and nothing acknowledged any more. */
                if (r == 0)
                        r = write_group(t, &group, &b, &synced, &sync, &err);
                report(t, &group, r, b.len, synced, sync, &err);
                if (r == 0)
                        purge(t, &group);
                jobs_done(&group);
        }
}

int wal_thread_start(Wal *w, WalThread **ret, Err *err) {
        WalThread *t = xnew(WalThread, 1);
        t->oldest_mark = wal_oldest_mark(w);
        t->fd = RET_NERRNO(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (t->fd < 0) {
                int r = t->fd;
                free(t);
                return err_errno(err, r, "cannot make an eventfd");
        }
        t->wal = w;
        (void) pthread_mutex_init(&t->lock, NULL);
        (void) pthread_cond_init(&t->wake, NULL);
        /* Signals belong to the loop thread. */
        sigset_t all, old;
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);
        int r = -pthread_create(&t->thread, NULL, run, t);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (r < 0) {
                (void) safe_close(t->fd);
                free(t);
                return err_errno(err, r, "cannot start the log's thread");
        }
        *ret = t;
        return 0;
}

WalThread *wal_thread_stop(WalThread *t) {
        if (!t)
                return NULL;
        (void) pthread_mutex_lock(&t->lock);
        t->stop = true;
        (void) pthread_cond_signal(&t->wake);
        (void) pthread_mutex_unlock(&t->lock);
        (void) pthread_join(t->thread, NULL);
        assert(!t->jobs.first);
        wal_free(t->wal);
        (void) safe_close(t->fd);
        (void) pthread_mutex_destroy(&t->lock);
        (void) pthread_cond_destroy(&t->wake);
        err_done(&t->err);
        free(t);
        return NULL;
}

int wal_thread_fd(const WalThread *t) {
        return t->fd;
}

void wal_thread_submit(WalThread *t, Buf *b, uint64_t seq, bool must_sync, bool purge_after) {
        Job *j = xnew(Job, 1);
        *j = (Job){ .b = *b, .seq = seq, .must_sync = must_sync, .purge = purge_after };
        *b = (Buf){};
        (void) pthread_mutex_lock(&t->lock);
        LIST_APPEND(&t->jobs, j, link);
        t->n_jobs++;
        t->n_bytes += j->b.len;
        (void) pthread_cond_signal(&t->wake);
        (void) pthread_mutex_unlock(&t->lock);
}

int wal_thread_completed(WalThread *t, uint64_t *ret_seq, Err *err) {
        uint64_t count;
        ssize_t n = read(t->fd, &count, sizeof(count));
        assert(n > 0 || errno == EAGAIN || errno == EINTR);
        (void) pthread_mutex_lock(&t->lock);
        *ret_seq = t->done;
        int r = t->err.code;
        if (r < 0)
                (void) err_set(err, r, "%s", err_msg(&t->err));
        (void) pthread_mutex_unlock(&t->lock);
        return r;
}

uint64_t wal_thread_oldest_mark(WalThread *t) {
        (void) pthread_mutex_lock(&t->lock);
        uint64_t oldest = t->oldest_mark;
        (void) pthread_mutex_unlock(&t->lock);
        return oldest;
}

void wal_thread_queue(WalThread *t, size_t *ret_batches, size_t *ret_bytes) {
        (void) pthread_mutex_lock(&t->lock);
        *ret_batches = t->n_jobs;
        *ret_bytes = t->n_bytes;
        (void) pthread_mutex_unlock(&t->lock);
}

void wal_thread_stats(WalThread *t, WalThreadStats *ret) {
        (void) pthread_mutex_lock(&t->lock);
        *ret = t->stats;
        (void) pthread_mutex_unlock(&t->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv3/apiv3.h"
#include "sys/clock.h"

#include <stdlib.h>

/* One stream of watches. Watchers are cursors into the store: while the client does not read, nothing is taken from
 * them, hence nothing piles up here beyond what the connection has queued. */

typedef struct WatchStream WatchStream;
typedef struct StreamWatch StreamWatch;
struct StreamWatch {
        WatchStream *stream;
        int64_t id;
        Watcher *watcher; /* owned */
        bool progress_notify, fragment;
        bool behind; /* has something to take, the connection is full */
        bool quiet;  /* nothing was sent since the last progress notification */
        LIST_LINK(StreamWatch) link;
};

struct WatchStream {
        V3Call *call;
        LIST_HEAD(StreamWatch) list; /* owned */
        Map by_id;
        int64_t next_id;
        bool full;            /* the connection's queue is */
        bool progress_wanted; /* asked for, not answered yet */
        bool ending;
        sd_event_source *timer; /* progress notifications */
};

/* ---- sending ---- */

static void add_head(WatchStream *st, int64_t revision, int64_t id, Buf *b) {
        v3_pack_header(st->call->server, revision, b);
        pb_int(b, 2, id);
}

static void send_buf(WatchStream *st, Buf *b) {
        if (st->call->wire->send(st->call, b->data, b->len) != 0)
                st->full = true;
}

static void pack_event(const WatchEvent *e, Buf *b) {
        size_t at = pb_begin(b, 11);
        pb_uint(b, 1, e->is_delete);
        v3_pack_kv(2, &e->kv, b);
        if (e->has_prev)
                v3_pack_kv(3, &e->prev, b);
        pb_end(b, at);
}

/* One response, or several when the client allowed fragments and the events are many. */
static void send_batch(StreamWatch *w, const WatchBatch *batch) {
        Buf b = {};
        size_t head = 0;
        for (size_t i = 0; i < batch->n_events; i++) {
                if (b.len == 0) {
                        add_head(w->stream, batch->revision, w->id, &b);
                        head = b.len;
                }
                size_t before = b.len;
                pack_event(&batch->events[i], &b);
                if (!w->fragment || b.len <= V3_FRAGMENT_BYTES || before == head)
                        continue;
                buf_truncate(&b, before);
                pb_uint(&b, 7, 1);
                send_buf(w->stream, &b);
                buf_clear(&b);
                i--;
        }
        send_buf(w->stream, &b);
        w->stream->call->server->stats.watch_events += batch->n_events;
        w->quiet = false;
        buf_done(&b);
}

static StreamWatch *watch_drop(StreamWatch *w) {
        WatchStream *st = w->stream;
        LIST_REMOVE(&st->list, w, link);
        (void) map_delu(&st->by_id, (uint64_t) w->id);
        watch_free(w->watcher);
        free(w);
        return NULL;
}

static void send_cancelled(WatchStream *st, int64_t id, int64_t compact_revision, const char *reason) {
        _cleanup_(buf_done) Buf b = {};
        add_head(st, compact_revision ? 0 : store_revision(st->call->server->store), id, &b);
        pb_uint(&b, 4, 1);
        pb_int(&b, 5, compact_revision);
        pb_text(&b, 6, strempty(reason));
        send_buf(st, &b);
}

/* All that is there for one watcher, as far as the connection takes it. */
static void drain(StreamWatch *w) {
        WatchStream *st = w->stream;
        WatchBatch batch;
        while (!st->full) {
                if (!watch_take(w->watcher, V3_FRAGMENT_BYTES, &batch)) {
                        w->behind = false;
                        return;
                }
                if (batch.compact_revision) {
                        send_cancelled(st, w->id, batch.compact_revision, NULL);
                        watch_drop(w);
                        return;
                }
                if (batch.n_events > 0)
                        send_batch(w, &batch);
        }
        w->behind = true;
}

/* A progress answer says that everything up to its revision was delivered on this stream, so it waits until every
 * watcher is that far (issue etcd#15220). */
static void answer_progress(WatchStream *st) {
        if (!st->progress_wanted || st->full)
                return;
        LIST_FOREACH(w, &st->list, link)
                if (w->behind || !watch_synced(w->watcher))
                        return;
        st->progress_wanted = false;
        _cleanup_(buf_done) Buf b = {};
        add_head(st, store_revision(st->call->server->store), -1, &b);
        send_buf(st, &b);
}

void apiv3_watch_deliver(Watcher *watcher) {
        StreamWatch *w = watch_user(watcher);
        WatchStream *st = w->stream;
        drain(w);
        answer_progress(st);
}

void v3_watch_writable(V3Call *c) {
        WatchStream *st = c->state;
        st->full = false;
        LIST_FOREACH(w, &st->list, link)
                if (w->behind && !st->full)
                        drain(w);
        answer_progress(st);
        if (store_watch_pending(st->call->server->store)) /* what was drained has room again */
                etcd_housekeeping_rearm(st->call->server);
}

/* ---- progress notifications ---- */

static int on_progress(sd_event_source *src, uint64_t usec, void *user) {
        WatchStream *st = user;
        EtcdServer *s = st->call->server;
        LIST_FOREACH(w, &st->list, link) {
                if (!w->progress_notify)
                        continue;
                if (w->quiet && !st->full && watch_synced(w->watcher)) {
                        _cleanup_(buf_done) Buf b = {};
                        add_head(st, watch_progress(w->watcher), w->id, &b);
                        send_buf(st, &b);
                }
                w->quiet = true;
        }
        (void) sd_event_source_set_time(src, now_monotonic() + (Usec) s->config->progress_notify_usec);
        (void) sd_event_source_set_enabled(src, SD_EVENT_ONESHOT);
        return 0;
}

static void want_progress(WatchStream *st) {
        EtcdServer *s = st->call->server;
        if (st->timer)
                return;
        /* a tenth of jitter spreads the streams that began together */
        Usec interval = (Usec) s->config->progress_notify_usec;
        Usec at = interval + random_u64() % (interval / 10 + 1);
        (void) sd_event_add_time_relative(s->event, &st->timer, CLOCK_MONOTONIC, at, 1, on_progress, st);
}

/* ---- requests ---- */

static void send_created(WatchStream *st, int64_t id, const char *refused) {
        _cleanup_(buf_done) Buf b = {};
        add_head(st, store_revision(st->call->server->store), id, &b);
        pb_uint(&b, 3, 1);
        if (refused) {
                pb_uint(&b, 4, 1);
                pb_text(&b, 6, refused);
        }
        send_buf(st, &b);
}

static bool parse_filters(const Etcdserverpb__WatchCreateRequest *m, WatchReq *req) {
        for (size_t i = 0; i < m->n_filters; i++)
                switch (m->filters[i]) {
                case ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT:
                        req->no_put = true;
                        break;
                case ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE:
                        req->no_delete = true;
                        break;
                default: /* of a client that knows more than we do: ignored, as etcd does */
                        break;
                }
        return true;
}

static void create(WatchStream *st, const Etcdserverpb__WatchCreateRequest *m) {
        EtcdServer *s = st->call->server;
        WatchReq req = { .key = { (const char *) m->key.data, m->key.len },
                         .range_end = { (const char *) m->range_end.data, m->range_end.len },
                         .start_revision = m->start_revision,
                         .prev_kv = m->prev_kv };
        parse_filters(m, &req);
        if (map_size(&st->by_id) >= V3_WATCHES_PER_STREAM_MAX) {
                send_created(st, -1, "etcdserver: too many watches on one stream");
                return;
        }
        if (m->watch_id != 0 && map_getu(&st->by_id, (uint64_t) m->watch_id)) {
                send_created(st, -1, "mvcc: duplicate watch ID provided on the WatchStream");
                return;
        }
        StreamWatch *w = xnew(StreamWatch, 1);
        req.user = w;
        w->stream = st;
        w->watcher = watch_new(s->store, &req);
        if (!w->watcher) {
                free(w);
                send_created(st, -1, "mvcc: watcher range is empty");
                return;
        }
        w->progress_notify = m->progress_notify;
        w->fragment = m->fragment;
        w->quiet = true;
        w->id = m->watch_id;
        while (m->watch_id == 0) {
                w->id = st->next_id++;
                if (!map_getu(&st->by_id, (uint64_t) w->id))
                        break;
        }
        LIST_APPEND(&st->list, w, link);
        (void) map_putu(&st->by_id, (uint64_t) w->id, w);
        if (w->progress_notify)
                want_progress(st);
        send_created(st, w->id, NULL);
        drain(w);
        if (store_watch_pending(s->store))
                etcd_housekeeping_rearm(s);
}

static void cancel(WatchStream *st, int64_t id) {
        StreamWatch *w = map_getu(&st->by_id, (uint64_t) id);
        if (!w)
                return;
        watch_drop(w);
        send_cancelled(st, id, 0, NULL);
        answer_progress(st);
}

void v3_watch_open(V3Call *c) {
        WatchStream *st = arena_new(&c->q->arena, WatchStream, 1);
        *st = (WatchStream){ .call = c };
        c->state = st;
}

void v3_watch_message(V3Call *c, const void *p, size_t n) {
        WatchStream *st = c->state;
        const Etcdserverpb__WatchRequest *m = v3_unpack(c, &etcdserverpb__watch_request__descriptor, p, n);
        if (!m) {
                v3_watch_cancel(c);
                return;
        }
        switch (m->request_union_case) {
        case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
                create(st, m->create_request);
                break;
        case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
                cancel(st, m->cancel_request->watch_id);
                break;
        case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
                st->progress_wanted = true;
                answer_progress(st);
                break;
        case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION__NOT_SET:
        case _ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION__CASE_IS_INT_SIZE:
                break;
        }
}

static void stream_done(WatchStream *st) {
        LIST_FOREACH(w, &st->list, link)
                watch_drop(w);
        map_done(&st->by_id);
        st->timer = sd_event_source_disable_unref(st->timer);
}

/* The client has nothing more to ask; its watches go on, as in etcd, until it goes away. */
void v3_watch_end(V3Call *c) {
}

void v3_watch_cancel(V3Call *c) {
        if (c->state)
                stream_done(c->state);
        c->state = NULL;
}

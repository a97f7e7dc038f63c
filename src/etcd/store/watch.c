/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/interval.h"
#include "etcd/store/state.h"

#define FEW_SLOW 8 /* up to so many late watchers each log entry is held against them directly */

struct Watcher {
        Hub *hub;     /* weak */
        Group *group; /* weak */
        void *user;   /* weak */
        LIST_LINK(Watcher) in_group;
        LIST_LINK(Watcher) in_ready;
        LIST_LINK(Watcher) in_slow;
        /* Everything below `next` is queued or taken. While synced this means the current revision, and
         * `next` is only the first revision wanted: it may lie in the future. */
        int64_t next;
        int64_t compacted; /* != 0: the history it needs is gone */
        bool synced, blocked, ready;
        bool prev_kv, no_put, no_delete;

        Ver **queue; /* owned ring of references */
        size_t head, n_queue, cap_queue, queue_bytes;

        WatchEvent *events; /* owned: of the last batch */
        Ver **held;         /* owned: the references behind it */
        size_t cap_events, n_held, cap_held;
};

struct Hub {
        Store *s; /* weak */
        Intervals intervals;
        LIST_HEAD(Watcher) ready;
        LIST_HEAD(Watcher) slow;
        size_t n_watchers, n_slow, n_blocked;
        bool turn;    /* whose slice is next: see pick() */
        int64_t from; /* where the present slice began */
};

Hub *hub_new(Store *s) {
        Hub *h = xnew0(Hub, 1);
        h->s = s;
        return h;
}

Hub *hub_free(Hub *h) {
        if (!h)
                return NULL;
        assert(h->n_watchers == 0);
        intervals_done(&h->intervals);
        return xfree(h);
}

static size_t event_bytes(const Ver *v) {
        return sizeof(KeyVal) + v->key->it.n + v->n;
}

static Ver *queue_at(const Watcher *w, size_t i) {
        assert(i < w->n_queue);
        return w->queue[(w->head + i) & (w->cap_queue - 1)];
}

static void queue_push(Watcher *w, Ver *v) {
        if (w->n_queue == w->cap_queue) {
                size_t cap = w->cap_queue > 0 ? w->cap_queue * 2 : 4;
                Ver **q = xmalloc(sizeof(Ver *) * cap);
                for (size_t i = 0; i < w->n_queue; i++)
                        q[i] = queue_at(w, i);
                free(w->queue);
                w->queue = q;
                w->cap_queue = cap;
                w->head = 0;
        }
        v->refs++;
        w->queue[(w->head + w->n_queue++) & (w->cap_queue - 1)] = v;
        w->queue_bytes += event_bytes(v);
}

/* The newest entries, of revision `main`, are forgotten again. */
static void queue_unpush(Watcher *w, int64_t main) {
        while (w->n_queue > 0 && queue_at(w, w->n_queue - 1)->main == main) {
                Ver *v = queue_at(w, w->n_queue - 1);
                w->n_queue--;
                w->queue_bytes -= event_bytes(v);
                ver_unref(v);
        }
}

static Ver *queue_pop(Watcher *w) {
        Ver *v = queue_at(w, 0);
        w->head = (w->head + 1) & (w->cap_queue - 1);
        w->queue_bytes -= event_bytes(v);
        if (--w->n_queue == 0 && w->cap_queue > 64) { /* a burst should not stay for ever */
                free(w->queue);
                w->queue = NULL;
                w->cap_queue = w->head = 0;
        }
        return v;
}

static void set_ready(Watcher *w) {
        if (w->ready)
                return;
        w->ready = true;
        LIST_APPEND(&w->hub->ready, w, in_ready);
}

static void set_blocked(Watcher *w, bool blocked) {
        w->hub->n_blocked = w->hub->n_blocked - w->blocked + blocked;
        w->blocked = blocked;
}

static void set_slow(Watcher *w) {
        if (!w->synced)
                return;
        w->synced = false;
        w->hub->n_slow++;
        LIST_APPEND(&w->hub->slow, w, in_slow);
}

static void unset_slow(Watcher *w) {
        if (w->synced)
                return;
        w->synced = true;
        set_blocked(w, false);
        w->hub->n_slow--;
        LIST_REMOVE(&w->hub->slow, w, in_slow);
}

/* False: no room, and the watcher is back to its cursor, at the beginning of this revision. */
static bool offer(Watcher *w, Ver *v) {
        if (v->tombstone ? w->no_delete : w->no_put)
                return true;
        bool full = w->n_queue >= WATCH_QUEUE_EVENTS || w->queue_bytes >= WATCH_QUEUE_BYTES;
        if (full && queue_at(w, 0)->main != v->main) {
                queue_unpush(w, v->main);
                set_slow(w);
                w->next = v->main;
                set_blocked(w, true);
                return false;
        }
        queue_push(w, v);
        set_ready(w);
        return true;
}

static void notify_group(Group *g, void *arg) {
        Ver *v = arg;
        LIST_FOREACH(w, &g->watchers, in_group)
                if (w->synced && v->main >= w->next && w->compacted == 0)
                        (void) offer(w, v);
}

void hub_notify(Store *s, size_t from) {
        if (s->hub->n_watchers == 0)
                return;
        for (size_t i = from; i < s->log.n; i++) {
                Ver *v = log_at(&s->log, i);
                intervals_find(&s->hub->intervals, key_bytes(v->key), notify_group, v);
        }
}

static void set_compacted(Watcher *w, int64_t compacted) {
        unset_slow(w);
        w->compacted = compacted;
        set_ready(w);
}

void hub_compacted(Store *s) {
        LIST_FOREACH(w, &s->hub->slow, in_slow)
                if (w->next < s->compacted)
                        set_compacted(w, s->compacted);
}

/* ---- one watcher ---- */

Watcher *watch_new(Store *s, const WatchReq *req) {
        Bytes key = req->key.n > 0 ? req->key : (Bytes){ "\0", 1 };
        Range range = range_of(key, req->range_end);
        if (!range.single && !range.open && bytes_cmp(key, req->range_end) >= 0)
                return NULL;
        Hub *h = s->hub;
        Watcher *w = xnew0(Watcher, 1);
        w->hub = h;
        w->user = req->user;
        w->prev_kv = req->prev_kv;
        w->no_put = req->no_put;
        w->no_delete = req->no_delete;
        w->synced = true;
        w->next = req->start_revision > 0 ? req->start_revision : s->revision + 1;
        w->group = intervals_get(&h->intervals, key,
                                 range.single || range.open ? (Bytes){ "", 0 } : range.to, range.single,
                                 range.open);
        LIST_APPEND(&w->group->watchers, w, in_group);
        w->group->n_watchers++;
        h->n_watchers++;
        if (w->next < s->compacted)
                set_compacted(w, s->compacted);
        else if (w->next <= s->revision)
                set_slow(w);
        return w;
}

static void release_batch(Watcher *w) {
        for (size_t i = 0; i < w->n_held; i++)
                ver_unref(w->held[i]);
        w->n_held = 0;
}

Watcher *watch_free(Watcher *w) {
        if (!w)
                return NULL;
        Hub *h = w->hub;
        unset_slow(w);
        if (w->ready)
                LIST_REMOVE(&h->ready, w, in_ready);
        LIST_REMOVE(&w->group->watchers, w, in_group);
        if (--w->group->n_watchers == 0)
                intervals_drop(&h->intervals, w->group);
        h->n_watchers--;
        while (w->n_queue > 0)
                ver_unref(queue_pop(w));
        release_batch(w);
        free(w->queue);
        free(w->events);
        free(w->held);
        return xfree(w);
}

void *watch_user(const Watcher *w) {
        return w->user;
}

Watcher *watch_ready(Store *s) {
        Watcher *w = s->hub->ready.first;
        if (w) {
                LIST_REMOVE(&s->hub->ready, w, in_ready);
                w->ready = false;
        }
        return w;
}

static void hold(Watcher *w, Ver *v) {
        GROW(w->held, w->cap_held, w->n_held + 1);
        w->held[w->n_held++] = v;
}

/* Takes over the reference to v. Whether there is a previous version is decided by the compacted revision,
 * not by how far compaction has come. */
static void fill_event(Watcher *w, Ver *v, WatchEvent *ret) {
        const Store *s = w->hub->s;
        *ret = (WatchEvent){ .is_delete = v->tombstone, .kv = ver_kv(v) };
        hold(w, v);
        if (!w->prev_kv || v->main - 1 < s->compacted || v->key->n == 0)
                return;
        Ver *prev = key_at(v->key, v->main - 1);
        if (!prev || prev->tombstone)
                return;
        prev->refs++;
        hold(w, prev);
        ret->has_prev = true;
        ret->prev = ver_kv(prev);
}

int64_t watch_progress(const Watcher *w) {
        if (w->n_queue > 0)
                return queue_at(w, 0)->main - 1;
        return w->synced ? w->hub->s->revision : w->next - 1;
}

bool watch_synced(const Watcher *w) {
        return w->synced && w->n_queue == 0 && w->compacted == 0;
}

bool watch_take(Watcher *w, size_t max_bytes, WatchBatch *ret) {
        release_batch(w);
        *ret = (WatchBatch){};
        if (w->n_queue == 0) {
                ret->compact_revision = w->compacted;
                return w->compacted != 0;
        }
        size_t n = 0, bytes = 0;
        while (w->n_queue > 0) {
                int64_t main = queue_at(w, 0)->main;
                if (n > 0 && max_bytes > 0 && bytes >= max_bytes && main != w->events[n - 1].kv.mod_revision)
                        break;
                Ver *v = queue_pop(w);
                bytes += event_bytes(v);
                GROW(w->events, w->cap_events, n + 1);
                fill_event(w, v, w->events + n++);
        }
        set_blocked(w, false);
        if (w->compacted != 0 && w->n_queue == 0)
                set_ready(w);
        ret->events = w->events;
        ret->n_events = n;
        int64_t last = w->events[n - 1].kv.mod_revision;
        ret->revision = w->compacted != 0 ? last : MAX(last, watch_progress(w));
        return true;
}

/* ---- catching up ---- */

/* One that is behind the beginning of the slice must not get what comes in it: it would miss what lies
 * between. */
static void offer_slow(Watcher *w, Ver *v) {
        if (!w->synced && !w->blocked && w->next >= w->hub->from && w->next <= v->main)
                (void) offer(w, v);
}

static void slow_group(Group *g, void *arg) {
        LIST_FOREACH(w, &g->watchers, in_group)
                offer_slow(w, arg);
}

static bool group_has(const Group *g, Bytes key) {
        if (g->single)
                return bytes_eq(g->from, key);
        return bytes_cmp(g->from, key) <= 0 && (g->open || bytes_cmp(key, g->to) < 0);
}

static void offer_all_slow(Hub *h, Ver *v) {
        Bytes key = key_bytes(v->key);
        if (h->n_slow > FEW_SLOW) {
                intervals_find(&h->intervals, key, slow_group, v);
                return;
        }
        LIST_FOREACH(w, &h->slow, in_slow)
                if (group_has(w->group, key))
                        offer_slow(w, v);
}

/* Where the next slice begins, by turns: at the watcher furthest behind, so that one pass serves them all;
 * and at the one that waited longest, so that a straggler which always finds room does not hold up the
 * others. */
static int64_t pick(Hub *h) {
        Watcher *first = NULL, *last = NULL;
        LIST_FOREACH(w, &h->slow, in_slow) {
                if (w->blocked)
                        continue;
                if (!first)
                        first = w;
                if (!last || w->next < last->next)
                        last = w;
        }
        if (!first)
                return 0;
        h->turn = !h->turn;
        if (h->turn)
                return last->next;
        LIST_REMOVE(&h->slow, first, in_slow);
        LIST_APPEND(&h->slow, first, in_slow);
        return first->next;
}

bool store_watch_step(Store *s) {
        Hub *h = s->hub;
        int64_t from = h->from = pick(h);
        if (from == 0)
                return false;
        assert(from >= s->compacted);
        size_t i = log_find(&s->log, from);
        int64_t done = s->revision;
        for (size_t n = 0; i < s->log.n; i++, n++) {
                Ver *v = log_at(&s->log, i);
                if (n >= WATCH_STEP_EVENTS && log_at(&s->log, i - 1)->main != v->main) {
                        done = v->main - 1;
                        break;
                }
                offer_all_slow(h, v);
        }
        bool more = false;
        LIST_FOREACH(w, &h->slow, in_slow) {
                if (w->blocked)
                        continue;
                if (w->next >= from && w->next <= done)
                        w->next = done + 1;
                if (w->next > s->revision) {
                        unset_slow(w);
                        set_ready(w);
                } else
                        more = true;
        }
        return more;
}

bool store_watch_pending(const Store *s) {
        return s->hub->n_slow > s->hub->n_blocked;
}

size_t store_watchers(const Store *s) {
        return s->hub->n_watchers;
}

size_t store_watchers_slow(const Store *s) {
        return s->hub->n_slow;
}

/* ---- a store replaced by a snapshot ---- */

static void move_watcher(Watcher *w, int64_t old_revision, const Store *to) {
        if (w->compacted != 0)
                return;
        if (w->synced)
                w->next = MAX(w->next, old_revision + 1);
        if (w->n_queue > 0)
                w->next = queue_at(w, 0)->main; /* found again in the new history */
        while (w->n_queue > 0)
                ver_unref(queue_pop(w));
        unset_slow(w);
        if (w->next < to->compacted)
                set_compacted(w, to->compacted);
        else if (w->next <= to->revision)
                set_slow(w);
}

typedef struct Move {
        int64_t old_revision;
        const Store *to;
} Move;

static void move_group(Group *g, void *arg) {
        const Move *m = arg;
        LIST_FOREACH(w, &g->watchers, in_group)
                move_watcher(w, m->old_revision, m->to);
}

void hub_move(Store *from, Store *to) {
        assert(to->hub->n_watchers == 0);
        Hub *h = from->hub;
        from->hub = to->hub;
        to->hub = h;
        from->hub->s = from;
        h->s = to;
        intervals_each(&h->intervals, move_group, &(Move){ .old_revision = from->revision, .to = to });
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/v2-state.h"

#include <stdio.h>

/* v2 watchers. Live events are pushed into queues; a watcher that starts in the past reads the history
 * itself, event by event, until it has caught up ("late"), so a long history never overflows its queue.
 * Three differences from stock etcd, on purpose: a streaming watcher that starts in the past goes on after
 * the first event; it hears of a deletion of its own node once, not twice; and hidden nodes stay hidden in
 * history, too. */

struct V2Group {
        char *path; /* owned */
        size_t n_path;
        LIST_HEAD(V2Watcher) watchers;
};

struct V2Watcher {
        V2 *v;          /* weak */
        V2Group *group; /* weak; NULL once over: nothing more will come */
        void *user;     /* weak */
        char *path;     /* owned */
        size_t n_path;
        bool recursive, stream, ready, late;
        uint64_t next;  /* late: the next history index to look at; else the first one wanted */
        uint64_t start; /* the store's index when it began */
        uint64_t last;  /* index of the event pushed last: none comes twice */
        LIST_LINK(V2Watcher) in_group;
        LIST_LINK(V2Watcher) in_ready;
        V2Event *queue[V2_WATCH_QUEUE]; /* owned references */
        unsigned head, n_queue;
};

static Bytes watched(const V2Watcher *w) {
        return (Bytes){ w->path, w->n_path };
}

/* Is `path` below `dir`? */
static bool below(Bytes path, Bytes dir) {
        if (dir.n == 1)
                return path.n > 1;
        return path.n > dir.n && path.p[dir.n] == '/' && memcmp(path.p, dir.p, dir.n) == 0;
}

/* Does some component of `path` behind the watched one begin with "_"? */
static bool hidden_from(Bytes watch, Bytes path) {
        size_t from = watch.n == 1 ? 0 : watch.n;
        return path.n > from && memmem(path.p + from, path.n - from, "/_", 2);
}

static void leave_group(V2Watcher *w) {
        V2Group *g = w->group;
        if (!g)
                return;
        LIST_REMOVE(&g->watchers, w, in_group);
        w->group = NULL;
        w->v->n_watchers--;
        if (g->watchers.first)
                return;
        (void) map_del(&w->v->groups, g->path, g->n_path);
        free(g->path);
        free(g);
}

static void set_ready(V2Watcher *w) {
        if (w->ready)
                return;
        w->ready = true;
        LIST_APPEND(&w->v->ready, w, in_ready);
}

static void push(V2Watcher *w, V2Event *e) {
        set_ready(w);
        if (w->n_queue == V2_WATCH_QUEUE) {
                leave_group(w); /* too slow: what is queued can still be read */
                return;
        }
        w->queue[(w->head + w->n_queue++) % V2_WATCH_QUEUE] = v2_event_ref(e);
        w->last = e->index;
        if (!w->stream)
                leave_group(w);
}

void v2_notify_path(V2 *v, V2Event *e, Bytes path, bool deleted) {
        V2Group *g = v->n_watchers > 0 ? map_get(&v->groups, path.p, path.n) : NULL;
        if (!g)
                return;
        bool own = bytes_eq(path, e->node.key);
        V2Watcher *last = g->watchers.last;
        for (V2Watcher *w = g->watchers.first, *next; w; w = next) {
                next = w == last ? NULL
                                 : w->in_group.next; /* the group may be gone after its last one left */
                if (!(w->recursive || own || deleted) || e->index < w->next || w->last >= e->index)
                        continue;
                if (!own && hidden_from(path, e->node.key))
                        continue;
                if (w->late)
                        set_ready(w); /* it will find it in the history */
                else
                        push(w, e);
        }
}

void v2_notify(V2 *v, V2Event *e) {
        if (v->n_watchers == 0 || e->internal)
                return;
        Bytes key = e->node.key;
        v2_notify_path(v, e, (Bytes){ "/", 1 }, false);
        for (size_t i = 1; i <= key.n && key.n > 1; i++)
                if (i == key.n || key.p[i] == '/')
                        v2_notify_path(v, e, (Bytes){ key.p, i }, false);
}

/* Would this event of the past have been told to the watcher? The removal of an ancestor counts too. */
static bool wants(const V2Watcher *w, const V2Event *e) {
        if (e->refresh || e->internal)
                return false;
        Bytes key = e->node.key, mine = watched(w);
        if (bytes_eq(key, mine))
                return true;
        if (w->recursive && below(key, mine))
                return !hidden_from(mine, key);
        bool gone = e->action == V2_ACTION_DELETE || e->action == V2_ACTION_EXPIRE;
        return gone && e->has_prev && e->prev.dir && below(mine, key);
}

/* The next event of the history for a late watcher (borrowed), or NULL when it has caught up or fallen out.
 */
static V2Event *catch_up(V2Watcher *w) {
        V2 *v = w->v;
        while (w->late && w->group && w->next <= v->index) {
                V2Event *e = history_get(v, w->next);
                if (!e) {
                        leave_group(w); /* overtaken while it dozed */
                        return NULL;
                }
                w->next++;
                if (wants(w, e)) {
                        w->last = e->index;
                        if (!w->stream)
                                leave_group(w);
                        return e;
                }
        }
        w->late = false;
        return NULL;
}

/* ---- one watcher ---- */

static V2Group *group_get(V2 *v, Bytes path) {
        V2Group *g = map_get(&v->groups, path.p, path.n);
        if (g)
                return g;
        g = xnew0(V2Group, 1);
        g->path = xstrndup(path.p, path.n);
        g->n_path = path.n;
        (void) map_put(&v->groups, path.p, path.n, g);
        return g;
}

int v2_watch(Store *s, const V2WatchReq *req, Arena *arena, V2Watcher **ret, V2Error *ret_error) {
        V2 *v = s->v2;
        if (req->wait_index > 0 && req->wait_index < v->first) {
                char text[96];
                int n = snprintf(text, sizeof(text),
                                 "the requested history has been cleared [%" PRIu64 "/%" PRIu64 "]",
                                 v->first, req->wait_index);
                *ret_error = (V2Error){ .code = 401,
                                        .cause = { arena_strndup(arena, text, (size_t) n), (size_t) n },
                                        .index = v->index };
                return -ESTALE;
        }
        V2Watcher *w = xnew0(V2Watcher, 1);
        w->v = v;
        w->user = req->user;
        w->recursive = req->recursive;
        w->stream = req->stream;
        w->path = xstrndup(req->path.p, req->path.n);
        w->n_path = req->path.n;
        w->start = v->index;
        w->next = req->wait_index > 0 ? req->wait_index : v->index + 1;
        w->late = w->next <= v->index;
        w->group = group_get(v, watched(w));
        LIST_APPEND(&w->group->watchers, w, in_group);
        v->n_watchers++;
        V2Event *e = catch_up(w);
        if (e) {
                w->queue[w->n_queue++] = v2_event_ref(e);
                set_ready(w);
        }
        *ret = w;
        return 0;
}

V2Watcher *v2_watch_free(V2Watcher *w) {
        if (!w)
                return NULL;
        leave_group(w);
        if (w->ready)
                LIST_REMOVE(&w->v->ready, w, in_ready);
        for (; w->n_queue > 0; w->n_queue--, w->head = (w->head + 1) % V2_WATCH_QUEUE)
                v2_event_unref(w->queue[w->head]);
        free(w->path);
        return xfree(w);
}

V2Watcher *v2_watch_ready(Store *s) {
        V2Watcher *w = s->v2->ready.first;
        if (w) {
                LIST_REMOVE(&s->v2->ready, w, in_ready);
                w->ready = false;
        }
        return w;
}

V2Event *v2_watch_take(V2Watcher *w) {
        if (w->n_queue == 0)
                return w->late ? v2_event_ref(catch_up(w)) : NULL;
        V2Event *e = w->queue[w->head];
        w->head = (w->head + 1) % V2_WATCH_QUEUE;
        w->n_queue--;
        return e;
}

bool v2_watch_ended(const V2Watcher *w) {
        return !w->group && w->n_queue == 0;
}

void *v2_watch_user(const V2Watcher *w) {
        return w->user;
}

uint64_t v2_watch_start_index(const V2Watcher *w) {
        return w->start;
}

/* The store was replaced by a snapshot: its watchers end, once their owners have read what is queued. */
void v2_move_watchers(V2 *from, V2 *to) {
        for (MapIter i = {}; map_next(&from->groups, &i);) {
                V2Group *g = i.value;
                LIST_FOREACH(w, &g->watchers, in_group) {
                        w->group = NULL;
                        w->v = to;
                        if (w->ready)
                                LIST_REMOVE(&from->ready, w, in_ready);
                        w->ready = false;
                        set_ready(w);
                }
                free(g->path);
                free(g);
        }
        map_done(&from->groups);
        from->n_watchers = 0;
        while (from->ready.first) {
                V2Watcher *w = from->ready.first;
                LIST_REMOVE(&from->ready, w, in_ready);
                w->ready = false;
                w->v = to;
                set_ready(w);
        }
}

void v2_watch_done(V2 *v) {
        assert(v->n_watchers == 0 && !v->ready.first);
        map_done(&v->groups);
}

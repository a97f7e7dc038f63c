/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The v3 watch hub: which watcher wants to know of which change (spec/etcd.md b.3).
 *
 * A watcher is a cursor, not a mailbox: everything below `next` has been given to it. Synced watchers get
 * references to new events pushed into a small queue by a lookup that costs O(log n) in the number of
 * watched ranges; when the queue is full the watcher falls back to its cursor and becomes unsynced. Unsynced
 * watchers are served together by sweeps over the revision log in bounded slices (store_watch_step()), so a
 * thousand late watchers cost one pass, and one that does not drain its queue is simply left out. Nothing is
 * ever dropped in between: a watcher either gets every event or is told it was compacted. Invariants: events
 * come in order, once, and all events of one revision in one batch; the revision that watch_progress() gives
 * is never ahead of an event not yet taken. Rejected: goroutine-like victims lists and a buffer per watcher:
 * memory then grows with slow clients. */

#include "etcd/store/types.h"

typedef struct Store Store;
typedef struct Watcher Watcher;

#define WATCH_QUEUE_EVENTS 256 /* queued for one watcher, whole revisions; one revision always fits */
#define WATCH_QUEUE_BYTES ((size_t) 4 << 20)
#define WATCH_STEP_EVENTS 2000 /* log entries of one slice: about a millisecond */

typedef struct WatchReq {
        Bytes key, range_end;   /* empty key: "\0"; range_end as for ranges */
        int64_t start_revision; /* <= 0: from now on; a future one waits */
        bool prev_kv, no_put, no_delete;
        void *user; /* weak: for the owner */
} WatchReq;

/* Registers. NULL when the range is empty ("mvcc: watcher range is empty"). A start below the compacted
 * revision gives a watcher that is ready at once and whose first batch says so. */
Watcher *watch_new(Store *s, const WatchReq *req);
Watcher *watch_free(Watcher *w); /* also while it is ready; returns NULL */
DEFINE_CLEANUP(Watcher *, watch_free)
void *watch_user(const Watcher *w);

typedef struct WatchEvent {
        bool is_delete, has_prev;
        KeyVal kv, prev; /* views good until the next watch_take() on this watcher, or its end */
} WatchEvent;

typedef struct WatchBatch {
        int64_t revision;         /* for the header: everything up to here has now been given */
        int64_t compact_revision; /* != 0: the watcher asked below this; it is over, free it */
        WatchEvent *events;       /* whole revisions, ascending */
        size_t n_events;
} WatchBatch;

/* The next watcher with something to take since it was last returned here, or NULL. Call until NULL after
 * every applied batch and after store_watch_step(). */
Watcher *watch_ready(Store *s);
/* Takes up to about max_bytes (0: no limit) of whole revisions, at least one. False when there is nothing
 * now. If something stays behind, call again when the client can take more (it is not put on the ready list
 * again for that). */
bool watch_take(Watcher *w, size_t max_bytes, WatchBatch *ret);
/* Everything up to this revision has been taken: what a progress notification may say. */
int64_t watch_progress(const Watcher *w);
/* True when nothing is queued and the watcher has seen the current revision. */
bool watch_synced(const Watcher *w);

/* One bounded slice of catching up. True while there is more to do: call again from an idle source. */
bool store_watch_step(Store *s);
/* Some watcher is behind and has room: store_watch_step() would do something. One whose queue is full counts
 * again as soon as something is taken from it, so ask after taking. */
bool store_watch_pending(const Store *s);
size_t store_watchers(const Store *s);      /* all, for metrics */
size_t store_watchers_slow(const Store *s); /* unsynced */

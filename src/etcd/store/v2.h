/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The v2 view: a tree of directories and files, its events, its watchers (spec/etcd.md a.1 to a.4).
 *
 * The v2 index counts v2 writes, not v3 revisions: that is what both 2.3 and 3.4 show (a fresh node answers
 * 3, three membership records having been written). It moves by one for every successful write, expiry
 * included, and for CMD_ATTR with v2_event. The last V2_HISTORY events are kept for waitIndex. */

#include "base/arena.h"
#include "base/buf.h"
#include "etcd/store/types.h"

#define V2_HISTORY 1000    /* events that waitIndex can reach: part of the API */
#define V2_WATCH_QUEUE 100 /* undelivered events of one watcher; one more and it is cleared */
#define V2_DEPTH_MAX 1000  /* components of a path */
#define V2_PATH_MAX 65536  /* bytes of a path */

typedef struct Store Store;

typedef enum V2Action {
        V2_ACTION_GET,
        V2_ACTION_SET,
        V2_ACTION_CREATE,
        V2_ACTION_UPDATE,
        V2_ACTION_CAS,
        V2_ACTION_DELETE,
        V2_ACTION_CAD,
        V2_ACTION_EXPIRE,
        _V2_ACTION_MAX,
} V2Action;
const char *v2_action_name(V2Action a);

/* A node as an answer or an event shows it. */
typedef struct V2View V2View;
struct V2View {
        Bytes key; /* whole path; "/" is the root, which shows neither key nor indexes */
        Bytes value;
        bool dir, has_value; /* has_value: `value` is shown even when empty */
        int64_t expire_nsec; /* 0: permanent */
        int64_t ttl;         /* seconds as shown; 0 is not shown */
        uint64_t modified, created;
        V2View *nodes; /* children, where a listing shows them */
        size_t n_nodes;
};

/* Immutable once made, shared by history, watchers and results by reference count. */
typedef struct V2Event {
        unsigned refs;
        V2Action action;
        bool has_prev, refresh;
        bool internal; /* not of the user's tree: takes an index and a place in the history, nobody sees it
                        */
        uint64_t index;
        V2View node, prev; /* their bytes belong to the event */
} V2Event;
V2Event *v2_event_ref(V2Event *e);
V2Event *v2_event_unref(V2Event *e); /* returns NULL */
DEFINE_CLEANUP(V2Event *, v2_event_unref)

/* An error of the v2 API (spec a.4). */
typedef struct V2Error {
        int code;       /* 100, 101 ...; 0: none */
        Bytes cause;    /* from the arena of the call that failed */
        uint64_t index; /* X-Etcd-Index; 0 for errors found while parsing a request */
} V2Error;
const char *v2_error_message(int code); /* "Key not found" */
int v2_error_status(int code);          /* HTTP status */

/* Go's path.Clean("/" + p): no empty or dot components, no trailing slash, at least "/". Appends to out. */
void v2_path_clean(Bytes p, Buf *out);

/* ---- reading ---- */
typedef struct V2GetReq {
        Bytes path; /* clean */
        bool recursive, sorted;
        int64_t wall_nsec; /* for ttl */
} V2GetReq;
/* 0 and *ret (views into the store and the arena, good until the next store_apply()); or -ENOENT, -ENOTDIR
 * and *ret_error. Always counts in the statistics. Listings are always sorted. */
int v2_get(Store *s, const V2GetReq *req, Arena *arena, V2View *ret, V2Error *ret_error);
/* X-Etcd-Index. */
uint64_t v2_index(const Store *s);

typedef struct V2Stats {
        uint64_t gets_success, gets_fail, sets_success, sets_fail, delete_success, delete_fail,
                        update_success, update_fail, create_success, create_fail, cas_success, cas_fail,
                        cad_success, cad_fail, expire_count, watchers;
} V2Stats;
void v2_stats(const Store *s, V2Stats *ret);

/* True when some node's time is not after `wall_nsec`: then the leader proposes CMD_V2_SYNC. */
bool v2_has_expired(const Store *s, int64_t wall_nsec);
/* The earliest expiry time, or INT64_MAX. */
int64_t v2_next_expiry(const Store *s);

/* ---- watching (spec a.3) ---- */
typedef struct V2Watcher V2Watcher;
typedef struct V2WatchReq {
        Bytes path; /* clean */
        bool recursive, stream;
        uint64_t wait_index; /* 0: only what comes now */
        void *user;          /* weak: for the owner */
} V2WatchReq;
/* Always gives a watcher, perhaps with events in its queue already; or -ESTALE with *ret_error (401, cause
 * from the arena). Free it with v2_watch_free() when the client goes away or the one event was taken. */
int v2_watch(Store *s, const V2WatchReq *req, Arena *arena, V2Watcher **ret, V2Error *ret_error);
V2Watcher *v2_watch_free(V2Watcher *w); /* also from inside a loop over v2_watch_ready(); returns NULL */
DEFINE_CLEANUP(V2Watcher *, v2_watch_free)
/* The next watcher that got something since it was last returned here, or NULL. Call until NULL after every
 * batch of applied commands. */
V2Watcher *v2_watch_ready(Store *s);
/* The next event (a reference for the caller), or NULL. */
V2Event *v2_watch_take(V2Watcher *w);
/* The watcher was cleared because its queue overflowed (or, not streaming, has had its event) and its queue
 * is empty: close the answer. */
bool v2_watch_ended(const V2Watcher *w);
void *v2_watch_user(const V2Watcher *w);
uint64_t v2_watch_start_index(const V2Watcher *w); /* X-Etcd-Index when it began */

/* ---- JSON exactly as etcd writes it, without the final newline ---- */
void v2_event_json(const V2Event *e, Buf *out);
void v2_get_json(const V2View *v, Buf *out); /* {"action":"get","node":{...}} */
void v2_error_json(const V2Error *e, Buf *out);
void v2_stats_json(const V2Stats *s, Buf *out);
/* 201 or 200 for a successful write (spec a.1). */
int v2_event_status(const V2Event *e);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The replicated state machine: what every node of a cluster holds after the same commands, behind both
 * APIs.
 *
 *   raft log ──► store_apply() ──► v3 keys: every version since the last compaction, in a revision log
 *                                  v2 tree, its index, its last 1000 events
 *                                  leases, alarms, attributes (members, cluster version)
 *
 * Files: command (what is applied), store (dispatch, hash), index (ordered and hashed keys), mvcc (versions,
 * ranges, txn, compaction), watch (v3 watchers), v2 (tree, events, watchers, JSON), lease, snapshot.
 *
 * Invariants:
 *  - Pure and deterministic: no clock, no randomness, no I/O. The same commands in the same order give the
 * same store_hash() on every node, however compaction, snapshots and reads interleave.
 *  - Apply is total: a malformed or refused command changes nothing but the applied index.
 *  - What a reader may see is decided by revisions, never by how far background work has come.
 *  - Every background work (compaction, catching up, snapshots) runs in bounded slices between commands.
 *  - Views handed out (Bytes, KeyVal, V2View) stay good until the next store_apply() or *_step().
 *
 * The state lives in memory; durability is the WAL plus snapshot files. An LMDB backend (DESIGN D5) can
 * stand behind mvcc.c later: versions are immutable and keyed by revision, which is the shape a B+tree file
 * wants. Until then a restart loads the last snapshot, about a second per million keys. Rejected: one tree
 * per API (two truths to keep in step); values in a separate heap (one more miss per read); hashing the
 * whole state on demand (a stop per check, so nobody would check). */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"
#include "etcd/store/command.h"
#include "etcd/store/types.h"
#include "etcd/store/v2.h"
#include "etcd/store/watch.h"

typedef struct Store Store;

typedef struct StoreOptions {
        uint8_t hash_key[16]; /* for hash tables: random in a daemon, zero in the simulator; not replicated
                                 state */
        size_t max_txn_ops;   /* 0: TXN_OPS_DEFAULT; must be equal on all nodes */
} StoreOptions;

Store *store_new(const StoreOptions *options); /* NULL: defaults. Revision 1, v2 index 0 */
Store *store_free(Store *s);                   /* returns NULL; every watcher must be gone */
DEFINE_CLEANUP(Store *, store_free)

/* ---- applying ---- */
typedef struct RangeResult {
        KeyVal *kvs;
        size_t n_kvs;
        int64_t count;
        bool more;
} RangeResult;

typedef struct OpResult OpResult;
typedef struct TxnResult {
        bool succeeded;
        OpResult *responses;
        size_t n_responses;
} TxnResult;

typedef struct PutResult {
        bool has_prev;
        KeyVal prev;
} PutResult;

typedef struct DeleteResult {
        int64_t deleted;
        KeyVal *prevs; /* with prev_kv */
        size_t n_prevs;
} DeleteResult;

struct OpResult {
        OpKind kind;
        int64_t revision; /* for the header inside the response; a nested txn's own header stays empty
                             (golden) */
        union {
                RangeResult range;
                PutResult put;
                DeleteResult del;
                TxnResult txn;
        };
};

typedef struct ApplyResult {
        Arena arena; /* owns what the result points to; versions belong to the store */
        CmdKind kind;
        uint64_t proposer, seq;
        StoreError error; /* v3, lease, alarm */
        int64_t revision; /* v3 header: the revision after this command */
        union {
                PutResult put;
                DeleteResult del;
                TxnResult txn;
                struct {
                        int64_t id, ttl;
                } grant;
                struct {
                        size_t n_expired; /* CMD_V2_SYNC */
                } v2_sync;
        };
        /* CMD_V2 */
        V2Event *v2_event; /* a reference, or NULL with v2_error set */
        V2Error v2_error;
        uint64_t v2_index; /* X-Etcd-Index, for both outcomes */
} ApplyResult;
void apply_result_done(ApplyResult *r);

/* Applies one committed command. `index` must be above the applied one. n == 0 is raft's empty entry. Never
 * fails: what was refused is said in *ret (zeroed or used before; NULL when nobody waits). The store may
 * keep no view into `cmd`. */
void store_apply(Store *s, uint64_t index, uint64_t term, const void *cmd, size_t n, ApplyResult *ret);
/* Raft entries that are not commands (configuration changes) move the applied index too. */
void store_applied(Store *s, uint64_t index, uint64_t term);
uint64_t store_applied_index(const Store *s);
uint64_t store_applied_term(const Store *s);

/* A hash of the whole replicated state at the applied index: equal on all nodes, O(1) to ask for. */
uint64_t store_hash(const Store *s);
/* The same, computed from scratch: for tests and corruption checks; O(size). */
uint64_t store_hash_slow(const Store *s);

/* ---- reading v3 ---- */
int64_t store_revision(const Store *s);
int64_t store_compact_revision(const Store *s); /* 0: never compacted; in etcd's API that reads as -1 */
/* Views into the store, arrays from the arena. */
StoreError store_range(Store *s, const RangeReq *req, Arena *arena, RangeResult *ret);
/* A txn for which txn_is_read_only() holds. */
StoreError store_txn_read(Store *s, const TxnReq *req, Arena *arena, TxnResult *ret);
/* Maintenance.HashKV: over all versions up to revision (<= 0: current); O(size). */
StoreError store_hash_kv(Store *s, int64_t revision, uint32_t *ret_hash, int64_t *ret_revision,
                         int64_t *ret_compact_revision);

/* ---- background work ---- */
/* One bounded slice of physical compaction; true while more can be done at once. An open snapshot holds it
 * up. */
bool store_compact_step(Store *s);
/* Something is left to compact, now or when the open snapshot has ended. */
bool store_compact_pending(const Store *s);
/* Bytes held for keys, values and bookkeeping: the number the quota looks at. */
size_t store_bytes(const Store *s);
size_t store_bytes_in_use(const Store *s); /* without what compaction has yet to free */
size_t store_keys(const Store *s);         /* live v3 keys */

/* ---- attributes and alarms ---- */
bool store_attr_get(const Store *s, Bytes key, Bytes *ret); /* view until that attribute changes */
typedef struct StoreAttrIter {
        size_t at;
        Bytes key, value; /* weak */
} StoreAttrIter;
/* In key order: for (StoreAttrIter i = {}; store_attr_next(s, prefix, &i);) ... */
bool store_attr_next(const Store *s, Bytes prefix, StoreAttrIter *i);

typedef struct StoreAlarm {
        uint64_t member;
        uint32_t alarm; /* 1 NOSPACE, 2 CORRUPT */
} StoreAlarm;
const StoreAlarm *store_alarms(const Store *s, size_t *ret_n); /* sorted */

/* ---- leases (spec b.3). Only grant, revoke and checkpoint are replicated; time runs on the leader alone.
 * ---- */
#define LEASE_TTL_MAX INT64_C(9000000000) /* seconds */
#define LEASE_DUE_MAX 1000                /* ids in one CMD_LEASE_EXPIRE */

bool lease_exists(const Store *s, int64_t id);
/* This node now leads: every lease gets its full (or checkpointed) TTL plus `extend` from `now` (monotonic).
 */
void lease_promote(Store *s, Usec now, Usec extend);
void lease_demote(Store *s); /* no more expiries; remaining times are forgotten */
bool lease_promoted(const Store *s);
/* Ids that are due, at most `max`; each is given again only after `retry` if it still exists. */
size_t lease_due(Store *s, Usec now, Usec retry, int64_t *ids, size_t max);
/* When lease_due() can next give something; USEC_NEVER when not promoted or no lease. */
Usec lease_next_due(const Store *s);
/* KeepAlive on the leader. STORE_LEASE_NOT_FOUND: answer TTL 0. *ret_ttl in seconds. */
StoreError lease_renew(Store *s, int64_t id, Usec now, int64_t *ret_ttl);
typedef struct LeaseInfo {
        int64_t granted, remaining; /* seconds; remaining = -1 when not promoted */
        Bytes *keys;                /* sorted, from the arena, when asked for */
        size_t n_keys;
} LeaseInfo;
StoreError lease_info(Store *s, int64_t id, Usec now, bool keys, Arena *arena, LeaseInfo *ret);
/* All ids, ascending, from the arena. */
size_t lease_list(const Store *s, Arena *arena, int64_t **ret_ids);

/* ---- snapshots ---- */
#define SNAPSHOT_VERSION 1
#define SNAPSHOT_CHUNK ((size_t) 64 << 10) /* about the size of a piece; one large value may exceed it */

typedef struct StoreSnapshot StoreSnapshot;
/* Freezes the state at the applied index; commands go on being applied meanwhile. One at a time: -EBUSY.
 * Physical compaction pauses until the end. `n_extra` bytes of the caller's own (raft configuration) come
 * first. */
int store_snapshot_begin(Store *s, const void *extra, size_t n_extra, StoreSnapshot **ret);
/* Appends the next piece to out: 1 while there is more, 0 when this was the last. */
int store_snapshot_next(StoreSnapshot *snap, Buf *out);
StoreSnapshot *store_snapshot_end(StoreSnapshot *snap); /* at any time; returns NULL */
DEFINE_CLEANUP(StoreSnapshot *, store_snapshot_end)
uint64_t store_snapshot_index(const StoreSnapshot *snap);
uint64_t store_snapshot_term(const StoreSnapshot *snap);
size_t store_snapshot_size_hint(const StoreSnapshot *snap); /* about how many bytes will come */

typedef struct StoreRestore StoreRestore;
/* Reads a snapshot from pieces of any size into a new store; checks format, limits, checksum and state hash.
 */
StoreRestore *store_restore_new(const StoreOptions *options);
int store_restore_add(StoreRestore *r, const void *p, size_t n, Err *err);
/* The finished store, and the caller's extra bytes (owned by ret_extra), or -EBADMSG. */
int store_restore_finish(StoreRestore *r, Store **ret, Buf *ret_extra, Err *err);
StoreRestore *store_restore_free(StoreRestore *r); /* returns NULL */
DEFINE_CLEANUP(StoreRestore *, store_restore_free)
/* Watchers of a store that a snapshot replaces are moved to the new one: v3 ones go on from their cursors
 * (or are told they were compacted), v2 ones are cleared (v2_watch_ended()). */
void store_move_watchers(Store *from, Store *to);

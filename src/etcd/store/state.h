/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a store is made of: shared by the files of this folder and by nobody else. */

#include "base/alloc.h"
#include "base/hash.h"
#include "base/list.h"
#include "etcd/store/index.h"
#include "etcd/store/store.h"

typedef struct Key Key;
typedef struct Lease Lease;

/* One version of a key: immutable. Referenced by its key, by the revision log and by watchers' queues; the
 * store's own reference counts once, for as long as the version is in its key. */
typedef struct Ver {
        Key *key;
        int64_t main;    /* revision */
        int64_t create;  /* 0 in a tombstone */
        int64_t version; /* 0 in a tombstone */
        int64_t lease;
        uint32_t sub; /* order within one revision */
        uint32_t refs;
        uint32_t n;
        bool tombstone;
        char value[];
} Ver;

/* A key with all its versions, ascending by (main, sub). Lives until its last version is freed. */
struct Key {
        IndexItem it;
        Ver *newest; /* also the last of the versions: saves the common reader a cache miss */
        union {
                Ver *one;   /* cap == 0 */
                Ver **many; /* owned; cap > 0 */
        };
        uint32_t n, cap, off; /* versions are many[off .. off + n) */
        uint32_t refs;        /* versions allocated */
        uint32_t lease_slot;  /* place in the lease's array while the newest version has a lease */
        char bytes[];
};

static inline Ver **key_vers(Key *k) {
        return k->cap > 0 ? k->many + k->off : &k->one;
}
static inline Ver *key_newest(Key *k) {
        assert(k->n > 0);
        return k->newest;
}
static inline Bytes key_bytes(const Key *k) {
        return (Bytes){ k->bytes, k->it.n };
}

/* The revision log: all versions with main >= the compacted revision (and those compaction has not reached).
 */
#define LOG_BLOCK 1024
typedef struct Log {
        Ver ***blocks; /* owned */
        size_t n_blocks, cap_blocks;
        size_t first; /* entries of blocks[0] already gone */
        size_t n;
} Log;

static inline Ver *log_at(const Log *l, size_t i) {
        assert(i < l->n);
        i += l->first;
        return l->blocks[i / LOG_BLOCK][i % LOG_BLOCK];
}
/* The first entry at or after a revision (maybe l->n). */
size_t log_find(const Log *l, int64_t main);

struct Lease {
        int64_t id, ttl;
        int64_t remaining; /* checkpointed seconds, 0: none; replicated */
        Key **keys;        /* owned array, weak elements */
        uint32_t n_keys, cap_keys;
        /* leader only */
        Usec expiry; /* when it is due, or due again */
        uint32_t heap_at;
        bool due; /* has been handed out */
};

typedef struct Attr {
        char *key, *value; /* owned */
        size_t n_key, n_value;
} Attr;

typedef struct Hub Hub; /* watch.c */
typedef struct V2 V2;   /* v2 tree, history and watchers */

struct Store {
        StoreOptions options;
        uint64_t applied_index, applied_term;
        uint64_t chain; /* hash of everything that ever happened, in order */

        /* v3 */
        Index keys;
        Log log;
        int64_t revision;
        int64_t compacted; /* logical: below it nothing may be read; -1: never */
        size_t compact_at; /* entries with main == compacted that were looked at, from the front of the log
                            */
        int64_t compact_at_rev; /* for which compacted revision compact_at counts */
        uint64_t live_hash;     /* sum over the live keys' newest versions */
        size_t live_keys;
        size_t bytes; /* held */

        /* leases: by id, ascending */
        Map leases;
        uint64_t lease_hash;
        bool promoted;
        Usec lease_extend;
        Lease **heap; /* owned; by expiry */
        size_t n_heap, cap_heap;
        Lease **fresh; /* owned; granted since the clock was last seen */
        size_t n_fresh, cap_fresh;

        Attr *attrs; /* owned, by key */
        size_t n_attrs, cap_attrs;
        StoreAlarm *alarms;
        size_t n_alarms, cap_alarms;

        Hub *hub;
        V2 *v2;
        StoreSnapshot *snapshot; /* the open one */
};

/* ---- hash.c ---- */
uint64_t hash_mix(uint64_t a, uint64_t b);
uint64_t hash_bytes(uint64_t seed, Bytes b);
uint64_t hash_ver(const Ver *v);
static inline void chain_add(Store *s, uint64_t h) {
        s->chain = hash_mix(s->chain ^ h, UINT64_C(0x9fb21c651e98df25));
}

/* ---- mvcc.c ---- */
/* A write transaction: everything in it happens at revision + 1. Commit gives it only if something was
 * written. */
typedef struct Tx {
        Store *s;
        int64_t main;
        uint32_t subs;
} Tx;
static inline Tx tx_begin(Store *s) {
        return (Tx){ .s = s, .main = s->revision + 1 };
}
void tx_commit(Tx *tx);           /* tells the watch hub */
Ver *key_at(Key *k, int64_t rev); /* the newest at or before, tombstones included; or NULL */
KeyVal ver_kv(const Ver *v);
Ver *ver_unref(Ver *v); /* NULL */
StoreError mvcc_put(Tx *tx, const PutReq *r, PutResult *ret);
void mvcc_delete(Tx *tx, const DeleteReq *r, Arena *arena, DeleteResult *ret);
void mvcc_delete_key(Tx *tx, Key *k);
/* `now` is the revision that counts as the current one: tx->main inside a txn that has written. */
StoreError mvcc_range(Store *s, int64_t now, const RangeReq *r, Arena *arena, RangeResult *ret);
StoreError mvcc_put_check(Store *s, const PutReq *r); /* against the state: lease, ignore_* */
StoreError mvcc_compact(Store *s, int64_t rev);
Key *mvcc_key(Store *s, Bytes b); /* live or not; NULL */
/* For restore: adds a version as it stood; the log is sorted and completed by mvcc_restore_end(). */
int mvcc_restore(Store *s, Bytes key, const Ver *head, Bytes value);
int mvcc_restore_end(Store *s);
void mvcc_done(Store *s);
/* Is the range well-formed and not empty? Gives the end (n == 0 and *ret_open: none). */
typedef struct Range {
        Bytes from, to;
        bool open; /* no end */
        bool single;
} Range;
Range range_of(Bytes key, Bytes range_end);
static inline bool range_has(const Range *r, Bytes key) {
        if (r->single)
                return bytes_eq(r->from, key);
        return bytes_cmp(r->from, key) <= 0 && (r->open || bytes_cmp(key, r->to) < 0);
}

/* ---- txn.c ---- */
StoreError txn_apply(Store *s, const TxnReq *t, Arena *arena, TxnResult *ret);
bool ops_grow(const OpReq *ops, size_t n); /* some put is in there */

/* ---- lease.c ---- */
Lease *lease_get(const Store *s, int64_t id);
void lease_attach(Store *s, Key *k, int64_t id);
void lease_detach(Store *s, Key *k, int64_t id);
StoreError lease_grant(Store *s, int64_t id, int64_t ttl);
StoreError lease_revoke(Store *s, int64_t id);
void lease_checkpoint(Store *s, int64_t id, int64_t remaining);
uint64_t lease_hash(const Lease *l);
void lease_done(Store *s);

/* ---- watch.c ---- */
Hub *hub_new(Store *s);
Hub *hub_free(Hub *h);
void hub_notify(Store *s, size_t from); /* log entries from there on are one new revision */
void hub_compacted(Store *s);           /* the compacted revision has moved */
void hub_move(Store *from, Store *to);

/* ---- attr.c ---- */
void attr_set(Store *s, Bytes key, Bytes value, bool remove);
uint64_t attr_hash(const Store *s);
void alarm_set(Store *s, uint64_t member, uint32_t alarm, bool activate);
bool alarm_active(const Store *s, uint32_t alarm);
void attr_done(Store *s);

/* ---- v2 ---- */
V2 *v2_new(const uint8_t seed[16]);
V2 *v2_free(V2 *v);
void v2_apply(Store *s, const V2Req *r, ApplyResult *ret);
size_t v2_sync(Store *s, int64_t wall_nsec);
void v2_internal(Store *s); /* takes an index for a record outside the user's tree */
uint64_t v2_hash(const Store *s);
uint64_t v2_hash_slow(const Store *s);
size_t v2_bytes(const Store *s);

/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/state.h"

/* Dispatch of commands, the hash of the whole state, and the doors to the parts. */

Store *store_new(const StoreOptions *options) {
        Store *s = xnew0(Store, 1);
        if (options)
                s->options = *options;
        if (s->options.max_txn_ops == 0)
                s->options.max_txn_ops = TXN_OPS_DEFAULT;
        s->revision = 1;
        s->compacted = -1;
        s->compact_at_rev = -1;
        index_init(&s->keys, offsetof(Key, bytes), s->options.hash_key);
        s->hub = hub_new(s);
        s->v2 = v2_new(s->options.hash_key);
        return s;
}

Store *store_free(Store *s) {
        if (!s)
                return NULL;
        assert(!s->snapshot);
        s->hub = hub_free(s->hub);
        s->v2 = v2_free(s->v2);
        mvcc_done(s);
        lease_done(s);
        attr_done(s);
        return xfree(s);
}

void apply_result_done(ApplyResult *r) {
        v2_event_unref(r->v2_event);
        arena_done(&r->arena);
        *r = (ApplyResult){};
}

/* ---- applying ---- */

static StoreError apply_put(Store *s, const PutReq *r, ApplyResult *ret) {
        StoreError e = put_check(r);
        if (e != STORE_OK)
                return e;
        if (alarm_active(s, 1))
                return STORE_NO_SPACE;
        Tx tx = tx_begin(s);
        e = mvcc_put(&tx, r, &ret->put);
        tx_commit(&tx);
        return e;
}

static StoreError apply_delete(Store *s, const DeleteReq *r, ApplyResult *ret) {
        StoreError e = delete_check(r);
        if (e != STORE_OK)
                return e;
        Tx tx = tx_begin(s);
        mvcc_delete(&tx, r, &ret->arena, &ret->del);
        tx_commit(&tx);
        return STORE_OK;
}

static StoreError apply_txn(Store *s, const TxnReq *t, ApplyResult *ret) {
        StoreError e = txn_check(t, s->options.max_txn_ops);
        if (e != STORE_OK)
                return e;
        if (alarm_active(s, 1) && (ops_grow(t->success, t->n_success) || ops_grow(t->failure, t->n_failure)))
                return STORE_NO_SPACE;
        return txn_apply(s, t, &ret->arena, &ret->txn);
}

static StoreError apply_lease(Store *s, const Command *c, ApplyResult *ret) {
        StoreError e = STORE_OK;
        switch (c->kind) {
        case CMD_LEASE_GRANT:
                if (alarm_active(s, 1))
                        return STORE_NO_SPACE;
                e = lease_grant(s, c->grant.id, c->grant.ttl);
                ret->grant.id = c->grant.id;
                ret->grant.ttl = c->grant.ttl;
                return e;
        case CMD_LEASE_REVOKE:
                return lease_revoke(s, c->revoke.ids[0]);
        case CMD_LEASE_EXPIRE:
                for (size_t i = 0; i < c->revoke.n_ids; i++)
                        (void) lease_revoke(s, c->revoke.ids[i]);
                return STORE_OK;
        default:
                assert(c->kind == CMD_LEASE_CHECKPOINT);
                for (size_t i = 0; i < c->checkpoint.n_ids; i++)
                        lease_checkpoint(s, c->checkpoint.ids[i], c->checkpoint.remaining[i]);
                return STORE_OK;
        }
}

static StoreError apply_command(Store *s, const Command *c, ApplyResult *ret) {
        switch (c->kind) {
        case CMD_PUT:
                return apply_put(s, &c->put, ret);
        case CMD_DELETE_RANGE:
                return apply_delete(s, &c->del, ret);
        case CMD_TXN:
                return apply_txn(s, &c->txn, ret);
        case CMD_COMPACT:
                return mvcc_compact(s, c->compact.revision);
        case CMD_LEASE_GRANT:
        case CMD_LEASE_REVOKE:
        case CMD_LEASE_EXPIRE:
        case CMD_LEASE_CHECKPOINT:
                return apply_lease(s, c, ret);
        case CMD_V2:
                v2_apply(s, &c->v2, ret);
                return STORE_OK;
        case CMD_V2_SYNC:
                ret->v2_sync.n_expired = v2_sync(s, c->v2_sync.wall_nsec);
                return STORE_OK;
        case CMD_ATTR:
                attr_set(s, c->attr.key, c->attr.value, c->attr.remove);
                if (c->attr.v2_event)
                        v2_internal(s);
                return STORE_OK;
        case CMD_ALARM:
                alarm_set(s, c->alarm.member, c->alarm.alarm, c->alarm.activate);
                return STORE_OK;
        default:
                return STORE_OK;
        }
}

void store_applied(Store *s, uint64_t index, uint64_t term) {
        assert(index > s->applied_index && term >= s->applied_term);
        s->applied_index = index;
        s->applied_term = term;
}

void store_apply(Store *s, uint64_t index, uint64_t term, const void *cmd, size_t n, ApplyResult *ret) {
        store_applied(s, index, term);
        _cleanup_(apply_result_done) ApplyResult mine = {};
        if (!ret)
                ret = &mine;
        apply_result_done(ret);
        if (n > 0) {
                _cleanup_(arena_done) Arena arena = {};
                Command c = {};
                if (cmd_decode(cmd, n, &arena, &c) < 0)
                        ret->error = STORE_BAD_COMMAND;
                else {
                        ret->kind = c.kind;
                        ret->proposer = c.proposer;
                        ret->seq = c.seq;
                        ret->error = apply_command(s, &c, ret);
                }
        }
        ret->revision = s->revision;
        ret->v2_index = v2_index(s);
}

uint64_t store_applied_index(const Store *s) {
        return s->applied_index;
}

uint64_t store_applied_term(const Store *s) {
        return s->applied_term;
}

/* ---- hash ---- */

static uint64_t combine(const Store *s, uint64_t live, uint64_t leases, uint64_t v2) {
        uint64_t h = hash_mix(s->chain, live);
        h = hash_mix(h ^ leases, v2);
        h = hash_mix(h ^ (uint64_t) s->revision, (uint64_t) s->compacted);
        h = hash_mix(h ^ s->applied_index, s->applied_term);
        return hash_mix(h, attr_hash(s));
}

uint64_t store_hash(const Store *s) {
        return combine(s, s->live_hash, s->lease_hash, v2_hash(s));
}

uint64_t store_hash_slow(const Store *s) {
        uint64_t live = 0, leases = 0;
        IndexCursor c;
        index_seek(&s->keys, 0, (Bytes){ "", 0 }, &c);
        for (Key *k; (k = (Key *) index_next(&c));)
                if (!key_newest(k)->tombstone)
                        live += hash_ver(key_newest(k));
        for (MapIter i = {}; map_next(&s->leases, &i);)
                leases += lease_hash(i.value);
        return combine(s, live, leases, v2_hash_slow(s));
}

/* ---- reading ---- */

int64_t store_revision(const Store *s) {
        return s->revision;
}

int64_t store_compact_revision(const Store *s) {
        return MAX(s->compacted, INT64_C(0));
}

StoreError store_range(Store *s, const RangeReq *r, Arena *arena, RangeResult *ret) {
        StoreError e = range_check(r);
        return e != STORE_OK ? e : mvcc_range(s, s->revision, r, arena, ret);
}

/* Versions that logically exist at `rev`: per key, what compaction would keep. Independent of its progress.
 */
StoreError store_hash_kv(Store *s, int64_t revision, uint32_t *ret_hash, int64_t *ret_revision,
                         int64_t *ret_compact_revision) {
        int64_t rev = revision > 0 ? revision : s->revision;
        if (rev > s->revision)
                return STORE_FUTURE_REV;
        if (rev < s->compacted)
                return STORE_COMPACTED;
        uint64_t h = 0;
        IndexCursor c;
        index_seek(&s->keys, 0, (Bytes){ "", 0 }, &c);
        for (Key *k; (k = (Key *) index_next(&c));) {
                Ver **v = key_vers(k);
                for (uint32_t i = 0; i < k->n && v[i]->main <= rev; i++) {
                        bool newer_kept = i + 1 < k->n && v[i + 1]->main <= s->compacted;
                        bool gone = v[i]->main < s->compacted && (newer_kept || v[i]->tombstone);
                        if (!gone && !(v[i]->main == s->compacted && newer_kept))
                                h += hash_ver(v[i]);
                }
        }
        *ret_hash = (uint32_t) (h ^ (h >> 32));
        *ret_revision = rev;
        *ret_compact_revision = store_compact_revision(s);
        return STORE_OK;
}

size_t store_bytes(const Store *s) {
        return s->bytes + index_memory(&s->keys) + v2_bytes(s);
}

size_t store_bytes_in_use(const Store *s) {
        return s->bytes + v2_bytes(s);
}

size_t store_keys(const Store *s) {
        return s->live_keys;
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Short words for store tests: apply one command, read one key, show things as text. */

#include "test.h"

#include "base/alloc.h"
#include "etcd/store/store.h"

#define B(s) bytes_of(s)

static inline void t_apply(Store *s, const Command *c, ApplyResult *ret) {
        _cleanup_(buf_done) Buf b = {};
        cmd_encode(c, &b);
        store_apply(s, store_applied_index(s) + 1, 1, b.data, b.len, ret);
}

static inline _unused_ StoreError t_run(Store *s, const Command *c) {
        _cleanup_(apply_result_done) ApplyResult r = {};
        t_apply(s, c, &r);
        return r.error;
}

static inline _unused_ StoreError t_put(Store *s, const char *key, const char *value) {
        return t_run(s, &(Command){ .kind = CMD_PUT, .put = { .key = B(key), .value = B(value) } });
}

static inline _unused_ StoreError t_put_lease(Store *s, const char *key, const char *value, int64_t lease) {
        return t_run(s, &(Command){ .kind = CMD_PUT,
                                    .put = { .key = B(key), .value = B(value), .lease = lease } });
}

static inline _unused_ int64_t t_delete(Store *s, const char *key, const char *end) {
        _cleanup_(apply_result_done) ApplyResult r = {};
        t_apply(s, &(Command){ .kind = CMD_DELETE_RANGE, .del = { .key = B(key), .range_end = B(end) } },
                &r);
        return r.error == STORE_OK ? r.del.deleted : -(int64_t) r.error;
}

static inline _unused_ StoreError t_compact(Store *s, int64_t rev) {
        return t_run(s, &(Command){ .kind = CMD_COMPACT, .compact.revision = rev });
}

static inline _unused_ StoreError t_grant(Store *s, int64_t id, int64_t ttl) {
        return t_run(s, &(Command){ .kind = CMD_LEASE_GRANT, .grant = { .id = id, .ttl = ttl } });
}

static inline _unused_ StoreError t_revoke(Store *s, int64_t id) {
        return t_run(s, &(Command){ .kind = CMD_LEASE_REVOKE, .revoke = { .ids = &id, .n_ids = 1 } });
}

static inline void t_kv(const KeyVal *kv, Buf *out) {
        buf_add(out, kv->key.p, kv->key.n);
        buf_addc(out, '=');
        buf_add(out, kv->value.p, kv->value.n);
        buf_addf(out, "@%" PRId64 "/%" PRId64 "/%" PRId64, kv->create_revision, kv->mod_revision,
                 kv->version);
        if (kv->lease != 0)
                buf_addf(out, "L%" PRId64, kv->lease);
}

/* "a=1@2/3/2 b=...; 5+": key-values, then the count, and + for more. Errors as "!N". Valid until the next
 * call. */
static inline _unused_ const char *t_range(Store *s, RangeReq r) {
        static Buf out;
        _cleanup_(arena_done) Arena a = {};
        RangeResult res;
        buf_done(&out);
        StoreError e = store_range(s, &r, &a, &res);
        if (e != STORE_OK) {
                buf_addf(&out, "!%d", e);
                return buf_str(&out);
        }
        for (size_t i = 0; i < res.n_kvs; i++) {
                t_kv(res.kvs + i, &out);
                buf_addc(&out, ' ');
        }
        buf_addf(&out, "%" PRId64 "%s", res.count, res.more ? "+" : "");
        char *text = buf_take(&out);
        buf_adds(&out, text);
        free(text);
        return buf_str(&out);
}

static inline _unused_ const char *t_get(Store *s, const char *key) {
        return t_range(s, (RangeReq){ .key = B(key) });
}

static inline _unused_ Store *t_copy(Store *s) {
        StoreSnapshot *snap = NULL;
        ASSERT_OK(store_snapshot_begin(s, "x", 1, &snap));
        StoreRestore *r = store_restore_new(NULL);
        _cleanup_(buf_done) Buf b = {}, extra = {};
        int more;
        do {
                more = store_snapshot_next(snap, &b);
                ASSERT_OK(store_restore_add(r, b.data, b.len, NULL));
                buf_clear(&b);
        } while (more > 0);
        store_snapshot_end(snap);
        Store *copy = NULL;
        Err err = {};
        if (store_restore_finish(r, &copy, &extra, &err) < 0)
                test_fail(__FILE__, __LINE__, "restore: %s", err_msg(&err));
        ASSERT_STREQ(buf_str(&extra), "x");
        store_restore_free(r);
        return copy;
}

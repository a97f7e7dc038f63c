/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/index.h"
#include "unit/etcd/store-help.h"

#include <stdio.h>

/* Random commands against a model that keeps every version in one plain list, with compaction slices,
 * snapshots taken while writes go on, and a second store that is driven differently but must come to the
 * same hash. */

#define KEYS 40
#define OPS 1500
#define LEASES 6

typedef struct Old {
        int64_t rev, create, version, lease;
        int key, value;
        bool dead;
} Old;

typedef struct Model {
        Old *all;
        size_t n, cap;
        int64_t rev, compacted;
        bool lease[LEASES + 1];
} Model;

static uint64_t rng_state;
static unsigned rng(unsigned below) {
        rng_state = rng_state * UINT64_C(6364136223846793005) + 1442695040888963407;
        return (unsigned) ((rng_state >> 33) % below);
}

static const char *name(int key) {
        static char names[KEYS + 1][16];
        snprintf(names[key], sizeof(names[key]), "k%02d", key);
        return names[key];
}

static const char *text(int value) {
        static char out[16];
        snprintf(out, sizeof(out), "v%d", value);
        return out;
}

static const Old *model_at(const Model *m, int key, int64_t rev) {
        const Old *found = NULL;
        for (size_t i = 0; i < m->n; i++)
                if (m->all[i].key == key && m->all[i].rev <= rev)
                        found = m->all + i;
        return found && !found->dead ? found : NULL;
}

static void model_add(Model *m, Old o) {
        GROW(m->all, m->cap, m->n + 1);
        m->all[m->n++] = o;
}

static void model_put(Model *m, int key, int value, int64_t lease, int64_t rev) {
        const Old *old = model_at(m, key, INT64_MAX);
        model_add(m, (Old){ .rev = rev,
                            .key = key,
                            .value = value,
                            .lease = lease,
                            .create = old ? old->create : rev,
                            .version = old ? old->version + 1 : 1 });
}

/* Keys [from, to); returns how many died. */
static int64_t model_delete(Model *m, int from, int to, int64_t lease, int64_t rev) {
        int64_t n = 0;
        for (int k = from; k < to; k++) {
                const Old *old = model_at(m, k, INT64_MAX);
                if (!old || (lease != 0 && old->lease != lease))
                        continue;
                model_add(m, (Old){ .rev = rev, .key = k, .dead = true });
                n++;
        }
        return n;
}

static void model_show(const Model *m, int from, int to, int64_t rev, size_t limit, Buf *out) {
        size_t n = 0;
        for (int k = from; k < to; k++) {
                const Old *o = model_at(m, k, rev);
                if (!o)
                        continue;
                if (n++ >= limit)
                        continue;
                KeyVal kv = { .key = B(name(k)),
                              .value = B(text(o->value)),
                              .create_revision = o->create,
                              .mod_revision = o->rev,
                              .version = o->version,
                              .lease = o->lease };
                t_kv(&kv, out);
                buf_addc(out, ' ');
        }
        buf_addf(out, "%zu%s", n, n > limit ? "+" : "");
}

static void check_range(Store *s, const Model *m, int64_t rev) {
        int from = (int) rng(KEYS), to = from + 1 + (int) rng((unsigned) (KEYS - from));
        size_t limit = rng(2) ? 1 + rng(10) : 0;
        _cleanup_(buf_done) Buf want = {};
        model_show(m, from, to, rev > 0 ? rev : m->rev, limit ? limit : SIZE_MAX, &want);
        _cleanup_free_ char *end = xstrdup(name(to));
        ASSERT_STREQ(t_range(s, (RangeReq){ .key = B(name(from)),
                                            .range_end = B(end),
                                            .revision = rev,
                                            .limit = (int64_t) limit }),
                     buf_str(&want));
}

/* One random command to both; keys of a txn are taken from disjoint parts so that it is never refused. */
static void step_txn(Store *s, Model *m) {
        OpReq ops[6] = {};
        char keys[6][16], ends[6][16], values[6][16];
        size_t n = 1 + rng(6);
        bool wrote = false;
        CompareReq cmp = { .key = B(name((int) rng(KEYS))),
                           .target = CMP_VERSION,
                           .result = CMP_GREATER,
                           .number = rng(3) };
        int cmp_key = strtoll(cmp.key.p + 1, NULL, 10);
        const Old *o = model_at(m, cmp_key, INT64_MAX);
        bool ok = (o ? o->version : 0) > cmp.number;
        for (size_t i = 0; i < n; i++) {
                int part = (int) i * 6, k = part + (int) rng(3);
                snprintf(keys[i], sizeof(keys[i]), "%s", name(k));
                snprintf(ends[i], sizeof(ends[i]), "%s", name(part + 6));
                int value = (int) rng(100);
                snprintf(values[i], sizeof(values[i]), "%s", text(value));
                switch (rng(3)) {
                case 0:
                        ops[i] = (OpReq){ .kind = OP_PUT,
                                          .put = { .key = B(keys[i]), .value = B(values[i]) } };
                        if (ok) {
                                model_put(m, k, value, 0, m->rev + 1);
                                wrote = true;
                        }
                        break;
                case 1:
                        ops[i] = (OpReq){ .kind = OP_DELETE_RANGE,
                                          .del = { .key = B(keys[i]), .range_end = B(ends[i]) } };
                        if (ok && model_delete(m, k, part + 6, 0, m->rev + 1) > 0)
                                wrote = true;
                        break;
                default:
                        ops[i] = (OpReq){ .kind = OP_RANGE,
                                          .range = { .key = B(keys[i]), .range_end = B(ends[i]) } };
                }
        }
        _cleanup_(apply_result_done) ApplyResult r = {};
        t_apply(s,
                &(Command){ .kind = CMD_TXN,
                            .txn = { .compares = &cmp, .n_compares = 1, .success = ops, .n_success = n } },
                &r);
        ASSERT_EQ(r.error, STORE_OK);
        ASSERT_EQ(r.txn.succeeded, ok);
        m->rev += wrote;
        ASSERT_EQ(r.revision, m->rev);
}

static void step(Store *s, Model *m) {
        int key = (int) rng(KEYS);
        int64_t lease = 1 + rng(LEASES);
        switch (rng(10)) {
        case 0:
        case 1:
        case 2:
        case 3: {
                int value = (int) rng(100);
                bool leased = rng(3) == 0;
                StoreError e = t_put_lease(s, name(key), text(value), leased ? lease : 0);
                if (leased && !m->lease[lease])
                        ASSERT_EQ(e, STORE_LEASE_NOT_FOUND);
                else {
                        ASSERT_EQ(e, STORE_OK);
                        model_put(m, key, value, leased ? lease : 0, ++m->rev);
                }
                break;
        }
        case 4:
        case 5: {
                int to = key + 1 + (int) rng(4);
                to = MIN(to, KEYS);
                char end[16];
                snprintf(end, sizeof(end), "%s", name(to));
                int64_t n = model_delete(m, key, to, 0, m->rev + 1);
                ASSERT_EQ(t_delete(s, name(key), end), n);
                m->rev += n > 0;
                break;
        }
        case 6:
                ASSERT_EQ(t_grant(s, lease, 10), m->lease[lease] ? STORE_LEASE_EXISTS : STORE_OK);
                m->lease[lease] = true;
                break;
        case 7:
                if (rng(3) == 0) {
                        ASSERT_EQ(t_revoke(s, lease), m->lease[lease] ? STORE_OK : STORE_LEASE_NOT_FOUND);
                        if (m->lease[lease] && model_delete(m, 0, KEYS, lease, m->rev + 1) > 0)
                                m->rev++;
                        m->lease[lease] = false;
                } else if (rng(6) == 0) {
                        int64_t rev = m->compacted + 1 +
                                      (int64_t) rng((unsigned) (m->rev - m->compacted) + 2);
                        StoreError e = t_compact(s, rev);
                        ASSERT_EQ(e, rev > m->rev ? STORE_FUTURE_REV : STORE_OK);
                        if (e == STORE_OK)
                                m->compacted = rev;
                }
                break;
        default:
                step_txn(s, m);
        }
        ASSERT_EQ(store_revision(s), m->rev);
}

static void check_all(Store *s, const Model *m) {
        for (int i = 0; i < 4; i++) {
                check_range(s, m, 0);
                int64_t low = MAX(m->compacted, INT64_C(1));
                check_range(s, m, low + (int64_t) rng((unsigned) (m->rev - low) + 1));
        }
        if (m->compacted > 1)
                ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("k"), .revision = m->compacted - 1 }), "!9");
        ASSERT_EQ(store_hash(s), store_hash_slow(s));
}

static void step_snapshot(Store *s, StoreSnapshot **snap, Buf *file, uint64_t *hash) {
        if (!*snap) {
                buf_clear(file);
                ASSERT_OK(store_snapshot_begin(s, NULL, 0, snap));
                *hash = store_hash(s);
                return;
        }
        if (store_snapshot_next(*snap, file) > 0)
                return;
        StoreRestore *r = store_restore_new(NULL);
        for (size_t at = 0, n; at < file->len; at += n) { /* in pieces of odd sizes */
                n = MIN((size_t) 1 + rng(3000), file->len - at);
                ASSERT_OK(store_restore_add(r, file->data + at, n, NULL));
        }
        _cleanup_(store_freep) Store *copy = NULL;
        ASSERT_OK(store_restore_finish(r, &copy, NULL, NULL));
        store_restore_free(r);
        ASSERT_EQ(store_hash(copy), *hash);
        *snap = store_snapshot_end(*snap);
}

TEST(random_commands) {
        for (unsigned seed = 1; seed <= 8; seed++) {
                rng_state = seed * 7919;
                _cleanup_(store_freep) Store *s = store_new(NULL);
                Model m = { .rev = 1 };
                StoreSnapshot *snap = NULL;
                _cleanup_(buf_done) Buf file = {};
                uint64_t hash = 0;
                for (int i = 0; i < OPS; i++) {
                        step(s, &m);
                        if (rng(20) == 0)
                                step_snapshot(s, &snap, &file, &hash);
                        if (rng(5) == 0)
                                (void) store_compact_step(s);
                        if (rng(10) == 0)
                                check_all(s, &m);
                }
                snap = store_snapshot_end(snap);
                while (store_compact_step(s))
                        ;
                check_all(s, &m);
                _cleanup_(store_freep) Store *copy = t_copy(s);
                ASSERT_EQ(store_hash(copy), store_hash(s));
                check_all(copy, &m);
                uint32_t kv[2];
                int64_t rev, compacted;
                ASSERT_EQ(store_hash_kv(s, 0, kv, &rev, &compacted), STORE_OK);
                ASSERT_EQ(store_hash_kv(copy, 0, kv + 1, &rev, &compacted), STORE_OK);
                ASSERT_EQ(kv[0], kv[1]);
                for (int i = 0; i < 200; i++) /* both go on alike */
                        step(copy, &m);
                check_all(copy, &m);
                free(m.all);
        }
}

/* The same log applied by three nodes that do everything else differently. */
TEST(nodes_agree) {
        rng_state = 99;
        Store *s[3];
        for (size_t i = 0; i < 3; i++)
                s[i] = store_new(&(StoreOptions){ .hash_key = { (uint8_t) i } });
        StoreSnapshot *snap = NULL;
        _cleanup_(buf_done) Buf file = {};
        for (uint64_t index = 1; index <= 4000; index++) {
                Command c = { .kind = CMD_PUT };
                char key[16], path[32];
                snprintf(key, sizeof(key), "k%u", rng(300));
                snprintf(path, sizeof(path), "/d%u/k%u", rng(5), rng(50));
                int64_t id = 1 + rng(20);
                unsigned what = rng(12);
                if (what < 4)
                        c.put = (PutReq){ .key = B(key), .value = B(path), .lease = what == 0 ? id : 0 };
                else if (what == 4)
                        c = (Command){ .kind = CMD_DELETE_RANGE,
                                       .del = { .key = B(key), .range_end = B("k2") } };
                else if (what == 5)
                        c = (Command){ .kind = CMD_LEASE_GRANT, .grant = { .id = id, .ttl = 5 } };
                else if (what == 6)
                        c = (Command){ .kind = CMD_LEASE_EXPIRE, .revoke = { .ids = &id, .n_ids = 1 } };
                else if (what == 7 && rng(10) == 0)
                        c = (Command){ .kind = CMD_COMPACT,
                                       .compact.revision = store_revision(s[0]) - rng(20) };
                else if (what < 10)
                        c = (Command){ .kind = CMD_V2,
                                       .v2 = { .method = V2_PUT,
                                               .path = B(path),
                                               .value = B(key),
                                               .wall_nsec = (int64_t) index,
                                               .expire_nsec = rng(3) ? 0 : (int64_t) index + rng(100) } };
                else if (what == 10)
                        c = (Command){ .kind = CMD_V2,
                                       .v2 = { .method = V2_DELETE, .path = B("/d1"), .recursive = true } };
                else
                        c = (Command){ .kind = CMD_V2_SYNC, .v2_sync.wall_nsec = (int64_t) index };
                _cleanup_(buf_done) Buf b = {};
                cmd_encode(&c, &b);
                for (size_t i = 0; i < 3; i++)
                        store_apply(s[i], index, 1, b.data, b.len, NULL);
                if (index % 7 == 0)
                        (void) store_compact_step(s[0]);
                if (index % 900 == 0) { /* node 1 restarts from its snapshot */
                        Store *copy = t_copy(s[1]);
                        store_free(s[1]);
                        s[1] = copy;
                }
                if (!snap)
                        ASSERT_OK(store_snapshot_begin(s[2], NULL, 0, &snap));
                else if (index % 3 == 0 && store_snapshot_next(snap, &file) == 0) {
                        snap = store_snapshot_end(snap);
                        StoreRestore *r = store_restore_new(NULL);
                        ASSERT_OK(store_restore_add(r, file.data, file.len, NULL));
                        Store *copy = NULL;
                        ASSERT_OK(store_restore_finish(r, &copy, NULL, NULL));
                        store_free(copy);
                        store_restore_free(r);
                        buf_clear(&file);
                }
                ASSERT_EQ(store_hash(s[0]), store_hash(s[1]));
                ASSERT_EQ(store_hash(s[0]), store_hash(s[2]));
        }
        snap = store_snapshot_end(snap);
        for (size_t i = 0; i < 3; i++) {
                ASSERT_EQ(store_hash(s[i]), store_hash_slow(s[i]));
                store_free(s[i]);
        }
}

TEST(damaged_snapshots_are_refused) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        for (int i = 0; i < 50; i++)
                ASSERT_EQ(t_put(s, name(i % KEYS), text(i)), 0);
        StoreSnapshot *snap = NULL;
        _cleanup_(buf_done) Buf file = {};
        ASSERT_OK(store_snapshot_begin(s, NULL, 0, &snap));
        StoreSnapshot *second = NULL;
        ASSERT_EQ(store_snapshot_begin(s, NULL, 0, &second), -EBUSY);
        while (store_snapshot_next(snap, &file) > 0)
                ;
        store_snapshot_end(snap);
        for (size_t i = 0; i <= file.len; i++) { /* every byte changed, and cut at every length */
                for (int cut = 0; cut < 2; cut++) {
                        _cleanup_(store_restore_freep) StoreRestore *r = store_restore_new(NULL);
                        _cleanup_(err_done) Err err = {};
                        Store *copy = NULL;
                        size_t n = cut ? i : file.len;
                        if (!cut && i < file.len)
                                file.data[i] ^= 1;
                        int e = store_restore_add(r, file.data, n, NULL);
                        if (e >= 0)
                                e = store_restore_finish(r, &copy, NULL, &err);
                        ASSERT_EQ(e < 0, i < file.len);
                        if (!cut && i < file.len)
                                file.data[i] ^= 1;
                        store_free(copy);
                }
        }
}

/* ---- the index by itself, against a plain array ---- */

typedef struct Thing {
        IndexItem it;
        char bytes[8];
} Thing;

TEST(index_random) {
        rng_state = 5;
        const uint8_t seed[16] = { 1 };
        Index ix;
        index_init(&ix, offsetof(Thing, bytes), seed);
        Thing *all = xnew0(Thing, 5000);
        bool *in = xnew0(bool, 5000);
        for (size_t i = 0; i < 5000; i++) {
                all[i].it = (IndexItem){ .space = i / 2500, .n = 4 };
                snprintf(all[i].bytes, sizeof(all[i].bytes), "%04zu", i % 2500);
        }
        for (int round = 0; round < 60000; round++) {
                unsigned phase = (unsigned) round / 10000; /* grow, shrink, ascending, descending ... */
                size_t i = phase == 2   ? (size_t) round % 5000
                           : phase == 3 ? 4999 - (size_t) round % 5000
                                        : rng(5000);
                bool add = phase % 2 == 0 ? rng(8) > 0 : rng(8) == 0;
                if (add && !in[i])
                        index_add(&ix, &all[i].it);
                else if (!add && in[i])
                        index_del(&ix, &all[i].it);
                in[i] = add;
                if (round % 1000 == 0)
                        index_check(&ix);
                IndexCursor c;
                size_t from = rng(2500), space = rng(2), want = space * 2500 + from;
                index_seek(&ix, space, B(all[from].bytes), &c);
                Thing *got = (Thing *) index_next(&c);
                while (want < 5000 && !in[want])
                        want++;
                ASSERT_TRUE(got == (want < 5000 ? all + want : NULL));
        }
        for (size_t i = 0; i < 5000; i++)
                if (in[i])
                        index_del(&ix, &all[i].it);
        ASSERT_EQ(ix.used, 0);
        ASSERT_EQ(ix.n_nodes, 0);
        index_done(&ix);
        free(all);
        free(in);
}

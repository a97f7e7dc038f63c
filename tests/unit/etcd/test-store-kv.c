/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/etcd/store-help.h"

/* v3 keys: what spec/golden/etcd-3.4.23-v3-gateway.txt shows, request by request. */

TEST(put_and_get) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        ASSERT_EQ(store_revision(s), 1);
        ASSERT_STREQ(t_get(s, "a"), "0");
        ASSERT_EQ(t_put(s, "a", "1"), STORE_OK);
        ASSERT_EQ(store_revision(s), 2);
        ASSERT_EQ(t_put(s, "a", "2"), STORE_OK);
        ASSERT_STREQ(t_get(s, "a"), "a=2@2/3/2 1");
        ASSERT_EQ(t_put(s, "e", ""), STORE_OK);
        ASSERT_STREQ(t_get(s, "e"), "e=@4/4/1 1");
        ASSERT_EQ(t_put(s, "", ""), STORE_EMPTY_KEY);
        ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("a"), .revision = 2 }), "a=1@2/2/1 1");
        ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("a"), .revision = 99 }), "!10");
        ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("a"), .revision = -1 }), "a=2@2/3/2 1");
        ASSERT_STREQ(store_error_message(STORE_FUTURE_REV),
                     "etcdserver: mvcc: required revision is a future revision");
        ASSERT_EQ(store_error_grpc_code(STORE_FUTURE_REV), 11);
}

TEST(previous_and_ignored) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        _cleanup_(apply_result_done) ApplyResult r = {};
        Command c = { .kind = CMD_PUT,
                      .proposer = 7,
                      .seq = 9,
                      .put = { .key = B("a"), .value = B("1"), .prev_kv = true } };
        t_apply(s, &c, &r);
        ASSERT_FALSE(r.put.has_prev);
        c.put.value = B("2");
        t_apply(s, &c, &r);
        ASSERT_TRUE(r.put.has_prev && r.proposer == 7 && r.seq == 9 && r.revision == 3);
        ASSERT_TRUE(bytes_eq(r.put.prev.value, B("1")));
        c.put.ignore_value = true;
        ASSERT_EQ(t_run(s, &c), STORE_VALUE_PROVIDED);
        c.put.value = B("");
        ASSERT_EQ(t_run(s, &c), STORE_OK);
        ASSERT_STREQ(t_get(s, "a"), "a=2@2/4/3 1");
        c.put.key = B("nokey");
        ASSERT_EQ(t_run(s, &c), STORE_KEY_NOT_FOUND);
        ASSERT_EQ(t_run(s, &(Command){ .kind = CMD_PUT,
                                       .put = { .key = B("a"), .lease = 1, .ignore_lease = true } }),
                  STORE_LEASE_PROVIDED);
        ASSERT_EQ(t_put_lease(s, "a", "x", 12345), STORE_LEASE_NOT_FOUND);
        ASSERT_EQ(store_revision(s), 4);
}

static Store *five(void) {
        Store *s = store_new(NULL);
        ASSERT_EQ(t_put(s, "a", "1"), STORE_OK);
        ASSERT_EQ(t_put(s, "a", "2"), STORE_OK);
        ASSERT_EQ(t_put(s, "e", ""), STORE_OK);
        const char *const keys[] = { "k0", "k1", "k2", "k3", "k4" }, *const values[] = { "9", "8", "7", "6",
                                                                                         "5" };
        for (size_t i = 0; i < 5; i++)
                ASSERT_EQ(t_put(s, keys[i], values[i]), STORE_OK);
        return s;
}

TEST(ranges) {
        _cleanup_(store_freep) Store *s = five();
        const Bytes all = { "\0", 1 };
        const struct {
                RangeReq r;
                const char *want;
        } cases[] = {
                { { .key = B("k"), .range_end = B("l"), .keys_only = true },
                  "k0=@5/5/1 k1=@6/6/1 k2=@7/7/1 k3=@8/8/1 k4=@9/9/1 5" },
                { { .key = B("k"), .range_end = B("l"), .limit = 2 }, "k0=9@5/5/1 k1=8@6/6/1 5+" },
                { { .key = B("k"), .range_end = B("l"), .limit = 5, .keys_only = true, .count_only = true },
                  "5" },
                { { .key = B("k"),
                    .range_end = B("l"),
                    .limit = 2,
                    .order = SORT_DESCEND,
                    .keys_only = true },
                  "k4=@9/9/1 k3=@8/8/1 5+" },
                { { .key = B("k"), .range_end = B("l"), .limit = 2, .target = SORT_VALUE },
                  "k2=7@7/7/1 k1=8@6/6/1 5+" },
                { { .key = B("k"),
                    .range_end = B("l"),
                    .limit = 2,
                    .target = SORT_VALUE,
                    .order = SORT_ASCEND },
                  "k4=5@9/9/1 k3=6@8/8/1 5+" },
                { { .key = B("k"), .range_end = B("l"), .min_mod = 6 },
                  "k1=8@6/6/1 k2=7@7/7/1 k3=6@8/8/1 k4=5@9/9/1 5" },
                { { .key = B("k"), .range_end = B("l"), .max_create = 6, .limit = 1 }, "k0=9@5/5/1 5+" },
                { { .key = B("k"), .range_end = B("a") }, "0" },
                { { .key = all, .range_end = all, .count_only = true }, "7" },
                { { .key = B("k3"), .range_end = all, .keys_only = true }, "k3=@8/8/1 k4=@9/9/1 2" },
                { { .key = B("a"), .range_end = B("f"), .target = SORT_VERSION, .order = SORT_DESCEND },
                  "a=2@2/3/2 e=@4/4/1 2" },
                { { .key = B("a"), .range_end = B("f"), .target = SORT_CREATE, .order = SORT_DESCEND },
                  "e=@4/4/1 a=2@2/3/2 2" },
                { { .key = B("k"), .range_end = B("l"), .revision = 6 }, "k0=9@5/5/1 k1=8@6/6/1 2" },
                { { .key = B("k"), .range_end = B("l"), .target = 77 }, "!7" },
                { { .range_end = B("l") }, "!1" },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(t_range(s, cases[i].r), cases[i].want);
}

TEST(deletes) {
        _cleanup_(store_freep) Store *s = five();
        ASSERT_EQ(t_delete(s, "k1", "k3"), 2);
        ASSERT_EQ(store_revision(s), 10);
        ASSERT_EQ(t_delete(s, "zz", ""), 0);
        ASSERT_EQ(store_revision(s), 10);
        ASSERT_EQ(t_delete(s, "k0", ""), 1);
        ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("k"), .range_end = B("l") }),
                     "k3=6@8/8/1 k4=5@9/9/1 2");
        ASSERT_EQ(t_put(s, "k1", "x"), STORE_OK);
        ASSERT_STREQ(t_get(s, "k1"), "k1=x@12/12/1 1");
        ASSERT_EQ(store_keys(s), 5);
        ASSERT_EQ(store_hash(s), store_hash_slow(s));
}

static OpReq op_put(const char *k, const char *v) {
        return (OpReq){ .kind = OP_PUT, .put = { .key = B(k), .value = B(v) } };
}
static OpReq op_del(const char *k, const char *end) {
        return (OpReq){ .kind = OP_DELETE_RANGE, .del = { .key = B(k), .range_end = B(end) } };
}
static OpReq op_get(const char *k) {
        return (OpReq){ .kind = OP_RANGE, .range = { .key = B(k) } };
}
static OpReq op_txn(OpReq *ok, size_t n, OpReq *no, size_t m) {
        return (OpReq){ .kind = OP_TXN,
                        .txn = { .success = ok, .n_success = n, .failure = no, .n_failure = m } };
}

#define TXN(...)                                                                                            \
        &(Command) {                                                                                        \
                .kind = CMD_TXN, .txn = { __VA_ARGS__ }                                                     \
        }
#define OPS(n, ...)                                                                                         \
        .n_success = n, .success = (OpReq[]) {                                                              \
                __VA_ARGS__                                                                                 \
        }

TEST(txn_reads_its_writes) {
        _cleanup_(store_freep) Store *s = five();
        _cleanup_(apply_result_done) ApplyResult r = {};
        t_apply(s,
                TXN(.n_compares = 1,
                    .compares = (CompareReq[]){ { .target = CMP_VALUE,
                                                  .result = CMP_NOT_EQUAL,
                                                  .key = B("a"),
                                                  .value = B("") } },
                    OPS(2, op_put("t", "1"), op_get("t"))),
                &r);
        ASSERT_EQ(r.error, STORE_OK);
        ASSERT_TRUE(r.txn.succeeded && r.txn.n_responses == 2 && r.revision == 10);
        ASSERT_EQ(r.txn.responses[0].revision, 10);
        ASSERT_EQ(r.txn.responses[1].range.count, 1);
        ASSERT_EQ(r.txn.responses[1].range.kvs[0].mod_revision, 10);
        /* nothing written: no new revision */
        t_apply(s, TXN(OPS(1, op_get("t"))), &r);
        ASSERT_EQ(r.revision, 10);
        t_apply(s, TXN(OPS(2, op_del("a", "z"), op_del("a", ""))), &r);
        ASSERT_TRUE(r.revision == 11 && r.txn.responses[0].del.deleted == 8 &&
                    r.txn.responses[1].del.deleted == 0);
}

TEST(txn_duplicates) {
        _cleanup_(store_freep) Store *s = five();
        OpReq put_d = op_put("d", "1"), put_e = op_put("e", "1"), both[] = { put_d, put_e };
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_put("d", "1"), op_put("d", "2")))), STORE_DUPLICATE_KEY);
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_put("d", "1"), op_del("d", "")))), STORE_DUPLICATE_KEY);
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_del("c", "e"), op_put("d", "1")))), STORE_DUPLICATE_KEY);
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_del("d", "z"), op_txn(&put_e, 1, NULL, 0)))), STORE_DUPLICATE_KEY);
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_txn(NULL, 0, &put_d, 1), op_txn(&put_d, 1, NULL, 0)))),
                  STORE_DUPLICATE_KEY);
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_put("z", ""), op_txn(both, 2, NULL, 0)))), STORE_OK);
        /* branches exclude each other */
        ASSERT_EQ(t_run(s, TXN(OPS(1, op_put("d", "1")), .n_failure = 1, .failure = &put_d)), STORE_OK);
        ASSERT_EQ(t_run(s, TXN(OPS(1, op_txn(&put_d, 1, &put_d, 1)))), STORE_OK);
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_del("d", "z"), op_del("d", "")))), STORE_OK);
        _cleanup_free_ OpReq *many = xnew0(OpReq, 129);
        for (size_t i = 0; i < 129; i++)
                many[i] = op_get("a");
        ASSERT_EQ(t_run(s, TXN(.success = many, .n_success = 128)), STORE_OK);
        ASSERT_EQ(t_run(s, TXN(.success = many, .n_success = 129)), STORE_TOO_MANY_OPS);
        ASSERT_EQ(t_run(s, TXN(OPS(1, op_put("", "1")))), STORE_EMPTY_KEY);
}

TEST(txn_is_all_or_nothing) {
        _cleanup_(store_freep) Store *s = five();
        OpReq bad = { .kind = OP_PUT, .put = { .key = B("y"), .lease = 5 } };
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_put("x", "1"), op_txn(&bad, 1, NULL, 0)))), STORE_LEASE_NOT_FOUND);
        OpReq future = { .kind = OP_RANGE, .range = { .key = B("y"), .revision = 10 } };
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_put("x", "1"), future))), STORE_FUTURE_REV);
        ASSERT_STREQ(t_get(s, "x"), "0");
        ASSERT_EQ(store_revision(s), 9);
}

TEST(compares) {
        _cleanup_(store_freep) Store *s = five();
        const struct {
                CompareReq c;
                bool want;
        } cases[] = {
                { { .key = B("nope"), .target = CMP_CREATE, .number = 0 }, true },
                { { .key = B("nope"), .target = CMP_VALUE, .result = CMP_NOT_EQUAL, .value = B("x") },
                  false },
                { { .key = B("nope"), .target = CMP_LEASE, .number = 0 }, true },
                { { .key = B("a"), .target = CMP_VERSION, .result = CMP_GREATER, .number = 1 }, true },
                { { .key = B("a"), .target = CMP_MOD, .result = CMP_LESS, .number = 3 }, false },
                { { .key = B("a"), .target = CMP_VALUE, .result = CMP_LESS, .value = B("3") }, true },
                { { .key = B("k"), .range_end = B("l"), .target = CMP_VERSION, .number = 1 }, true },
                { { .key = B("a"), .range_end = B("l"), .target = CMP_VERSION, .number = 1 }, false },
                { { .key = B("q"), .range_end = B("r"), .target = CMP_VERSION, .number = 0 }, true },
                { { .key = B("q"),
                    .range_end = B("r"),
                    .target = CMP_VERSION,
                    .result = CMP_GREATER,
                    .number = 5 },
                  false },
                { { .key = B("q"),
                    .range_end = B("r"),
                    .target = CMP_VALUE,
                    .result = CMP_NOT_EQUAL,
                    .value = B("a") },
                  false },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_done) Arena a = {};
                TxnReq t = { .compares = (CompareReq *) &cases[i].c, .n_compares = 1 };
                TxnResult res;
                ASSERT_TRUE(txn_is_read_only(&t));
                ASSERT_EQ(store_txn_read(s, &t, &a, &res), STORE_OK);
                ASSERT_EQ(res.succeeded, cases[i].want);
        }
}

TEST(nested_compares_see_the_beginning) {
        _cleanup_(store_freep) Store *s = five();
        CompareReq is_one = { .key = B("a"), .target = CMP_VERSION, .number = 2 };
        OpReq yes = op_put("yes", ""), no = op_put("no", "");
        OpReq nested = op_txn(&yes, 1, &no, 1);
        nested.txn.compares = &is_one;
        nested.txn.n_compares = 1;
        ASSERT_EQ(t_run(s, TXN(OPS(2, op_del("a", ""), nested))), STORE_OK);
        ASSERT_STREQ(t_get(s, "yes"), "yes=@10/10/1 1");
}

TEST(compaction) {
        _cleanup_(store_freep) Store *s = five();
        ASSERT_EQ(t_compact(s, 99), STORE_FUTURE_REV);
        ASSERT_EQ(t_delete(s, "k0", ""), 1);
        ASSERT_EQ(t_put(s, "a", "3"), STORE_OK);
        ASSERT_EQ(t_compact(s, 5), STORE_OK);
        ASSERT_EQ(t_compact(s, 5), STORE_COMPACTED);
        ASSERT_EQ(t_compact(s, 0), STORE_COMPACTED);
        ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("a"), .revision = 4 }), "!9");
        for (int i = 0; i < 2; i++) {
                ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("a"), .revision = 5 }), "a=2@2/3/2 1");
                ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("k0"), .revision = 5 }), "k0=9@5/5/1 1");
                while (store_compact_step(s))
                        ;
        }
        size_t before = store_bytes(s);
        ASSERT_EQ(t_compact(s, 11), STORE_OK);
        while (store_compact_step(s))
                ;
        ASSERT_TRUE(store_bytes(s) < before);
        ASSERT_STREQ(t_range(s,
                             (RangeReq){ .key = { "\0", 1 }, .range_end = { "\0", 1 }, .keys_only = true }),
                     "a=@2/11/3 e=@4/4/1 k1=@6/6/1 k2=@7/7/1 k3=@8/8/1 k4=@9/9/1 6");
        ASSERT_EQ(store_hash(s), store_hash_slow(s));
}

TEST(bad_commands_change_nothing) {
        _cleanup_(store_freep) Store *s = five();
        _cleanup_(apply_result_done) ApplyResult r = {};
        const struct {
                const char *p;
                size_t n;
        } cases[] = { { "\x02\x01\0\0", 4 },
                      { "\x01\x63\0\0", 4 },
                      { "\x01\x01\0\0\xff", 5 },
                      { "\x01\x01", 2 },
                      { "\x01\x03\0\0\xff\xff\xff\xff\x0f", 9 } };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                store_apply(s, store_applied_index(s) + 1, 1, cases[i].p, cases[i].n, &r);
                ASSERT_EQ(r.error, STORE_BAD_COMMAND);
        }
        store_apply(s, store_applied_index(s) + 1, 2, NULL, 0, &r);
        ASSERT_EQ(r.error, STORE_OK);
        ASSERT_EQ(store_revision(s), 9);
        ASSERT_EQ(store_applied_term(s), 2);
}

TEST(no_space) {
        _cleanup_(store_freep) Store *s = five();
        Command alarm = { .kind = CMD_ALARM, .alarm = { .member = 1, .alarm = 1, .activate = true } };
        ASSERT_EQ(t_run(s, &alarm), STORE_OK);
        size_t n;
        ASSERT_EQ(store_alarms(s, &n)->member, 1);
        ASSERT_EQ(n, 1);
        ASSERT_EQ(t_put(s, "a", "x"), STORE_NO_SPACE);
        ASSERT_EQ(t_run(s, TXN(OPS(1, op_put("x", "1")))), STORE_NO_SPACE);
        ASSERT_EQ(t_delete(s, "a", ""), 1);
        alarm.alarm.activate = false;
        ASSERT_EQ(t_run(s, &alarm), STORE_OK);
        ASSERT_EQ(t_put(s, "a", "x"), STORE_OK);
}

TEST(attributes) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        Command c = { .kind = CMD_ATTR, .attr = { .key = B("m/2"), .value = B("two"), .v2_event = true } };
        ASSERT_EQ(t_run(s, &c), STORE_OK);
        c.attr.key = B("m/1");
        ASSERT_EQ(t_run(s, &c), STORE_OK);
        c.attr.key = B("version");
        ASSERT_EQ(t_run(s, &c), STORE_OK);
        ASSERT_EQ(v2_index(s), 3);
        size_t n = 0;
        for (StoreAttrIter i = {}; store_attr_next(s, B("m/"), &i); n++)
                ASSERT_EQ(i.key.p[2], '1' + (char) n);
        ASSERT_EQ(n, 2);
        Bytes v;
        ASSERT_TRUE(store_attr_get(s, B("m/2"), &v) && bytes_eq(v, B("two")));
        c.attr.remove = true;
        ASSERT_EQ(t_run(s, &c), STORE_OK);
        ASSERT_FALSE(store_attr_get(s, B("version"), &v));
        _cleanup_(store_freep) Store *copy = t_copy(s);
        ASSERT_EQ(store_hash(copy), store_hash(s));
}

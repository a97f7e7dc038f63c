/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/etcd/store-help.h"

/* Leases: replicated bookkeeping, and the leader's clock. */

#define S USEC_PER_SEC

static size_t due(Store *s, Usec now, int64_t *ids) {
        return lease_due(s, now, 10 * S, ids, 16);
}

TEST(grant_attach_revoke) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        ASSERT_EQ(t_grant(s, 777, 10), STORE_OK);
        ASSERT_EQ(t_grant(s, 777, 10), STORE_LEASE_EXISTS);
        ASSERT_EQ(t_grant(s, 779, LEASE_TTL_MAX + 1), STORE_LEASE_TTL_TOO_LARGE);
        ASSERT_EQ(t_put_lease(s, "l2", "x", 777), STORE_OK);
        ASSERT_EQ(t_put_lease(s, "l1", "x", 777), STORE_OK);
        _cleanup_(arena_done) Arena a = {};
        LeaseInfo info;
        ASSERT_EQ(lease_info(s, 777, 0, true, &a, &info), STORE_OK);
        ASSERT_TRUE(info.granted == 10 && info.remaining == -1 && info.n_keys == 2 &&
                    bytes_eq(info.keys[0], B("l1")));
        ASSERT_EQ(t_put(s, "l1", "y"), STORE_OK); /* detaches it */
        ASSERT_EQ(lease_info(s, 777, 0, true, &a, &info), STORE_OK);
        ASSERT_TRUE(info.n_keys == 1 && bytes_eq(info.keys[0], B("l2")));
        ASSERT_EQ(t_run(s, &(Command){ .kind = CMD_PUT,
                                       .put = { .key = B("l2"), .value = B("z"), .ignore_lease = true } }),
                  0);
        ASSERT_STREQ(t_get(s, "l2"), "l2=z@2/5/2L777 1");
        ASSERT_EQ(t_revoke(s, 777), STORE_OK);
        ASSERT_EQ(t_revoke(s, 777), STORE_LEASE_NOT_FOUND);
        ASSERT_EQ(lease_info(s, 777, 0, true, &a, &info), STORE_LEASE_NOT_FOUND);
        ASSERT_EQ(store_revision(s), 6);
        ASSERT_STREQ(t_range(s, (RangeReq){ .key = B("l"), .range_end = B("m") }), "l1=y@3/4/2 1");
        ASSERT_EQ(t_grant(s, 778, 2), STORE_OK);
        ASSERT_EQ(t_revoke(s, 778), STORE_OK); /* without keys: no revision */
        ASSERT_EQ(store_revision(s), 6);
}

TEST(revoke_is_one_revision_in_key_order) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        ASSERT_EQ(t_grant(s, 1, 10), STORE_OK);
        const char *const keys[] = { "c", "a", "d", "b" };
        for (size_t i = 0; i < 4; i++)
                ASSERT_EQ(t_put_lease(s, keys[i], "", 1), STORE_OK);
        _cleanup_(watch_freep) Watcher *w = watch_new(s, &(WatchReq){ .key = B("a"), .range_end = B("z") });
        int64_t ids[] = { 1, 99 };
        ASSERT_EQ(t_run(s, &(Command){ .kind = CMD_LEASE_EXPIRE, .revoke = { .ids = ids, .n_ids = 2 } }),
                  STORE_OK);
        WatchBatch b;
        ASSERT_TRUE(watch_take(w, 0, &b));
        ASSERT_EQ(b.n_events, 4);
        for (size_t i = 0; i < 4; i++)
                ASSERT_TRUE(b.events[i].is_delete && b.events[i].kv.key.p[0] == (char) ('a' + i) &&
                            b.events[i].kv.mod_revision == 6);
}

TEST(clock) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        int64_t ids[16], ttl = 0;
        ASSERT_EQ(t_grant(s, 1, 10), STORE_OK);
        ASSERT_EQ(t_grant(s, 2, 5), STORE_OK);
        ASSERT_EQ(lease_next_due(s), USEC_NEVER);
        ASSERT_EQ(due(s, 1000 * S, ids), 0); /* not the leader */
        ASSERT_EQ(lease_renew(s, 1, 0, &ttl), STORE_LEASE_NOT_FOUND);
        lease_promote(s, 100 * S, 1 * S);
        ASSERT_EQ(lease_next_due(s), 106 * S);
        ASSERT_EQ(due(s, 106 * S - 1, ids), 0);
        ASSERT_EQ(lease_renew(s, 2, 105 * S, &ttl), STORE_OK);
        ASSERT_EQ(ttl, 5);
        ASSERT_EQ(due(s, 110 * S - 1, ids), 0);
        ASSERT_EQ(due(s, 110 * S, ids), 1);
        ASSERT_EQ(ids[0], 2);
        ASSERT_EQ(lease_renew(s, 2, 110 * S, &ttl), STORE_LEASE_NOT_FOUND); /* too late */
        ASSERT_EQ(due(s, 110 * S, ids), 0); /* handed out once, and again when nothing came of it */
        ASSERT_EQ(due(s, 120 * S, ids), 2);
        ASSERT_TRUE(ids[0] == 1 && ids[1] == 2);
        ASSERT_EQ(t_revoke(s, 2), STORE_OK);
        ASSERT_EQ(t_revoke(s, 1), STORE_OK);
        ASSERT_EQ(lease_next_due(s), USEC_NEVER);
}

TEST(a_fresh_lease_counts_from_when_the_clock_is_seen) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        int64_t ids[16], ttl;
        lease_promote(s, 50 * S, 0);
        ASSERT_EQ(t_grant(s, 1, 10), STORE_OK);
        ASSERT_EQ(t_grant(s, 2, 10), STORE_OK);
        ASSERT_EQ(lease_next_due(s), 0); /* please show the clock */
        ASSERT_EQ(t_revoke(s, 1), STORE_OK);
        ASSERT_EQ(lease_renew(s, 2, 60 * S, &ttl), STORE_OK);
        ASSERT_EQ(lease_next_due(s), 70 * S);
        ASSERT_EQ(t_grant(s, 3, 10), STORE_OK);
        ASSERT_EQ(due(s, 65 * S, ids), 0);
        _cleanup_(arena_done) Arena a = {};
        LeaseInfo info;
        ASSERT_EQ(lease_info(s, 3, 66 * S + 1, false, &a, &info), STORE_OK);
        ASSERT_EQ(info.remaining, 8);
}

TEST(leader_change_extends_and_checkpoints_shorten) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        int64_t id = 1, remaining = 30, ids[16];
        ASSERT_EQ(t_grant(s, 1, 100), STORE_OK);
        lease_promote(s, 0, 0);
        ASSERT_EQ(t_run(s, &(Command){ .kind = CMD_LEASE_CHECKPOINT, .checkpoint = { &id, &remaining, 1 } }),
                  STORE_OK);
        lease_demote(s);
        ASSERT_FALSE(lease_promoted(s));
        ASSERT_EQ(due(s, 1000 * S, ids), 0);
        lease_promote(s, 500 * S, 0);
        ASSERT_EQ(lease_next_due(s), 530 * S);
        _cleanup_(store_freep) Store *copy = t_copy(s);
        ASSERT_EQ(store_hash(copy), store_hash(s));
        lease_promote(copy, 0, 0);
        ASSERT_EQ(lease_next_due(copy), 30 * S);
}

TEST(ten_thousand) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        lease_promote(s, 0, 0);
        for (int64_t i = 1; i <= 10000; i++)
                ASSERT_EQ(t_grant(s, i, 10 + (i * 7919) % 1000), STORE_OK);
        _cleanup_(arena_done) Arena a = {};
        int64_t *list;
        ASSERT_EQ(lease_list(s, &a, &list), 10000);
        ASSERT_EQ(list[9999], 10000);
        int64_t ids[LEASE_DUE_MAX];
        (void) lease_due(s, 0, S, ids, 1); /* the clock starts at 0 */
        size_t gone = 0;
        for (Usec now = 0; now <= 1010 * S; now += S)
                for (size_t n; (n = lease_due(s, now, 1000 * S, ids, LEASE_DUE_MAX)) > 0; gone += n) {
                        for (size_t i = 0; i < n; i++)
                                ASSERT_EQ(10 + (ids[i] * 7919) % 1000, now / S);
                        ASSERT_EQ(t_run(s, &(Command){ .kind = CMD_LEASE_EXPIRE,
                                                       .revoke = { .ids = ids, .n_ids = n } }),
                                  0);
                }
        ASSERT_EQ(gone, 10000);
        ASSERT_EQ(lease_list(s, &a, &list), 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/attributes.h"
#include "etcd/boot.h"
#include "etcd/cluster/members.h"
#include "test.h"

static char **urls(const char *s) {
        char **l = NULL;
        ASSERT_OK(etcd_urls_parse(s, &l, NULL));
        return l;
}

/* Ids that the original computes (observed on 3.4.23). */
TEST(ids) {
        _cleanup_strv_ char **a = urls("http://localhost:2380"), **b = urls("http://127.0.0.1:12380");
        ASSERT_TRUE(member_id_of(a, "etcd-cluster", "") == UINT64_C(0x8e9e05c52164694d));
        ASSERT_TRUE(member_id_of(b, "etcd-cluster", "") == UINT64_C(0xddd67b312462fd7b));
        Members m = { .n = 1 };
        m.list[0].id = UINT64_C(0x8e9e05c52164694d);
        ASSERT_TRUE(members_cluster_id(&m) == UINT64_C(0xcdf818194e3a8c32));
        m.list[0].id = UINT64_C(0xddd67b312462fd7b);
        ASSERT_TRUE(members_cluster_id(&m) == UINT64_C(0xa7ef944b95711739));
}

TEST(url_errors) {
        static const char *const bad[] = { "", "foo", "ftp://a:1", "http://a", "http://a:", "http://a:x", "http://a:70000",
                                           "http://a:1/", "http://a:1/p", "http://:", "http://[::1", "http://[::1]x:1",
                                           "http://a:b:1", "http://u@h:1", "unix://" };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                EtcdUrl u = {};
                ASSERT_TRUE(etcd_url_parse(bad[i], &u, NULL) < 0);
        }
        EtcdUrl u = {};
        ASSERT_OK(etcd_url_parse("https://[::1]:2379", &u, NULL));
        ASSERT_STREQ(u.host, "::1");
        ASSERT_TRUE(u.tls && u.port == 2379);
        etcd_url_done(&u);
        char **l = NULL;
        ASSERT_TRUE(etcd_urls_parse("http://a:1,,http://b:2", &l, NULL) < 0);
}

TEST(initial_cluster) {
        _cleanup_(etcd_initial_cluster_done) EtcdInitialCluster c = {};
        ASSERT_OK(etcd_initial_cluster_parse("b=http://b:1,a=http://a:2,a=http://a:1", &c, NULL));
        ASSERT_EQ(c.n, 2);
        _cleanup_free_ char *text = etcd_initial_cluster_text(&c);
        ASSERT_STREQ(text, "a=http://a:1,a=http://a:2,b=http://b:1");
        ASSERT_NULL(etcd_initial_cluster_duplicate(&c));
        ASSERT_EQ(strv_len(etcd_initial_cluster_find(&c, "a")->urls), 2);
        etcd_initial_cluster_done(&c);
        ASSERT_TRUE(etcd_initial_cluster_parse("a=", &c, NULL) < 0);
        ASSERT_OK(etcd_initial_cluster_parse("a=http://x:1,b=http://x:1", &c, NULL));
        ASSERT_STREQ(etcd_initial_cluster_duplicate(&c), "http://x:1");
}

static MemberResult apply(Members *m, MemberChangeType type, uint64_t id, const char *peer) {
        _cleanup_(member_change_done) MemberChange c = { .type = type, .id = id, .peer_urls = peer ? urls(peer) : NULL };
        MemberResult r = members_check(m, &c);
        if (r == MEMBER_OK)
                members_apply(m, &c);
        return r;
}

TEST(changes) {
        _cleanup_(members_done) Members m = {};
        ASSERT_EQ(apply(&m, MEMBER_ADD, 5, "http://a:1"), MEMBER_OK);
        ASSERT_EQ(apply(&m, MEMBER_ADD, 5, "http://b:1"), MEMBER_ID_EXISTS);
        ASSERT_EQ(apply(&m, MEMBER_ADD, 3, "http://a:1"), MEMBER_URL_EXISTS);
        ASSERT_EQ(apply(&m, MEMBER_ADD_LEARNER, 3, "http://b:1"), MEMBER_OK);
        ASSERT_EQ(apply(&m, MEMBER_ADD_LEARNER, 4, "http://c:1"), MEMBER_TOO_MANY_LEARNERS);
        ASSERT_EQ(m.list[0].id, 3); /* sorted */
        ASSERT_EQ(members_voters(&m), 1);
        ASSERT_EQ(apply(&m, MEMBER_PROMOTE, 5, NULL), MEMBER_NOT_LEARNER);
        ASSERT_EQ(apply(&m, MEMBER_PROMOTE, 9, NULL), MEMBER_NOT_FOUND);
        ASSERT_EQ(apply(&m, MEMBER_PROMOTE, 3, NULL), MEMBER_OK);
        ASSERT_EQ(apply(&m, MEMBER_UPDATE, 3, "http://a:1"), MEMBER_URL_EXISTS);
        ASSERT_EQ(apply(&m, MEMBER_UPDATE, 3, "http://d:1"), MEMBER_OK);
        ASSERT_EQ(apply(&m, MEMBER_REMOVE, 3, NULL), MEMBER_OK);
        ASSERT_EQ(apply(&m, MEMBER_REMOVE, 3, NULL), MEMBER_REMOVED);
        ASSERT_EQ(apply(&m, MEMBER_ADD, 3, "http://e:1"), MEMBER_REMOVED);
        ASSERT_TRUE(members_was_removed(&m, 3));
}

TEST(strict_check) {
        _cleanup_(members_done) Members m = {};
        (void) apply(&m, MEMBER_ADD, 1, "http://a:1");
        MemberChange add = { .type = MEMBER_ADD, .id = 9 }, drop = { .type = MEMBER_REMOVE, .id = 1 };
        ASSERT_EQ(members_check_strict(&m, &drop), MEMBER_NOT_ENOUGH_STARTED); /* the last one */
        members_set_attributes(&m, 1, "one", NULL);
        ASSERT_EQ(members_check_strict(&m, &add), MEMBER_OK); /* 1 of 2: growing from one must be possible */
        (void) apply(&m, MEMBER_ADD, 2, "http://b:1");
        ASSERT_EQ(members_check_strict(&m, &add), MEMBER_NOT_ENOUGH_STARTED); /* 1 started of 3 */
        members_set_attributes(&m, 2, "two", NULL);
        ASSERT_EQ(members_check_strict(&m, &add), MEMBER_OK);
        (void) apply(&m, MEMBER_ADD, 3, "http://c:1");
        ASSERT_EQ(members_check_strict(&m, &drop), MEMBER_NOT_ENOUGH_STARTED); /* 1 started of 2 would be left */
        drop.id = 3;
        ASSERT_EQ(members_check_strict(&m, &drop), MEMBER_OK);
}

TEST(encoding) {
        _cleanup_(members_done) Members m = {}, back = {};
        (void) apply(&m, MEMBER_ADD, 7, "http://a:1,http://a:2");
        (void) apply(&m, MEMBER_ADD_LEARNER, 9, "http://b:1");
        (void) apply(&m, MEMBER_ADD, 8, "http://c:1");
        (void) apply(&m, MEMBER_REMOVE, 8, NULL);
        m.cluster_id = 77;
        members_set_version(&m, "3.4.0");
        _cleanup_(buf_done) Buf key = {}, value = {}, b = {};
        _cleanup_strv_ char **clients = urls("http://x:1,http://y:2");
        attributes_of_member(7, "seven", clients, &key, &value);
        attributes_apply(&m, (Bytes){ key.data, key.len }, (Bytes){ value.data, value.len });
        attributes_apply(&m, bytes_of("attributes/zz"), bytes_of("x"));
        members_encode(&m, &b);
        Rd rd = rd_new(b.data, b.len);
        ASSERT_OK(members_decode(&rd, &back));
        ASSERT_EQ(back.n, 2);
        ASSERT_STREQ(members_find_name(&back, "seven")->client_urls[1], "http://y:2");
        ASSERT_TRUE(members_find(&back, 9)->learner && members_was_removed(&back, 8) && back.cluster_id == 77);
        ASSERT_STREQ(back.version, "3.4.0");
        for (size_t n = 0; n < b.len; n++) { /* every shorter input is refused */
                Members cut = {};
                rd = rd_new(b.data, n);
                ASSERT_TRUE(members_decode(&rd, &cut) < 0);
        }
        _cleanup_(buf_done) Buf ch = {};
        member_change_encode(&(MemberChange){ .type = MEMBER_ADD, .id = 4, .name = (char *) "n", .peer_urls = clients }, &ch);
        for (size_t n = 0; n < ch.len; n++) {
                MemberChange cut = {};
                ASSERT_TRUE(member_change_decode(ch.data, n, &cut) < 0);
        }
        MemberChange c = {};
        ASSERT_OK(member_change_decode(ch.data, ch.len, &c));
        ASSERT_STREQ(c.name, "n");
        member_change_done(&c);
}

TEST(remote_members) {
        const char *json = "[{\"id\":15985099378392235387,\"peerURLs\":[\"http://127.0.0.1:1\"],\"name\":\"a\","
                           "\"clientURLs\":[\"http://127.0.0.1:9\"]},{\"id\":5,\"peerURLs\":[\"http://127.0.0.1:2\"]}]";
        _cleanup_(members_done) Members remote = {}, local = {};
        ASSERT_OK(founding_parse_remote(json, strlen(json), &remote, NULL));
        ASSERT_EQ(remote.n, 2);
        ASSERT_STREQ(members_find(&remote, UINT64_C(15985099378392235387))->name, "a");
        (void) apply(&local, MEMBER_ADD, 1, "http://127.0.0.1:1");
        _cleanup_(err_done) Err err = {};
        ASSERT_TRUE(founding_match_remote(&local, &remote, &err) < 0);
        (void) apply(&local, MEMBER_ADD, 2, "http://127.0.0.1:2");
        ASSERT_OK(founding_match_remote(&local, &remote, NULL));
        ASSERT_NOT_NULL(members_find(&local, 5));
        ASSERT_TRUE(founding_parse_remote("[]", 2, &remote, NULL) < 0);
        ASSERT_TRUE(founding_parse_remote("{", 1, &remote, NULL) < 0);
}

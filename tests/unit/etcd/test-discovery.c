/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "etcd/discovery/discovery.h"
#include "test.h"

static const char listing[] =
        "{\"action\":\"get\",\"node\":{\"key\":\"/d/t\",\"dir\":true,\"nodes\":["
        "{\"key\":\"/d/t/_config\",\"dir\":true},"
        "{\"key\":\"/d/t/c\",\"value\":\"m3=http://h3:1\",\"createdIndex\":30},"
        "{\"key\":\"/d/t/a\",\"value\":\"m1=http://h1:1,m1=http://h1:2\",\"createdIndex\":10},"
        "{\"key\":\"/d/t/b\",\"value\":\"m2=http://h2:1\",\"createdIndex\":20}]}}";

TEST(order_of_creation_decides) {
        _cleanup_(discovery_nodes_done) DiscoveryNodes l = {};
        ASSERT_OK(discovery_parse_listing(listing, strlen(listing), &l, NULL));
        ASSERT_EQ(l.n, 3);
        ASSERT_EQ(discovery_position(&l, 0xb), 1);
        ASSERT_EQ(discovery_position(&l, 0xd), -ENOENT);
        char *cluster = NULL;
        ASSERT_OK(discovery_cluster(&l, 2, &cluster, NULL));
        ASSERT_STREQ(cluster, "m1=http://h1:1,m1=http://h1:2,m2=http://h2:1");
        free(cluster);
}

TEST(a_name_twice) {
        const char *twice = "{\"node\":{\"nodes\":[{\"key\":\"/t/a\",\"value\":\"m=http://a:1\",\"createdIndex\":1},"
                            "{\"key\":\"/t/b\",\"value\":\"m=http://b:1\",\"createdIndex\":2}]}}";
        _cleanup_(discovery_nodes_done) DiscoveryNodes l = {};
        _cleanup_(err_done) Err err = {};
        char *cluster = NULL;
        ASSERT_OK(discovery_parse_listing(twice, strlen(twice), &l, NULL));
        ASSERT_EQ(discovery_cluster(&l, 2, &cluster, &err), -EEXIST);
        ASSERT_STREQ(err_msg(&err), "discovery: found duplicate name");
}

TEST(nonsense) {
        static const char *const bad[] = { "", "[]", "{}", "{\"node\":1}", "{\"node\":{\"nodes\":[" };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_(discovery_nodes_done) DiscoveryNodes l = {};
                ASSERT_TRUE(discovery_parse_listing(bad[i], strlen(bad[i]), &l, NULL) < 0);
        }
        char *cluster = NULL;
        _cleanup_(err_done) Err err = {};
        ASSERT_TRUE(discovery_join("http://127.0.0.1:1", 1, "a=http://a:1", &cluster, &err) < 0);
        ASSERT_NOT_NULL(strstr(err_msg(&err), "is not the URL of a token"));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "codec/jsonin.h"
#include "etcd/apiv3/apiv3.h"
#include "etcd/apiv3/json.h"
#include "test.h"

static int from_json(const ProtobufCMessageDescriptor *d, const char *text, Buf *to) {
        _cleanup_json_ json_t *j = NULL;
        ASSERT_OK(ji_parse(text, strlen(text), 0, &j, NULL));
        return v3_from_json(d, j, 0, to, NULL);
}

TEST(json_there_and_back) {
        static const char *const same[] = {
                "{\"key\":\"YQ==\",\"range_end\":\"Yg==\",\"limit\":\"5\",\"revision\":\"-1\",\"sort_order\":\"DESCEND\","
                "\"sort_target\":\"MOD\",\"serializable\":true}",
                "{}",
        };
        for (size_t i = 0; i < ELEMENTSOF(same); i++) {
                _cleanup_(buf_done) Buf packed = {}, text = {};
                ASSERT_OK(from_json(&etcdserverpb__range_request__descriptor, same[i], &packed));
                ASSERT_OK(v3_to_json(&etcdserverpb__range_request__descriptor, buf_str(&packed), packed.len, &text));
                ASSERT_STREQ(buf_str(&text), same[i]);
        }
        _cleanup_(buf_done) Buf packed = {}, text = {};
        ASSERT_OK(from_json(&etcdserverpb__txn_request__descriptor,
                            "{\"compare\":[{\"key\":\"YQ==\",\"target\":\"LEASE\",\"lease\":7}],\"unknown\":[1],"
                            "\"success\":[{\"requestPut\":{\"key\":\"YQ==\",\"prevKv\":true}}]}",
                            &packed));
        ASSERT_OK(v3_to_json(&etcdserverpb__txn_request__descriptor, buf_str(&packed), packed.len, &text));
        ASSERT_STREQ(buf_str(&text), "{\"compare\":[{\"target\":\"LEASE\",\"key\":\"YQ==\",\"lease\":\"7\"}],"
                                     "\"success\":[{\"request_put\":{\"key\":\"YQ==\",\"prev_kv\":true}}]}");
}

TEST(json_errors) {
        static const char *const bad[] = { "[]", "{\"key\":5}", "{\"key\":\"!\"}", "{\"limit\":\"x\"}", "{\"limit\":true}",
                                           "{\"sort_order\":\"UP\"}", "{\"serializable\":1}" };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_(buf_done) Buf packed = {};
                ASSERT_TRUE(from_json(&etcdserverpb__range_request__descriptor, bad[i], &packed) < 0);
        }
}

TEST(packing_long_nested_messages) {
        static const size_t sizes[] = { 0, 1, 120, 127, 128, 129, 16383, 16384, 70000 };
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *value = xmalloc(sizes[i] + 1);
                memset(value, 'v', sizes[i]);
                KeyVal kv = { .key = bytes_of("k"), .value = { value, sizes[i] }, .mod_revision = 300, .version = -1 };
                _cleanup_(buf_done) Buf b = {};
                v3_pack_kv(2, &kv, &b);
                pb_uint(&b, 4, 1);
                Etcdserverpb__RangeResponse *m =
                                etcdserverpb__range_response__unpack(NULL, b.len, (const uint8_t *) b.data);
                ASSERT_NOT_NULL(m);
                ASSERT_EQ(m->n_kvs, 1);
                ASSERT_EQ(m->kvs[0]->value.len, sizes[i]);
                ASSERT_EQ(m->kvs[0]->mod_revision, 300);
                ASSERT_EQ(m->kvs[0]->version, -1);
                ASSERT_EQ(m->count, 1);
                etcdserverpb__range_response__free_unpacked(m, NULL);
        }
}

TEST(enums_are_checked) {
        Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
        RangeReq req;
        r.key = (ProtobufCBinaryData){ .data = (uint8_t *) "k", .len = 1 };
        ASSERT_EQ(v3_range_of(&r, &req), STORE_OK);
        r.sort_target = (Etcdserverpb__RangeRequest__SortTarget) 9;
        ASSERT_EQ(v3_range_of(&r, &req), STORE_INVALID_SORT);
        Etcdserverpb__Compare cmp = ETCDSERVERPB__COMPARE__INIT, *cmps[] = { &cmp };
        Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
        cmp.key = r.key;
        cmp.target = (Etcdserverpb__Compare__CompareTarget) 77;
        t.compare = cmps;
        t.n_compare = 1;
        _cleanup_(arena_done) Arena arena = {};
        TxnReq txn;
        ASSERT_EQ(v3_txn_of(&t, 128, &arena, &txn), STORE_INVALID_ENUM);
}

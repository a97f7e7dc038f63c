/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "codec/base64.h"
#include "codec/digest.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "test.h"

TEST(writes_like_go) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kstr(&j, "a", "<x>&\"\\\n\x01\xff\xe2\x80\xa8é");
        jo_key(&j, "l");
        jo_arr(&j);
        jo_int(&j, INT64_MIN);
        jo_uint(&j, UINT64_MAX);
        jo_double(&j, 1000000);
        jo_double(&j, 0.1);
        jo_base64(&j, "\x01", 1);
        jo_null(&j);
        jo_end(&j);
        jo_kbool(&j, "t", true);
        jo_end(&j);
        ASSERT_STREQ(buf_str(&b), "{\"a\":\"\\u003cx\\u003e\\u0026\\\"\\\\\\n\\u0001\\ufffd\\u2028é\",\"l\":"
                                  "[-9223372036854775808,"
                                  "18446744073709551615,1000000,0.1,\"AQ==\",null],\"t\":true}");
}

TEST(indents) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b, .indent = 2 };
        jo_arr(&j);
        jo_obj(&j);
        jo_kint(&j, "a", 1);
        jo_end(&j);
        jo_obj(&j);
        jo_end(&j);
        jo_end(&j);
        ASSERT_STREQ(buf_str(&b), "[\n  {\n    \"a\": 1\n  },\n  {}\n]");
}

TEST(reads_with_limits) {
        _cleanup_json_ json_t *v = NULL;
        ASSERT_OK(ji_parse("{\"a\":9007199254740993,\"s\":\"x\"}", 30, 0, &v, NULL));
        ASSERT_EQ(ji_int(v, "a", 0), 9007199254740993);
        ASSERT_STREQ(ji_str(v, "s"), "x");
        char deep[400];
        memset(deep, '[', sizeof(deep));
        _cleanup_json_ json_t *w = NULL;
        _cleanup_(err_done) Err e = {};
        ASSERT_EQ(ji_parse(deep, sizeof(deep), 0, &w, &e), -EINVAL);
        ASSERT_TRUE(strstr(err_msg(&e), "nested") != NULL);
        ASSERT_EQ(ji_parse("[1]", 3, 2, &w, NULL), -EFBIG);
        ASSERT_EQ(ji_parse("[1] x", 5, 0, &w, NULL), -EINVAL);
}

TEST(base64_both_alphabets) {
        _cleanup_(buf_done) Buf b = {};
        base64_encode(&b, "\xfb\xff\xfe", 3, BASE64_STD);
        ASSERT_STREQ(buf_str(&b), "+//+");
        buf_clear(&b);
        ASSERT_OK(base64_decode(&b, "-__-", 4));
        ASSERT_EQ(b.len, 3);
        ASSERT_EQ((uint8_t) b.data[0], 0xfb);
        buf_clear(&b);
        ASSERT_OK(base64_decode(&b, "YQ==", 4));
        ASSERT_STREQ(buf_str(&b), "a");
        ASSERT_EQ(base64_decode(&b, "Y", 1), -EINVAL);
        ASSERT_EQ(base64_decode(&b, "Y*==", 4), -EINVAL);
        ASSERT_STREQ(buf_str(&b), "a");
}

TEST(digests) {
        _cleanup_free_ char *h = digest_hex(DIGEST_SHA256, "abc", 3);
        ASSERT_STREQ(h, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

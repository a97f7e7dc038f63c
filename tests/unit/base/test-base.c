/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/options.h"
#include "base/str.h"
#include "base/time.h"
#include "test.h"

#include <stdlib.h>

TEST(err_keeps_deepest_message) {
        _cleanup_(err_done) Err e = {};
        ASSERT_EQ(err_set(&e, -EINVAL, "bad port: %s", "x"), -EINVAL);
        ASSERT_EQ(err_set(&e, -EIO, "later"), -EIO);
        ASSERT_STREQ(err_msg(&e), "bad port: x");
        ASSERT_EQ(err_wrap(&e, -EINVAL, "line %d", 3), -EINVAL);
        ASSERT_STREQ(err_msg(&e), "line 3: bad port: x");
}

TEST(buf_and_reader_round_trip) {
        _cleanup_(buf_done) Buf b = {};
        buf_add_le32(&b, 0x01020304);
        buf_add_be16(&b, 0xaabb);
        buf_add_varint(&b, UINT64_MAX);
        buf_add_bytes(&b, "hello", 5);
        Rd rd = rd_new(b.data, b.len);
        uint32_t a;
        uint16_t c;
        uint64_t v;
        const void *p;
        size_t n;
        ASSERT_OK(rd_le32(&rd, &a));
        ASSERT_EQ(a, 0x01020304);
        ASSERT_OK(rd_be16(&rd, &c));
        ASSERT_EQ(c, 0xaabb);
        ASSERT_OK(rd_varint(&rd, &v));
        ASSERT_TRUE(v == UINT64_MAX);
        ASSERT_OK(rd_bytes(&rd, &p, &n));
        ASSERT_EQ(n, 5);
        ASSERT_EQ(memcmp(p, "hello", 5), 0);
        ASSERT_EQ(rd_u8(&rd, (uint8_t *) &c), -EBADMSG);
}

TEST(reader_refuses_short_and_overlong) {
        static const uint8_t too_long[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02 };
        Rd rd = rd_new(too_long, sizeof(too_long));
        uint64_t v;
        ASSERT_EQ(rd_varint(&rd, &v), -EBADMSG);
        ASSERT_EQ(rd.left, sizeof(too_long));
        static const uint8_t short_bytes[] = { 5, 'a' };
        rd = rd_new(short_bytes, sizeof(short_bytes));
        const void *p;
        size_t n;
        ASSERT_EQ(rd_bytes(&rd, &p, &n), -EBADMSG);
        ASSERT_EQ(rd.left, 2);
}

TEST(numbers) {
        uint64_t u;
        int64_t i;
        bool b;
        ASSERT_OK(parse_u64("18446744073709551615", &u));
        ASSERT_TRUE(u == UINT64_MAX);
        ASSERT_EQ(parse_u64("18446744073709551616", &u), -ERANGE);
        ASSERT_EQ(parse_u64("-1", &u), -EINVAL);
        ASSERT_EQ(parse_u64("", &u), -EINVAL);
        ASSERT_OK(parse_i64("-9223372036854775808", &i));
        ASSERT_TRUE(i == INT64_MIN);
        ASSERT_EQ(parse_i64("9223372036854775808", &i), -ERANGE);
        ASSERT_OK(parse_bool_go("T", &b));
        ASSERT_EQ(parse_bool_go("yes", &b), -EINVAL);
        ASSERT_OK(parse_duration_go("1h2m3.5s", &i));
        ASSERT_EQ(i, 3723500000);
        ASSERT_OK(parse_duration_go("100ms", &i));
        ASSERT_EQ(i, 100000);
        ASSERT_EQ(parse_duration_go("100", &i), -EINVAL);
        ASSERT_EQ(parse_duration_go("1hx", &i), -EINVAL);
}

TEST(utf8) {
        ASSERT_TRUE(str_is_utf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
        ASSERT_FALSE(str_is_utf8("\xc0\x80", 2));
        ASSERT_FALSE(str_is_utf8("\xed\xa0\x80", 3));
        ASSERT_FALSE(str_is_utf8("\xe2\x82", 2));
}

TEST(string_lists) {
        _cleanup_strv_ char **l = strv_split("a,b,,c", ",", false);
        ASSERT_EQ(strv_len(l), 3);
        _cleanup_free_ char *j = strv_join(l, "-");
        ASSERT_STREQ(j, "a-b-c");
        _cleanup_strv_ char **k = strv_split("a,,", ",", true);
        ASSERT_EQ(strv_len(k), 3);
        _cleanup_free_ char *s = str_replace("x%ny%n", "%n", "ab");
        ASSERT_STREQ(s, "xabyab");
}

TEST(map_against_many_keys) {
        Map m = {};
        for (uint64_t i = 0; i < 2000; i++)
                ASSERT_NULL(map_putu(&m, i, (void *) (i + 1)));
        for (uint64_t i = 0; i < 2000; i += 2)
                ASSERT_EQ((uint64_t) map_delu(&m, i), i + 1);
        ASSERT_EQ(map_size(&m), 1000);
        uint64_t sum = 0;
        for (MapIter it = {}; map_next(&m, &it);)
                sum += (uint64_t) it.value;
        ASSERT_EQ(sum, 1001000);
        ASSERT_NULL(map_getu(&m, 4));
        ASSERT_EQ((uint64_t) map_getu(&m, 5), 6);
        ASSERT_EQ((uint64_t) map_putu(&m, 5, (void *) 7), 6);
        map_done(&m);
}

TEST(hashes_match_published_vectors) {
        /* The first vectors of the SipHash paper's appendix, and RFC 3720 B.4 for CRC-32C. */
        uint8_t key[16], in[15];
        for (uint8_t i = 0; i < 16; i++)
                key[i] = i;
        for (uint8_t i = 0; i < 15; i++)
                in[i] = i;
        ASSERT_TRUE(siphash24(in, 15, key) == 0xa129ca6149be45e5ULL);
        uint8_t zeros[32] = {};
        ASSERT_TRUE(crc32c(0, zeros, 32) == 0x8a9136aaU);
        ASSERT_TRUE(crc32c(crc32c(0, "1234", 4), "56789", 5) == 0xe3069283U);
}

typedef struct Item {
        int v;
        LIST_LINK(Item) link;
} Item;

TEST(list_removal_while_walking) {
        LIST_HEAD(Item) head = {};
        Item items[5];
        for (int i = 0; i < 5; i++) {
                items[i].v = i;
                LIST_APPEND(&head, &items[i], link);
        }
        LIST_FOREACH(i, &head, link)
                if (i->v % 2 == 0)
                        LIST_REMOVE(&head, i, link);
        int sum = 0;
        LIST_FOREACH(i, &head, link)
                sum = sum * 10 + i->v;
        ASSERT_EQ(sum, 13);
}

TEST(rfc3339) {
        char s[36];
        int64_t t;
        ASSERT_OK(parse_rfc3339("2014-01-02T15:04:05.25Z", &t));
        ASSERT_STREQ(format_rfc3339(s, t, 9, true), "2014-01-02T15:04:05.25Z");
        ASSERT_OK(parse_rfc3339("2000-02-29T23:30:00-01:00", &t));
        ASSERT_STREQ(format_rfc3339(s, t, 0, false), "2000-03-01T00:30:00Z");
        ASSERT_EQ(parse_rfc3339("2000-13-01T00:00:00Z", &t), -EINVAL);
        ASSERT_EQ(parse_rfc3339("2000-12-01", &t), -EINVAL);
}

TEST(options_in_all_spellings) {
        _cleanup_free_ char *name = NULL;
        _cleanup_strv_ char **env = NULL;
        bool it = false, tty = false, rm = false;
        int64_t n = 0;
        const Option o[] = { { "name", 'n', OPT_STR, &name, "NAME", "", NULL },
                             { "env", 'e', OPT_LIST, &env, "K=V", "", NULL },
                             { "interactive", 'i', OPT_BOOL, &it, NULL, "", NULL },
                             { "tty", 't', OPT_BOOL, &tty, NULL, "", NULL },
                             { "rm", 0, OPT_BOOL, &rm, NULL, "", NULL },
                             { "num", 0, OPT_INT, &n, "N", "", NULL },
                             {} };
        char *argv[] = { "x",     "--name=a", "-eA=b", "-e",     "C=d", "-it", "-rm",
                         "--num", "-5",       "img",   "--name", "b",   NULL };
        _cleanup_free_ char **rest = NULL;
        ASSERT_OK(options_parse(o, OPTIONS_STOP_AT_ARG | OPTIONS_SINGLE_DASH_LONG, 12, argv, &rest, NULL));
        ASSERT_STREQ(name, "a");
        ASSERT_EQ(strv_len(env), 2);
        ASSERT_TRUE(it && tty && rm);
        ASSERT_EQ(n, -5);
        ASSERT_STREQ(rest[0], "img");
        ASSERT_STREQ(rest[2], "b");
        char *bad[] = { "x", "--nope", NULL };
        _cleanup_(err_done) Err e = {};
        _cleanup_free_ char **rest2 = NULL;
        ASSERT_EQ(options_parse(o, 0, 2, bad, &rest2, &e), -EINVAL);
        ASSERT_STREQ(err_msg(&e), "unknown flag: --nope");
        char *vars[] = { "X_NAME=env", NULL };
        ASSERT_OK(options_from_env(o, "X_", vars, NULL));
        ASSERT_STREQ(name, "env");
}

TEST(arena_gives_zeroed_memory) {
        Arena a = {};
        for (size_t i = 1; i < 9000; i *= 3) {
                char *p = arena_alloc(&a, i);
                ASSERT_EQ(p[i - 1], 0);
                memset(p, 1, i);
        }
        ASSERT_STREQ(arena_strdup(&a, "abc"), "abc");
        arena_done(&a);
}

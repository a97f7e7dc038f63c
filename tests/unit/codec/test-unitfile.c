/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/unitfile.h"
#include "sys/fs.h"

static void check_options(const UnitFile *u, const json_t *want) {
        ASSERT_EQ(u->n, want ? json_array_size(want) : 0);
        for (size_t i = 0; i < u->n; i++) {
                const json_t *o = json_array_get(want, i);
                ASSERT_STREQ(u->options[i].section, ji_str(o, "Section"));
                ASSERT_STREQ(u->options[i].name, ji_str(o, "Name"));
                ASSERT_STREQ(u->options[i].value, ji_str(o, "Value"));
        }
}

/* Every vector was made by fleet's own packages. */
TEST(vectors) {
        _cleanup_(buf_done) Buf file = {};
        _cleanup_json_ json_t *all = NULL;
        ASSERT_OK(read_file(test_data("data/fleet-vectors.json"), 1 << 20, &file));
        ASSERT_OK(ji_parse(file.data, file.len, 0, &all, NULL));
        const json_t *units = ji_arr(all, "unitfiles");
        ASSERT_TRUE(json_array_size(units) > 40);

        for (size_t i = 0; i < json_array_size(units); i++) {
                const json_t *v = json_array_get(units, i);
                const char *raw = ji_str(v, "Raw"), *want_error = ji_str(v, "Error");
                _cleanup_(unitfile_done) UnitFile u = {};
                _cleanup_(err_done) Err err = {};
                int r = unitfile_parse(raw, strlen(raw), UNITFILE_LINE_MAX_CLASSIC, &u, &err);
                if (!isempty(want_error)) {
                        ASSERT_EQ(r, -EINVAL);
                        ASSERT_STREQ(err_msg(&err), want_error);
                        continue;
                }
                ASSERT_OK(r);
                check_options(&u, ji_arr(v, "Options"));
                _cleanup_free_ char *text = unitfile_text(&u), *hash = unitfile_hash(&u);
                ASSERT_STREQ(text, ji_str(v, "Serialized"));
                ASSERT_STREQ(hash, ji_str(v, "Sha1"));
        }
}

TEST(long_lines_pass_by_default) {
        char raw[4096] = "[S]\nA=";
        memset(raw + 6, 'x', 3000);
        _cleanup_(unitfile_done) UnitFile u = {}, v = {};
        ASSERT_OK(unitfile_parse(raw, strlen(raw), 0, &u, NULL));
        ASSERT_EQ(strlen(unitfile_get(&u, "S", "A")), 3000);
        ASSERT_EQ(unitfile_parse(raw, strlen(raw), UNITFILE_LINE_MAX_CLASSIC, &v, NULL), -EINVAL);
        ASSERT_EQ(v.n, 0);
}

TEST(hostile_input) {
        _cleanup_(unitfile_done) UnitFile u = {};
        _cleanup_free_ char *big = xnew(char, UNITFILE_BYTES_MAX + 2);
        memset(big, '\n', UNITFILE_BYTES_MAX + 1);
        ASSERT_EQ(unitfile_parse(big, UNITFILE_BYTES_MAX + 1, 0, &u, NULL), -E2BIG);
        ASSERT_EQ(unitfile_parse("[S]\nA=\0b\n", 9, 0, &u, NULL), -EINVAL);
        ASSERT_EQ(unitfile_parse("[S]\nname", 8, 0, &u, NULL), -EINVAL);
        ASSERT_EQ(unitfile_parse("[S] x\n", 6, 0, &u, NULL), -EINVAL);

        _cleanup_(buf_done) Buf many = {};
        buf_adds(&many, "[S]\n");
        for (int i = 0; i <= UNITFILE_OPTIONS_MAX; i++)
                buf_adds(&many, "a=b\n");
        ASSERT_EQ(unitfile_parse(many.data, many.len, 0, &u, NULL), -E2BIG);
        ASSERT_EQ(u.n, 0);
}

TEST(crlf_is_lf) {
        const char *raw = "[S]\r\nA=1\r\nB=one\\\r\ntwo\r\n";
        _cleanup_(unitfile_done) UnitFile u = {};
        ASSERT_OK(unitfile_parse(raw, strlen(raw), 0, &u, NULL));
        _cleanup_free_ char *text = unitfile_text(&u);
        ASSERT_STREQ(text, "[S]\nA=1\nB=one\\\ntwo\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "fleet/plan/glob.h"
#include "fleet/plan/name.h"
#include "fleet/plan/xfleet.h"
#include "sys/fs.h"

static json_t *vectors(const char *key) {
        static json_t *all;
        if (!all) {
                _cleanup_(buf_done) Buf file = {};
                ASSERT_OK(read_file(test_data("data/fleet-vectors.json"), 1 << 20, &file));
                ASSERT_OK(ji_parse(file.data, file.len, 0, &all, NULL));
        }
        return ji_arr(all, key);
}

static void check_strv(char **got, const json_t *want) {
        ASSERT_EQ(strv_len(got), json_array_size(want));
        for (size_t i = 0; i < json_array_size(want); i++)
                ASSERT_STREQ(got[i], json_string_value(json_array_get(want, i)));
}

static void check_metadata(const Metadata *got, json_t *want) {
        size_t total = 0;
        const char *key;
        json_t *values;
        json_object_foreach(want, key, values) {
                size_t seen = 0;
                for (size_t i = 0; got->keys && got->keys[i]; i++)
                        if (streq(got->keys[i], key))
                                ASSERT_STREQ(got->values[i], json_string_value(json_array_get(values, seen++)));
                ASSERT_EQ(seen, json_array_size(values));
                total += seen;
        }
        ASSERT_EQ(strv_len(got->keys), total);
}

TEST(xfleet_vectors) {
        json_t *units = vectors("unitfiles");
        for (size_t i = 0; i < json_array_size(units); i++) {
                const json_t *v = json_array_get(units, i);
                const char *raw = ji_str(v, "Raw");
                if (!isempty(ji_str(v, "Error")))
                        continue;
                _cleanup_(unitfile_done) UnitFile u = {};
                _cleanup_(xfleet_done) XFleet x = {};
                _cleanup_(err_done) Err err = {};
                ASSERT_OK(unitfile_parse(raw, strlen(raw), 0, &u, NULL));
                xfleet_read(&u, "foo@bar.service", &x);
                ASSERT_EQ(x.global, ji_bool(v, "Global", false));
                ASSERT_STREQ(strempty(x.machine_id), ji_str(v, "MachineID"));
                check_strv(x.peers, ji_arr(v, "Peers"));
                check_strv(x.conflicts, ji_arr(v, "Conflicts"));
                check_strv(x.replaces, ji_arr(v, "Replaces"));
                check_metadata(&x.metadata, ji_obj(v, "Metadata"));
                const char *invalid = ji_str(v, "ValidErr"), *unknown = ji_str(v, "ReqErr");
                ASSERT_EQ(xfleet_validate(&x, &err), isempty(invalid) ? 0 : -EINVAL);
                if (!isempty(invalid))
                        ASSERT_STREQ(err_msg(&err), invalid);
                if (isempty(unknown))
                        ASSERT_NULL(xfleet_unknown(&u));
                else
                        ASSERT_NOT_NULL(strstr(unknown, xfleet_unknown(&u)));
        }
}

TEST(name_vectors) {
        json_t *names = vectors("names");
        ASSERT_TRUE(json_array_size(names) > 20);
        for (size_t i = 0; i < json_array_size(names); i++) {
                const json_t *v = json_array_get(names, i);
                const char *name = ji_str(v, "Name");
                _cleanup_(err_done) Err err = {};
                _cleanup_free_ char *prefix = unit_name_prefix(name), *instance = unit_name_instance(name),
                                    *template = unit_name_template(name);
                int r = unit_name_validate(name, &err);
                ASSERT_EQ(r, isempty(ji_str(v, "Error")) ? 0 : -EINVAL);
                if (r < 0)
                        ASSERT_STREQ(err_msg(&err), ji_str(v, "Error"));
                ASSERT_STREQ(prefix, ji_str(v, "Prefix"));
                ASSERT_STREQ(strempty(instance), ji_str(v, "Instance"));
                ASSERT_STREQ(strempty(template), ji_str(v, "Template"));
                ASSERT_EQ(unit_name_is_instance(name), ji_bool(v, "IsInstance", false));
                ASSERT_EQ(unit_name_is_template(name), ji_bool(v, "IsTemplate", false));
        }
        ASSERT_EQ(unit_name_validate("", NULL), -EINVAL);
}

TEST(glob_vectors) {
        json_t *globs = vectors("globs");
        for (size_t i = 0; i < json_array_size(globs); i++) {
                const json_t *v = json_array_get(globs, i);
                int want = ji_bool(v, "Err", false) ? -EINVAL : ji_bool(v, "Match", false);
                ASSERT_EQ(glob_match(ji_str(v, "Pattern"), ji_str(v, "Target")), want);
        }
        ASSERT_EQ(glob_match("a*b*c", "axxbxxbc"), 1);
        ASSERT_EQ(glob_match("a\\*", "a*"), 1);
        ASSERT_EQ(glob_match("a\\", "a"), -EINVAL);
        ASSERT_EQ(glob_match("[]a]", "]"), -EINVAL);
        ASSERT_EQ(glob_match("*a", "b/a"), 0);
        /* many stars stay cheap */
        ASSERT_EQ(glob_match("*a*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0);
}

TEST(specifiers_and_mangling) {
        _cleanup_free_ char *a = unit_specifiers("%n|%N|%p|%i|%%", "foo@a.b.service");
        ASSERT_STREQ(a, "foo@a.b.service|foo@a.b|foo|a.b|%%");
        _cleanup_free_ char *b = unit_name_mangle("dir/foo"), *c = unit_name_mangle("foo.timer"),
                            *d = unit_name_mangle("foo.target");
        ASSERT_STREQ(b, "foo.service");
        ASSERT_STREQ(c, "foo.timer");
        ASSERT_STREQ(d, "foo.target.service");
}

TEST(metadata) {
        _cleanup_(metadata_done) Metadata m = {};
        _cleanup_strv_ char **bad = NULL;
        metadata_parse(" region = us , disk=ssd,junk,region=eu,", &m, &bad);
        _cleanup_free_ char *text = metadata_text(&m);
        ASSERT_STREQ(text, "disk=ssd,region=eu");
        ASSERT_EQ(strv_len(bad), 1);
        metadata_set(&m, "region", "");
        ASSERT_NULL(metadata_get(&m, "region"));
        metadata_set(&m, "disk", "");
        _cleanup_free_ char *none = metadata_text(&m);
        ASSERT_STREQ(none, "");
}

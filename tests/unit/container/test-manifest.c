/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/manifest.h"
#include "test.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DESC(hex, size) "{\"mediaType\":\"m\",\"digest\":\"sha256:" hex "\",\"size\":" size "}"

static int parse(const char *s, const char *type, Manifest *m, Err *err) {
        return manifest_parse(s, strlen(s), type, m, err);
}

TEST(a_manifest_without_a_media_type) {
        _cleanup_(manifest_done) Manifest m = {};
        ASSERT_OK(parse("{\"config\":" DESC(HEX_A, "5") ",\"layers\":[" DESC(HEX_B, "7") "]}",
                        MEDIA_OCI_MANIFEST "; charset=utf-8", &m, NULL));
        ASSERT_FALSE(m.index);
        ASSERT_STREQ(m.config.hex, HEX_A);
        ASSERT_EQ(m.n_items, 1);
        ASSERT_STREQ(m.items[0].hex, HEX_B);
        ASSERT_EQ(m.items[0].size, 7);
        ASSERT_STREQ(m.items[0].media_type, "m");
}

#define ENTRY(hex, arch, variant)                                                                             \
        "{\"digest\":\"sha256:" hex "\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"" arch "\"" variant "}}"

TEST(an_index_and_its_platforms) {
        _cleanup_(manifest_done) Manifest m = {};
        ASSERT_OK(parse("{\"manifests\":[" ENTRY(HEX_A, "amd64", "") "," ENTRY(HEX_B, "arm64", ",\"variant\":\"v8\"") "]}",
                        MEDIA_DOCKER_LIST, &m, NULL));
        ASSERT_TRUE(m.index);
        ASSERT_STREQ(manifest_choose(&m, "linux/amd64")->hex, HEX_A);
        ASSERT_STREQ(manifest_choose(&m, "linux/arm64/v8")->hex, HEX_B);
        ASSERT_STREQ(manifest_choose(&m, "linux/arm64")->hex, HEX_B);
        ASSERT_NULL(manifest_choose(&m, "linux/arm64/v7"));
        ASSERT_NULL(manifest_choose(&m, "windows/amd64"));
        ASSERT_NULL(manifest_choose(&m, "linux"));
}

TEST(what_is_refused) {
        static const struct {
                const char *text, *type, *why;
        } cases[] = {
                { "[]", NULL, "not an object" },
                { "{}", NULL, "neither" },
                { "{\"layers\":[]}", NULL, "no config" },
                { "{\"config\":" DESC(HEX_A, "1") "}", NULL, "list is missing" },
                { "{\"manifests\":{}}", NULL, "list is missing" },
                { "{\"manifests\":[1]}", NULL, "without a digest" },
                { "{\"manifests\":[],\"layers\":[]}", NULL, "both" },
                { "{\"manifests\":[],\"mediaType\":\"" MEDIA_OCI_MANIFEST "\"}", NULL, "does not agree" },
                { "{\"manifests\":[]}", MEDIA_DOCKER_MANIFEST, "does not agree" },
                { "{\"schemaVersion\":1,\"layers\":[]}", NULL, "schema 1" },
                { "{\"config\":" DESC(HEX_A, "1.5") ",\"layers\":[]}", NULL, "no valid size" },
                { "{\"config\":" DESC(HEX_A "a", "1") ",\"layers\":[]}", NULL, "unsupported digest" },
                { "{\"config\":{\"digest\":\"sha512:" HEX_A HEX_A "\",\"size\":1},\"layers\":[]}", NULL, "unsupported digest" },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(manifest_done) Manifest m = {};
                _cleanup_(err_done) Err err = {};
                ASSERT_TRUE(parse(cases[i].text, cases[i].type, &m, &err) < 0);
                if (!strstr(err_msg(&err), cases[i].why))
                        test_fail(__FILE__, __LINE__, "%s: %s", cases[i].text, err_msg(&err));
        }
}

TEST(a_config) {
        static const char text[] =
                "{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2026-01-02T03:04:05.5Z\",\"config\":{"
                "\"Entrypoint\":[\"/e\"],\"Cmd\":null,\"Env\":[\"B=2\",\"A=1\"],\"User\":\"u:g\",\"WorkingDir\":\"/w\","
                "\"Volumes\":{\"/v\":{},\"/a\":{}},\"ExposedPorts\":{\"80/tcp\":{}},\"StopSignal\":\"SIGQUIT\","
                "\"Labels\":{\"z\":\"1\",\"k\":\"a=b\"},\"Healthcheck\":{\"Test\":[\"CMD\",\"x\"],\"Interval\":5}},"
                "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX_A "\",\"sha256:" HEX_B "\"]},"
                "\"history\":[{\"created_by\":\"one\"},{\"empty_layer\":true},{\"comment\":\"c\"}]}";
        _cleanup_(image_freep) Image *i = xnew(Image, 1);
        ASSERT_OK(config_parse(text, strlen(text), i, NULL));
        ASSERT_STREQ(i->config.entrypoint[0], "/e");
        ASSERT_NULL(i->config.cmd);
        ASSERT_STREQ(i->config.env[0], "B=2");
        ASSERT_STREQ(i->config.volumes[0], "/a");
        ASSERT_STREQ(i->config.labels[0], "k=a=b");
        ASSERT_STREQ(i->config.stop_signal, "SIGQUIT");
        ASSERT_EQ(i->config.healthcheck_interval_nsec, 5);
        ASSERT_EQ(i->created_nsec % 1000000000, 500000000);
        ASSERT_EQ(i->n_history, 3);
        ASSERT_TRUE(i->history[1].empty_layer);
        _cleanup_strv_ char **chains = chain_ids(i->diff_ids);
        ASSERT_STREQ(chains[0], HEX_A);
        /* printf 'sha256:aaa… sha256:bbb…' | sha256sum */
        ASSERT_STREQ(chains[1], "ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c");
        ASSERT_NULL(chains[2]);
}

TEST(configs_that_are_none) {
        static const char *const cases[] = {
                "[]", "{\"manifests\":[]}", "{\"config\":{\"Env\":[1]}}", "{\"config\":{\"Cmd\":{}}}",
                "{\"config\":{\"Volumes\":[]}}", "{\"rootfs\":{\"diff_ids\":[\"sha256:0\"]}}", "{\"rootfs\":{\"diff_ids\":[5]}}",
        };
        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                _cleanup_(image_freep) Image *i = xnew(Image, 1);
                if (config_parse(cases[k], strlen(cases[k]), i, NULL) >= 0)
                        test_fail(__FILE__, __LINE__, "accepted %s", cases[k]);
        }
}

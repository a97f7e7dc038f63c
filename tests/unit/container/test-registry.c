/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/image/auth.h"
#include "test.h"

TEST(challenges) {
        _cleanup_(challenge_done) Challenge c = {};
        ASSERT_OK(challenge_parse("Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\","
                                  "scope=\"repository:a:pull,push\"", &c));
        ASSERT_TRUE(c.bearer && !c.basic);
        ASSERT_STREQ(c.realm, "https://auth.docker.io/token");
        ASSERT_STREQ(c.service, "registry.docker.io");
        challenge_done(&c);
        ASSERT_OK(challenge_parse("Basic realm=\"x, y\", bearer Realm=https://a/t , service=\"a \\\"q\\\"\"", &c));
        ASSERT_TRUE(c.bearer && c.basic);
        ASSERT_STREQ(c.realm, "https://a/t");
        ASSERT_STREQ(c.service, "a \"q\"");
        challenge_done(&c);
        static const char *const bad[] = { "", "Bearer", "Bearer realm", "Bearer realm=\"x", "Digest realm=x", "Bearer service=x",
                                           "Bearer realm=\"http://a b\"", "Bearer realm=\"a\r\nb\"", "realm=x" };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (challenge_parse(bad[i], &c) >= 0)
                        test_fail(__FILE__, __LINE__, "accepted %s", bad[i]);
}

TEST(who_may_see_the_password) {
        static const struct {
                const char *registry, *realm;
                bool plain, trusted;
        } cases[] = {
                { "quay.io", "https://quay.io/v2/auth", false, true },
                { "docker.io", "https://auth.docker.io/token", false, true },
                { "registry.gitlab.com", "https://gitlab.com/jwt/auth", false, true },
                { "quay.io", "https://evil.io/token", false, false },
                { "quay.io", "https://notquay.io/token", false, false },
                { "quay.io", "http://quay.io/v2/auth", false, false },
                { "quay.io", "https://quay.io@evil.org/", false, false },
                { "quay.io", "https://evil.org\\.quay.io/", false, false },
                { "quay.io", "file:///etc/passwd", false, false },
                { "127.0.0.1:5000", "http://127.0.0.1:5001/t", true, true },
                { "127.0.0.1:5000", "http://127.0.0.2:5000/t", true, false },
                { "10.0.0.1:5000", "https://20.0.0.1/t", false, false },
                { "localhost:5000", "https://localhost.evil.org/t", true, false },
                { "registry", "https://other/t", false, false },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (realm_trusted(cases[i].registry, cases[i].realm, cases[i].plain) != cases[i].trusted)
                        test_fail(__FILE__, __LINE__, "%s %s", cases[i].registry, cases[i].realm);
}

static Credentials find(const char *json, const char *domain) {
        Credentials c = {};
        _cleanup_(err_done) Err err = {};
        if (credentials_parse(json, strlen(json), domain, &c, &err) < 0)
                test_fail(__FILE__, __LINE__, "%s", err_msg(&err));
        return c;
}

TEST(credentials_of_every_docker) {
        static const char json[] = "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"aHViOnB3\"},"
                                   "\"https://a.b/v1/\":{\"auth\":\"YTpiOmM=\"},\"127.0.0.1:5000\":{\"username\":\"u\","
                                   "\"password\":\"p\"},\"t.o\":{\"identitytoken\":\"T\"}},"
                                   "\"credHelpers\":{\"h.x\":\"pass\"},\"credsStore\":\"desktop\"}";
        _cleanup_(credentials_done) Credentials hub = find(json, "docker.io"), a = find(json, "a.b"),
                                                port = find(json, "127.0.0.1:5000"), t = find(json, "t.o"),
                                                h = find(json, "h.x"), none = find(json, "127.0.0.1:500");
        ASSERT_STREQ(hub.user, "hub");
        ASSERT_STREQ(hub.password, "pw");
        ASSERT_STREQ(a.user, "a");
        ASSERT_STREQ(a.password, "b:c");
        ASSERT_STREQ(port.password, "p");
        ASSERT_STREQ(t.identity_token, "T");
        ASSERT_STREQ(h.helper, "pass");
        ASSERT_NULL(none.user);
        ASSERT_STREQ(none.helper, "desktop");
        _cleanup_(credentials_done) Credentials bad = {};
        ASSERT_TRUE(credentials_parse("{\"auths\":{\"a.b\":{\"auth\":\"!\"}}}", 30, "a.b", &bad, NULL) < 0);
        ASSERT_OK(credentials_parse_header("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ==", &bad, NULL));
        ASSERT_STREQ(bad.user, "u");
}

TEST(which_registries_may_be_plain) {
        ASSERT_TRUE(domain_is_loopback("127.0.0.1:5000"));
        ASSERT_TRUE(domain_is_loopback("127.9.8.7"));
        ASSERT_TRUE(domain_is_loopback("localhost:1"));
        ASSERT_TRUE(domain_is_loopback("[::1]:5000"));
        ASSERT_FALSE(domain_is_loopback("127.0.0.1.evil.org"));
        ASSERT_FALSE(domain_is_loopback("localhost.evil.org:5000"));
        ASSERT_FALSE(domain_is_loopback("10.0.0.1:5000"));
        static const char json[] = "{\"insecure-registries\":[\"r.x:5000\",\"10.1.0.0/16\",\"bad/99\",7]}";
        ASSERT_TRUE(insecure_listed(json, strlen(json), "r.x:5000"));
        ASSERT_FALSE(insecure_listed(json, strlen(json), "r.x:5001"));
        ASSERT_TRUE(insecure_listed(json, strlen(json), "10.1.2.3:80"));
        ASSERT_FALSE(insecure_listed(json, strlen(json), "10.2.2.3:80"));
        ASSERT_FALSE(insecure_listed("[", 1, "10.2.2.3:80"));
}

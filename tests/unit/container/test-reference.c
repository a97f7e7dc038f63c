/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/reference.h"
#include "test.h"

typedef struct Good {
        const char *in, *full, *familiar;
} Good;

#define D "@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
static const Good good[] = {
        { "nginx", "docker.io/library/nginx:latest", "nginx:latest" },
        { "nginx:1.2", "docker.io/library/nginx:1.2", "nginx:1.2" },
        { "coreos/etcd", "docker.io/coreos/etcd:latest", "coreos/etcd:latest" },
        { "index.docker.io/x", "docker.io/library/x:latest", "x:latest" },
        { "docker.io/library/x", "docker.io/library/x:latest", "x:latest" },
        { "docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest" },
        { "localhost/x", "localhost/x:latest", "localhost/x:latest" },
        { "localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y" },
        { "127.0.0.1:5000/coreos/nginx:1", "127.0.0.1:5000/coreos/nginx:1", "127.0.0.1:5000/coreos/nginx:1" },
        { "[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest" },
        { "quay.io/coreos/etcd:v3" D, "quay.io/coreos/etcd:v3" D, "quay.io/coreos/etcd:v3" D },
        { "nginx" D, "docker.io/library/nginx" D, "nginx" D },
        { "a.b/c__d-e---f.g_h", "a.b/c__d-e---f.g_h:latest", "a.b/c__d-e---f.g_h:latest" },
        { "foo:5000", "docker.io/library/foo:5000", "foo:5000" },
        { "Host.x/x", "Host.x/x:latest", "Host.x/x:latest" },
        { "docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest" },
        { "x:_T.a-g", "docker.io/library/x:_T.a-g", "x:_T.a-g" },
};

TEST(accepts_what_docker_accepts) {
        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                _cleanup_(reference_done) Reference r = {};
                _cleanup_(err_done) Err e = {};
                if (reference_parse(good[i].in, &r, &e) < 0)
                        test_fail(__FILE__, __LINE__, "%s: %s", good[i].in, err_msg(&e));
                _cleanup_free_ char *full = reference_full(&r), *familiar = reference_familiar(&r);
                ASSERT_STREQ(full, good[i].full);
                ASSERT_STREQ(familiar, good[i].familiar);
        }
}

static const char *const bad[] = {
        "", ":", "/", "a/", "/a", "a//b", "Nginx", "a/B", "Host/x", "nginx:", "nginx:.x", "nginx@", "nginx@sha256:abc", "a b",
        "nginx@sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "a..b", "a___b", "-a", "a-",
        "_a", "a_", "a.", "..", "../x", "x/..", "a.b:99999/x", "a.b:0/x", "a.b:/x", "-a.b/x", "a\r\nb", "x:a\r\n",
        "[::1/x", "[]/x", "nginx:tag@", "http://x/y", "a:b:c",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "x@1sha:ba7816bf8f01cfea414140de5dae2223",
};

TEST(refuses_the_rest) {
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_(reference_done) Reference r = {};
                if (reference_parse(bad[i], &r, NULL) != -EINVAL)
                        test_fail(__FILE__, __LINE__, "accepted \"%s\"", bad[i]);
                ASSERT_NULL(r.path);
        }
        _cleanup_(reference_done) Reference r = {};
        _cleanup_(err_done) Err e = {};
        ASSERT_EQ(reference_parse("library/Foo", &r, &e), -EINVAL);
        ASSERT_STREQ(err_msg(&e), "invalid reference format: repository name (library/Foo) must be lowercase");
}

TEST(limits_lengths) {
        char tag[140], name[300];
        memset(tag, 'a', sizeof(tag));
        memset(name, 'a', sizeof(name));
        _cleanup_(reference_done) Reference r = {};
        _cleanup_free_ char *ok = xasprintf("x:%.128s", tag), *over = xasprintf("x:%.129s", tag);
        ASSERT_OK(reference_parse(ok, &r, NULL));
        ASSERT_EQ(reference_parse(over, &r, NULL), -EINVAL);
        reference_done(&r);
        _cleanup_free_ char *fits = xasprintf("a.b/%.251s", name), *overlong = xasprintf("a.b/%.252s", name);
        ASSERT_OK(reference_parse(fits, &r, NULL));
        ASSERT_EQ(reference_parse(overlong, &r, NULL), -EINVAL);
}

TEST(digests_of_one_kind_only) {
        ASSERT_NOT_NULL(digest_sha256(D + 1));
        ASSERT_NULL(digest_sha256("sha256:00"));
        ASSERT_NULL(digest_sha256("md5:d41d8cd98f00b204e9800998ecf8427e"));
        ASSERT_NULL(digest_sha256("sha256:../../../../etc/passwd"));
        ASSERT_NULL(digest_sha256(NULL));
}

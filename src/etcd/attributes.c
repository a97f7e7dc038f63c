/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/attributes.h"
#include "base/alloc.h"
#include "base/str.h"

#define MEMBER_PREFIX "attributes/"
#define ATTRIBUTE_TEXT_MAX 4096U

void attributes_of_member(uint64_t id, const char *name, char *const *client_urls, Buf *key, Buf *value) {
        buf_addf(key, MEMBER_PREFIX "%016" PRIx64, id);
        buf_add_bytes(value, name, strlen(name));
        STRV_FOREACH(i, client_urls)
                buf_add_bytes(value, *i, strlen(*i));
}

static int next_text(Rd *rd, char **ret) {
        const void *p;
        size_t n;
        if (rd_bytes(rd, &p, &n) < 0 || n > ATTRIBUTE_TEXT_MAX || memchr(p, 0, n))
                return -EBADMSG;
        *ret = xstrndup(p, n);
        return 0;
}

static void apply_member(Members *m, Bytes id_text, Bytes value) {
        _cleanup_free_ char *hex = xstrndup(id_text.p, id_text.n), *name = NULL;
        _cleanup_strv_ char **urls = NULL;
        Rd rd = rd_new(value.p, value.n);
        uint64_t id;
        if (parse_u64_base(hex, 16, &id) < 0 || next_text(&rd, &name) < 0)
                return;
        while (rd.left > 0) {
                char *url;
                if (strv_len(urls) >= MEMBER_URLS_MAX || next_text(&rd, &url) < 0)
                        return;
                strv_push(&urls, url);
        }
        (void) members_set_attributes(m, id, name, urls);
}

void attributes_apply(Members *m, Bytes key, Bytes value) {
        size_t n = strlen(MEMBER_PREFIX);
        if (bytes_eq(key, bytes_of(ATTRIBUTES_VERSION_KEY))) {
                _cleanup_free_ char *v = xstrndup(value.p, MIN(value.n, (size_t) 64));
                members_set_version(m, v);
        } else if (key.n == n + 16 && memcmp(key.p, MEMBER_PREFIX, n) == 0)
                apply_member(m, (Bytes){ key.p + n, key.n - n }, value);
}

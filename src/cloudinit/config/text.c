/* SPDX-License-Identifier: Apache-2.0 */

/* The text-level steps: what kind of user-data this is, $variables, encodings, and files of K=V lines. */

#include "base/alloc.h"
#include "base/str.h"
#include "cloudinit/config/cloudconfig.h"
#include "codec/base64.h"

#include <zlib.h>

UserDataKind user_data_kind(const char *text, size_t n) {
        if (n == 0)
                return USER_DATA_EMPTY;
        const char *nl = memchr(text, '\n', n);
        size_t len = nl ? (size_t) (nl - text) : n;
        if (len >= 2 && text[0] == '#' && text[1] == '!')
                return USER_DATA_SCRIPT;
        _cleanup_free_ char *line = xstrndup(text, len);
        if (streq(strstrip(line), "#cloud-config") && startswith(text, "#cloud-config"))
                return USER_DATA_CONFIG;
        return line[0] == '{' ? USER_DATA_IGNITION : USER_DATA_UNKNOWN;
}

void substitute(Buf *out, const char *text, size_t n, const Substitutions *s) {
        const struct {
                const char *name, *value;
        } vars[] = { { "$public_ipv4", s->public_ipv4 },
                     { "$private_ipv4", s->private_ipv4 },
                     { "$public_ipv6", s->public_ipv6 },
                     { "$private_ipv6", s->private_ipv6 } };
        for (size_t i = 0; i < n;) {
                bool escaped = text[i] == '\\' && i + 1 < n && text[i + 1] == '$';
                size_t at = i + escaped, hit = 0;
                for (; hit < ELEMENTSOF(vars); hit++)
                        if (strlen(vars[hit].name) <= n - at &&
                            memcmp(text + at, vars[hit].name, strlen(vars[hit].name)) == 0)
                                break;
                if (hit == ELEMENTSOF(vars)) {
                        buf_addc(out, text[i++]);
                        continue;
                }
                buf_adds(out, escaped ? vars[hit].name : strempty(vars[hit].value));
                i = at + strlen(vars[hit].name);
        }
}

int gunzip(const void *p, size_t n, size_t limit, Buf *ret) {
        z_stream z = { .next_in = (Bytef *) (uintptr_t) p, .avail_in = (uInt) n };
        if (n > UINT32_MAX || inflateInit2(&z, 15 + 16) != Z_OK)
                return -EINVAL;
        _cleanup_(buf_done) Buf b = {};
        int r = Z_OK;
        while (r == Z_OK && b.len <= limit) {
                buf_reserve(&b, 16384);
                z.next_out = (Bytef *) b.data + b.len;
                z.avail_out = 16384;
                r = inflate(&z, Z_NO_FLUSH);
                b.len += 16384 - z.avail_out;
                b.data[b.len] = 0;
                if (r == Z_BUF_ERROR || (r == Z_OK && z.avail_in == 0 && z.avail_out > 0))
                        break;
        }
        (void) inflateEnd(&z);
        if (b.len > limit)
                return -EFBIG;
        if (r != Z_STREAM_END)
                return -EBADMSG;
        buf_done(ret);
        *ret = b;
        b = (Buf){};
        return 0;
}

int decode_content(const char *encoding, const char *content, size_t n, Buf *ret) {
        static const struct {
                const char *name;
                bool base64, gzip;
        } known[] = { { "base64", true, false }, { "b64", true, false },      { "gz", false, true },
                      { "gzip", false, true },   { "gz+base64", true, true }, { "gzip+base64", true, true },
                      { "gz+b64", true, true },  { "gzip+b64", true, true },  { "", false, false } };
        size_t i = 0;
        while (i < ELEMENTSOF(known) && !streq(known[i].name, strempty(encoding)))
                i++;
        if (i == ELEMENTSOF(known))
                return -EOPNOTSUPP;
        _cleanup_(buf_done) Buf plain = {};
        if (known[i].base64) {
                Buf packed = {};
                for (size_t k = 0; k < n; k++)
                        if (content[k] != '\n' && content[k] != '\r')
                                buf_addc(&packed, content[k]);
                int r = base64_decode(&plain, buf_str(&packed), packed.len);
                buf_done(&packed);
                if (r < 0)
                        return r;
        } else
                buf_add(&plain, content, n);
        if (known[i].gzip)
                return gunzip(buf_str(&plain), plain.len, GUNZIPPED_MAX, ret);
        buf_done(ret);
        *ret = plain;
        plain = (Buf){};
        return 0;
}

static const char *new_value(char *const *lines, const char *line, size_t n) {
        STRV_FOREACH(l, lines) {
                size_t key = strcspn(*l, "=");
                if (key < n && strncmp(*l, line, key) == 0 && line[key] == '=')
                        return *l;
        }
        return NULL;
}

void settings_merge(Buf *out, const char *old, const char *lines) {
        _cleanup_strv_ char **want = strv_split(lines, "\n", false), **done = NULL;
        while (*old) {
                size_t n = strcspn(old, "\n"), len = n;
                while (len > 0 && old[len - 1] == '\r')
                        len--;
                const char *v = new_value(want, old, len);
                if (v && !strv_contains(done, v))
                        strv_add(&done, v);
                if (v)
                        buf_addf(out, "%s\n", v);
                else
                        buf_addf(out, "%.*s\n", (int) len, old);
                old += n + (old[n] == '\n');
        }
        strv_sort(want);
        STRV_FOREACH(l, want)
                if (!strv_contains(done, *l))
                        buf_addf(out, "%s\n", *l);
}

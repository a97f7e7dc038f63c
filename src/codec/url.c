/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/url.h"
#include "base/alloc.h"
#include "base/str.h"

#include <ctype.h>

static int hex_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char) (c | 0x20);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int url_decode(Buf *b, const char *s, size_t n, bool plus) {
        size_t begin = b->len;
        for (size_t i = 0; i < n; i++) {
                size_t run = 0;
                while (i + run < n && s[i + run] != '%' && !(plus && s[i + run] == '+'))
                        run++;
                if (run > 0) {
                        buf_add(b, s + i, run);
                        i += run - 1;
                        continue;
                }
                if (s[i] == '+') {
                        buf_addc(b, ' ');
                        continue;
                }
                int hi = i + 2 < n ? hex_value(s[i + 1]) : -1, lo = i + 2 < n ? hex_value(s[i + 2]) : -1;
                if (hi < 0 || lo < 0) {
                        buf_truncate(b, begin);
                        return -EINVAL;
                }
                buf_addc(b, (char) (hi * 16 + lo));
                i += 2;
        }
        return 0;
}

void url_encode(Buf *b, const void *p, size_t n, const char *keep) {
        static const char hex[] = "0123456789ABCDEF";
        const uint8_t *s = p;
        for (size_t i = 0; i < n; i++) {
                bool plain = s[i] < 0x80 && (isalnum(s[i]) || memchr("-._~", s[i], 4));
                if (plain || (keep && s[i] && strchr(keep, s[i]))) {
                        buf_addc(b, (char) s[i]);
                } else {
                        buf_addc(b, '%');
                        buf_addc(b, hex[s[i] >> 4]);
                        buf_addc(b, hex[s[i] & 15]);
                }
        }
}

void url_form_add(Buf *b, const char *name, const char *value) {
        if (b->len > 0)
                buf_addc(b, '&');
        url_encode(b, name, strlen(name), NULL);
        buf_addc(b, '=');
        url_encode(b, value, strlen(value), NULL);
}

void url_done(Url *u) {
        free(u->scheme);
        free(u->userinfo);
        free(u->host);
        free(u->path);
        free(u->query);
        *u = (Url){};
}

static char *lower(const char *s, size_t n) {
        char *r = xstrndup(s, n);
        for (char *i = r; *i; i++)
                *i = (char) tolower((unsigned char) *i);
        return r;
}

/* "host", "host:port", "[v6]", "[v6]:port", each maybe after "userinfo@". */
static int parse_authority(const char *s, size_t n, Url *u, Err *err) {
        const char *end = s + n, *at = memrchr(s, '@', n);
        if (at) {
                u->userinfo = xstrndup(s, (size_t) (at - s));
                s = at + 1;
        }
        const char *host_end = s, *port = NULL;
        if (s < end && *s == '[') {
                const char *close = memchr(s, ']', (size_t) (end - s));
                if (!close)
                        return err_set(err, -EINVAL, "missing ']' in host");
                u->ipv6 = true;
                u->host = lower(s + 1, (size_t) (close - s - 1));
                host_end = close + 1;
        } else {
                host_end = memchr(s, ':', (size_t) (end - s)) ?: end;
                u->host = lower(s, (size_t) (host_end - s));
        }
        if (host_end < end) {
                if (*host_end != ':')
                        return err_set(err, -EINVAL, "junk after host");
                port = host_end + 1;
        }
        if (!port || port == end)
                return 0;
        _cleanup_free_ char *digits = xstrndup(port, (size_t) (end - port));
        uint64_t v;
        if (parse_u64(digits, &v) < 0 || v == 0 || v > 65535)
                return err_set(err, -EINVAL, "invalid port \"%s\"", digits);
        u->port = (uint16_t) v;
        return 0;
}

static int parse(const char *s, Url *u, Err *err) {
        const char *colon = strstr(s, "://");
        if (strlen(s) > URL_BYTES_MAX)
                return err_set(err, -EINVAL, "URL too long");
        for (const char *i = s; *i; i++)
                if ((uint8_t) *i <= 0x20 || *i == 0x7f)
                        return err_set(err, -EINVAL, "invalid character in URL \"%s\"", s);
        if (!colon || colon == s ||
            strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") !=
                            (size_t) (colon - s))
                return err_set(err, -EINVAL, "URL \"%s\" has no scheme (http://...)", s);
        u->scheme = lower(s, (size_t) (colon - s));
        const char *rest = colon + 3;
        size_t n = strcspn(rest, "/?#");
        if (streq(u->scheme, "unix")) { /* unix:///path and unix://path, as docker and etcd write it */
                _cleanup_(buf_done) Buf b = {};
                size_t all = strcspn(rest, "?#");
                if (url_decode(&b, rest, all, false) < 0 || b.len == 0 || memchr(b.data, 0, b.len))
                        return err_set(err, -EINVAL, "bad socket path in \"%s\"", s);
                u->host = xstrdup("");
                u->path = buf_take(&b);
                return 0;
        }
        int r = parse_authority(rest, n, u, err);
        if (r < 0)
                return err_wrap(err, r, "URL \"%s\"", s);
        rest += n;
        n = strcspn(rest, "?#");
        u->path = xstrndup(rest, n);
        if (rest[n] == '?')
                u->query = xstrndup(rest + n + 1, strcspn(rest + n + 1, "#"));
        return 0;
}

int url_parse(const char *s, Url *ret, Err *err) {
        Url u = {};
        int r = parse(s, &u, err);
        if (r < 0) {
                url_done(&u);
                return r;
        }
        *ret = u;
        return 0;
}

uint16_t url_port(const Url *u) {
        return u->port ?: streq(u->scheme, "https") ? 443 : streq(u->scheme, "http") ? 80 : 0;
}

char *url_host_port(const Url *u) {
        return xasprintf(u->ipv6 ? "[%s]:%u" : "%s:%u", u->host, url_port(u));
}

void url_params_done(UrlParams *p) {
        for (size_t i = 0; i < p->n; i++) {
                free(p->params[i].name);
                free(p->params[i].value);
        }
        free(p->params);
        *p = (UrlParams){};
}

static int add_param(UrlParams *ps, const char *s, size_t n) {
        _cleanup_(buf_done) Buf name = {}, value = {};
        const char *eq = memchr(s, '=', n);
        size_t nl = eq ? (size_t) (eq - s) : n;
        if (ps->n >= URL_PARAMS_MAX)
                return -E2BIG;
        if (url_decode(&name, s, nl, true) < 0 || (eq && url_decode(&value, eq + 1, n - nl - 1, true) < 0))
                return -EINVAL;
        GROW(ps->params, ps->cap, ps->n + 1);
        size_t len = value.len;
        ps->params[ps->n++] = (UrlParam){ buf_take(&name), buf_take(&value), len };
        return 0;
}

int url_params_parse(const char *s, size_t n, UrlParams *ret) {
        UrlParams ps = {};
        for (const char *end = s + n; s < end;) {
                const char *amp = memchr(s, '&', (size_t) (end - s)) ?: end;
                int r = amp > s ? add_param(&ps, s, (size_t) (amp - s)) : 0;
                if (r < 0) {
                        url_params_done(&ps);
                        return r;
                }
                s = amp + 1;
        }
        *ret = ps;
        return 0;
}

const char *url_params_get(const UrlParams *p, const char *name) {
        for (size_t i = 0; i < p->n; i++)
                if (streq(p->params[i].name, name))
                        return p->params[i].value;
        return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/reference.h"
#include "base/alloc.h"
#include "base/str.h"

#define DEFAULT_DOMAIN "docker.io"

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}
static bool is_lower_alnum(char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z');
}
static bool is_alnum(char c) {
        return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}
static bool is_lower_hex(char c) {
        return is_digit(c) || (c >= 'a' && c <= 'f');
}

void reference_done(Reference *r) {
        free(r->domain);
        free(r->path);
        free(r->tag);
        free(r->digest);
        *r = (Reference){};
}

bool hex64_valid(const char *s) {
        size_t n = strspn(s, "0123456789abcdef");
        return n == 64 && !s[n];
}

const char *digest_sha256(const char *digest) {
        const char *hex = digest ? startswith(digest, "sha256:") : NULL;
        return hex && hex64_valid(hex) ? hex : NULL;
}

bool reference_tag_valid(const char *tag) {
        size_t n = strlen(tag);
        if (n == 0 || n > REFERENCE_TAG_MAX || !(is_alnum(tag[0]) || tag[0] == '_'))
                return false;
        for (size_t i = 1; i < n; i++)
                if (!is_alnum(tag[i]) && !strchr("_.-", tag[i]))
                        return false;
        return true;
}

/* algorithm := component ([+._-] component)*, component := letter alnum*; then ':' and at least 32 hex digits;
 * sha256 and sha512 have exactly their length. */
static bool digest_valid(const char *s) {
        const char *colon = strchr(s, ':');
        if (!colon)
                return false;
        bool start = true;
        for (const char *p = s; p < colon; p++) {
                bool separator = strchr("+._-", *p) != NULL;
                if (start ? !is_alnum(*p) || is_digit(*p) : !is_alnum(*p) && !separator)
                        return false;
                start = separator;
        }
        if (start)
                return false;
        size_t n = 0;
        for (const char *p = colon + 1; *p; p++, n++)
                if (!is_lower_hex(*p))
                        return false;
        if (startswith(s, "sha256:"))
                return n == 64;
        if (startswith(s, "sha512:"))
                return n == 128;
        return n >= 32 && n <= 256;
}

/* One path component: [a-z0-9]+ joined by one of ".", "_", "__" or any number of "-". */
static bool component_valid(const char *s, size_t n) {
        size_t i = 0;
        for (;;) {
                size_t start = i;
                while (i < n && is_lower_alnum(s[i]))
                        i++;
                if (i == start)
                        return false;
                if (i == n)
                        return true;
                size_t sep = i;
                if (s[i] == '-')
                        while (i < n && s[i] == '-')
                                i++;
                else if (s[i] == '_')
                        while (i < n && s[i] == '_' && i - sep < 2)
                                i++;
                else if (s[i] == '.')
                        i++;
                if (i == sep)
                        return false;
        }
}

static bool path_valid(const char *s) {
        for (;;) {
                size_t n = strcspn(s, "/");
                if (!component_valid(s, n))
                        return false;
                if (!s[n])
                        return true;
                s += n + 1;
        }
}

static bool port_valid(const char *s) {
        uint32_t port;
        return parse_u32(s, &port) >= 0 && port >= 1 && port <= 65535;
}

static bool domain_valid(const char *s) {
        const char *p = s;
        if (*p == '[') {
                size_t n = strspn(p + 1, "0123456789abcdefABCDEF:");
                if (n < 2 || p[n + 1] != ']')
                        return false;
                p += n + 2;
                return !*p || (*p == ':' && port_valid(p + 1));
        }
        for (;;) {
                size_t n = 0;
                while (is_alnum(p[n]) || p[n] == '-')
                        n++;
                if (n == 0 || p[0] == '-' || p[n - 1] == '-')
                        return false;
                p += n;
                if (*p != '.')
                        break;
                p++;
        }
        return !*p || (*p == ':' && port_valid(p + 1));
}

static bool is_domain(const char *s, size_t n) {
        return memchr(s, '.', n) || memchr(s, ':', n) || (n == 9 && memcmp(s, "localhost", 9) == 0);
}

static bool has_upper(const char *s) {
        for (; *s; s++)
                if (*s >= 'A' && *s <= 'Z')
                        return true;
        return false;
}

/* Splits "name" into domain and path with docker's defaults. */
static void split_domain(const char *name, Reference *ref) {
        size_t n = strcspn(name, "/");
        if (!name[n] || !is_domain(name, n)) {
                ref->domain = xstrdup(DEFAULT_DOMAIN);
                ref->path = xstrdup(name);
        } else {
                ref->domain = xstrndup(name, n);
                ref->path = xstrdup(name + n + 1);
        }
        if (streq(ref->domain, "index.docker.io")) {
                free(ref->domain);
                ref->domain = xstrdup(DEFAULT_DOMAIN);
        }
        if (streq(ref->domain, DEFAULT_DOMAIN) && !strchr(ref->path, '/')) {
                char *full = xasprintf("library/%s", ref->path);
                free(ref->path);
                ref->path = full;
        }
}

int reference_parse(const char *s, Reference *ret, Err *err) {
        _cleanup_(reference_done) Reference ref = {};
        if (strlen(s) > REFERENCE_NAME_MAX + REFERENCE_TAG_MAX + 300)
                return err_set(err, -EINVAL, "invalid reference format: it is too long");
        if (hex64_valid(s))
                return err_set(err, -EINVAL,
                               "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", s);
        _cleanup_free_ char *name = xstrdup(s);
        char *at = strchr(name, '@');
        if (at) {
                *at = 0;
                if (!digest_valid(at + 1))
                        return err_set(err, -EINVAL, "invalid reference format");
                ref.digest = xstrdup(at + 1);
        }
        char *colon = strrchr(name, ':');
        if (colon && !strchr(colon, '/')) {
                *colon = 0;
                if (!reference_tag_valid(colon + 1))
                        return err_set(err, -EINVAL, "invalid reference format");
                ref.tag = xstrdup(colon + 1);
        }
        split_domain(name, &ref);
        if (has_upper(ref.path))
                return err_set(err, -EINVAL, "invalid reference format: repository name (%s) must be lowercase",
                               ref.path);
        if (!path_valid(ref.path) || !domain_valid(ref.domain))
                return err_set(err, -EINVAL, "invalid reference format");
        if (strlen(ref.domain) + 1 + strlen(ref.path) > REFERENCE_NAME_MAX)
                return err_set(err, -EINVAL, "invalid reference format: repository name must not be more than %d "
                               "characters", REFERENCE_NAME_MAX);
        if (!ref.tag && !ref.digest)
                ref.tag = xstrdup("latest");
        *ret = ref;
        ref = (Reference){};
        return 0;
}

char *reference_name(const Reference *r) {
        return xasprintf("%s/%s", r->domain, r->path);
}

char *reference_familiar_name(const Reference *r) {
        if (!streq(r->domain, DEFAULT_DOMAIN))
                return reference_name(r);
        size_t n = strcspn(r->path, "/");
        if (r->path[n] && is_domain(r->path, n)) /* docker.io/a.b/c: the short form would name another host */
                return reference_name(r);
        const char *official = startswith(r->path, "library/");
        return xstrdup(official && !strchr(official, '/') ? official : r->path);
}

static char *with_suffix(char *name, const Reference *r) {
        char *s = xasprintf("%s%s%s%s%s", name, r->tag ? ":" : "", strempty(r->tag), r->digest ? "@" : "",
                            strempty(r->digest));
        free(name);
        return s;
}

char *reference_full(const Reference *r) {
        return with_suffix(reference_name(r), r);
}

char *reference_familiar(const Reference *r) {
        return with_suffix(reference_familiar_name(r), r);
}

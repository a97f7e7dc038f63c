/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/auth.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "codec/base64.h"
#include "codec/jsonin.h"

#include <arpa/inet.h>
#include <strings.h>

#define CHALLENGE_MAX 8192
#define DOCKER_HUB_KEY "https://index.docker.io/v1/"

void challenge_done(Challenge *c) {
        free(c->realm);
        free(c->service);
        *c = (Challenge){};
}

static bool is_token_char(char c) {
        return c > ' ' && c < 127 && !strchr("()<>@,;:\\\"/[]?={}", c);
}

/* key=token or key="quoted \" string"; returns behind it, NULL when malformed. */
static const char *parse_parameter(const char *p, char **ret_key, char **ret_value) {
        const char *start = p;
        while (is_token_char(*p))
                p++;
        if (p == start || *p != '=')
                return NULL;
        _cleanup_free_ char *key = xstrndup(start, (size_t) (p - start));
        _cleanup_(buf_done) Buf value = {};
        p++;
        if (*p == '"') {
                for (p++; *p && *p != '"'; p++) {
                        if (*p == '\\' && p[1])
                                p++;
                        buf_addc(&value, *p);
                }
                if (*p++ != '"')
                        return NULL;
        } else {
                while (*p && *p != ',' && *p != ' ')
                        buf_addc(&value, *p++);
        }
        *ret_key = TAKE_PTR(key);
        *ret_value = buf_take(&value);
        return p;
}

static bool is_printable(const char *s) {
        for (; *s; s++)
                if (*s <= ' ' || *s >= 127)
                        return false;
        return true;
}

int challenge_parse(const char *header, Challenge *ret) {
        _cleanup_(challenge_done) Challenge c = {};
        if (strlen(header) > CHALLENGE_MAX)
                return -EINVAL;
        bool in_bearer = false;
        for (const char *p = header + strspn(header, " ,"); *p; p += strspn(p, " ,")) {
                size_t word = 0;
                while (is_token_char(p[word]))
                        word++;
                if (word > 0 && p[word] != '=') { /* a scheme's name */
                        in_bearer = word == 6 && strncasecmp(p, "Bearer", 6) == 0;
                        c.bearer |= in_bearer;
                        c.basic |= word == 5 && strncasecmp(p, "Basic", 5) == 0;
                        p += word;
                        continue;
                }
                _cleanup_free_ char *key = NULL, *value = NULL;
                p = parse_parameter(p, &key, &value);
                if (!p)
                        return -EINVAL;
                if (in_bearer && strcasecmp(key, "realm") == 0 && !c.realm)
                        c.realm = TAKE_PTR(value);
                else if (in_bearer && strcasecmp(key, "service") == 0 && !c.service)
                        c.service = TAKE_PTR(value);
        }
        if (!c.bearer && !c.basic)
                return -EINVAL;
        if (c.bearer && (!c.realm || !is_printable(c.realm)))
                return -EINVAL;
        *ret = c;
        c = (Challenge){};
        return 0;
}

void credentials_done(Credentials *c) {
        free(c->user);
        free(c->password);
        free(c->identity_token);
        free(c->helper);
        *c = (Credentials){};
}

static int decode_user_password(const char *text, Credentials *ret) {
        _cleanup_(buf_done) Buf b = {};
        if (base64_decode(&b, text, strlen(text)) < 0)
                return -EINVAL;
        const char *colon = strchr(buf_str(&b), ':');
        if (!colon)
                return -EINVAL;
        ret->user = xstrndup(b.data, (size_t) (colon - b.data));
        ret->password = xstrdup(colon + 1);
        return 0;
}

static bool is_hub(const char *domain) {
        return streq(domain, "docker.io");
}

/* Keys were written by many versions of docker: "host", "https://host", "https://host/v1/". */
static bool key_matches(const char *key, const char *domain) {
        const char *rest = startswith(key, "https://");
        if (!rest)
                rest = startswith(key, "http://");
        if (is_hub(domain) && (streq(key, DOCKER_HUB_KEY) || streq(key, "index.docker.io") || streq(key, "docker.io")))
                return true;
        if (!rest)
                rest = key;
        size_t n = strlen(domain);
        return strncmp(rest, domain, n) == 0 && (!rest[n] || rest[n] == '/');
}

int credentials_parse(const char *json, size_t n, const char *domain, Credentials *ret, Err *err) {
        _cleanup_json_ json_t *j = NULL;
        int r = ji_parse(json, n, 1U << 20, &j, err);
        if (r < 0)
                return r;
        const char *key;
        json_t *v;
        json_object_foreach(ji_obj(j, "auths"), key, v) {
                if (!key_matches(key, domain) || !json_is_object(v))
                        continue;
                const char *auth = ji_str(v, "auth"), *user = ji_str(v, "username"), *token = ji_str(v, "identitytoken");
                if (!isempty(token))
                        ret->identity_token = xstrdup(token);
                if (!isempty(auth) && decode_user_password(auth, ret) < 0)
                        return err_set(err, -EINVAL, "malformed \"auth\" of %s", key);
                if (!ret->user && !isempty(user)) {
                        ret->user = xstrdup(user);
                        ret->password = xstrdup(strempty(ji_str(v, "password")));
                }
                if (ret->user || ret->identity_token)
                        return 0;
        }
        json_t *helpers = ji_obj(j, "credHelpers");
        const char *helper = helpers ? ji_str(helpers, domain) : NULL;
        if (isempty(helper))
                helper = ji_str(j, "credsStore");
        if (!isempty(helper))
                ret->helper = xstrdup(helper);
        return 0;
}

int credentials_parse_header(const char *base64, Credentials *ret, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        _cleanup_json_ json_t *j = NULL;
        if (base64_decode(&b, base64, strlen(base64)) < 0 || ji_parse(buf_str(&b), b.len, 64U << 10, &j, NULL) < 0)
                return err_set(err, -EINVAL, "malformed X-Registry-Auth");
        const char *user = ji_str(j, "username"), *token = ji_str(j, "identitytoken");
        if (!isempty(user)) {
                ret->user = xstrdup(user);
                ret->password = xstrdup(strempty(ji_str(j, "password")));
        }
        if (!isempty(token))
                ret->identity_token = xstrdup(token);
        return 0;
}

/* "host", "host:port", "[v6]:port" to the host alone. */
static char *host_of(const char *domain) {
        if (*domain == '[')
                return xstrndup(domain + 1, strcspn(domain + 1, "]"));
        return xstrndup(domain, strcspn(domain, ":"));
}

bool domain_is_loopback(const char *domain) {
        _cleanup_free_ char *host = host_of(domain);
        struct in_addr v4;
        struct in6_addr v6;
        if (streq(host, "localhost"))
                return true;
        if (inet_pton(AF_INET, host, &v4) == 1)
                return ntohl(v4.s_addr) >> 24 == 127;
        return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* The last two labels of a name; the whole of an address. */
static const char *zone_of(const char *host) {
        struct in_addr v4;
        if (inet_pton(AF_INET, host, &v4) == 1 || strchr(host, ':'))
                return host;
        const char *dot = strrchr(host, '.');
        if (!dot)
                return host;
        while (dot > host && dot[-1] != '.')
                dot--;
        return dot;
}

bool realm_trusted(const char *registry, const char *realm, bool plain_http) {
        const char *https = startswith(realm, "https://"), *http = startswith(realm, "http://");
        const char *rest = https ? https : http;
        if (!rest || (http && !plain_http))
                return false;
        _cleanup_free_ char *authority = xstrndup(rest, strcspn(rest, "/?#"));
        if (strchr(authority, '@') || strchr(authority, '\\'))
                return false;
        _cleanup_free_ char *mine = host_of(registry), *theirs = host_of(authority);
        if (streq(registry, authority) || strcasecmp(mine, theirs) == 0)
                return true;
        const char *a = zone_of(mine), *b = zone_of(theirs);
        return https && strcasecmp(a, b) == 0 && strchr(a, '.');
}

static bool cidr_contains(const char *cidr, const char *host) {
        const char *slash = strchr(cidr, '/');
        uint32_t bits;
        struct in_addr net, addr;
        if (!slash || parse_u32(slash + 1, &bits) < 0 || bits > 32)
                return false;
        _cleanup_free_ char *base = xstrndup(cidr, (size_t) (slash - cidr));
        if (inet_pton(AF_INET, base, &net) != 1 || inet_pton(AF_INET, host, &addr) != 1)
                return false;
        uint32_t mask = bits ? ~UINT32_C(0) << (32 - bits) : 0;
        return ((ntohl(net.s_addr) ^ ntohl(addr.s_addr)) & mask) == 0;
}

bool insecure_listed(const char *json, size_t n, const char *domain) {
        _cleanup_json_ json_t *j = NULL;
        if (ji_parse(json, n, 1U << 20, &j, NULL) < 0)
                return false;
        const json_t *list = ji_arr(j, "insecure-registries");
        _cleanup_free_ char *host = host_of(domain);
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *item = json_string_value(json_array_get(list, i));
                if (item && (streq(item, domain) || streq(item, host) || cidr_contains(item, host)))
                        return true;
        }
        return false;
}

char **mirrors_listed(const char *json, size_t n) {
        _cleanup_json_ json_t *j = NULL;
        char **l = NULL;
        if (ji_parse(json, n, 1U << 20, &j, NULL) < 0)
                return NULL;
        const json_t *list = ji_arr(j, "registry-mirrors");
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *item = json_string_value(json_array_get(list, i));
                if (item)
                        strv_add(&l, item);
        }
        return l;
}

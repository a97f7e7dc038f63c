/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/cluster/urls.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"

#define CLUSTER_MEMBERS_MAX 1000

void etcd_url_done(EtcdUrl *u) {
        free(u->host);
        *u = (EtcdUrl){};
}

static int parse_scheme(const char *s, EtcdUrl *u, const char **ret_rest, Err *err) {
        const char *rest;
        if ((rest = startswith(s, "http://")))
                *u = (EtcdUrl){};
        else if ((rest = startswith(s, "https://")))
                *u = (EtcdUrl){ .tls = true };
        else if ((rest = startswith(s, "unix://")))
                *u = (EtcdUrl){ .is_unix = true };
        else if ((rest = startswith(s, "unixs://")))
                *u = (EtcdUrl){ .is_unix = true, .tls = true };
        else
                return err_set(err, -EINVAL, "URL scheme must be http, https, unix, or unixs: %s", s);
        *ret_rest = rest;
        return 0;
}

int etcd_url_parse(const char *s, EtcdUrl *ret, Err *err) {
        EtcdUrl u = {};
        const char *rest = "";
        int r = parse_scheme(s, &u, &rest, err);
        if (r < 0)
                return r;
        if (u.is_unix) {
                if (!*rest)
                        return err_set(err, -EINVAL, "URL has no socket path: %s", s);
                u.host = xstrdup(rest);
                *ret = u;
                return 0;
        }
        size_t n = strcspn(rest, "/?#");
        const char *colon = NULL;
        for (size_t i = 0; i < n; i++)
                if (rest[i] == ':')
                        colon = rest + i;
        bool bracket = *rest == '[';
        const char *close = bracket ? memchr(rest, ']', n) : NULL;
        if (!colon || colon == rest || (bracket && (!close || close + 1 != colon)) ||
            (!bracket && memchr(rest, ':', (size_t) (colon - rest))) || memchr(rest, '@', n))
                return err_set(err, -EINVAL, "URL address does not have the form \"host:port\": %s", s);
        _cleanup_free_ char *port = xstrndup(colon + 1, (size_t) (rest + n - colon - 1));
        uint32_t p;
        if (parse_u32(port, &p) < 0 || p > UINT16_MAX)
                return err_set(err, -EINVAL, "URL address does not have the form \"host:port\": %s", s);
        if (rest[n])
                return err_set(err, -EINVAL, "URL must not contain a path: %s", s);
        u.port = (uint16_t) p;
        u.host = bracket ? xstrndup(rest + 1, (size_t) (close - rest - 1))
                         : xstrndup(rest, (size_t) (colon - rest));
        *ret = u;
        return 0;
}

int etcd_urls_check(char **urls, Err *err) {
        if (strv_len(urls) == 0)
                return err_set(err, -EINVAL, "no valid URLs given");
        STRV_FOREACH(i, urls) {
                EtcdUrl u = {};
                int r = etcd_url_parse(*i, &u, err);
                if (r < 0)
                        return r;
                etcd_url_done(&u);
        }
        strv_sort(urls);
        return 0;
}

int etcd_urls_parse(const char *s, char ***ret, Err *err) {
        _cleanup_strv_ char **raw = strv_split(s, ",", true), **l = NULL;
        STRV_FOREACH(i, raw)
                strv_add(&l, strstrip(*i));
        int r = etcd_urls_check(l, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(l);
        return 0;
}

bool etcd_urls_equal(char *const *a, char *const *b) {
        if (strv_len(a) != strv_len(b))
                return false;
        STRV_FOREACH(i, a)
                if (!streq(*i, b[i - a]))
                        return false;
        return true;
}

void etcd_initial_cluster_done(EtcdInitialCluster *c) {
        for (size_t i = 0; i < c->n; i++) {
                free(c->members[i].name);
                strv_free(c->members[i].urls);
        }
        free(c->members);
        *c = (EtcdInitialCluster){};
}

const EtcdNamedUrls *etcd_initial_cluster_find(const EtcdInitialCluster *c, const char *name) {
        for (size_t i = 0; i < c->n; i++)
                if (streq(c->members[i].name, name))
                        return &c->members[i];
        return NULL;
}

static void cluster_add(EtcdInitialCluster *c, const char *name, const char *url) {
        size_t at = 0;
        while (at < c->n && strcmp(c->members[at].name, name) < 0)
                at++;
        if (at == c->n || !streq(c->members[at].name, name)) {
                GROW(c->members, c->cap, c->n + 1);
                memmove(c->members + at + 1, c->members + at, sizeof(*c->members) * (c->n - at));
                c->members[at] = (EtcdNamedUrls){ .name = xstrdup(name) };
                c->n++;
        }
        strv_add(&c->members[at].urls, url);
}

int etcd_initial_cluster_parse(const char *s, EtcdInitialCluster *ret, Err *err) {
        _cleanup_strv_ char **parts = strv_split(s, ",", false);
        _cleanup_(etcd_initial_cluster_done) EtcdInitialCluster c = {};
        STRV_FOREACH(i, parts) {
                char *p = strstrip(*i), *eq = strchr(p, '=');
                if (eq)
                        *eq = 0;
                const char *url = eq ? eq + 1 : "";
                if (eq && !*url)
                        return err_set(err, -EINVAL, "empty URL given for \"%s\"", p);
                cluster_add(&c, p, url);
                if (c.n > CLUSTER_MEMBERS_MAX)
                        return err_set(err, -E2BIG, "more than %d members in the initial cluster",
                                       CLUSTER_MEMBERS_MAX);
        }
        for (size_t i = 0; i < c.n; i++) {
                int r = etcd_urls_check(c.members[i].urls, err);
                if (r < 0)
                        return r;
        }
        *ret = c;
        c = (EtcdInitialCluster){};
        return 0;
}

char *etcd_initial_cluster_text(const EtcdInitialCluster *c) {
        Buf b = {};
        for (size_t i = 0; i < c->n; i++)
                STRV_FOREACH(u, c->members[i].urls)
                        buf_addf(&b, "%s%s=%s", b.len ? "," : "", c->members[i].name, *u);
        return buf_take(&b);
}

const char *etcd_initial_cluster_duplicate(const EtcdInitialCluster *c) {
        for (size_t i = 0; i < c->n; i++)
                STRV_FOREACH(u, c->members[i].urls) {
                        size_t seen = 0;
                        for (size_t k = 0; k < c->n; k++)
                                STRV_FOREACH(v, c->members[k].urls)
                                        seen += streq(*u, *v);
                        if (seen > 1)
                                return *u;
                }
        return NULL;
}

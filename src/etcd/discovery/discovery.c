/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/discovery/discovery.h"
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/url.h"
#include "http/client.h"
#include "sys/log.h"

#include <time.h>

#define CALL_TIMEOUT (10 * USEC_PER_SEC)
#define WATCH_TIMEOUT (300 * USEC_PER_SEC)

typedef struct Token {
        char *url;      /* owned; without a trailing slash */
        size_t size;    /* of the cluster */
        unsigned tries; /* failed in a row */
} Token;

static void token_done(Token *t) {
        free(t->url);
}

static bool worth_another_try(int r) {
        return r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT || r == -EHOSTUNREACH ||
               r == -ENETUNREACH || r == -EPIPE || r == -EPROTO || r == -EAGAIN;
}

static void pause_before_retry(Token *t, const char *what, const char *why) {
        unsigned shift = MIN(t->tries, 5U), sec = MIN(1U << shift, DISCOVERY_PAUSE_MAX_SEC);
        t->tries++;
        log_warning("discovery: %s: %s; trying again in %us", what, why, sec);
        struct timespec ts = { .tv_sec = sec };
        while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
                continue;
}

/* One call, again and again until the service answers with something below 500. */
static int call(Token *t, const char *method, const char *suffix, const char *body, Usec timeout, HttpResult *ret,
                Err *err) {
        _cleanup_free_ char *url = xasprintf("%s%s", t->url, suffix);
        const HttpHeader form = { "Content-Type", "application/x-www-form-urlencoded" };
        HttpCallConfig c = { .method = method,
                             .url = url,
                             .body = body,
                             .body_size = body ? strlen(body) : 0,
                             .headers = &form,
                             .n_headers = body ? 1 : 0,
                             .timeout = timeout };
        for (;;) {
                _cleanup_(err_done) Err e = {};
                int r = http_fetch(&c, NULL, ret, &e);
                if (r >= 0 && ret->status < 500) {
                        t->tries = 0;
                        return 0;
                }
                if (r < 0 && !worth_another_try(r))
                        return err_set(err, r, "discovery: %s: %s", url, err_msg(&e));
                _cleanup_free_ char *why = r < 0 ? xstrdup(err_msg(&e))
                                                 : xasprintf("the service answered %d", ret->status);
                if (r >= 0)
                        http_result_done(ret);
                if (r == -ETIMEDOUT && timeout == WATCH_TIMEOUT)
                        return -ETIMEDOUT; /* an idle watch: the caller looks again */
                pause_before_retry(t, url, why);
        }
}

static int token_init(Token *t, const char *url, Err *err) {
        _cleanup_(url_done) Url u = {};
        int r = url_parse(url, &u, err);
        if (r < 0)
                return err_wrap(err, r, "discovery: bad URL %s", url);
        if (!startswith(u.scheme, "http") || isempty(u.path) || streq(u.path, "/"))
                return err_set(err, -EINVAL,
                               "discovery: %s is not the URL of a token (http://HOST:PORT/v2/keys/FOLDER/TOKEN)",
                               url);
        size_t n = strlen(url);
        while (n > 0 && url[n - 1] == '/')
                n--;
        t->url = xstrndup(url, n);
        return 0;
}

static int read_size(Token *t, Err *err) {
        _cleanup_(http_result_done) HttpResult res = {};
        int r = call(t, "GET", "/_config/size", NULL, CALL_TIMEOUT, &res, err);
        if (r < 0)
                return r;
        if (res.status == 404)
                return err_set(err, -ENOENT, "discovery: size key not found");
        _cleanup_json_ json_t *root = NULL;
        uint64_t size;
        if (res.status != 200 || ji_parse(buf_str(&res.call->body), res.call->body.len, 0, &root, NULL) < 0)
                return err_set(err, -EINVAL, "discovery: %s/_config/size answered %d and not a size", t->url,
                               res.status);
        json_t *node = ji_obj(root, "node");
        const char *text = node ? ji_str(node, "value") : NULL;
        if (!text || parse_u64(text, &size) < 0 || size == 0 || size > DISCOVERY_SIZE_MAX)
                return err_set(err, -EINVAL, "discovery: size key is bad");
        t->size = (size_t) size;
        return 0;
}

static int read_nodes(Token *t, DiscoveryNodes *ret, uint64_t *ret_index, Err *err) {
        _cleanup_(http_result_done) HttpResult res = {};
        int r = call(t, "GET", "", NULL, CALL_TIMEOUT, &res, err);
        if (r < 0)
                return r;
        if (res.status != 200)
                return err_set(err, -EINVAL, "discovery: %s answered %d", t->url, res.status);
        const char *index = http_call_header(res.call, "X-Etcd-Index");
        if (!index || parse_u64(index, ret_index) < 0)
                *ret_index = 0;
        return discovery_parse_listing(buf_str(&res.call->body), res.call->body.len, ret, err);
}

/* -ENOSPC when `size` others were first. */
static int check_full(const Token *t, const DiscoveryNodes *l, uint64_t id, Err *err) {
        int at = discovery_position(l, id);
        if ((at < 0 && l->n >= t->size) || at >= (int) t->size)
                return err_set(err, -ENOSPC, "discovery: cluster is full (%zu of %zu members have registered)",
                               l->n, t->size);
        return 0;
}

static int register_self(Token *t, uint64_t id, const char *config, Err *err) {
        _cleanup_(http_result_done) HttpResult res = {};
        _cleanup_(buf_done) Buf form = {};
        url_form_add(&form, "value", config);
        _cleanup_free_ char *suffix = xasprintf("/%" PRIx64 "?prevExist=false", id);
        int r = call(t, "PUT", suffix, buf_str(&form), CALL_TIMEOUT, &res, err);
        if (r < 0)
                return r;
        if (res.status == 412)
                return err_set(err, -EEXIST, "discovery: found duplicate id %" PRIx64, id);
        if (res.status != 201)
                return err_set(err, -EINVAL, "discovery: registering at %s answered %d: %s", t->url, res.status,
                               buf_str(&res.call->body));
        return 0;
}

/* Until `size` members are there. Events themselves do not matter: after each the listing is read again,
 * which also survives a history that was cleared. */
static int wait_for_all(Token *t, uint64_t id, DiscoveryNodes *l, uint64_t index, Err *err) {
        while (l->n < t->size) {
                log_info("discovery: found %zu of %zu members, waiting for %zu more", l->n, t->size,
                         t->size - l->n);
                _cleanup_(http_result_done) HttpResult res = {};
                _cleanup_free_ char *suffix =
                                xasprintf("?wait=true&recursive=true&waitIndex=%" PRIu64, index + 1);
                int r = call(t, "GET", suffix, NULL, WATCH_TIMEOUT, &res, err);
                if (r < 0 && r != -ETIMEDOUT)
                        return r;
                discovery_nodes_done(l);
                r = read_nodes(t, l, &index, err);
                if (r >= 0)
                        r = check_full(t, l, id, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

int discovery_join(const char *url, uint64_t id, const char *config, char **ret_cluster, Err *err) {
        _cleanup_(token_done) Token t = {};
        _cleanup_(discovery_nodes_done) DiscoveryNodes l = {};
        uint64_t index = 0;
        int r = token_init(&t, url, err);
        if (r >= 0)
                r = read_size(&t, err);
        if (r >= 0)
                r = read_nodes(&t, &l, &index, err);
        if (r >= 0)
                r = check_full(&t, &l, id, err);
        if (r >= 0)
                r = register_self(&t, id, config, err);
        if (r < 0)
                return r;
        discovery_nodes_done(&l);
        r = read_nodes(&t, &l, &index, err);
        if (r >= 0)
                r = check_full(&t, &l, id, err);
        if (r >= 0)
                r = wait_for_all(&t, id, &l, index, err);
        if (r < 0)
                return r;
        return discovery_cluster(&l, t.size, ret_cluster, err);
}

int discovery_read(const char *url, char **ret_cluster, Err *err) {
        _cleanup_(token_done) Token t = {};
        _cleanup_(discovery_nodes_done) DiscoveryNodes l = {};
        uint64_t index;
        int r = token_init(&t, url, err);
        if (r >= 0)
                r = read_size(&t, err);
        if (r >= 0)
                r = read_nodes(&t, &l, &index, err);
        return r < 0 ? r : discovery_cluster(&l, t.size, ret_cluster, err);
}

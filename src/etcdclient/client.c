/* SPDX-License-Identifier: Apache-2.0 */

/* Endpoints: which one is used, when it is left, and what a failure means. */

#include "codec/url.h"
#include "etcdclient/internal.h"
#include "sys/clock.h"

static int normalise(const char *s, char **ret, Err *err) {
        _cleanup_free_ char *full = strstr(s, "://") ? xstrdup(s) : xasprintf("http://%s", s);
        _cleanup_(url_done) Url u = {};
        int r = url_parse(full, &u, err);
        if (r < 0)
                return err_wrap(err, r, "endpoint \"%s\"", s);
        if ((!streq(u.scheme, "http") && !streq(u.scheme, "https")) || isempty(u.host))
                return err_set(err, -EINVAL, "endpoint \"%s\" is not like http://HOST:PORT", s);
        _cleanup_free_ char *place = url_host_port(&u);
        *ret = xasprintf("%s://%s", u.scheme, place);
        return 0;
}

int etcd_client_set_endpoints(EtcdClient *c, char *const *endpoints, Err *err) {
        _cleanup_strv_ char **list = NULL;
        size_t n = strv_len(endpoints);
        if (n == 0)
                return err_set(err, -EINVAL, "no etcd endpoints given");
        if (n > ETCD_CLIENT_ENDPOINTS_MAX)
                return err_set(err, -E2BIG, "more than %u etcd endpoints given", ETCD_CLIENT_ENDPOINTS_MAX);
        STRV_FOREACH(e, endpoints) {
                char *url;
                int r = normalise(*e, &url, err);
                if (r < 0)
                        return r;
                strv_push(&list, url);
        }
        size_t current = 0;
        if (c->endpoints)
                for (size_t i = 0; list[i]; i++)
                        if (streq(list[i], c->endpoints[c->current]))
                                current = i;
        c->works = c->works && c->endpoints && streq(list[current], c->endpoints[c->current]);
        strv_free(c->endpoints);
        c->endpoints = TAKE_PTR(list);
        c->n_endpoints = n;
        c->current = current;
        return 0;
}

int etcd_client_new(const EtcdClientConfig *config, EtcdClient **ret, Err *err) {
        assert(config->event);
        _cleanup_(etcd_client_freep) EtcdClient *c = xnew(EtcdClient, 1);
        c->event = sd_event_ref(config->event);
        c->timeout = config->timeout ?: ETCD_CLIENT_TIMEOUT;
        c->dial_timeout = config->dial_timeout ?: ETCD_CLIENT_DIAL_TIMEOUT;
        c->require_leader = config->require_leader;
        int r = etcd_client_set_endpoints(c, config->endpoints, err);
        if (r < 0)
                return r;
        HttpClientConfig http = { .event = config->event,
                                  .tls = config->tls,
                                  .connect_timeout = c->dial_timeout,
                                  .ping_interval = config->ping_interval,
                                  .ping_timeout = config->ping_timeout,
                                  .user_agent = "coracle-etcdclient/" CORACLE_VERSION };
        c->http = http_client_new(&http);
        if (!c->http)
                return err_set(err, -EMFILE, "cannot make an etcd client: out of file descriptors");
        *ret = TAKE_PTR(c);
        return 0;
}

EtcdClient *etcd_client_free(EtcdClient *c) {
        if (!c)
                return NULL;
        while (c->keepers.first)
                etcd_keeper_cancel(c->keepers.first);
        while (c->watches.first)
                etcd_watch_cancel(c->watches.first);
        while (c->calls.first)
                etcd_call_cancel(c->calls.first);
        http_client_free(c->http);
        strv_free(c->endpoints);
        free(c->problem);
        sd_event_unref(c->event);
        free(c);
        return NULL;
}

char *const *etcd_client_endpoints(const EtcdClient *c) {
        return c->endpoints;
}

const char *etcd_client_current(const EtcdClient *c) {
        return c->works ? c->endpoints[c->current] : NULL;
}

const char *etcd_client_problem(const EtcdClient *c) {
        return strempty(c->problem);
}

const char *client_endpoint(EtcdClient *c) {
        return c->endpoints[c->current];
}

void client_success(EtcdClient *c, const char *endpoint) {
        if (streq(endpoint, c->endpoints[c->current]))
                c->works = true;
}

void client_failure(EtcdClient *c, const char *endpoint, const char *problem) {
        _cleanup_free_ char *text = xstrdup(problem);
        free_and_replace(c->problem, text);
        if (!streq(endpoint, c->endpoints[c->current]))
                return; /* somebody else has left it already */
        c->works = false;
        c->current = (c->current + 1) % c->n_endpoints;
}

/* Messages of a server that refuses before it proposes anything (spec b.5). */
static bool refused_before(const char *message) {
        static const char *const texts[] = { "etcdserver: no leader", "etcdserver: not capable",
                                             "etcdserver: too many requests", "raft proposal dropped" };
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (streq(message, texts[i]))
                        return true;
        return false;
}

Verdict judge_failure(GrpcCode code, const char *message, bool sent, bool *ret_leave) {
        bool from_server = startswith(message, "etcdserver: ") || startswith(message, "raft ");
        *ret_leave = true;
        if (from_server && refused_before(message))
                return VERDICT_BEFORE;
        switch (code) {
        case GRPC_UNAVAILABLE:
                return sent ? VERDICT_UNKNOWN : VERDICT_BEFORE;
        case GRPC_DEADLINE_EXCEEDED:
        case GRPC_CANCELED:
                return VERDICT_UNKNOWN;
        default:
                *ret_leave = false;
                return VERDICT_FINAL;
        }
}

Usec backoff(unsigned n) {
        Usec t = ETCD_CLIENT_BACKOFF_MIN << MIN(n, 10U);
        t = MIN(t, ETCD_CLIENT_BACKOFF_MAX);
        return t / 2 + random_u64() % (t / 2 + 1);
}

char *etcd_prefix_end(const void *prefix, size_t n, size_t *ret_n) {
        char *end = xmemdup(n > 0 ? prefix : "", n + 1 > 1 ? n : 1);
        for (size_t i = n; i > 0; i--)
                if ((uint8_t) end[i - 1] < 0xff) {
                        end[i - 1] = (char) ((uint8_t) end[i - 1] + 1);
                        *ret_n = i;
                        return end;
                }
        end[0] = 0; /* nothing but 0xff, or no prefix at all: to the end of the key space */
        *ret_n = 1;
        return end;
}

char *etcd_text(const ProtobufCBinaryData *b) {
        return xstrndup(b->len > 0 ? (const char *) b->data : "", b->len);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/url.h"
#include "etcd/apiv2/apiv2.h"
#include "etcd/apiv3/apiv3.h"
#include "etcd/server.h"
#include "http/grpc.h"
#include "http/tls.h"
#include "sys/log.h"

/* ---- the client port ---- */

static const HttpRoute v2_routes[] = {
        { "/v2/keys", 0, HTTP_ROUTE_PREFIX | HTTP_ROUTE_STREAM, 0, apiv2_keys },
        { "/v2/machines", 0, 0, 0, apiv2_machines },
        { "/v2/members", 0, HTTP_ROUTE_PREFIX, 0, apiv2_members },
        { "/v2/stats/self", 0, 0, 0, etcd_serve_stats_self },
        { "/v2/stats/leader", 0, 0, 0, etcd_serve_stats_leader },
        { "/v2/stats/store", 0, 0, 0, etcd_serve_stats_store },
        { "/v2/auth", 0, HTTP_ROUTE_PREFIX, 0, apiv2_auth },
        {},
};

static void not_found(HttpReq *q, void *user) {
        http_go_error(q, 404, "404 page not found");
}

static const HttpRoute client_routes[] = {
        { "/version", 0, 0, 0, etcd_serve_version },
        { "/health", 0, 0, 0, etcd_serve_health },
        { "/metrics", 0, 0, 0, etcd_serve_metrics },
        { "/v3", 0, HTTP_ROUTE_PREFIX | HTTP_ROUTE_STREAM, 0, apiv3_gateway },
        { "/v3beta", 0, HTTP_ROUTE_PREFIX | HTTP_ROUTE_STREAM, 0, apiv3_gateway },
        { "/", 0, HTTP_ROUTE_PREFIX, 0, not_found },
        {},
};

static const HttpRoute metrics_routes[] = {
        { "/health", 0, 0, 0, etcd_serve_health },
        { "/metrics", 0, 0, 0, etcd_serve_metrics },
        { "/", 0, HTTP_ROUTE_PREFIX, 0, not_found },
        {},
};

static void add_cors(const EtcdServer *s, HttpReq *q) {
        const char *origin = http_header(q, "origin"), *allow = NULL;
        if (strv_contains(s->config->cors_origins, "*"))
                allow = "*";
        else if (origin && strv_contains(s->config->cors_origins, origin))
                allow = origin;
        if (!allow)
                return;
        http_add_header(q, "Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
        http_add_header(q, "Access-Control-Allow-Origin", allow);
        http_add_header(q, "Access-Control-Allow-Headers", "accept, content-type, authorization");
}

static void add_html(Buf *b, const char *s) {
        for (; *s; s++)
                switch (*s) {
                case '<':
                        buf_adds(b, "&lt;");
                        break;
                case '>':
                        buf_adds(b, "&gt;");
                        break;
                case '&':
                        buf_adds(b, "&amp;");
                        break;
                case '"':
                        buf_adds(b, "&#34;");
                        break;
                default:
                        buf_addc(b, *s);
                }
}

/* A path that is not clean is sent to the clean one before anything looks at it, as Go's mux does. True when the
 * request was answered. */
static bool redirect_unclean(HttpReq *q) {
        _cleanup_(buf_done) Buf clean = {}, to = {}, body = {};
        size_t n = strlen(q->path);
        if (!strstr(q->path, "//") && !strstr(q->path, "/."))
                return false;
        v2_path_clean((Bytes){ q->path, n }, &clean);
        if (n > 1 && q->path[n - 1] == '/' && clean.len > 1)
                buf_addc(&clean, '/');
        if (streq(buf_str(&clean), q->path))
                return false;
        url_encode(&to, clean.data, clean.len, "/:@!$&'()*+,;=");
        if (*q->query)
                buf_addf(&to, "?%s", q->query);
        http_add_header(q, "Location", buf_str(&to));
        if (streq(q->method, "GET") || streq(q->method, "HEAD")) {
                buf_adds(&body, "<a href=\"");
                add_html(&body, buf_str(&to));
                buf_adds(&body, "\">Moved Permanently</a>.\n\n");
                http_respond(q, 301, "text/html; charset=utf-8", body.data, body.len);
        } else
                http_respond(q, 301, NULL, NULL, 0);
        return true;
}

static void client_request(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (grpc_is_request(q)) {
                apiv3_grpc(q, s);
                return;
        }
        s->stats.http_requests++;
        add_cors(s, q);
        if (streq(q->method, "OPTIONS")) {
                http_respond(q, 200, NULL, NULL, 0);
                return;
        }
        if (redirect_unclean(q))
                return;
        bool v2 = startswith(q->path, "/v2/") && s->config->enable_v2;
        if (v2)
                for (const HttpRoute *r = v2_routes; r->path; r++) {
                        const char *rest = startswith(q->path, r->path);
                        if (rest && (*rest == 0 || ((r->flags & HTTP_ROUTE_PREFIX) && *rest == '/'))) {
                                http_route(v2_routes, q, s);
                                return;
                        }
                }
        http_route(client_routes, q, s);
}

static void metrics_request(HttpReq *q, void *user) {
        http_route(metrics_routes, q, user);
}

/* ---- the peer port ---- */

static const HttpRoute peer_routes[] = {
        { "/members", 0, 0, 0, apiv2_peer_members },
        { "/version", 0, 0, 0, etcd_serve_version },
        { "/health", 0, 0, 0, etcd_serve_health },
        { "/metrics", 0, 0, 0, etcd_serve_metrics },
        { "/leases", 0, 0, 0, apiv3_peer_leases },
        { "/members/promote", 0, HTTP_ROUTE_PREFIX, 0, apiv3_peer_promote },
        { "/", 0, HTTP_ROUTE_PREFIX, 0, not_found },
        {},
};

static void peer_request(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (s->peers && peers_handle(s->peers, q))
                return;
        http_route(peer_routes, q, s);
}

/* ---- TLS ---- */

static int server_tls(const char *cert, const char *key, const char *ca, bool client_auth, TlsContext **ret,
                      Err *err) {
        if (!*cert)
                return 0;
        TlsServerConfig c = { .cert_file = cert,
                              .key_file = key,
                              .ca_file = client_auth ? ca : NULL,
                              .require_client_cert = client_auth };
        return tls_server_context_new(&c, ret, err);
}

int etcd_tls(EtcdServer *s, Err *err) {
        const EtcdConfig *c = s->config;
        int r = server_tls(c->cert_file, c->key_file, c->trusted_ca, c->client_cert_auth, &s->client_tls, err);
        if (r < 0)
                return err_wrap(err, r, "client TLS");
        r = server_tls(c->peer_cert_file, c->peer_key_file, c->peer_trusted_ca, c->peer_client_cert_auth,
                       &s->peer_tls, err);
        if (r < 0)
                return err_wrap(err, r, "peer TLS");
        if (!*c->peer_cert_file && !*c->peer_trusted_ca)
                return 0;
        TlsClientConfig client = { .ca_file = *c->peer_trusted_ca ? c->peer_trusted_ca : NULL,
                                   .cert_file = *c->peer_cert_file ? c->peer_cert_file : NULL,
                                   .key_file = *c->peer_key_file ? c->peer_key_file : NULL };
        r = tls_client_context_new(&client, &s->peer_client_tls, err);
        return r < 0 ? err_wrap(err, r, "peer TLS") : 0;
}

/* ---- listening ---- */

static int listen_all(HttpServer *http, char *const *urls, TlsContext *tls, const char *what, Err *err) {
        STRV_FOREACH(i, urls) {
                bool secure = startswith(*i, "https:") || startswith(*i, "unixs:");
                int r = http_server_listen(http, *i, secure ? tls : NULL, err);
                if (r < 0)
                        return err_wrap(err, r, "cannot listen on %s", *i);
                log_info("listening for %s on %s", what, *i);
        }
        return 0;
}

int etcd_listen(EtcdServer *s, Err *err) {
        HttpServerConfig client = { .event = s->event, .handler = client_request, .user = s };
        HttpServerConfig metrics = { .event = s->event, .handler = metrics_request, .user = s };
        /* the streams of raft messages never end, and one without news sends a sign of life now and then */
        HttpServerConfig peer = { .event = s->event,
                                  .handler = peer_request,
                                  .user = s,
                                  .limits = { .body_timeout = 4 * PEER_ALIVE_INTERVAL } };
        client.limits.body_bytes = s->config->max_request_bytes + ETCD_REQUEST_OVERHEAD;
        s->peer_http = http_server_new(&peer);
        s->client_http = http_server_new(&client);
        int r = listen_all(s->peer_http, s->config->listen_peer_urls, s->peer_tls, "peers", err);
        if (r >= 0)
                r = listen_all(s->client_http, s->config->listen_client_urls, s->client_tls, "clients", err);
        if (r < 0 || !s->config->listen_metrics_urls)
                return r;
        s->metrics_http = http_server_new(&metrics);
        return listen_all(s->metrics_http, s->config->listen_metrics_urls, s->client_tls, "metrics", err);
}

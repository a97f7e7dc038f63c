/* SPDX-License-Identifier: Apache-2.0 */

/* Our client against our server, in one loop: both protocols, TLS, gRPC, and everything that can go wrong.
 */

#include "base/alloc.h"
#include "base/str.h"
#include "http/client.h"
#include "http/grpc.h"
#include "http/tls.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "test.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

typedef struct World {
        sd_event *event;
        HttpServer *server;
        HttpClient *client;
        char *base;
        unsigned running, cancelled, served;
        HttpReq *held;
} World;

typedef struct Answer {
        World *w;
        int r, status;
        bool sent, done;
        Buf body;
        char problem[256];
        unsigned pieces;
} Answer;

static void hello(HttpReq *q, void *user) {
        ((World *) user)->served++;
        http_respond(q, 200, "text/plain", "hello\n", 6);
}

static void echo(HttpReq *q, void *user) {
        http_respond(q, 200, NULL, buf_str(&q->body), q->body.len);
}

static void on_cancel(HttpReq *q) {
        World *w = q->user;
        w->cancelled++;
        w->held = NULL;
}

static void hold(HttpReq *q, void *user) {
        World *w = user;
        q->user = w;
        q->on_cancel = on_cancel;
        w->held = q;
}

static void who(HttpReq *q, void *user) {
        http_respondf(q, 200, "%s %s %s", q->tls ? "tls" : "plain", q->http2 ? "h2" : "h1", q->peer_name);
}

static void half(HttpReq *q, void *user) {
        http_start(q, 200);
        (void) http_write(q, "half", 4);
        http_abort(q);
}

static void grpc_echo_data(HttpReq *q) {
        GrpcMsg m;
        int r;
        while ((r = grpc_next(q, &m)) > 0)
                (void) grpc_send(q, m.data, m.size);
        if (r == 0 && q->body_end)
                grpc_finish(q, GRPC_OK, NULL);
}

static void grpc_echo(HttpReq *q, void *user) {
        q->on_data = grpc_echo_data;
}

static void grpc_error(HttpReq *q, void *user) {
        grpc_finish(q, GRPC_NOT_FOUND, "etcdserver: requested lease not found (100%)");
}

static const HttpRoute routes[] = {
        { "/hello", HTTP_GET, 0, 0, hello },
        { "/echo", HTTP_POST | HTTP_PUT, 0, 32U << 20, echo },
        { "/hold", 0, 0, 0, hold },
        { "/who", 0, 0, 0, who },
        { "/half", 0, 0, 0, half },
        { "/t.T/Echo", HTTP_POST, HTTP_ROUTE_STREAM, 0, grpc_echo },
        { "/t.T/Error", HTTP_POST, HTTP_ROUTE_STREAM, 0, grpc_error },
        {},
};

static void route(HttpReq *q, void *user) {
        http_route(routes, q, user);
}

static World *world_new_full(TlsContext *server_tls, const HttpClientConfig *client) {
        World *w = xnew(World, 1);
        ASSERT_OK(sd_event_new(&w->event));
        HttpServerConfig config = { .event = w->event, .handler = route, .user = w };
        w->server = http_server_new(&config);
        ASSERT_OK(http_server_listen(w->server, server_tls ? "https://127.0.0.1:0" : "http://127.0.0.1:0",
                                     server_tls, NULL));
        HttpClientConfig cc = *client;
        cc.event = w->event;
        w->client = http_client_new(&cc);
        ASSERT_NOT_NULL(w->client);
        w->base = xasprintf("http%s://127.0.0.1:%d", server_tls ? "s" : "", http_server_port(w->server, 0));
        return w;
}

static World *world_new(void) {
        HttpClientConfig c = {};
        return world_new_full(NULL, &c);
}

static World *world_free(World *w) {
        if (!w)
                return NULL;
        http_client_free(w->client);
        http_server_free(w->server);
        sd_event_unref(w->event);
        free(w->base);
        free(w);
        return NULL;
}
DEFINE_CLEANUP(World *, world_free)

static void on_done(HttpCall *call, int r, void *user) {
        Answer *a = user;
        ASSERT_FALSE(a->done);
        a->done = true;
        a->r = r;
        a->status = call->status;
        a->sent = call->sent;
        if (call->body.len > 0)
                buf_add(&a->body, call->body.data, call->body.len);
        (void) snprintf(a->problem, sizeof(a->problem), "%s", http_call_error(call));
        a->w->running--;
}

static HttpCall *start(World *w, Answer *a, HttpCallConfig config, const char *path) {
        _cleanup_free_ char *url = xasprintf("%s%s", w->base, path);
        HttpCall *call;
        *a = (Answer){ .w = w };
        config.url = url;
        config.user = a;
        config.on_done = on_done;
        ASSERT_OK(http_call(w->client, &config, &call, NULL));
        w->running++;
        return call;
}

static void run_for(World *w, Usec time) {
        for (Usec end = now_monotonic() + time, now; (now = now_monotonic()) < end;)
                ASSERT_OK(sd_event_run(w->event, end - now));
}

static void run(World *w) {
        for (Usec end = now_monotonic() + 20 * USEC_PER_SEC; w->running > 0;) {
                ASSERT_OK(sd_event_run(w->event, 20 * USEC_PER_MSEC));
                ASSERT_TRUE(now_monotonic() < end);
        }
}

static void simple_on(unsigned flags) {
        _cleanup_(world_freep) World *w = world_new();
        Answer a[20];
        for (size_t i = 0; i < ELEMENTSOF(a); i++)
                (void) start(w, &a[i], (HttpCallConfig){ .flags = flags }, "/hello?x");
        run(w);
        for (size_t i = 0; i < ELEMENTSOF(a); i++) {
                ASSERT_EQ(a[i].r, 0);
                ASSERT_EQ(a[i].status, 200);
                ASSERT_STREQ(buf_str(&a[i].body), "hello\n");
                buf_done(&a[i].body);
        }
        ASSERT_TRUE(flags == 0 || http_server_connections(w->server) == 1);
        (void) start(w, &a[0], (HttpCallConfig){ .flags = flags }, "/none");
        run(w);
        ASSERT_EQ(a[0].status, 404);
        buf_done(&a[0].body);
        run_for(w, 20 * USEC_PER_MSEC);
        ASSERT_TRUE(http_server_connections(w->server) <= HTTP_CLIENT_IDLE_PER_ORIGIN);
}

TEST(http1) {
        simple_on(0);
}

TEST(http2) {
        simple_on(HTTP_CALL_H2);
}

static void large_on(unsigned flags) {
        _cleanup_(world_freep) World *w = world_new();
        size_t n = 20U << 20;
        _cleanup_free_ char *data = xmalloc(n);
        for (size_t i = 0; i < n; i++)
                data[i] = (char) (i * 7 + i / 1000);
        Answer a;
        (void) start(w, &a,
                     (HttpCallConfig){ .method = "PUT", .flags = flags, .body = data, .body_size = n },
                     "/echo");
        run(w);
        ASSERT_EQ(a.r, 0);
        ASSERT_EQ(a.body.len, n);
        ASSERT_EQ(memcmp(a.body.data, data, n), 0);
        buf_done(&a.body);
        (void) start(w, &a,
                     (HttpCallConfig){ .method = "PUT",
                                       .flags = flags,
                                       .body = data,
                                       .body_size = n,
                                       .body_max = 1000 },
                     "/echo");
        run(w);
        ASSERT_EQ(a.r, -EMSGSIZE);
        buf_done(&a.body);
}

TEST(large_bodies) {
        large_on(0);
        large_on(HTTP_CALL_H2);
}

static void streamed_on(unsigned flags) {
        _cleanup_(world_freep) World *w = world_new();
        Answer a;
        HttpCall *call = start(
                        w, &a,
                        (HttpCallConfig){ .method = "POST", .flags = flags | HTTP_CALL_STREAM_REQUEST },
                        "/echo");
        for (unsigned i = 0; i < 5; i++) {
                ASSERT_OK(http_call_write(call, "piece ", 6));
                run_for(w, 5 * USEC_PER_MSEC);
        }
        http_call_end(call);
        run(w);
        ASSERT_STREQ(buf_str(&a.body), "piece piece piece piece piece ");
        buf_done(&a.body);
}

TEST(streamed_request) {
        streamed_on(0);
        streamed_on(HTTP_CALL_H2);
}

static void failures_on(unsigned flags) {
        _cleanup_(world_freep) World *w = world_new();
        Answer a;
        (void) start(w, &a, (HttpCallConfig){ .flags = flags, .timeout = 50 * USEC_PER_MSEC }, "/hold");
        run(w);
        ASSERT_EQ(a.r, -ETIMEDOUT);
        ASSERT_TRUE(a.sent);
        run_for(w, 20 * USEC_PER_MSEC);
        ASSERT_EQ(w->cancelled, 1); /* the server heard of it */
        HttpCall *call = start(w, &a, (HttpCallConfig){ .flags = flags }, "/hold");
        run_for(w, 20 * USEC_PER_MSEC);
        (void) http_call_cancel(call);
        run_for(w, 20 * USEC_PER_MSEC);
        ASSERT_FALSE(a.done);
        ASSERT_EQ(w->cancelled, 2);
        w->running = 0;
        (void) start(w, &a, (HttpCallConfig){ .flags = flags }, "/half");
        run(w);
        ASSERT_TRUE(a.r < 0);
        buf_done(&a.body);
        (void) start(w, &a, (HttpCallConfig){ .flags = flags }, "/hold");
        run_for(w, 20 * USEC_PER_MSEC);
        http_server_stop(w->server, 10 * USEC_PER_MSEC, NULL, NULL);
        run(w);
        ASSERT_EQ(a.r, -ECONNRESET);
        ASSERT_TRUE(a.sent);
        (void) start(w, &a, (HttpCallConfig){ .flags = flags }, "/hello");
        run(w);
        ASSERT_EQ(a.r, -ECONNREFUSED);
        ASSERT_FALSE(a.sent);
        ASSERT_TRUE(startswith(a.problem, "connect 127.0.0.1:"));
}

TEST(failures) {
        failures_on(0);
        failures_on(HTTP_CALL_H2);
}

TEST(names_are_resolved) {
        _cleanup_(world_freep) World *w = world_new();
        Answer a;
        free(w->base);
        w->base = xasprintf("http://ip6-localhost.invalid:%d", http_server_port(w->server, 0));
        (void) start(w, &a, (HttpCallConfig){ .timeout = 5 * USEC_PER_SEC }, "/hello");
        run(w);
        ASSERT_TRUE(a.r < 0);
        ASSERT_TRUE(strstr(a.problem, "ip6-localhost.invalid"));
        free(w->base);
        w->base = xasprintf("http://localhost:%d", http_server_port(w->server, 0));
        (void) start(w, &a, (HttpCallConfig){}, "/hello");
        run(w);
        ASSERT_EQ(a.status, 200);
        buf_done(&a.body);
}

TEST(server_closes_idle_connections) {
        _cleanup_(world_freep) World *w = world_new();
        Answer a;
        (void) start(w, &a, (HttpCallConfig){}, "/hello");
        run(w);
        buf_done(&a.body);
        /* Restart the server on the same port: the pooled connection is dead, the call must not notice. */
        int port = http_server_port(w->server, 0);
        http_server_free(w->server);
        HttpServerConfig config = { .event = w->event, .handler = route, .user = w };
        w->server = http_server_new(&config);
        _cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d", port);
        ASSERT_OK(http_server_listen(w->server, url, NULL, NULL));
        (void) start(w, &a, (HttpCallConfig){}, "/hello");
        run(w);
        ASSERT_EQ(a.r, 0);
        ASSERT_STREQ(buf_str(&a.body), "hello\n");
        buf_done(&a.body);
}

TEST(unix_sockets) {
        _cleanup_(world_freep) World *w = world_new();
        char dir[] = "/tmp/http-client-XXXXXX";
        ASSERT_NOT_NULL(mkdtemp(dir));
        _cleanup_free_ char *path = path_join(dir, "s"), *url = xasprintf("unix://%s", path);
        ASSERT_OK(http_server_listen(w->server, url, NULL, NULL));
        Answer a;
        (void) start(w, &a, (HttpCallConfig){ .unix_path = path }, "/hello");
        run(w);
        ASSERT_STREQ(buf_str(&a.body), "hello\n");
        buf_done(&a.body);
        ASSERT_OK(rm_rf(dir));
        (void) start(w, &a, (HttpCallConfig){ .unix_path = "/nonexistent/s" }, "/hello");
        run(w);
        ASSERT_EQ(a.r, -ENOENT);
}

/* ---- TLS ---- */

static char tls_dir[] = "/tmp/http-tls-XXXXXX";

static void make_certificates(void) {
        static const char script[] = "cd %s && exec >/dev/null 2>&1; set -e\n"
                                     "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
                                     "-keyout ca.key -out ca.pem "
                                     "-subj /CN=ca -days 2\n"
                                     "for n in server client; do\n"
                                     "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
                                     "-keyout $n.key -out $n.csr "
                                     "-subj /CN=$n\n"
                                     "printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\n' >ext\n"
                                     "openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
                                     "-days 2 -extfile ext "
                                     "-out $n.pem\ndone\n";
        ASSERT_NOT_NULL(mkdtemp(tls_dir));
        _cleanup_free_ char *text = xasprintf(script, tls_dir);
        pid_t pid = fork();
        if (pid == 0) {
                execl("/bin/sh", "sh", "-c", text, NULL);
                _exit(127);
        }
        int status;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
}

static void ask_tls(TlsContext *server, TlsContext *client, unsigned flags, const char *want,
                    const char *problem) {
        HttpClientConfig config = { .tls = client };
        _cleanup_(world_freep) World *w = world_new_full(server, &config);
        Answer a;
        (void) start(w, &a, (HttpCallConfig){ .flags = flags }, "/who");
        run(w);
        if (want) {
                ASSERT_STREQ(a.problem, "");
                ASSERT_STREQ(buf_str(&a.body), want);
                buf_done(&a.body);
                size_t n = 3U << 20;
                _cleanup_free_ char *data = xcalloc(1, n);
                (void) start(w, &a,
                             (HttpCallConfig){
                                             .flags = flags, .method = "PUT", .body = data, .body_size = n },
                             "/echo");
                run(w);
                ASSERT_EQ(a.r, 0);
                ASSERT_EQ(a.body.len, n);
        } else {
                ASSERT_TRUE(a.r < 0);
                ASSERT_TRUE(strstr(a.problem, problem));
        }
        buf_done(&a.body);
}

TEST(tls) {
        make_certificates();
        _cleanup_free_ char *ca = path_join(tls_dir, "ca.pem"), *sc = path_join(tls_dir, "server.pem"),
                            *sk = path_join(tls_dir, "server.key"), *cc = path_join(tls_dir, "client.pem"),
                            *ck = path_join(tls_dir, "client.key");
        _cleanup_(tls_context_unrefp) TlsContext *server = NULL, *strict = NULL, *client = NULL,
                                                 *named = NULL, *blind = NULL, *unsure = NULL, *wrong = NULL;
        _cleanup_(err_done) Err err = {};
        ASSERT_OK(tls_server_context_new(&(TlsServerConfig){ .cert_file = sc, .key_file = sk }, &server,
                                         NULL));
        ASSERT_OK(tls_server_context_new(&(TlsServerConfig){ .cert_file = sc,
                                                             .key_file = sk,
                                                             .ca_file = ca,
                                                             .require_client_cert = true },
                                         &strict, NULL));
        ASSERT_OK(tls_client_context_new(&(TlsClientConfig){ .ca_file = ca }, &client, NULL));
        ASSERT_OK(tls_client_context_new(
                        &(TlsClientConfig){ .ca_file = ca, .cert_file = cc, .key_file = ck }, &named, NULL));
        ASSERT_OK(tls_client_context_new(&(TlsClientConfig){ .insecure = true }, &blind, NULL));
        ASSERT_OK(tls_client_context_new(&(TlsClientConfig){}, &unsure, NULL));
        ASSERT_OK(tls_client_context_new(&(TlsClientConfig){ .ca_file = ca, .server_name = "other" }, &wrong,
                                         NULL));
        ASSERT_TRUE(tls_server_context_new(&(TlsServerConfig){ .cert_file = sc, .key_file = ck }, &server,
                                           &err) < 0);
        ask_tls(server, client, 0, "tls h2 ", NULL);
        ask_tls(server, client, HTTP_CALL_H2, "tls h2 ", NULL);
        ask_tls(server, blind, 0, "tls h2 ", NULL);
        ask_tls(strict, named, 0, "tls h2 client", NULL);
        ask_tls(server, unsure, 0, NULL, "not accepted");
        ask_tls(server, wrong, 0, NULL, "not accepted");
        ask_tls(strict, client, 0, NULL, "");
        ASSERT_OK(rm_rf(tls_dir));
}

/* ---- gRPC ---- */

typedef struct Rpc {
        World *w;
        Buf got;
        unsigned n;
        bool done, sent;
        GrpcCode code;
        char message[128];
        GrpcCall *call;
        unsigned cancel_at;
} Rpc;

static void on_message(GrpcCall *call, const void *p, size_t n, void *user) {
        Rpc *r = user;
        buf_add(&r->got, p, n);
        if (++r->n == r->cancel_at) {
                r->call = grpc_call_cancel(call);
                r->w->running--;
        }
}

static void on_rpc_done(GrpcCall *call, GrpcCode code, const char *message, bool sent, void *user) {
        Rpc *r = user;
        ASSERT_FALSE(r->done);
        r->done = true;
        r->code = code;
        r->sent = sent;
        (void) snprintf(r->message, sizeof(r->message), "%s", message);
        r->w->running--;
}

static void rpc(World *w, Rpc *r, const char *method, const char *message, bool stream) {
        *r = (Rpc){ .w = w };
        GrpcCallConfig config = { .origin = w->base,
                                  .method = method,
                                  .message = message,
                                  .message_size = message ? strlen(message) : 0,
                                  .stream = stream,
                                  .timeout = 2 * USEC_PER_SEC,
                                  .on_message = on_message,
                                  .on_done = on_rpc_done,
                                  .user = r };
        ASSERT_OK(grpc_call(w->client, &config, &r->call, NULL));
        w->running++;
}

TEST(grpc_unary_and_errors) {
        _cleanup_(world_freep) World *w = world_new();
        Rpc r;
        rpc(w, &r, "/t.T/Echo", "hi", false);
        run(w);
        ASSERT_EQ(r.code, GRPC_OK);
        ASSERT_STREQ(buf_str(&r.got), "hi");
        buf_done(&r.got);
        rpc(w, &r, "/t.T/Error", "hi", false);
        run(w);
        ASSERT_EQ(r.code, GRPC_NOT_FOUND);
        ASSERT_STREQ(r.message, "etcdserver: requested lease not found (100%)");
        rpc(w, &r, "/t.T/Nothing", "hi", false);
        run(w);
        ASSERT_EQ(r.code, GRPC_UNIMPLEMENTED);
        rpc(w, &r, "/hold", "hi", false);
        run(w);
        ASSERT_EQ(r.code, GRPC_DEADLINE_EXCEEDED);
        http_server_free(TAKE_PTR(w->server));
        run_for(w, 20 * USEC_PER_MSEC);
        rpc(w, &r, "/t.T/Echo", "hi", false);
        run(w);
        ASSERT_EQ(r.code, GRPC_UNAVAILABLE);
        ASSERT_FALSE(r.sent);
}

TEST(grpc_streams) {
        _cleanup_(world_freep) World *w = world_new();
        Rpc r;
        rpc(w, &r, "/t.T/Echo", "a", true);
        for (unsigned i = 0; i < 3; i++) {
                ASSERT_OK(grpc_call_send(r.call, "b", 1));
                run_for(w, 5 * USEC_PER_MSEC);
        }
        ASSERT_EQ(r.n, 4);
        grpc_call_end(r.call);
        run(w);
        ASSERT_EQ(r.code, GRPC_OK);
        ASSERT_STREQ(buf_str(&r.got), "abbb");
        buf_done(&r.got);
        rpc(w, &r, "/t.T/Echo", "a", true);
        r.cancel_at = 2; /* inside a callback */
        ASSERT_OK(grpc_call_send(r.call, "b", 1));
        ASSERT_OK(grpc_call_send(r.call, "c", 1));
        run(w);
        run_for(w, 20 * USEC_PER_MSEC);
        ASSERT_STREQ(buf_str(&r.got), "ab");
        ASSERT_FALSE(r.done);
        buf_done(&r.got);
        ASSERT_EQ(http_server_requests(w->server), 0);
}

TEST(grpc_large_message) {
        _cleanup_(world_freep) World *w = world_new();
        size_t n = (3U << 20) / 2;
        _cleanup_free_ char *big = xmalloc(n + 1);
        memset(big, 'x', n);
        big[n] = 0;
        Rpc r;
        rpc(w, &r, "/t.T/Echo", big, false);
        run(w);
        ASSERT_EQ(r.code, GRPC_OK);
        ASSERT_EQ(r.got.len, n);
        buf_done(&r.got);
        _cleanup_free_ char *huge = xmalloc(2 * n + 1);
        memset(huge, 'x', 2 * n);
        huge[2 * n] = 0;
        rpc(w, &r, "/t.T/Echo", huge, false);
        run(w);
        ASSERT_EQ(r.code, GRPC_RESOURCE_EXHAUSTED);
}

TEST(pings_find_a_dead_server) {
        HttpClientConfig config = { .ping_interval = 50 * USEC_PER_MSEC,
                                    .ping_timeout = 50 * USEC_PER_MSEC };
        _cleanup_(world_freep) World *w = world_new_full(NULL, &config);
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM, 0); /* accepts and says nothing */
        struct sockaddr_storage addr;
        socklen_t len = sizeof(addr);
        ASSERT_EQ(listen(fd, 1), 0);
        ASSERT_EQ(getsockname(fd, (struct sockaddr *) &addr, &len), 0);
        free(w->base);
        w->base = xasprintf("http://127.0.0.1:%u", __builtin_bswap16(*(uint16_t *) ((char *) &addr + 2)));
        Answer a;
        (void) start(w, &a, (HttpCallConfig){ .flags = HTTP_CALL_H2 }, "/hello");
        run(w);
        ASSERT_EQ(a.r, -ETIMEDOUT);
        ASSERT_TRUE(strstr(a.problem, "does not answer"));
}

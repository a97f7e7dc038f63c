/* SPDX-License-Identifier: Apache-2.0 */

/* HTTP/2 through the protocol engine, without sockets; nghttp2's client makes the bytes. */

#include "base/alloc.h"
#include "base/str.h"
#include "http/conn.h"
#include "http/grpc.h"
#include "test.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#define SEC USEC_PER_SEC

typedef struct Peer {
        HttpConn *conn;
        nghttp2_session *client;
        Usec now;
        HttpReq *held;
        unsigned cancelled, handled;
        size_t streamed;
        bool consume;
        /* what the client saw */
        uint32_t goaway;
        char goaway_text[64], status[8], grpc_status[8];
        Buf body;
        unsigned closed;
        uint32_t close_code;
        size_t left; /* bytes the client still has to send */
} Peer;

static Peer *the_peer;

static void on_cancel(HttpReq *q) {
        the_peer->cancelled++;
        the_peer->held = NULL;
}

static void stream_data(HttpReq *q) {
        if (!the_peer->consume)
                return;
        the_peer->streamed += q->body.len;
        http_consume(q, q->body.len);
        if (q->body_end)
                http_respondf(q, 200, "ok");
}

static void unary(HttpReq *q) {
        GrpcMsg m;
        if (grpc_unary(q, &m) <= 0)
                return;
        (void) grpc_send(q, m.data, m.size);
        grpc_finish(q, GRPC_OK, NULL);
}

static void echo(HttpReq *q, void *user) {
        http_respond(q, 200, "text/plain", buf_str(&q->body), q->body.len);
}

static void handle(HttpReq *q, void *user) {
        the_peer->handled++;
        if (streq(q->path, "/hold")) {
                the_peer->held = q;
                q->on_cancel = on_cancel;
        } else if (streq(q->path, "/stream")) {
                q->on_data = stream_data;
                the_peer->held = q;
        } else if (streq(q->path, "/unary")) {
                q->on_data = unary;
        } else {
                http_collect(q, 1000, echo, NULL);
        }
}

static int on_frame_recv(nghttp2_session *s, const nghttp2_frame *f, void *user) {
        Peer *p = user;
        if (f->hd.type == NGHTTP2_GOAWAY) {
                p->goaway = f->goaway.error_code;
                (void) snprintf(p->goaway_text, sizeof(p->goaway_text), "%.*s",
                                (int) f->goaway.opaque_data_len, (const char *) f->goaway.opaque_data);
        }
        return 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nl,
                     const uint8_t *value, size_t vl, uint8_t flags, void *user) {
        Peer *p = user;
        if (nl == 7 && memcmp(name, ":status", 7) == 0)
                (void) snprintf(p->status, sizeof(p->status), "%.*s", (int) vl, (const char *) value);
        if (nl == 11 && memcmp(name, "grpc-status", 11) == 0)
                (void) snprintf(p->grpc_status, sizeof(p->grpc_status), "%.*s", (int) vl,
                                (const char *) value);
        return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                   void *user) {
        buf_add(&((Peer *) user)->body, data, n);
        return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
        Peer *p = user;
        p->closed++;
        p->close_code = code;
        return 0;
}

static HttpLimits limits;

static void peer_init(Peer *p) {
        nghttp2_session_callbacks *cb;
        *p = (Peer){ .now = SEC };
        the_peer = p;
        limits = (HttpLimits){ .streams = 100 };
        http_limits_fill(&limits);
        HttpConnConfig config = { .handler = handle, .limits = &limits, .peer = "test" };
        p->conn = http_conn_new(&config, p->now);
        ASSERT_EQ(nghttp2_session_callbacks_new(&cb), 0);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
        ASSERT_EQ(nghttp2_session_client_new(&p->client, cb, p), 0);
        nghttp2_session_callbacks_del(cb);
        ASSERT_EQ(nghttp2_submit_settings(p->client, 0, NULL, 0), 0);
}

static void peer_done(Peer *p) {
        http_conn_free(p->conn);
        nghttp2_session_del(p->client);
        buf_done(&p->body);
}

/* Carries bytes to and fro until both are silent. */
static void pump(Peer *p) {
        for (bool moved = true; moved;) {
                const uint8_t *out;
                const void *in;
                ssize_t n;
                moved = false;
                while ((n = nghttp2_session_mem_send(p->client, &out)) > 0) {
                        http_conn_recv(p->conn, out, (size_t) n, p->now);
                        moved = true;
                }
                for (size_t k; (k = http_conn_output(p->conn, &in, p->now)) > 0; moved = true) {
                        ASSERT_EQ(nghttp2_session_mem_recv(p->client, in, k), (ssize_t) k);
                        http_conn_sent(p->conn, k, p->now);
                }
        }
}

static ssize_t read_left(nghttp2_session *s, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
        Peer *p = user;
        size_t n = MIN(room, p->left);
        memset(to, 'x', n);
        p->left -= n;
        if (p->left == 0)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t) n;
}

static int32_t request(Peer *p, const char *path, size_t body) {
#define NV(n, v) { (uint8_t *) (n), (uint8_t *) (v), strlen(n), strlen(v), 0 }
        nghttp2_nv nv[] = { NV(":method", body ? "POST" : "GET"), NV(":scheme", "http"),
                            NV(":authority", "h"), NV(":path", path) };
        nghttp2_data_provider data = { .read_callback = read_left };
        p->left = body;
        return nghttp2_submit_request(p->client, NULL, nv, ELEMENTSOF(nv), body ? &data : NULL, NULL);
}

TEST(collect_and_limit) {
        Peer p;
        peer_init(&p);
        request(&p, "/x", 5);
        pump(&p);
        ASSERT_STREQ(p.status, "200");
        ASSERT_STREQ(buf_str(&p.body), "xxxxx");
        request(&p, "/x", 1001);
        pump(&p);
        ASSERT_STREQ(p.status, "413");
        ASSERT_EQ(http_conn_requests(p.conn), 0);
        peer_done(&p);
}

TEST(a_handler_that_does_not_read_stops_its_client) {
        Peer p;
        peer_init(&p);
        request(&p, "/stream", 5U << 20);
        pump(&p);
        ASSERT_TRUE(p.held->body.len <= HTTP_READ_HIGH + 16384);
        ASSERT_TRUE(p.left > 4U << 20);
        request(&p, "/x", 0); /* others go on */
        pump(&p);
        ASSERT_STREQ(p.status, "200");
        p.left = (5U << 20) - p.held->body.len;
        p.consume = true;
        stream_data(p.held);
        pump(&p);
        ASSERT_EQ(p.streamed, 5U << 20);
        ASSERT_STREQ(buf_str(&p.body), "ok");
        peer_done(&p);
}

TEST(reset_cancels) {
        Peer p;
        peer_init(&p);
        int32_t id = request(&p, "/hold", 0);
        pump(&p);
        ASSERT_NOT_NULL(p.held);
        ASSERT_EQ(nghttp2_submit_rst_stream(p.client, 0, id, NGHTTP2_CANCEL), 0);
        pump(&p);
        ASSERT_EQ(p.cancelled, 1);
        ASSERT_EQ(http_conn_requests(p.conn), 0);
        peer_done(&p);
}

TEST(rapid_reset_is_answered_with_goaway) {
        Peer p;
        peer_init(&p);
        for (unsigned i = 0; i < 2000 && p.goaway == 0; i++) {
                int32_t id = request(&p, "/hold", 0);
                if (id < 0)
                        break;
                pump(&p);
                (void) nghttp2_submit_rst_stream(p.client, 0, id, NGHTTP2_CANCEL);
                pump(&p);
        }
        ASSERT_EQ(p.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
        ASSERT_TRUE(p.handled < 1100);
        ASSERT_TRUE(http_conn_finished(p.conn));
        peer_done(&p);
}

TEST(too_many_pings) {
        Peer p;
        peer_init(&p);
        request(&p, "/hold", 0);
        pump(&p);
        for (unsigned i = 0; i < 10; i++) { /* far enough apart */
                p.now += 6 * SEC;
                (void) nghttp2_submit_ping(p.client, 0, NULL);
                pump(&p);
        }
        ASSERT_EQ(p.goaway, 0);
        for (unsigned i = 0; i < 3; i++) {
                p.now += SEC;
                (void) nghttp2_submit_ping(p.client, 0, NULL);
                pump(&p);
        }
        ASSERT_EQ(p.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
        ASSERT_STREQ(p.goaway_text, "too_many_pings");
        peer_done(&p);
}

TEST(settings_flood) {
        Peer p;
        peer_init(&p);
        for (unsigned i = 0; i < 20000 && p.goaway == 0; i++) {
                (void) nghttp2_submit_settings(p.client, 0, NULL, 0);
                pump(&p);
        }
        ASSERT_EQ(p.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
        peer_done(&p);
}

TEST(shutdown_says_goaway_and_waits) {
        Peer p;
        peer_init(&p);
        request(&p, "/hold", 0);
        pump(&p);
        http_conn_shutdown(p.conn);
        pump(&p);
        ASSERT_EQ(p.goaway, NGHTTP2_NO_ERROR);
        ASSERT_FALSE(http_conn_finished(p.conn));
        http_respondf(p.held, 200, "bye");
        pump(&p);
        ASSERT_STREQ(buf_str(&p.body), "bye");
        ASSERT_TRUE(http_conn_finished(p.conn));
        peer_done(&p);
}

TEST(an_answer_before_the_requests_end) {
        Peer p;
        peer_init(&p);
        request(&p, "/hold", 5U << 20);
        pump(&p);
        http_respondf(p.held, 403, "no");
        pump(&p);
        ASSERT_STREQ(buf_str(&p.body), "no");
        ASSERT_EQ(p.closed, 0); /* the client may end it by itself ... */
        p.now += 3 * SEC;
        http_conn_tick(p.conn, p.now);
        pump(&p);
        ASSERT_EQ(p.closed, 1); /* ... but not for ever */
        ASSERT_EQ(p.close_code, NGHTTP2_NO_ERROR);
        peer_done(&p);
}

TEST(a_client_that_opens_no_window) {
        Peer p;
        peer_init(&p);
        size_t n = 8U << 20;
        _cleanup_free_ char *big = xcalloc(1, n);
        nghttp2_settings_entry shut = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0 };
        ASSERT_EQ(nghttp2_submit_settings(p.client, 0, &shut, 1), 0);
        for (unsigned i = 0; i < 50; i++) {
                request(&p, "/hold", 0);
                pump(&p);
                http_respond(p.held, 200, NULL, big, n);
                pump(&p);
        }
        ASSERT_TRUE(p.closed >= 18 && p.closed < 30); /* those beyond HTTP_CONN_WRITE_MAX were reset */
        ASSERT_EQ(http_conn_deadline(p.conn), p.now + HTTP_IDLE_TIMEOUT);
        p.now += HTTP_IDLE_TIMEOUT;
        http_conn_tick(p.conn, p.now);
        ASSERT_TRUE(http_conn_finished(p.conn));
        peer_done(&p);
}

TEST(grpc_without_a_message) {
        Peer p;
        peer_init(&p);
        request(&p, "/unary", 5); /* "xxxxx" is no frame */
        pump(&p);
        ASSERT_STREQ(p.grpc_status, "13");
        peer_done(&p);
}

TEST(not_http2_after_all) {
        Peer p;
        peer_init(&p);
        pump(&p);
        http_conn_recv(p.conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27, p.now);
        const void *in;
        for (size_t k; (k = http_conn_output(p.conn, &in, p.now)) > 0;)
                http_conn_sent(p.conn, k, p.now);
        ASSERT_TRUE(http_conn_finished(p.conn));
        peer_done(&p);
}

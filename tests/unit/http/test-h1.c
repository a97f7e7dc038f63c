/* SPDX-License-Identifier: Apache-2.0 */

/* HTTP/1.1 through the protocol engine, without sockets: bytes in, bytes out. */

#include "base/alloc.h"
#include "base/str.h"
#include "http/conn.h"
#include "test.h"

static HttpReq *held; /* the request the "hold" handler keeps */
static unsigned n_cancel, n_free, n_data;
static HttpLimits limits;

static void on_cancel(HttpReq *q) {
        n_cancel++;
        held = NULL;
}

static void on_free(HttpReq *q) {
        n_free++;
}

static void hold(HttpReq *q, void *user) {
        held = q;
        q->on_cancel = on_cancel;
        q->on_free = on_free;
}

static void echo(HttpReq *q, void *user) {
        _cleanup_(buf_done) Buf b = {};
        buf_addf(&b, "%s %s [%s] ", q->method, q->path, q->query);
        buf_add(&b, buf_str(&q->body), q->body.len);
        http_respond(q, 200, "text/plain", buf_str(&b), b.len);
}

static void chunks(HttpReq *q, void *user) {
        http_add_header(q, "X-Split", "a\r\nEvil: b");
        http_start(q, 200);
        (void) http_write(q, "one", 3);
        (void) http_write(q, "three", 5);
        http_add_trailer(q, "X-Sum", "8");
        http_finish(q);
}

static void stream_data(HttpReq *q) {
        n_data++;
        http_consume(q, q->body.len);
        if (q->body_end)
                http_respondf(q, 200, "streamed\n");
}

static void stream(HttpReq *q, void *user) {
        q->on_data = stream_data;
}

static void raw_data(HttpReq *q) {
        (void) http_write(q, buf_str(&q->body), q->body.len);
        bool quit = memchr(buf_str(&q->body), 'q', q->body.len);
        http_consume(q, q->body.len);
        if (quit || q->body_end)
                http_finish(q);
}

static void hijack(HttpReq *q, void *user) {
        q->on_data = raw_data;
        q->on_cancel = on_cancel;
        q->on_free = on_free;
        ASSERT_OK(http_hijack(q, q->upgrade ? 101 : 200));
}

static void early(HttpReq *q, void *user) {
        http_respondf(q, 403, "no\n");
}

static const HttpRoute routes[] = {
        { "/echo", HTTP_GET | HTTP_POST | HTTP_HEAD, HTTP_ROUTE_PREFIX, 0, echo },
        { "/small", HTTP_POST, 0, 8, echo },
        { "/chunks", HTTP_GET, 0, 0, chunks },
        { "/hold", 0, 0, 0, hold },
        { "/stream", HTTP_POST, HTTP_ROUTE_STREAM, 0, stream },
        { "/hijack", HTTP_POST, 0, 0, hijack },
        { "/early", HTTP_POST, HTTP_ROUTE_STREAM, 0, early },
        {},
};

static void route(HttpReq *q, void *user) {
        http_route(routes, q, user);
}

static HttpConn *new_conn(void) {
        held = NULL;
        n_cancel = n_free = n_data = 0;
        limits = (HttpLimits){
                .body_bytes = 1000, .header_bytes = 2000, .header_count = 20, .url_bytes = 300
        };
        http_limits_fill(&limits);
        HttpConnConfig config = { .handler = route, .limits = &limits, .peer = "test" };
        return http_conn_new(&config, 1);
}

static void feed(HttpConn *c, const char *s) {
        http_conn_recv(c, s, strlen(s), 1);
}

/* Everything that can be sent now, as text. */
static const char *output(HttpConn *c) {
        static Buf b;
        const void *p;
        buf_clear(&b);
        for (size_t n; (n = http_conn_output(c, &p, 1)) > 0;) {
                buf_add(&b, p, n);
                http_conn_sent(c, n, 1);
        }
        return buf_str(&b);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

TEST(get) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "GET /echo/a%20b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n");
        ASSERT_STREQ(output(c), OK_HEAD "Content-Length: 20\r\n\r\nGET /echo/a b [x=1] ");
        ASSERT_FALSE(http_conn_finished(c));
}

TEST(one_byte_at_a_time) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        const char *s = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        for (; *s; s++)
                http_conn_recv(c, s, 1, 1);
        ASSERT_STREQ(output(c), OK_HEAD "Content-Length: 17\r\n\r\nPOST /echo [] abc");
}

TEST(pipelined_answers_keep_their_order) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: h\r\n\r\n");
        ASSERT_STREQ(output(c), "");
        ASSERT_NOT_NULL(held);
        http_respond(held, 200, NULL, "1", 1);
        ASSERT_STREQ(output(c), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1" OK_HEAD
                                "Content-Length: 15\r\n\r\nGET /echo/2 [] ");
        ASSERT_EQ(n_free, 1);
        ASSERT_EQ(n_cancel, 0);
}

TEST(chunked_both_ways) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        ASSERT_TRUE(endswith(output(c), "POST /echo [] abcde"));
        feed(c, "GET /chunks HTTP/1.1\r\nHost: h\r\n\r\n");
        ASSERT_STREQ(output(c),
                     "HTTP/1.1 200 OK\r\nX-Split: a  Evil: b\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "3\r\none\r\n5\r\nthree\r\n0\r\nX-Sum: 8\r\n\r\n");
}

TEST(head_has_no_body) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n");
        ASSERT_STREQ(output(c), OK_HEAD "Content-Length: 14\r\n\r\n");
}

TEST(old_clients_get_no_chunks) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "GET /chunks HTTP/1.0\r\n\r\n");
        ASSERT_STREQ(output(c),
                     "HTTP/1.1 200 OK\r\nX-Split: a  Evil: b\r\nConnection: close\r\n\r\nonethree");
        ASSERT_TRUE(http_conn_finished(c));
}

TEST(expect_continue) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        ASSERT_STREQ(output(c), "HTTP/1.1 100 Continue\r\n\r\n");
        feed(c, "hi");
        ASSERT_TRUE(endswith(output(c), "POST /echo [] hi"));
        feed(c, "POST /early HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        ASSERT_TRUE(strstr(output(c), "Connection: close"));
        ASSERT_TRUE(http_conn_finished(c));
        ASSERT_TRUE(http_conn_linger(c));
}

static void expect_status(const char *request, const char *status) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, request);
        const char *out = output(c);
        if (!startswith(out, status))
                test_fail(__FILE__, __LINE__, "%s\n  wanted %s\n  got    %s", request, status, out);
        ASSERT_TRUE(http_conn_finished(c));
}

TEST(bad_requests) {
        expect_status("nonsense\r\n\r\n", "HTTP/1.1 400 ");
        expect_status("GET /echo HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "); /* no Host */
        expect_status("GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 ");
        expect_status("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 ");
        expect_status("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 ");
        expect_status("GET / HTTP/3.0\r\n\r\n", "HTTP/1.1 ");
        expect_status("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: "
                      "chunked\r\n\r\n",
                      "HTTP/1.1 400 ");
        expect_status("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                      "HTTP/1.1 400 ");
        expect_status("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 ");
        expect_status("GET /echo HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", "HTTP/1.1 417 ");
}

static char *repeat(const char *begin, const char *part, unsigned n, const char *end) {
        Buf b = {};
        buf_adds(&b, begin);
        for (unsigned i = 0; i < n; i++)
                buf_adds(&b, part);
        buf_adds(&b, end);
        return buf_take(&b);
}

TEST(limits) {
        _cleanup_free_ char *url = repeat("GET /", "0123456789", 31, " HTTP/1.1\r\nHost: a\r\n\r\n");
        expect_status(url, "HTTP/1.1 414 ");
        _cleanup_free_ char *many = repeat("GET / HTTP/1.1\r\n", "A: b\r\n", 21, "\r\n");
        expect_status(many, "HTTP/1.1 431 ");
        _cleanup_free_ char *big = repeat("GET / HTTP/1.1\r\nA: ", "0123456789", 250, "\r\n\r\n");
        expect_status(big, "HTTP/1.1 431 ");
        expect_status("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", "HTTP/1.1 413 ");
        expect_status("POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                      "chunked\r\n\r\n9\r\n123456789\r\n",
                      "HTTP/1.1 413 ");
}

TEST(routes) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "DELETE /echo/x HTTP/1.1\r\nHost: h\r\n\r\n");
        const char *out = output(c);
        ASSERT_TRUE(startswith(out, "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD, POST\r\n"));
        feed(c, "GET /echoes HTTP/1.1\r\nHost: h\r\n\r\n");
        ASSERT_TRUE(startswith(output(c), "HTTP/1.1 404 Not Found\r\n"));
}

TEST(peer_gone_cancels) {
        HttpConn *c = new_conn();
        feed(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        http_conn_recv_eof(c, 1);
        ASSERT_EQ(n_cancel, 1);
        ASSERT_TRUE(http_conn_finished(c));
        http_conn_free(c);
        ASSERT_EQ(n_cancel, 1);
        ASSERT_EQ(n_free, 1);
}

TEST(streamed_body_stalls_and_goes_on) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "POST /stream HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
        _cleanup_free_ char *part = repeat("", "0123456789", 100, "");
        for (unsigned i = 0; i < 5; i++)
                feed(c, part);
        ASSERT_TRUE(n_data >= 5);
        ASSERT_TRUE(endswith(output(c), "streamed\n"));
}

TEST(unread_body_stops_reading) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        limits.body_bytes = 1U << 20;
        feed(c, "POST /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        ASSERT_TRUE(http_conn_want_read(c));
        _cleanup_free_ char *more = repeat("", "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", 3000, "");
        feed(c, more);
        ASSERT_FALSE(http_conn_want_read(c)); /* pipelined bytes wait, and are not read without bound */
        http_respond(held, 200, NULL, NULL, 0);
        ASSERT_TRUE(strlen(output(c)) > 100000);
        ASSERT_TRUE(http_conn_want_read(c));
}

TEST(hijack_upgrade_with_early_bytes) {
        HttpConn *c = new_conn();
        feed(c, "POST /hijack HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: "
                "0\r\n\r\nearly");
        ASSERT_STREQ(output(c),
                     "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly");
        feed(c, "GET / HTTP/1.1\r\n\r\n");
        ASSERT_STREQ(output(c), "GET / HTTP/1.1\r\n\r\n");
        feed(c, "q");
        ASSERT_STREQ(output(c), "q");
        ASSERT_TRUE(http_conn_finished(c));
        http_conn_free(c);
        ASSERT_EQ(n_free, 1);
        ASSERT_EQ(n_cancel, 0);
}

TEST(hijack_raw_after_collected_body) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "POST /hijack HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}raw");
        ASSERT_STREQ(output(c), "HTTP/1.1 200 OK\r\n\r\nraw");
        http_conn_recv_eof(c, 1);
        ASSERT_TRUE(http_conn_finished(c));
}

TEST(hijack_later) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "POST /hold HTTP/1.1\r\nHost: h\r\n\r\nearly");
        held->on_data = raw_data;
        ASSERT_OK(http_hijack(held, 200));
        ASSERT_STREQ(output(c), "HTTP/1.1 200 OK\r\n\r\nearly");
}

TEST(upgrade_to_h2c_is_ignored) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: h\r\n\r\n");
        const char *out = output(c);
        ASSERT_TRUE(startswith(out, "HTTP/1.1 200 OK\r\n"));
        ASSERT_TRUE(endswith(out, "GET /echo/2 [] "));
}

TEST(timeouts) {
        HttpConn *c = new_conn();
        feed(c, "GET / HTTP/1.1\r\n");
        ASSERT_EQ(http_conn_deadline(c), 1 + HTTP_HEADERS_TIMEOUT);
        http_conn_tick(c, 1 + HTTP_HEADERS_TIMEOUT);
        ASSERT_TRUE(startswith(output(c), "HTTP/1.1 408 "));
        ASSERT_TRUE(http_conn_finished(c));
        http_conn_free(c);

        c = new_conn();
        feed(c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
        ASSERT_EQ(http_conn_deadline(c), 1 + HTTP_BODY_TIMEOUT);
        http_conn_tick(c, 1 + HTTP_BODY_TIMEOUT);
        ASSERT_TRUE(startswith(output(c), "HTTP/1.1 408 "));
        http_conn_free(c);

        c = new_conn();
        feed(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        ASSERT_EQ(http_conn_deadline(c), USEC_NEVER); /* a long poll may take for ever */
        http_respondf(held, 200, "x");
        const void *p;
        ASSERT_TRUE(http_conn_output(c, &p, 5) > 0);
        ASSERT_EQ(http_conn_deadline(c), 5 + HTTP_WRITE_TIMEOUT);
        http_conn_tick(c, 5 + HTTP_WRITE_TIMEOUT);
        ASSERT_TRUE(http_conn_finished(c));
        http_conn_free(c);
}

TEST(shutdown_lets_requests_end) {
        _cleanup_(http_conn_freep) HttpConn *c = new_conn();
        feed(c, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        http_conn_shutdown(c);
        ASSERT_FALSE(http_conn_finished(c));
        http_respond(held, 200, NULL, "x", 1);
        ASSERT_STREQ(output(c), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
        ASSERT_TRUE(http_conn_finished(c));
}

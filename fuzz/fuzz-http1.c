/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "http/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes of a client into a connection: at once, and one by one. Both must give the same answers, every
 * request must end exactly once, and nothing may be kept above the limits. */

static unsigned begun, freed;

static void on_free(HttpReq *q) {
        freed++;
}

static void echo(HttpReq *q, void *user) {
        http_respond(q, 200, "text/plain", buf_str(&q->body), q->body.len);
}

static void stream_data(HttpReq *q) {
        size_t *n = q->user;
        *n += q->body.len;
        http_consume(q, q->body.len);
        if (!q->body_end)
                return;
        http_start(q, 200);
        for (size_t i = 0; i < MIN(*n, (size_t) 3); i++)
                (void) http_write(q, "data", 4);
        http_add_trailer(q, "x-end", "1");
        http_finish(q);
}

static void stream(HttpReq *q, void *user) {
        q->user = arena_new(&q->arena, size_t, 1);
        q->on_data = stream_data;
}

static void raw_data(HttpReq *q) {
        if (q->body.len > 0)
                (void) http_write(q, q->body.data, q->body.len);
        http_consume(q, q->body.len);
        if (q->body_end)
                http_finish(q);
}

static void hijack(HttpReq *q, void *user) {
        q->on_data = raw_data;
        if (http_hijack(q, q->upgrade ? 101 : 200) < 0)
                abort();
}

static void silent(HttpReq *q, void *user) {}

static const HttpRoute routes[] = {
        { "/stream", 0, HTTP_ROUTE_STREAM, 0, stream },
        { "/hijack", 0, 0, 0, hijack },
        { "/silent", 0, HTTP_ROUTE_STREAM, 0, silent },
        { "/", HTTP_GET | HTTP_POST, HTTP_ROUTE_PREFIX, 100, echo },
        {},
};

static void handle(HttpReq *q, void *user) {
        begun++;
        q->on_free = on_free;
        (void) http_query(q, "a");
        (void) http_form(q, "b");
        http_route(routes, q, user);
}

static void take_output(HttpConn *c, Buf *out) {
        const void *p;
        for (size_t n; (n = http_conn_output(c, &p, 1)) > 0;) {
                buf_add(out, p, n);
                http_conn_sent(c, n, 1);
        }
}

static void run(const uint8_t *data, size_t size, size_t piece, Buf *out) {
        HttpLimits limits = {
                .header_bytes = 4000, .header_count = 20, .url_bytes = 1000, .body_bytes = 5000
        };
        http_limits_fill(&limits);
        HttpConnConfig config = { .handler = handle, .limits = &limits, .peer = "fuzz" };
        HttpConn *c = http_conn_new(&config, 1);
        begun = freed = 0;
        for (size_t at = 0; at < size; at += piece) {
                http_conn_recv(c, data + at, MIN(piece, size - at), 1);
                take_output(c, out);
        }
        http_conn_recv_eof(c, 1);
        take_output(c, out);
        http_conn_tick(c, 1000 * USEC_PER_SEC);
        take_output(c, out);
        http_conn_free(c);
        if (begun != freed)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(buf_done) Buf once = {}, bytewise = {};
        if (size > (32U << 10))
                return 0;
        run(data, size, MAX(size, (size_t) 1), &once);
        run(data, size, 1, &bytewise);
        if (size >= 3 && memcmp(data, "PRI", 3) == 0)
                return 0; /* HTTP/2, whose answers are framed as they are asked for */
        if (once.len != bytewise.len || memcmp(buf_str(&once), buf_str(&bytewise), once.len) != 0)
                abort();
        return 0;
}

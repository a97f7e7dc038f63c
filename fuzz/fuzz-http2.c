/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "http/conn.h"
#include "http/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Frames of a client (behind a good preface) into a connection, whose handlers collect, stream and speak
 * gRPC. */

static unsigned begun, freed;
static HttpReq *held;

static void on_free(HttpReq *q) {
        freed++;
        if (held == q)
                held = NULL;
}

static void on_cancel(HttpReq *q) {
        if (held == q)
                held = NULL;
}

static void echo(HttpReq *q, void *user) {
        http_respond(q, 200, "text/plain", buf_str(&q->body), q->body.len);
}

static void grpc_data(HttpReq *q) {
        GrpcMsg m;
        int r;
        while ((r = grpc_next(q, &m)) > 0)
                (void) grpc_send(q, m.data, m.size);
        if (r == 0 && q->body_end)
                grpc_finish(q, GRPC_NOT_FOUND, "done\n\xff");
}

static void grpc(HttpReq *q, void *user) {
        q->on_data = grpc_data;
}

static void hold(HttpReq *q, void *user) {
        if (held) { /* the one before is answered by this one's arrival */
                HttpReq *other = TAKE_PTR(held);
                http_start(other, 200);
                (void) http_write(other, "x", 1);
                http_finish(other);
        }
        held = q;
        q->on_cancel = on_cancel;
}

static void aborts(HttpReq *q, void *user) {
        http_start(q, 200);
        (void) http_write(q, "half", 4);
        http_abort(q);
}

static const HttpRoute routes[] = {
        { "/grpc", HTTP_POST, HTTP_ROUTE_STREAM, 0, grpc },
        { "/hold", 0, 0, 0, hold },
        { "/abort", 0, 0, 0, aborts },
        { "/", 0, HTTP_ROUTE_PREFIX, 100, echo },
        {},
};

static void handle(HttpReq *q, void *user) {
        begun++;
        q->on_free = on_free;
        http_route(routes, q, user);
}

static void take_output(HttpConn *c) {
        const void *p;
        for (size_t n; (n = http_conn_output(c, &p, 1)) > 0;)
                http_conn_sent(c, n, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char start[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
        HttpLimits limits = { .header_bytes = 4000,
                              .header_count = 20,
                              .url_bytes = 1000,
                              .body_bytes = 5000,
                              .streams = 10 };
        if (size > (64U << 10))
                return 0;
        http_limits_fill(&limits);
        HttpConnConfig config = { .handler = handle, .limits = &limits, .peer = "fuzz" };
        HttpConn *c = http_conn_new(&config, 1);
        begun = freed = 0;
        held = NULL;
        http_conn_recv(c, start, sizeof(start) - 1, 1);
        for (size_t at = 0, piece = 1; at < size; at += piece, piece = piece * 2 + 1) {
                http_conn_recv(c, data + at, MIN(piece, size - at), 1);
                take_output(c);
        }
        http_conn_tick(c, 100 * USEC_PER_SEC);
        take_output(c);
        http_conn_shutdown(c);
        take_output(c);
        http_conn_recv_eof(c, 1);
        http_conn_free(c);
        if (begun != freed)
                abort();
        return 0;
}

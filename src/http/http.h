/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One server layer for every API of this project: HTTP/1.1 (llhttp) and HTTP/2 (nghttp2) on the same port,
 * over TCP, unix sockets and TLS, on sd-event. (The client side is http/client.h, gRPC on both sides is
 * http/grpc.h, certificates are http/tls.h.)
 *
 * What holds:
 *  - A handler sees an HttpReq and cannot tell the wire. It is called when the *headers* are complete; it
 * then answers at once, or collects the body (http_collect), or streams it (on_data), or keeps q for later.
 *    Routes of http_route() collect the body by themselves unless they carry HTTP_ROUTE_STREAM.
 *  - The handler may hold q until the request ends. It ends exactly once: by http_finish() / http_respond()
 * / http_abort(), or, if the peer goes away, a timeout strikes or the server stops first, by q->on_cancel().
 *    After either the handler must not touch q again. q->on_free() is always the last call: release q->user
 * there.
 *  - http_*() may be called at any time from the loop's thread, inside or outside a handler. Nothing is ever
 * freed under a caller's feet: output is queued, sockets are written once per loop turn.
 *  - Memory is bounded: every queue has a named limit below, and a peer that does not read is not written
 * for.
 *
 * The protocol engine (http/conn.h) is bytes in, bytes out and never touches a socket or a clock: that is
 * what the fuzzers drive. Rejected: libmicrohttpd (no HTTP/2, no raw hijack), h2o 2.2 (no trailers),
 * libwebsockets (owns the loop); see DESIGN D3. */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"

#include <systemd/sd-event.h>

/* ---- limits; those that differ between daemons are in HttpLimits, whose zero fields mean these ---- */
#define HTTP_HEADER_COUNT_MAX 100U        /* header fields of a message -> 431 */
#define HTTP_HEADER_BYTES_MAX (64U << 10) /* names and values together -> 431 */
#define HTTP_URL_BYTES_MAX (32U << 10)    /* request target -> 414 */
#define HTTP_BODY_BYTES_MAX (2U << 20)    /* collected body -> 413 */
#define HTTP_STREAMS_MAX 4096U            /* concurrent HTTP/2 streams of a connection */
#define HTTP_CONNECTIONS_MAX 16384U       /* of a server; beyond it accepting pauses */
#define HTTP_WRITE_HIGH (256U << 10) /* http_write() returns 1 above this many queued bytes of a request */
#define HTTP_WRITE_MAX (64U << 20)   /* http_write() refuses above this: the handler ignored the 1 */
#define HTTP_CONN_WRITE_MAX (256U << 20) /* as HTTP_WRITE_MAX, for all streams of a connection together */
#define HTTP_READ_HIGH (256U << 10) /* unconsumed body bytes of a streamed request before reading stops */
#define HTTP_CONN_INPUT_MAX (16U << 20) /* unconsumed body bytes of all streams of a connection */
#define HTTP_HEADERS_TIMEOUT                                                                                \
        (10 * USEC_PER_SEC)                   /* from the first byte to the end of the headers (slowloris) */
#define HTTP_BODY_TIMEOUT (30 * USEC_PER_SEC) /* without any progress of an incomplete body */
#define HTTP_IDLE_TIMEOUT (300 * USEC_PER_SEC) /* of a connection without requests */
#define HTTP_WRITE_TIMEOUT (60 * USEC_PER_SEC) /* without any progress of writing, while output waits */

typedef struct HttpLimits {
        size_t header_count, header_bytes, url_bytes, body_bytes, streams, connections;
        Usec headers_timeout, body_timeout, idle_timeout, write_timeout;
        Usec ping_min; /* HTTP/2 pings closer together than this count as strikes; 0 = 5 s (etcd's default)
                        */
} HttpLimits;

typedef struct HttpReq HttpReq;
typedef struct HttpServer HttpServer;
typedef struct HttpConn HttpConn;
typedef struct TlsContext TlsContext;
typedef void (*HttpHandler)(HttpReq *q, void *user);

typedef struct HttpHeader {
        const char *name, *value; /* weak; names of received headers are lower case */
} HttpHeader;

/* ---- the request ---- */

struct HttpReq {
        /* To read. All strings are never NULL and live as long as q. */
        const char *method;
        const char *target;    /* as sent: "/v2/keys/a%20b?wait=true" */
        const char *path_raw;  /* as sent, without the query */
        const char *path;      /* percent-decoded; never contains a NUL byte */
        const char *query;     /* as sent, without the '?'; "" when absent. Parameters: http_query() */
        const char *host;      /* Host or :authority; "" when absent */
        const char *peer;      /* "127.0.0.1:4711", "[::1]:4711" or "unix" */
        const char *peer_name; /* CN of the verified client certificate; "" otherwise */
        const HttpHeader *headers;
        size_t n_headers;
        bool http2, tls, upgrade; /* upgrade: the client asked for a protocol upgrade */

        /* The body: all of it once collected; while streaming, what was not yet taken by http_consume(). */
        Buf body;
        bool body_end; /* nothing will come after what is in `body` */

        /* To set; each may stay NULL. */
        void *user;
        void (*on_data)(HttpReq *q);     /* `body` grew or body_end became true */
        void (*on_writable)(HttpReq *q); /* the queue fell low again after http_write() had returned 1 */
        void (*on_cancel)(HttpReq *q);   /* ended from the other side; do not touch q after returning */
        void (*on_free)(HttpReq *q);     /* always, last */

        Arena arena; /* for the handler's own use too; freed with q */
        struct HttpReqPrivate *priv;
};

/* The first header of that name (any case), or NULL. */
const char *http_header(const HttpReq *q, const char *name);
/* The first value of a query parameter, decoded ('+' is a space), or NULL when absent. Lives in the arena.
 */
const char *http_query(HttpReq *q, const char *name);
/* As http_query(), but a parameter of an application/x-www-form-urlencoded collected body wins over the
 * query (PUT, POST and PATCH only, as Go's ParseForm). */
const char *http_form(HttpReq *q, const char *name);

/* Collects the body, then calls then(q, user); right away if it is there already. Above `limit` bytes
 * (0 = the server's body limit) the client gets 413 and on_cancel() is called instead. */
void http_collect(HttpReq *q, size_t limit, HttpHandler then, void *user);
/* Streaming: n bytes of q->body are done with. Opens the flow-control window. */
void http_consume(HttpReq *q, size_t n);

/* ---- the answer ---- */

/* Adds a header to the answer (copied); before http_start() or http_respond(). Content-Length, Date,
 * Transfer-Encoding and Connection are put in by this layer. */
void http_add_header(HttpReq *q, const char *name, const char *value);
void http_add_headerf(HttpReq *q, const char *name, const char *fmt, ...) _printf_(3, 4);
/* The whole answer at once, and the end of q. `type` may be NULL. HEAD, 204 and 304 send no body. */
void http_respond(HttpReq *q, int status, const char *type, const void *body, size_t n);
/* As http_respond() with a text made by printf; "text/plain; charset=utf-8", "\n" is not added. */
void http_respondf(HttpReq *q, int status, const char *fmt, ...) _printf_(3, 4);
/* Sends status and headers now; a body of unknown length follows (chunked on HTTP/1.1): long-poll, streams.
 */
void http_start(HttpReq *q, int status);
/* Queues body bytes (after http_start()). 0: go on; 1: accepted, but the queue is above HTTP_WRITE_HIGH:
 * wait for on_writable() if you can; -ENOBUFS: not accepted, the queue is at HTTP_WRITE_MAX; -ECONNRESET: q
 * is gone soon. */
int http_write(HttpReq *q, const void *p, size_t n);
size_t http_queued(const HttpReq *q); /* bytes of this answer that wait to be sent */
bool http_started(const HttpReq *q);
/* A trailer to be sent by http_finish() (copied). On HTTP/1.1 it is sent if the answer is chunked. */
void http_add_trailer(HttpReq *q, const char *name, const char *value);
void http_finish(HttpReq *q); /* ends the answer and q; answers 500 if nothing was started */
void http_abort(HttpReq *q);  /* ends q by a reset of the stream or connection: the peer sees a broken answer
                               */

/* Takes the byte stream away from HTTP/1.1 (docker attach): status 101, with "Connection: Upgrade" and the
 * Upgrade header of the request (or "tcp"), or any 2xx status for a raw answer; added headers are sent.
 * From then on q->body / on_data / http_consume() carry raw bytes, beginning with what the client sent
 * early, http_write() sends raw bytes, body_end tells the peer's half close, http_finish() closes after
 * flushing. -EOPNOTSUPP on HTTP/2 (nothing was sent then). */
int http_hijack(HttpReq *q, int status);

/* ---- routes ---- */

enum { /* methods of a route */
       HTTP_GET = 1 << 0,
       HTTP_HEAD = 1 << 1,
       HTTP_POST = 1 << 2,
       HTTP_PUT = 1 << 3,
       HTTP_DELETE = 1 << 4,
       HTTP_PATCH = 1 << 5,
       HTTP_OPTIONS = 1 << 6,
};
enum {                             /* flags of a route */
       HTTP_ROUTE_PREFIX = 1 << 0, /* the path itself and everything below it ("/v2/keys", "/v2/keys/a/b") */
       HTTP_ROUTE_STREAM = 1 << 1, /* call at the headers, do not collect the body */
};
typedef struct HttpRoute {
        const char *path; /* NULL ends the table; compared with q->path */
        unsigned methods; /* 0 = any */
        unsigned flags;
        size_t body_max; /* 0 = the server's limit */
        HttpHandler handler;
} HttpRoute;

/* Chooses the route with the longest matching path, collects the body, calls its handler with `user`.
 * Answers 404 "404 page not found\n" when no path matches and 405 "Method Not Allowed\n" with Allow when
 * only the method does not; put a { "/", 0, HTTP_ROUTE_PREFIX, 0, fallback } last to do it differently. */
void http_route(const HttpRoute *routes, HttpReq *q, void *user);
unsigned http_method_bit(const char *method); /* 0 when it is none of the above */

/* ---- the server ---- */

typedef struct HttpServerConfig {
        sd_event *event;     /* kept by reference */
        HttpHandler handler; /* called for every request when its headers are complete */
        void *user;
        HttpLimits limits;
        const char *server_header; /* copied; NULL = no Server: header */
} HttpServerConfig;

HttpServer *http_server_new(const HttpServerConfig *config);
/* Listens at "http://HOST:PORT", "https://HOST:PORT" (needs tls) or "unix:///PATH" (an old socket file is
 * replaced, mode 0660). HOST is a numeric address, "localhost" or empty for all. `tls` is kept by reference.
 */
int http_server_listen(HttpServer *s, const char *url, TlsContext *tls, Err *err);
/* Adopts a listening socket (socket activation); the server closes it. tls may be NULL. */
int http_server_listen_fd(HttpServer *s, int fd, TlsContext *tls, Err *err);
/* Adopts a connected stream socket as if it had been accepted (tests, inetd style). */
int http_server_add_connection(HttpServer *s, int fd, TlsContext *tls, Err *err);
/* The port of the n-th TCP listener (to learn what port 0 became), or -ENOENT. */
int http_server_port(const HttpServer *s, size_t n);
size_t http_server_connections(const HttpServer *s);
size_t http_server_requests(const HttpServer *s); /* not ended yet */
/* Graceful end: stops listening, sends GOAWAY, closes idle connections, lets requests end for up to `grace`
 * (then they are cancelled), calls done(user) from the loop when the last connection is gone. */
void http_server_stop(HttpServer *s, Usec grace, void (*done)(void *user), void *user);
/* At once: every request is cancelled. Not from inside a handler of this server. */
HttpServer *http_server_free(HttpServer *s);
DEFINE_CLEANUP(HttpServer *, http_server_free)

const char *http_status_text(int status); /* "Not Found"; "Status" for unknown ones */

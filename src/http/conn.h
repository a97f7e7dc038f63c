/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The server's protocol engine: one connection as bytes in, bytes out and a deadline. It owns no socket and
 * reads no clock, so that tests and fuzzers drive it directly; http/server.c connects it to the world.
 *
 * The first bytes decide between HTTP/1.1 and HTTP/2 (its preface). Handlers run inside http_conn_recv(),
 * http_conn_output() and http_conn_tick() only. Requests are freed inside those, too, or by
 * http_conn_free(). Private to src/http and its tests. */

#include "http/http.h"

typedef struct HttpConnConfig {
        HttpHandler handler;
        void *user;
        const HttpLimits *limits;  /* complete: see http_limits_fill(); outlives the connection */
        const char *peer;          /* copied */
        const char *peer_name;     /* copied; may be NULL */
        const char *date;          /* kept: text of a Date header, renewed by the owner; NULL = none */
        const char *server_header; /* kept */
        bool tls, http2;           /* http2: ALPN chose it */
        /* Called when there is something to write or to close, outside of recv, output and tick. */
        void (*on_wake)(void *owner);
        void *owner;
} HttpConnConfig;

void http_limits_fill(HttpLimits *l); /* zero fields become the defaults */

HttpConn *http_conn_new(const HttpConnConfig *config, Usec now);
HttpConn *http_conn_free(HttpConn *c); /* cancels open requests */
DEFINE_CLEANUP(HttpConn *, http_conn_free)

void http_conn_recv(HttpConn *c, const void *p, size_t n, Usec now);
void http_conn_recv_eof(HttpConn *c, Usec now);
bool http_conn_want_read(const HttpConn *c);
/* What can be written now (borrowed until the next call); 0 = nothing. */
size_t http_conn_output(HttpConn *c, const void **ret, Usec now);
void http_conn_sent(HttpConn *c, size_t n, Usec now);
/* To be closed as soon as http_conn_output() has nothing left. */
bool http_conn_finished(const HttpConn *c);
/* The peer may still be sending a body that nobody wants: close only after reading some more. */
bool http_conn_linger(const HttpConn *c);
Usec http_conn_deadline(
                const HttpConn *c); /* when to call http_conn_tick(); may move later without notice */
void http_conn_tick(HttpConn *c, Usec now);
void http_conn_shutdown(HttpConn *c); /* GOAWAY; closes when the open requests have ended */
size_t http_conn_requests(const HttpConn *c);

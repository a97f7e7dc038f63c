/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What client.c (calls and their origins), client-conn.c (connections), client-h1.c and client-h2.c share.
 *
 * A call waits at its origin until a connection takes it. Ended calls and connections are freed from the
 * client's own event source, so that nothing disappears while callbacks run. */

#include "base/alloc.h"
#include "base/list.h"
#include "base/queue.h"
#include "base/str.h"
#include "codec/url.h"
#include "http/client.h"
#include "http/llhttp-wrap.h"
#include "http/poll.h"
#include "http/resolve.h"

#include <nghttp2/nghttp2.h>

#define CLIENT_STREAM_WINDOW (1U << 20)
#define CLIENT_CONN_WINDOW (16U << 20)
#define CLIENT_HEADER_BYTES_MAX (256U << 10)
#define CLIENT_HEADER_COUNT_MAX 1000U
#define CLIENT_OUTPUT_CHUNK (128U << 10)
#define CLIENT_REPEATS_MAX 2U /* of a call that a connection certainly did not carry out */

typedef struct Origin Origin;
typedef struct ClientConn ClientConn;
typedef struct HttpCallPrivate HttpCallPrivate;

struct HttpCallPrivate {
        HttpCall *call;
        HttpClient *client;
        Origin *origin;
        ClientConn *conn;                    /* weak; NULL while waiting */
        LIST_LINK(HttpCallPrivate) link;     /* of origin->waiting, conn->calls or client->dead_calls */
        LIST_LINK(HttpCallPrivate) all_link; /* of client->calls */
        HttpCallConfig config;               /* its strings are not kept, only callbacks, flags and limits */
        char *method, *target, *authority;   /* owned */
        HttpHeader *headers;                 /* owned, lower-case names */
        size_t n_headers;
        Buf request;   /* the whole body, unless it is streamed */
        ByteQueue out; /* streamed request body before framing */
        sd_event_source *timer;
        int32_t stream_id; /* HTTP/2 */
        unsigned repeats;
        Buf head; /* received header fields: name NUL value NUL ... */
        size_t n_head, debt;
        size_t sent_body; /* of `request`, HTTP/2 */
        bool streaming, request_end, deferred, high, head_done, trailers, dead, done_called;
        bool too_large;
        char problem[256];
};

typedef enum ConnState {
        CONN_RESOLVING,
        CONN_CONNECTING,
        CONN_HANDSHAKE,
        CONN_READY,
        CONN_CLOSED
} ConnState;

struct ClientConn {
        Channel ch; /* ch.fd is -1 while resolving */
        HttpClient *client;
        Origin *origin;
        LIST_LINK(ClientConn) link; /* of origin->conns */
        LIST_HEAD(HttpCallPrivate) calls;
        size_t n_calls;
        ConnState state;
        bool h2, used, reused, going_away, in_poller, got_bytes, ping_out, wake;
        ByteQueue out;
        Resolution *resolution; /* owned; while resolving */
        struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX];
        socklen_t address_len[RESOLVE_ADDRESSES_MAX];
        size_t n_addresses, at_address;
        sd_event_source *timer;
        Usec last_in;
        llhttp_t parser;
        bool parsing_trailers;
        nghttp2_session *session;
        char problem[256];
};

struct Origin { /* where calls go: one scheme, host, port, socket and protocol */
        HttpClient *client;
        char *key, *host, *unix_path; /* owned */
        uint16_t port;
        bool tls, h2;
        LIST_HEAD(ClientConn) conns;
        LIST_HEAD(HttpCallPrivate) waiting;
        LIST_LINK(Origin) link;
};

struct HttpClient {
        HttpClientConfig config;
        char *user_agent;
        sd_event *event;
        Poller *poller;
        TlsContext *tls;       /* reference; made on first use when none was given */
        sd_event_source *pump; /* starts and ends what could not be done on the spot */
        LIST_HEAD(Origin) origins;
        LIST_HEAD(HttpCallPrivate) calls; /* all that are alive, by all_link */
        LIST_HEAD(HttpCallPrivate) dead_calls;
        bool freeing;
};

/* client.c */
void client_wake(HttpClient *c);
void call_headers(HttpCallPrivate *p); /* status and headers are complete */
void call_trailers(HttpCallPrivate *p);
void call_data(HttpCallPrivate *p, const void *data, size_t n); /* appends, checks the limit, calls back */
void call_end(HttpCallPrivate *p, int r,
              const char *problem);   /* takes it off its connection, calls on_done() */
bool call_repeat(HttpCallPrivate *p); /* back to its origin, if it may be; it must not have been carried out
                                       */
int call_add_head(HttpCallPrivate *p, const void *s, size_t n);
void call_attach(HttpCallPrivate *p, ClientConn *conn);
void call_detach(HttpCallPrivate *p);
void origin_dispatch(Origin *o);

/* client-conn.c */
ClientConn *conn_open(Origin *o);
void conn_fail(ClientConn *c, int r, const char *problem);
void conn_idle(ClientConn *c);
void conn_touch(ClientConn *c); /* something to write */
void conn_free_now(ClientConn *c);
void conn_arm(ClientConn *c, Usec in);
void conn_watch(ClientConn *c);

/* client-h1.c */
void ch1_init(ClientConn *c);
void ch1_send(ClientConn *c, HttpCallPrivate *p);
int ch1_recv(ClientConn *c, const char *data, size_t n);
void ch1_eof(ClientConn *c);
void ch1_write(HttpCallPrivate *p, const void *data, size_t n);
void ch1_end(HttpCallPrivate *p);

/* client-h2.c */
int ch2_init(ClientConn *c);
void ch2_send(ClientConn *c, HttpCallPrivate *p);
int ch2_recv(ClientConn *c, const char *data, size_t n);
int ch2_fill(ClientConn *c);
void ch2_resume(HttpCallPrivate *p);
void ch2_consume(HttpCallPrivate *p, size_t n);
void ch2_cancel(HttpCallPrivate *p);
bool ch2_has_room(const ClientConn *c);
void ch2_ping(ClientConn *c);

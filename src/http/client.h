/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The client side of http/http.h: asynchronous HTTP/1.1 and HTTP/2 calls on sd-event, with a keep-alive
 * pool, TLS, unix sockets, per-call deadlines, streaming in both directions, and gRPC.
 *
 * What holds:
 *  - http_call() never blocks and never calls back before it returned. Exactly one on_done() follows, unless
 * the owner called http_call_cancel(). The call is freed after on_done() returned.
 *  - HTTP/2 calls to one origin share a connection; HTTP/1.1 calls take one each from the pool.
 *  - call->sent tells whether the request may have reached the server: while it is false, repeating
 * elsewhere is safe for any method.
 *  - Host names (not addresses) are resolved by getaddrinfo() in a thread of libc's making
 *    (getaddrinfo_a); the loop never waits for a name server.
 *
 * No redirects, cookies or proxies: registries and the like go through libcurl (DESIGN section 5). */

#include "codec/grpc.h"
#include "http/http.h"

#define HTTP_CLIENT_BODY_MAX (64U << 20) /* collected answer */
#define HTTP_CLIENT_CONNECT_TIMEOUT (5 * USEC_PER_SEC)
#define HTTP_CLIENT_IDLE_TIMEOUT (60 * USEC_PER_SEC) /* of a pooled connection */
#define HTTP_CLIENT_IDLE_PER_ORIGIN 8U
#define HTTP_CLIENT_PING_INTERVAL                                                                           \
        (10 * USEC_PER_SEC) /* HTTP/2 with open calls and silence; etcd allows >= 5 s */
#define HTTP_CLIENT_PING_TIMEOUT (5 * USEC_PER_SEC)

typedef struct HttpClient HttpClient;
typedef struct HttpCall HttpCall;

typedef struct HttpClientConfig {
        sd_event *event; /* kept by reference */
        TlsContext *tls; /* kept by reference; NULL = https with the system's authorities */
        Usec connect_timeout, idle_timeout, ping_interval, ping_timeout; /* 0 = the constants above */
        const char *user_agent;                                          /* copied; may be NULL */
} HttpClientConfig;

HttpClient *http_client_new(const HttpClientConfig *config);
HttpClient *http_client_free(
                HttpClient *c); /* ends every call without on_done(); not from inside a callback */
DEFINE_CLEANUP(HttpClient *, http_client_free)

enum {                                    /* flags of a call */
       HTTP_CALL_H2 = 1 << 0,             /* HTTP/2: by prior knowledge without TLS, required with TLS */
       HTTP_CALL_STREAM_REQUEST = 1 << 1, /* http_call_write() / http_call_end() follow */
};

typedef struct HttpCallConfig {
        const char *method; /* NULL = GET */
        const char *url;    /* http://HOST[:PORT]/PATH?QUERY, https://...; with unix_path the host is only a
                               name */
        const char *unix_path;
        const HttpHeader *headers; /* copied */
        size_t n_headers;
        const void *body; /* copied */
        size_t body_size;
        unsigned flags;
        Usec timeout;                                   /* for the whole call, from now; 0 = none */
        size_t body_max;                                /* of a collected answer; 0 = HTTP_CLIENT_BODY_MAX */
        void (*on_headers)(HttpCall *call, void *user); /* status and headers are known; may be NULL */
        /* Streaming answers: call->body grew; take bytes off with http_call_consume(). NULL = collect. */
        void (*on_data)(HttpCall *call, void *user);
        void (*on_writable)(HttpCall *call, void *user); /* after http_call_write() had returned 1 */
        /* r = 0: the answer is complete (whatever its status). Negative: -ETIMEDOUT, -ECONNREFUSED,
         * -ECONNRESET, -EPROTO, -EMSGSIZE, -ECANCELED ...; http_call_error() has the words. */
        void (*on_done)(HttpCall *call, int r, void *user);
        void *user;
} HttpCallConfig;

struct HttpCall {
        int status; /* 0 until known */
        const HttpHeader *headers;
        size_t n_headers;
        const HttpHeader *trailers;
        size_t n_trailers;
        Buf body;
        bool body_end;
        bool sent; /* bytes of the request were handed to the kernel */
        Arena arena;
        struct HttpCallPrivate *priv;
};

/* -EINVAL for a bad URL and the like, with a message; everything later is told by on_done(). */
int http_call(HttpClient *c, const HttpCallConfig *config, HttpCall **ret, Err *err);
const char *http_call_header(const HttpCall *call, const char *name); /* first, any case, or NULL */
const char *http_call_trailer(const HttpCall *call, const char *name);
void http_call_consume(HttpCall *call, size_t n);
int http_call_write(HttpCall *call, const void *p, size_t n); /* returns as http_write() */
void http_call_end(HttpCall *call);                           /* ends the request body */
const char *http_call_error(const HttpCall *call); /* "connect 127.0.0.1:2379: Connection refused" */
/* Ends the call now; no callback follows; NULL is allowed. Resets the stream or closes the connection. */
HttpCall *http_call_cancel(HttpCall *call);

/* ---- gRPC on top ---- */

typedef struct GrpcCall GrpcCall;
typedef struct GrpcCallConfig {
        const char *origin; /* "http://HOST:PORT" or "https://..." */
        const char *method; /* "/etcdserverpb.KV/Range" */
        const HttpHeader *metadata;
        size_t n_metadata;
        const void *message; /* the first (unary: only) request message; NULL with stream = none yet */
        size_t message_size;
        bool stream;        /* more messages may follow: grpc_call_send(), grpc_call_end() */
        Usec timeout;       /* sent as grpc-timeout too; 0 = none */
        size_t message_max; /* of a received message; 0 = HTTP_CLIENT_BODY_MAX */
        /* Each received message. Not called again after the call was cancelled inside it. */
        void (*on_message)(GrpcCall *call, const void *p, size_t n, void *user);
        /* Once, last. `message` is the server's text or the transport's; `sent` as HttpCall.sent. */
        void (*on_done)(GrpcCall *call, GrpcCode code, const char *message, bool sent, void *user);
        void *user;
} GrpcCallConfig;

int grpc_call(HttpClient *c, const GrpcCallConfig *config, GrpcCall **ret, Err *err);
int grpc_call_send(GrpcCall *call, const void *p, size_t n);
void grpc_call_end(GrpcCall *call);
GrpcCall *grpc_call_cancel(GrpcCall *call); /* no callback follows */

/* ---- blocking, for command-line programs: a private loop around one call ---- */

typedef struct HttpResult {
        int status;
        HttpCall *call; /* headers and body only; freed by http_result_done() */
} HttpResult;
/* Runs one call to its end (callbacks in config are not allowed). 0 whatever the status; ret->call->body has
 * the answer. tls may be NULL. */
int http_fetch(const HttpCallConfig *config, TlsContext *tls, HttpResult *ret, Err *err);
void http_result_done(HttpResult *r);

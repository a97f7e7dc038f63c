/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What conn.c, h1.c, h2.c and req.c share. */

#include "base/alloc.h"
#include "base/list.h"
#include "base/queue.h"
#include "base/str.h"
#include "http/conn.h"

#include "http/llhttp-wrap.h"
#include <nghttp2/nghttp2.h>

#define HTTP_OUTPUT_CHUNK (128U << 10) /* nghttp2's frames are fetched until this much is ready */
#define HTTP_WRITE_LOW (64U << 10)     /* on_writable() below this */
#define HTTP_DRAIN_MAX (256U << 10)   /* an unwanted HTTP/1 body up to this is read to keep the connection */
#define HTTP_PIPELINE_MAX (64U << 10) /* bytes read ahead of the request being answered */
#define HTTP_H2_WINDOW (256U << 10)   /* of a stream */
#define HTTP_H2_CONN_WINDOW (4U << 20) /* of a connection */
#define HTTP_H2_RESETS_BURST 1000U     /* RST_STREAM of unanswered requests before GOAWAY ... */
#define HTTP_H2_RESETS_PER_SEC 50U     /* ... and how many more are forgiven each second */
#define HTTP_H2_JUNK_BURST 10000U      /* frames that carry nothing (SETTINGS, empty DATA, PRIORITY ...) */
#define HTTP_H2_JUNK_PER_SEC 1000U
#define HTTP_H2_DRAIN_TIMEOUT                                                                               \
        (2 * USEC_PER_SEC)      /* an answered client ends its stream within, or is reset                   \
                                 */
#define HTTP_H2_PING_STRIKES 2U /* as grpc-go: the third too early ping ends the connection */
#define HTTP_H2_PING_STRIKES_IDLE (2 * 3600 * USEC_PER_SEC) /* least distance without open streams */

typedef struct Bucket { /* a token bucket, in thousandths */
        uint64_t level;
        Usec last;
} Bucket;

typedef struct HttpReqPrivate HttpReqPrivate;
typedef enum ConnMode { CONN_SNIFF, CONN_H1, CONN_H2, CONN_RAW } ConnMode;

struct HttpReqPrivate {
        HttpConn *conn; /* weak: the owner */
        LIST_LINK(HttpReqPrivate) link;
        HttpReq *q;
        int32_t stream_id;             /* 0 on HTTP/1 */
        Buf headers_out, trailers_out; /* name NUL value NUL ... */
        size_t n_headers_out, n_trailers_out;
        ByteQueue out;    /* HTTP/2: body bytes before framing */
        HttpHandler then; /* collecting, until it was called */
        void *then_user;
        size_t body_max;   /* while collecting */
        Usec progress;     /* when the body last grew */
        size_t unconsumed; /* HTTP/2: received and counted in conn->input */
        size_t debt;       /* HTTP/2: received, the stream's window not yet given back */
        size_t taken;      /* gRPC: bytes of the message that was handed out */
        bool collecting;   /* then() is still to come */
        bool started;      /* headers of the answer are on their way */
        bool ended;        /* the handler is done with q, or was told so by on_cancel() */
        bool no_body;      /* HEAD, 204, 304: http_write() drops its bytes */
        bool chunked;      /* HTTP/1 */
        bool hijacked;
        bool parsed;        /* HTTP/1: the message was read to its end */
        bool out_end;       /* HTTP/2: nothing follows `out` */
        bool trailers_only; /* gRPC: everything is said in the headers */
        bool deferred;      /* HTTP/2: nghttp2 waits for nghttp2_session_resume_data() */
        bool high;          /* http_write() returned 1 and on_writable() is owed */
        bool draining;      /* HTTP/2: answered, and the client is still sending */
        bool closed;        /* HTTP/2: the stream is no more */
        bool wants_continue;
        bool body_dropped; /* bytes that arrive are thrown away */
};

struct HttpConn {
        HttpConnConfig config;
        char *peer, *peer_name; /* owned */
        ConnMode mode;
        ByteQueue in;                   /* not parsed yet: sniffing, pipelined, or stalled */
        ByteQueue out;                  /* ready for the wire */
        LIST_HEAD(HttpReqPrivate) reqs; /* owned; at most one on HTTP/1 */
        size_t n_reqs, n_timed;         /* n_timed: requests with a deadline of their own on HTTP/2 */
        Usec now, began, last_in, last_out;
        bool pending;  /* the owner was shown output and did not send it all yet */
        bool busy;     /* inside recv, output or tick: on_wake() is not needed */
        bool finished; /* close when out is empty */
        bool linger, eof, broken, stopping;
        bool notify; /* some request's queue fell low */

        /* HTTP/1 */
        llhttp_t parser;
        Buf url, head;          /* of the request being parsed; head: name NUL value NUL ... */
        size_t n_head, head_at; /* fields complete; where the current name began */
        bool in_message, in_value, keep_alive;
        int reject; /* status to answer instead of a parse error */
        size_t drained;

        /* HTTP/2 */
        nghttp2_session *session;
        size_t queued;    /* answer bytes of all streams that wait for frames */
        Usec moved;       /* when some of them last found their way into frames */
        size_t input;     /* unconsumed body bytes of all streams */
        size_t input_max; /* HTTP_CONN_INPUT_MAX, or the limit of the largest body being collected */
        size_t held_back; /* of these, not given back to the connection's window */
        Bucket resets, junk;
        Usec last_ping;
        unsigned ping_strikes;
        bool calm; /* GOAWAY for bad behaviour was sent */
};

static inline HttpConn *req_conn(const HttpReq *q) {
        return q->priv->conn;
}

/* req.c */
HttpReq *req_new(HttpConn *c);
void req_free(HttpReq *q);
int req_set_target(HttpReq *q, const char *target, size_t n); /* -EBADMSG */
void req_set_headers(HttpReq *q, const char *head, size_t head_len, size_t n);
void req_dispatch(HttpReq *q);                          /* calls the handler */
void req_got_body(HttpReq *q, const void *p, size_t n); /* appends, checks the limit */
void req_body_changed(HttpReq *q);                      /* calls then() or on_data() */
void req_cancel(HttpReq *q);                            /* tells the handler, once */
void req_writable(HttpReq *q);
void req_respond_error(HttpReq *q, int status); /* cancels the handler and answers by itself */

/* conn.c */
void conn_wake(HttpConn *c);
void conn_break(HttpConn *c); /* closes without flushing; cancels */
bool bucket_take(Bucket *b, unsigned burst, unsigned per_sec, Usec now);

/* h1.c */
void h1_init(HttpConn *c);
void h1_process(HttpConn *c);
void h1_start(HttpReq *q, int status, int64_t length);
void h1_write(HttpReq *q, const void *p, size_t n);
void h1_finish(HttpReq *q);
int h1_hijack(HttpReq *q, int status);
void h1_continue(HttpReq *q);
void h1_reject(HttpConn *c, int status);

/* h2.c */
int h2_init(HttpConn *c);
void h2_recv(HttpConn *c, const void *p, size_t n);
void h2_fill(HttpConn *c); /* frames into c->out */
void h2_start(HttpReq *q, int status, int64_t length);
void h2_write(HttpReq *q, const void *p, size_t n);
void h2_finish(HttpReq *q);
void h2_reset(HttpReq *q);
void h2_end_drain(HttpReqPrivate *p);
void h2_consume(HttpReq *q, size_t n);
void h2_grow_window(HttpReq *q); /* lets more of the body come in although nothing was consumed */
void h2_goaway(HttpConn *c, uint32_t code, const char *debug);

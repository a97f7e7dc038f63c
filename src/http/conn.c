/* SPDX-License-Identifier: Apache-2.0 */
#include "http/conn.h"
#include "http/internal.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

void http_limits_fill(HttpLimits *l) {
        static const HttpLimits defaults = {
                .header_count = HTTP_HEADER_COUNT_MAX,
                .header_bytes = HTTP_HEADER_BYTES_MAX,
                .url_bytes = HTTP_URL_BYTES_MAX,
                .body_bytes = HTTP_BODY_BYTES_MAX,
                .streams = HTTP_STREAMS_MAX,
                .connections = HTTP_CONNECTIONS_MAX,
                .headers_timeout = HTTP_HEADERS_TIMEOUT,
                .body_timeout = HTTP_BODY_TIMEOUT,
                .idle_timeout = HTTP_IDLE_TIMEOUT,
                .write_timeout = HTTP_WRITE_TIMEOUT,
                .ping_min = 5 * USEC_PER_SEC,
        };
#define FILL(field) l->field = l->field ?: defaults.field
        FILL(header_count);
        FILL(header_bytes);
        FILL(url_bytes);
        FILL(body_bytes);
        FILL(streams);
        FILL(connections);
        FILL(headers_timeout);
        FILL(body_timeout);
        FILL(idle_timeout);
        FILL(write_timeout);
        FILL(ping_min);
#undef FILL
}

bool bucket_take(Bucket *b, unsigned burst, unsigned per_sec, Usec now) {
        uint64_t full = (uint64_t) burst * 1000, gain = usec_sub(now, b->last) * per_sec / 1000;
        b->level = b->last == 0 ? full : MIN(full, b->level + gain);
        b->last = MAX(now, (Usec) 1);
        if (b->level < 1000)
                return false;
        b->level -= 1000;
        return true;
}

HttpConn *http_conn_new(const HttpConnConfig *config, Usec now) {
        assert(config->handler);
        assert(config->limits && config->limits->header_count > 0);
        HttpConn *c = xnew(HttpConn, 1);
        c->config = *config;
        c->peer = xstrdup(strempty(config->peer));
        c->peer_name = xstrdup(strempty(config->peer_name));
        c->now = c->began = c->last_in = c->last_out = now;
        if (config->http2 && h2_init(c) < 0)
                c->finished = c->broken = true;
        return c;
}

HttpConn *http_conn_free(HttpConn *c) {
        if (!c)
                return NULL;
        c->busy = true;
        LIST_FOREACH(p, &c->reqs, link)
                req_cancel(p->q);
        nghttp2_session_del(c->session);
        c->session = NULL;
        while (c->reqs.first)
                req_free(c->reqs.first->q);
        queue_done(&c->in);
        queue_done(&c->out);
        buf_done(&c->url);
        buf_done(&c->head);
        free(c->peer);
        free(c->peer_name);
        free(c);
        return NULL;
}

void conn_wake(HttpConn *c) {
        if (!c->busy && c->config.on_wake)
                c->config.on_wake(c->config.owner);
}

void conn_break(HttpConn *c) {
        c->broken = c->finished = true;
        c->linger = false;
        queue_done(&c->out); /* c->in stays: the parser may be standing in it */
        LIST_FOREACH(p, &c->reqs, link)
                req_cancel(p->q);
        conn_wake(c);
}

/* ---- bytes in ---- */

static void sniff(HttpConn *c) {
        size_t n = MIN(queue_len(&c->in), sizeof(preface) - 1);
        if (n == 0)
                return;
        if (memcmp(queue_data(&c->in), preface, n) != 0) {
                h1_init(c);
                h1_process(c);
        } else if (n == sizeof(preface) - 1) {
                ByteQueue in = c->in;
                c->in = (ByteQueue){};
                if (h2_init(c) < 0)
                        conn_break(c);
                else
                        h2_recv(c, queue_data(&in), queue_len(&in));
                queue_done(&in);
        }
}

static void raw_recv(HttpConn *c, const void *p, size_t n) {
        HttpReq *q = c->reqs.first ? c->reqs.first->q : NULL;
        if (!q || q->priv->ended)
                return;
        buf_add(&q->body, p, n);
        req_body_changed(q);
}

void http_conn_recv(HttpConn *c, const void *p, size_t n, Usec now) {
        if (n == 0 || c->finished || c->eof)
                return;
        if (c->mode == CONN_SNIFF && queue_len(&c->in) == 0)
                c->began = now;
        c->busy = true;
        c->now = c->last_in = now;
        switch (c->mode) {
        case CONN_SNIFF:
                queue_add(&c->in, p, n);
                sniff(c);
                break;
        case CONN_H1:
                queue_add(&c->in, p, n);
                h1_process(c);
                break;
        case CONN_H2:
                h2_recv(c, p, n);
                break;
        case CONN_RAW:
                raw_recv(c, p, n);
                break;
        }
        c->busy = false;
}

void http_conn_recv_eof(HttpConn *c, Usec now) {
        if (c->eof)
                return;
        c->busy = true;
        c->now = now;
        c->eof = true;
        c->linger = false;
        HttpReq *q = c->reqs.first ? c->reqs.first->q : NULL;
        if (c->mode == CONN_RAW && q && !q->priv->ended) {
                q->body_end = true;
                req_body_changed(q);
        } else if (c->mode == CONN_H2 || (q && !q->priv->ended)) {
                conn_break(c);
        } else {
                c->finished = true; /* what was answered is still flushed */
        }
        c->busy = false;
}

bool http_conn_want_read(const HttpConn *c) {
        if (c->eof || (c->finished && !c->linger))
                return false;
        if (c->mode == CONN_H2 || c->mode == CONN_SNIFF)
                return true;
        if (queue_len(&c->in) >= HTTP_PIPELINE_MAX)
                return false;
        const HttpReqPrivate *p = c->reqs.first;
        return !p || p->collecting || p->q->body.len < HTTP_READ_HIGH;
}

/* ---- bytes out ---- */

static void notify_writable(HttpConn *c) {
        c->notify = false;
        LIST_FOREACH(p, &c->reqs, link)
                if (p->high && http_queued(p->q) < HTTP_WRITE_LOW)
                        req_writable(p->q);
}

size_t http_conn_output(HttpConn *c, const void **ret, Usec now) {
        if (c->broken)
                return 0;
        c->busy = true;
        c->now = now;
        if (c->mode == CONN_H1)
                h1_process(c);
        else if (c->mode == CONN_H2)
                h2_fill(c);
        if (c->notify)
                notify_writable(c);
        c->busy = false;
        size_t n = queue_len(&c->out);
        if (n > 0 && !c->pending)
                c->last_out = now;
        c->pending = n > 0;
        *ret = n > 0 ? queue_data(&c->out) : NULL;
        return n;
}

void http_conn_sent(HttpConn *c, size_t n, Usec now) {
        if (n == 0 || c->broken)
                return;
        c->busy = true;
        c->now = c->last_out = now;
        queue_drop(&c->out, n);
        c->pending = queue_len(&c->out) > 0;
        if (c->mode != CONN_H2 && queue_len(&c->out) < HTTP_WRITE_LOW && c->reqs.first &&
            c->reqs.first->high)
                req_writable(c->reqs.first->q);
        c->busy = false;
}

bool http_conn_finished(const HttpConn *c) {
        if (c->broken)
                return true;
        if (queue_len(&c->out) > 0)
                return false;
        if (c->mode == CONN_H2)
                return !nghttp2_session_want_write(c->session) &&
                       (c->finished || !nghttp2_session_want_read(c->session));
        return c->finished;
}

bool http_conn_linger(const HttpConn *c) {
        return c->linger && !c->broken && !c->eof;
}

size_t http_conn_requests(const HttpConn *c) {
        return c->n_reqs;
}

/* ---- time ---- */

static Usec body_deadline(const HttpConn *c, const HttpReqPrivate *p) {
        if (p->draining && !p->closed)
                return usec_add(p->progress, HTTP_H2_DRAIN_TIMEOUT);
        if (p->ended || p->q->body_end)
                return USEC_NEVER;
        if (!p->collecting && (c->mode == CONN_H2 || !http_conn_want_read(c)))
                return USEC_NEVER; /* a stream may be silent; or we are the ones who stopped it */
        return usec_add(p->progress, c->config.limits->body_timeout);
}

static Usec request_deadline(const HttpConn *c) {
        Usec d = USEC_NEVER;
        if (c->mode == CONN_H1 && c->reqs.first)
                d = body_deadline(c, c->reqs.first);
        else if (c->mode == CONN_H2 && c->n_timed > 0)
                LIST_FOREACH(p, &c->reqs, link)
                        d = MIN(d, body_deadline(c, p));
        return d;
}

/* Deadline of a connection that has no request. */
static Usec quiet_deadline(const HttpConn *c) {
        if (c->mode == CONN_RAW || c->n_reqs > 0)
                return USEC_NEVER;
        bool half = c->mode == CONN_SNIFF ? queue_len(&c->in) > 0 : c->in_message;
        return usec_add(c->began, half ? c->config.limits->headers_timeout : c->config.limits->idle_timeout);
}

static Usec write_deadline(const HttpConn *c) {
        if (c->queued > 0 && !c->pending) /* the peer keeps its HTTP/2 windows shut */
                return usec_add(MAX(c->moved, c->last_out), c->config.limits->idle_timeout);
        return c->pending ? usec_add(c->last_out, c->config.limits->write_timeout) : USEC_NEVER;
}

Usec http_conn_deadline(const HttpConn *c) {
        if (c->broken)
                return c->now;
        Usec d = MIN(quiet_deadline(c), write_deadline(c));
        return MIN(d, request_deadline(c));
}

static void tick_bodies(HttpConn *c, Usec now) {
        LIST_FOREACH(p, &c->reqs, link)
                if (body_deadline(c, p) > now)
                        continue;
                else if (p->draining)
                        h2_end_drain(p);
                else
                        req_respond_error(p->q, 408);
}

void http_conn_tick(HttpConn *c, Usec now) {
        if (c->broken)
                return;
        c->busy = true;
        c->now = now;
        if (write_deadline(c) <= now) {
                conn_break(c);
        } else if (quiet_deadline(c) <= now) {
                if (c->mode == CONN_H2)
                        h2_goaway(c, NGHTTP2_NO_ERROR, "idle");
                else if (c->mode == CONN_H1 && c->in_message)
                        h1_reject(c, 408);
                c->finished = true;
        } else if (request_deadline(c) <= now) {
                tick_bodies(c, now);
        }
        c->busy = false;
}

void http_conn_shutdown(HttpConn *c) {
        if (c->stopping || c->finished)
                return;
        c->stopping = true;
        c->keep_alive = false;
        if (c->mode == CONN_H2)
                (void) nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                                             nghttp2_session_get_last_proc_stream_id(c->session),
                                             NGHTTP2_NO_ERROR, NULL, 0);
        if (c->n_reqs == 0)
                c->finished = true;
        conn_wake(c);
}

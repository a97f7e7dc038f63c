/* SPDX-License-Identifier: Apache-2.0 */

/* HTTP/2 of the server: nghttp2 is the protocol engine, this file the policy: flow control by hand, so that
 * a handler that does not read stops its client, and guards against peers that only make work (rapid reset,
 * ping and settings floods). */

#include "http/internal.h"

#include <ctype.h>
#include <stdio.h>

static HttpReq *stream_req(nghttp2_session *s, int32_t id) {
        return nghttp2_session_get_stream_user_data(s, id);
}

void h2_goaway(HttpConn *c, uint32_t code, const char *debug) {
        if (c->calm)
                return;
        c->calm = true;
        (void) nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                                     nghttp2_session_get_last_proc_stream_id(c->session), code,
                                     (const uint8_t *) debug, strlen(debug));
        c->finished = true;
        conn_wake(c);
}

/* ---- flow control ---- */

/* n body bytes of a request are out of the way: the connection's window may grow by what was held back. */
static void release_input(HttpConn *c, size_t n) {
        assert(n <= c->input);
        c->input -= n;
        if (c->held_back == 0 || c->input > c->input_max)
                return;
        (void) nghttp2_session_consume_connection(c->session, c->held_back);
        c->held_back = 0;
        conn_wake(c);
}

static void account_input(HttpConn *c, HttpReqPrivate *p, size_t n) {
        p->unconsumed += n;
        c->input += n;
        if (c->input <= c->input_max)
                (void) nghttp2_session_consume_connection(c->session, n);
        else
                c->held_back += n;
}

/* Collected bodies open the stream's window at once (their limit bounds them) but count as input until the
 * end. */
void h2_consume(HttpReq *q, size_t n) {
        HttpReqPrivate *p = q->priv;
        HttpConn *c = p->conn;
        size_t window = p->collecting ? p->debt : MIN(n, p->debt);
        p->debt -= window;
        if (window > 0 && !p->closed)
                (void) nghttp2_session_consume_stream(c->session, p->stream_id, window);
        n = MIN(n, p->unconsumed);
        p->unconsumed -= n;
        release_input(c, n);
        conn_wake(c);
}

void h2_grow_window(HttpReq *q) {
        HttpReqPrivate *p = q->priv;
        size_t n = p->debt;
        p->debt = 0;
        if (n > 0 && p->stream_id > 0 && !p->closed)
                (void) nghttp2_session_consume_stream(p->conn->session, p->stream_id, n);
        conn_wake(p->conn);
}

static int on_data_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                         void *user) {
        HttpConn *c = user;
        HttpReq *q = stream_req(s, id);
        if (!q) {
                (void) nghttp2_session_consume(s, id, n);
                return 0;
        }
        HttpReqPrivate *p = q->priv;
        account_input(c, p, n);
        p->debt += n;
        req_got_body(q, data, n);
        if (p->ended) {
                p->debt = 0;
                h2_consume(q, n);
        } else if (p->collecting)
                h2_consume(q, 0);
        return 0;
}

/* ---- requests ---- */

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *user) {
        HttpConn *c = user;
        if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
                return 0;
        if (c->stopping || c->finished) { /* refused: the client may repeat it elsewhere */
                (void) nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, f->hd.stream_id,
                                                 NGHTTP2_REFUSED_STREAM);
                return 0;
        }
        HttpReq *q = req_new(c);
        q->http2 = true;
        q->priv->stream_id = f->hd.stream_id;
        buf_clear(&c->head);
        c->n_head = 0;
        c->reject = 0;
        (void) nghttp2_session_set_stream_user_data(s, f->hd.stream_id, q);
        return 0;
}

static bool name_is(const uint8_t *name, size_t n, const char *want) {
        return n == strlen(want) && memcmp(name, want, n) == 0;
}

static void take_pseudo(HttpReq *q, const uint8_t *name, size_t nl, const char *v, size_t vl) {
        HttpConn *c = req_conn(q);
        if (name_is(name, nl, ":method"))
                q->method = arena_strndup(&q->arena, v, vl);
        else if (name_is(name, nl, ":authority"))
                q->host = arena_strndup(&q->arena, v, vl);
        else if (name_is(name, nl, ":path") && vl > c->config.limits->url_bytes)
                c->reject = 414;
        else if (name_is(name, nl, ":path"))
                q->target = arena_strndup(&q->arena, v, vl);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nl,
                     const uint8_t *value, size_t vl, uint8_t flags, void *user) {
        HttpConn *c = user;
        HttpReq *q = stream_req(s, f->hd.stream_id);
        if (!q || f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST || c->reject)
                return 0; /* trailers of a request are of no use to anybody here */
        if (memchr(value, 0, vl) || memchr(value, '\r', vl) || memchr(value, '\n', vl) ||
            memchr(name, 0, nl)) {
                c->reject = 400;
        } else if (nl > 0 && name[0] == ':') {
                take_pseudo(q, name, nl, (const char *) value, vl);
        } else if (c->head.len + nl + vl + 2 > c->config.limits->header_bytes ||
                   c->n_head >= c->config.limits->header_count) {
                c->reject = 431;
        } else {
                buf_add(&c->head, name, nl);
                buf_addc(&c->head, 0);
                buf_add(&c->head, value, vl);
                buf_addc(&c->head, 0);
                c->n_head++;
        }
        return 0;
}

static void request_complete(HttpReq *q, bool end_stream) {
        HttpConn *c = req_conn(q);
        req_set_headers(q, buf_str(&c->head), c->head.len, c->n_head);
        if (isempty(q->host))
                q->host = strempty(http_header(q, "host"));
        q->body_end = end_stream;
        if (isempty(q->method) && !c->reject)
                c->reject = 400;
        if (c->reject)
                req_respond_error(q, c->reject);
        else if (req_set_target(q, q->target, strlen(q->target)) < 0)
                req_respond_error(q, 400);
        else
                req_dispatch(q);
}

static void got_end(HttpReq *q) {
        q->body_end = true;
        req_body_changed(q);
}

/* ---- guards ---- */

static void junk_frame(HttpConn *c) {
        if (!bucket_take(&c->junk, HTTP_H2_JUNK_BURST, HTTP_H2_JUNK_PER_SEC, c->now))
                h2_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too many empty frames");
}

/* As grpc-go's keepalive enforcement, which etcd uses: clients know this message. */
static void got_ping(HttpConn *c) {
        Usec least = c->n_reqs > 0 ? c->config.limits->ping_min : HTTP_H2_PING_STRIKES_IDLE;
        bool early = c->last_ping > 0 && usec_sub(c->now, c->last_ping) < least;
        c->last_ping = MAX(c->now, (Usec) 1);
        if (early && ++c->ping_strikes > HTTP_H2_PING_STRIKES)
                h2_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
}

static void got_reset(HttpConn *c, HttpReq *q) {
        if (q && !q->priv->ended &&
            !bucket_take(&c->resets, HTTP_H2_RESETS_BURST, HTTP_H2_RESETS_PER_SEC, c->now))
                h2_goaway(c, NGHTTP2_ENHANCE_YOUR_CALM, "too many resets");
}

static int on_frame_recv(nghttp2_session *s, const nghttp2_frame *f, void *user) {
        HttpConn *c = user;
        HttpReq *q = f->hd.stream_id > 0 ? stream_req(s, f->hd.stream_id) : NULL;
        bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
        switch (f->hd.type) {
        case NGHTTP2_HEADERS:
                if (q && f->headers.cat == NGHTTP2_HCAT_REQUEST)
                        request_complete(q, end);
                else if (q && end)
                        got_end(q);
                break;
        case NGHTTP2_DATA:
                if (q && end)
                        got_end(q);
                else if (q && f->hd.length > 0)
                        req_body_changed(q);
                if (f->hd.length == 0 && !end)
                        junk_frame(c);
                break;
        case NGHTTP2_RST_STREAM:
                got_reset(c, q);
                break;
        case NGHTTP2_PING:
                if (!(f->hd.flags & NGHTTP2_FLAG_ACK))
                        got_ping(c);
                break;
        case NGHTTP2_SETTINGS:
        case NGHTTP2_PRIORITY:
                junk_frame(c);
                break;
        }
        return 0;
}

static int on_frame_send(nghttp2_session *s, const nghttp2_frame *f, void *user) {
        HttpConn *c = user;
        if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
                return 0;
        c->ping_strikes = 0;
        HttpReq *q = stream_req(s, f->hd.stream_id);
        /* The answer is complete and the request is not. A reset at once (RFC 9113 8.1) makes curl lose the
         * answer; so the window stays shut, and the reset comes only if the client does not end by itself.
         */
        if (q && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) && !q->body_end && !q->priv->draining) {
                q->priv->draining = true;
                q->priv->progress = c->now;
                c->n_timed++;
        }
        return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
        HttpConn *c = user;
        HttpReq *q = stream_req(s, id);
        if (!q)
                return 0;
        q->priv->closed = true;
        (void) nghttp2_session_set_stream_user_data(s, id, NULL);
        req_cancel(q);
        size_t unconsumed = q->priv->unconsumed;
        q->priv->unconsumed = 0;
        assert(c->queued >= queue_len(&q->priv->out));
        c->queued -= queue_len(&q->priv->out);
        queue_done(&q->priv->out);
        release_input(c, unconsumed);
        req_free(q);
        return 0;
}

/* ---- input and output ---- */

static int new_session(HttpConn *c) {
        nghttp2_session_callbacks *cb = NULL;
        nghttp2_option *option = NULL;
        if (nghttp2_session_callbacks_new(&cb) < 0 || nghttp2_option_new(&option) < 0)
                abort();
        nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
        nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        /* COMPAT: some calls of etcdctl 3.4 send a whole URL as :authority, which nghttp2 would refuse. What
         * its check of messages guards against is looked at in on_header() and request_complete(). */
        nghttp2_option_set_no_http_messaging(option, 1);
        int r = nghttp2_session_server_new2(&c->session, cb, c, option);
        nghttp2_session_callbacks_del(cb);
        nghttp2_option_del(option);
        return r < 0 ? -EPROTO : 0;
}

int h2_init(HttpConn *c) {
        c->mode = CONN_H2;
        c->input_max = HTTP_CONN_INPUT_MAX;
        c->in_message = false;
        if (new_session(c) < 0)
                return -EPROTO;
        nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t) c->config.limits->streams },
                { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP_H2_WINDOW },
                { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t) c->config.limits->header_bytes },
        };
        if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ELEMENTSOF(settings)) < 0 ||
            nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, HTTP_H2_CONN_WINDOW) < 0)
                return -EPROTO;
        return 0;
}

void h2_recv(HttpConn *c, const void *p, size_t n) {
        ssize_t r = nghttp2_session_mem_recv(c->session, p, n);
        if (c->broken)
                return;
        if (r < 0) { /* not even HTTP/2: nghttp2 queues a GOAWAY where it can */
                c->finished = true;
                h2_goaway(c, NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror((int) r));
        }
}

void h2_fill(HttpConn *c) {
        while (queue_len(&c->out) < HTTP_OUTPUT_CHUNK) {
                const uint8_t *p;
                ssize_t n = nghttp2_session_mem_send(c->session, &p);
                if (n < 0) {
                        conn_break(c);
                        return;
                }
                if (n == 0)
                        return;
                queue_add(&c->out, p, (size_t) n);
        }
}

static nghttp2_nv make_nv(const char *name, const char *value) {
        return (nghttp2_nv){ (uint8_t *) name, (uint8_t *) value, strlen(name), strlen(value),
                             NGHTTP2_NV_FLAG_NONE };
}

/* name NUL value NUL ... as nghttp2 wants it; names become lower case in place. */
static size_t pairs_to_nv(Buf *pairs, size_t n, nghttp2_nv *nv) {
        char *s = pairs->data;
        for (size_t i = 0; i < n; i++) {
                char *value = s + strlen(s) + 1;
                for (char *k = s; *k; k++)
                        *k = (char) tolower((unsigned char) *k);
                nv[i] = make_nv(s, value);
                s = value + strlen(value) + 1;
        }
        return n;
}

static void submit_trailers(HttpReqPrivate *p) {
        nghttp2_nv *nv = arena_new(&p->q->arena, nghttp2_nv, p->n_trailers_out);
        size_t n = pairs_to_nv(&p->trailers_out, p->n_trailers_out, nv);
        if (nghttp2_submit_trailer(p->conn->session, p->stream_id, nv, n) < 0)
                (void) nghttp2_submit_rst_stream(p->conn->session, NGHTTP2_FLAG_NONE, p->stream_id,
                                                 NGHTTP2_INTERNAL_ERROR);
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
        HttpReqPrivate *p = source->ptr;
        size_t n = MIN(queue_len(&p->out), room);
        if (n == 0 && !p->out_end) {
                p->deferred = true;
                return NGHTTP2_ERR_DEFERRED;
        }
        if (n > 0) {
                memcpy(to, queue_data(&p->out), n);
                queue_drop(&p->out, n);
                p->conn->queued -= n;
                p->conn->moved = p->conn->now;
        }
        if (p->high && queue_len(&p->out) < HTTP_WRITE_LOW)
                p->conn->notify = true;
        if (p->out_end && queue_len(&p->out) == 0) {
                *flags |= NGHTTP2_DATA_FLAG_EOF;
                if (p->n_trailers_out > 0) {
                        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                        submit_trailers(p);
                }
        }
        return (ssize_t) n;
}

void h2_start(HttpReq *q, int status, int64_t length) {
        HttpReqPrivate *p = q->priv;
        HttpConn *c = p->conn;
        char code[8], len[24];
        (void) snprintf(code, sizeof(code), "%03d", status);
        nghttp2_nv *nv = arena_new(&q->arena, nghttp2_nv, p->n_headers_out + 4);
        size_t n = 0;
        nv[n++] = make_nv(":status", code);
        n += pairs_to_nv(&p->headers_out, p->n_headers_out, nv + n);
        if (!isempty(c->config.date))
                nv[n++] = make_nv("date", c->config.date);
        if (c->config.server_header)
                nv[n++] = make_nv("server", c->config.server_header);
        if (length >= 0 && !p->trailers_only && status != 204 && status != 304) {
                (void) snprintf(len, sizeof(len), "%" PRId64, length);
                nv[n++] = make_nv("content-length", len);
        }
        nghttp2_data_provider body = { .source.ptr = p, .read_callback = read_body };
        bool empty = p->no_body || length == 0;
        if (empty)
                p->no_body = true;
        if (nghttp2_submit_response(c->session, p->stream_id, nv, n, empty ? NULL : &body) < 0)
                h2_reset(q);
}

static void resume(HttpReqPrivate *p) {
        if (!p->deferred || p->closed)
                return;
        p->deferred = false;
        (void) nghttp2_session_resume_data(p->conn->session, p->stream_id);
}

void h2_write(HttpReq *q, const void *p, size_t n) {
        HttpConn *c = req_conn(q);
        if (n > HTTP_CONN_WRITE_MAX - MIN((size_t) HTTP_CONN_WRITE_MAX, c->queued)) {
                h2_reset(q); /* a peer that asks for much and reads nothing */
                return;
        }
        if (c->queued == 0)
                c->moved = c->now;
        c->queued += n;
        queue_add(&q->priv->out, p, n);
        resume(q->priv);
}

void h2_finish(HttpReq *q) {
        q->priv->out_end = true;
        resume(q->priv);
}

void h2_reset(HttpReq *q) {
        if (!q->priv->closed)
                (void) nghttp2_submit_rst_stream(q->priv->conn->session, NGHTTP2_FLAG_NONE,
                                                 q->priv->stream_id,
                                                 q->priv->ended ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
}

void h2_end_drain(HttpReqPrivate *p) {
        p->draining = false;
        p->conn->n_timed--;
        if (!p->closed)
                (void) nghttp2_submit_rst_stream(p->conn->session, NGHTTP2_FLAG_NONE, p->stream_id,
                                                 NGHTTP2_NO_ERROR);
}

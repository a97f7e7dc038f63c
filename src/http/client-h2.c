/* SPDX-License-Identifier: Apache-2.0 */

/* HTTP/2 of the client: many calls on one connection. */

#include "http/client-internal.h"
#include "sys/clock.h"

#include <stdio.h>

static HttpCallPrivate *stream_call(nghttp2_session *s, int32_t id) {
        return nghttp2_session_get_stream_user_data(s, id);
}

static int parse_status(const uint8_t *v, size_t n) {
        if (n != 3 || v[0] < '1' || v[0] > '9')
                return -1;
        return (v[0] - '0') * 100 + (v[1] - '0') * 10 + (v[2] - '0');
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nl,
                     const uint8_t *value, size_t vl, uint8_t flags, void *user) {
        HttpCallPrivate *p = stream_call(s, f->hd.stream_id);
        if (!p || f->hd.type != NGHTTP2_HEADERS)
                return 0;
        if (nl == 7 && memcmp(name, ":status", 7) == 0) {
                p->call->status = parse_status(value, vl);
                return 0;
        }
        if ((nl > 0 && name[0] == ':') || memchr(value, 0, vl))
                return 0;
        if (call_add_head(p, name, nl) < 0 || call_add_head(p, "", 1) < 0 ||
            call_add_head(p, value, vl) < 0 || call_add_head(p, "", 1) < 0)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        p->n_head++;
        return 0;
}

static void headers_complete(HttpCallPrivate *p) {
        if (p->call->status >= 100 && p->call->status < 200) { /* informational: the real ones follow */
                buf_clear(&p->head);
                p->n_head = 0;
        } else if (p->head_done) {
                call_trailers(p);
        } else {
                call_headers(p);
        }
}

static void stream_end(HttpCallPrivate *p) {
        p->call->body_end = true;
        if (p->config.on_data)
                p->config.on_data(p->call, p->config.user);
}

static int on_frame_recv(nghttp2_session *s, const nghttp2_frame *f, void *user) {
        ClientConn *c = user;
        HttpCallPrivate *p = f->hd.stream_id > 0 ? stream_call(s, f->hd.stream_id) : NULL;
        if (f->hd.type == NGHTTP2_GOAWAY) {
                c->going_away = true;
                (void) snprintf(c->problem, sizeof(c->problem), "the server ends the connection: %.*s",
                                (int) MIN(f->goaway.opaque_data_len, (size_t) 100),
                                (const char *) f->goaway.opaque_data);
                client_wake(c->client);
        }
        if (!p || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
                return 0;
        if (f->hd.type == NGHTTP2_HEADERS)
                headers_complete(p);
        if (p->dead || !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
                return 0;
        int32_t id = p->stream_id;
        stream_end(p);
        if (nghttp2_session_get_stream_local_close(s, id) ==
            0) /* the answer makes the rest of the request moot */
                (void) nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
        return 0;
}

static int on_data_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                         void *user) {
        ClientConn *c = user;
        HttpCallPrivate *p = stream_call(s, id);
        if (!p) {
                (void) nghttp2_session_consume(s, id, n);
                return 0;
        }
        (void) nghttp2_session_consume_connection(s, n);
        p->debt += n;
        if (!p->config.on_data)
                ch2_consume(p, n);
        call_data(p, data, n);
        if (!p->dead && p->too_large) {
                ch2_cancel(p);
                call_end(p, -EMSGSIZE, "the answer is too large");
        }
        if (c->state == CONN_CLOSED)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
        ClientConn *c = user;
        HttpCallPrivate *p = stream_call(s, id);
        if (!p)
                return 0;
        (void) nghttp2_session_set_stream_user_data(s, id, NULL);
        p->stream_id = 0;
        char text[128];
        if (p->call->body_end) {
                call_end(p, 0, NULL);
        } else if (code == NGHTTP2_REFUSED_STREAM) { /* certainly not processed (RFC 9113 8.7) */
                p->call->sent = false;
                if (!call_repeat(p))
                        call_end(p, -ECONNRESET, "the server refused the stream");
        } else {
                (void) snprintf(text, sizeof(text), "the stream was reset: %s",
                                nghttp2_http2_strerror(code));
                call_end(p, -ECONNRESET, text);
        }
        if (c->n_calls == 0 && c->state == CONN_READY)
                c->wake = true;
        return 0;
}

/* nghttp2 drops requests that a GOAWAY leaves unprocessed before they were sent. */
static int on_frame_not_send(nghttp2_session *s, const nghttp2_frame *f, int error, void *user) {
        if (f->hd.type != NGHTTP2_HEADERS)
                return 0;
        HttpCallPrivate *p = stream_call(s, f->hd.stream_id);
        if (!p)
                return 0;
        (void) nghttp2_session_set_stream_user_data(s, f->hd.stream_id, NULL);
        p->stream_id = 0;
        p->call->sent = false;
        if (!call_repeat(p))
                call_end(p, -ECONNRESET, nghttp2_strerror(error));
        return 0;
}

static int new_session(ClientConn *c) {
        nghttp2_session_callbacks *cb = NULL;
        nghttp2_option *option = NULL;
        if (nghttp2_session_callbacks_new(&cb) < 0 || nghttp2_option_new(&option) < 0)
                abort();
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
        nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_peer_max_concurrent_streams(option, 100); /* until its SETTINGS say otherwise */
        int r = nghttp2_session_client_new2(&c->session, cb, c, option);
        nghttp2_session_callbacks_del(cb);
        nghttp2_option_del(option);
        return r < 0 ? -EPROTO : 0;
}

int ch2_init(ClientConn *c) {
        nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
                { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CLIENT_STREAM_WINDOW },
        };
        if (new_session(c) < 0 ||
            nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ELEMENTSOF(settings)) < 0 ||
            nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CLIENT_CONN_WINDOW) < 0)
                return -EPROTO;
        return 0;
}

bool ch2_has_room(const ClientConn *c) {
        uint32_t max = nghttp2_session_get_remote_settings(c->session,
                                                           NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
        return nghttp2_session_check_request_allowed(c->session) && c->n_calls < max;
}

int ch2_recv(ClientConn *c, const char *data, size_t n) {
        c->wake = false;
        ssize_t r = nghttp2_session_mem_recv(c->session, (const uint8_t *) data, n);
        if (r < 0) {
                (void) snprintf(c->problem, sizeof(c->problem), "HTTP/2: %s", nghttp2_strerror((int) r));
                return -EPROTO;
        }
        if (c->wake) {
                c->wake = false;
                conn_idle(c);
        } else if (c->origin->waiting.first) {
                client_wake(c->client);
        }
        return 0;
}

int ch2_fill(ClientConn *c) {
        while (queue_len(&c->out) < CLIENT_OUTPUT_CHUNK) {
                const uint8_t *p;
                ssize_t n = nghttp2_session_mem_send(c->session, &p);
                if (n <= 0)
                        return n < 0 ? -EPROTO : 0;
                queue_add(&c->out, p, (size_t) n);
        }
        return 0;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
        HttpCallPrivate *p = stream_call(s, id);
        if (!p)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        if (!p->streaming) {
                size_t n = MIN(p->request.len - p->sent_body, room);
                if (n > 0)
                        memcpy(to, p->request.data + p->sent_body, n);
                p->sent_body += n;
                if (p->sent_body == p->request.len)
                        *flags |= NGHTTP2_DATA_FLAG_EOF;
                return (ssize_t) n;
        }
        size_t n = MIN(queue_len(&p->out), room);
        if (n == 0 && !p->request_end) {
                p->deferred = true;
                return NGHTTP2_ERR_DEFERRED;
        }
        if (n > 0) {
                memcpy(to, queue_data(&p->out), n);
                queue_drop(&p->out, n);
        }
        if (p->request_end && queue_len(&p->out) == 0)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t) n;
}

static nghttp2_nv make_nv(const char *name, const char *value) {
        return (nghttp2_nv){ (uint8_t *) name, (uint8_t *) value, strlen(name), strlen(value),
                             NGHTTP2_NV_FLAG_NONE };
}

void ch2_send(ClientConn *c, HttpCallPrivate *p) {
        nghttp2_nv *nv = xnew(nghttp2_nv, p->n_headers + 4);
        size_t n = 0;
        nv[n++] = make_nv(":method", p->method);
        nv[n++] = make_nv(":scheme", p->origin->tls ? "https" : "http");
        nv[n++] = make_nv(":authority", p->authority);
        nv[n++] = make_nv(":path", p->target);
        for (size_t i = 0; i < p->n_headers; i++)
                nv[n++] = make_nv(p->headers[i].name, p->headers[i].value);
        nghttp2_data_provider body = { .read_callback = read_body };
        bool has_body = p->streaming || p->request.len > 0;
        p->stream_id = nghttp2_submit_request(c->session, NULL, nv, n, has_body ? &body : NULL, p);
        free(nv);
        p->call->sent = true;
        if (p->stream_id < 0) {
                p->stream_id = 0;
                c->going_away = true;
                p->call->sent = false;
                if (!call_repeat(p))
                        call_end(p, -EPROTO, "HTTP/2 refused the request");
                return;
        }
        if (c->n_calls == 1)
                conn_watch(c);
}

void ch2_resume(HttpCallPrivate *p) {
        if (!p->deferred || p->stream_id <= 0)
                return;
        p->deferred = false;
        (void) nghttp2_session_resume_data(p->conn->session, p->stream_id);
}

void ch2_consume(HttpCallPrivate *p, size_t n) {
        n = MIN(n, p->debt);
        p->debt -= n;
        if (n > 0 && p->stream_id > 0)
                (void) nghttp2_session_consume_stream(p->conn->session, p->stream_id, n);
        conn_touch(p->conn);
}

void ch2_cancel(HttpCallPrivate *p) {
        if (p->stream_id <= 0 || !p->conn || p->conn->state != CONN_READY)
                return;
        (void) nghttp2_session_set_stream_user_data(p->conn->session, p->stream_id, NULL);
        (void) nghttp2_submit_rst_stream(p->conn->session, NGHTTP2_FLAG_NONE, p->stream_id, NGHTTP2_CANCEL);
        p->stream_id = 0;
        conn_touch(p->conn);
}

void ch2_ping(ClientConn *c) {
        (void) nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
        conn_touch(c);
}

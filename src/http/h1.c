/* SPDX-License-Identifier: Apache-2.0 */

/* HTTP/1.1 of the server: llhttp drives, one request at a time; pipelined bytes wait in c->in until the
 * answer before them has ended. */

#include "http/internal.h"

#include <ctype.h>
#include <stdio.h>

static int on_message_begin(llhttp_t *p) {
        HttpConn *c = p->data;
        c->in_message = true;
        c->began = c->now;
        c->reject = 0;
        c->n_head = 0;
        c->drained = 0;
        buf_clear(&c->url);
        buf_clear(&c->head);
        return 0;
}

static int reject(HttpConn *c, int status) {
        c->reject = c->reject ?: status;
        return -1;
}

static int on_url(llhttp_t *p, const char *s, size_t n) {
        HttpConn *c = p->data;
        if (n > c->config.limits->url_bytes - MIN(c->config.limits->url_bytes, c->url.len))
                return reject(c, 414);
        buf_add(&c->url, s, n);
        return 0;
}

/* Names and values follow each other in c->head, each ended by a NUL byte. */
static int add_head(HttpConn *c, const char *s, size_t n) {
        if (c->head.len + n > c->config.limits->header_bytes || memchr(s, 0, n))
                return reject(c, memchr(s, 0, n) ? 400 : 431);
        buf_add(&c->head, s, n);
        return 0;
}

static int on_header_field(llhttp_t *p, const char *s, size_t n) {
        HttpConn *c = p->data;
        size_t at = c->head.len;
        if (add_head(c, s, n) < 0)
                return -1;
        for (; at < c->head.len; at++)
                c->head.data[at] = (char) tolower((unsigned char) c->head.data[at]);
        return 0;
}

static int on_header_field_complete(llhttp_t *p) {
        HttpConn *c = p->data;
        buf_addc(&c->head, 0);
        return 0;
}

static int on_header_value(llhttp_t *p, const char *s, size_t n) {
        return add_head(p->data, s, n);
}

static int on_header_value_complete(llhttp_t *p) {
        HttpConn *c = p->data;
        while (c->head.len > 0 &&
               (c->head.data[c->head.len - 1] == ' ' || c->head.data[c->head.len - 1] == '\t'))
                buf_truncate(&c->head, c->head.len - 1);
        buf_addc(&c->head, 0);
        if (++c->n_head > c->config.limits->header_count)
                return reject(c, 431);
        return 0;
}

/* Exactly one Host, as RFC 9112 3.2 asks of HTTP/1.1. */
static int take_host(HttpReq *q, bool required) {
        unsigned n = 0;
        for (size_t i = 0; i < q->n_headers; i++)
                if (streq(q->headers[i].name, "host")) {
                        q->host = q->headers[i].value;
                        n++;
                }
        return n > 1 || (n == 0 && required) ? -EBADMSG : 0;
}

static int on_headers_complete(llhttp_t *p) {
        HttpConn *c = p->data;
        int major = llhttp_get_http_major(p), minor = llhttp_get_http_minor(p);
        if (major != 1 || minor > 1)
                return reject(c, 505);
        c->in_message = false;
        HttpReq *q = req_new(c);
        q->method = llhttp_method_name((llhttp_method_t) llhttp_get_method(p));
        q->upgrade = llhttp_get_upgrade(p) && !streq(q->method, "CONNECT");
        req_set_headers(q, buf_str(&c->head), c->head.len, c->n_head);
        buf_clear(&c->head);
        c->keep_alive = llhttp_should_keep_alive(p) && !c->stopping;
        q->body_end = !(p->flags & F_CHUNKED) && (!(p->flags & F_CONTENT_LENGTH) || p->content_length == 0);
        const char *expect = http_header(q, "expect");
        q->priv->wants_continue =
                        expect && minor == 1 && strcasecmp(expect, "100-continue") == 0 && !q->body_end;
        if (req_set_target(q, buf_str(&c->url), c->url.len) < 0 || take_host(q, minor == 1) < 0)
                req_respond_error(q, 400);
        else if (expect && strcasecmp(expect, "100-continue") != 0)
                req_respond_error(q, 417);
        else
                req_dispatch(q);
        return c->broken ? -1 : 0;
}

static int on_body(llhttp_t *p, const char *s, size_t n) {
        HttpConn *c = p->data;
        HttpReqPrivate *r = c->reqs.first;
        if (!r)
                return -1;
        if (r->ended) {
                c->drained += n;
                return c->drained > HTTP_DRAIN_MAX ? -1 : 0;
        }
        req_got_body(r->q, s, n);
        req_body_changed(r->q);
        return c->broken ? -1 : 0;
}

static int on_message_complete(llhttp_t *p) {
        HttpConn *c = p->data;
        HttpReqPrivate *r = c->reqs.first;
        if (!r)
                return -1;
        bool told = r->q->body_end;
        r->parsed = true;
        if (!r->hijacked)
                r->q->body_end = true;
        if (!told && !r->hijacked)
                req_body_changed(r->q);
        return c->broken ? -1 : HPE_PAUSED; /* what follows is another request, or raw bytes */
}

static const llhttp_settings_t settings = {
        .on_message_begin = on_message_begin,
        .on_url = on_url,
        .on_header_field = on_header_field,
        .on_header_field_complete = on_header_field_complete,
        .on_header_value = on_header_value,
        .on_header_value_complete = on_header_value_complete,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
};

void h1_init(HttpConn *c) {
        c->mode = CONN_H1;
        llhttp_init(&c->parser, HTTP_REQUEST, &settings);
        c->parser.data = c;
}

/* ---- input ---- */

/* True if the next request may be parsed; frees the one that has ended. */
static bool next_request(HttpConn *c) {
        HttpReqPrivate *r = c->reqs.first;
        if (!r)
                return !c->finished;
        if (!r->ended)
                return !r->q->body_end;
        bool whole = r->q->body_end;
        if (c->keep_alive && !whole && !r->wants_continue)
                return true; /* reads the rest of an unwanted body */
        req_free(r->q);
        if (!c->keep_alive || !whole) {
                c->finished = true;
                c->linger = !whole;
        }
        return !c->finished;
}

static void to_raw(HttpConn *c) {
        HttpReq *q = c->reqs.first->q;
        c->mode = CONN_RAW;
        if (queue_len(&c->in) > 0)
                buf_add(&q->body, queue_data(&c->in), queue_len(&c->in));
        queue_done(&c->in);
        if (q->body.len > 0)
                req_body_changed(q);
}

static void parse_error(HttpConn *c) {
        HttpReqPrivate *r = c->reqs.first;
        int status = c->reject ?: 400;
        c->keep_alive = false;
        if (!r) {
                h1_reject(c, status);
                return;
        }
        if (r->ended) { /* an answer was given, but its unwanted body is too long or broken */
                req_free(r->q);
                c->finished = c->linger = true;
                return;
        }
        bool started = r->started;
        req_respond_error(r->q, status);
        if (!started) {
                req_free(r->q);
                c->finished = c->linger = true;
        }
}

void h1_process(HttpConn *c) {
        for (;;) {
                if (c->reqs.first && c->reqs.first->hijacked && c->reqs.first->parsed) {
                        to_raw(c);
                        return;
                }
                if (c->broken || !next_request(c) || queue_len(&c->in) == 0)
                        return;
                size_t n = queue_len(&c->in);
                const char *data = queue_data(&c->in);
                llhttp_errno_t e = llhttp_execute(&c->parser, data, n);
                if (c->broken)
                        return;
                if (e == HPE_OK) {
                        queue_drop(&c->in, n);
                } else if (e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE) {
                        const char *pos = llhttp_get_error_pos(&c->parser);
                        assert(pos >= data && pos <= data + n);
                        queue_drop(&c->in, (size_t) (pos - data));
                        if (e == HPE_PAUSED)
                                llhttp_resume(&c->parser);
                        else
                                llhttp_resume_after_upgrade(&c->parser);
                } else {
                        parse_error(c);
                        return;
                }
        }
}

/* ---- output ---- */

static void status_line(HttpConn *c, int status) {
        char line[96];
        int n = snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
        queue_add(&c->out, line, (size_t) n);
}

static void put_header(HttpConn *c, const char *name, const char *value) {
        size_t a = strlen(name), b = strlen(value);
        char *to = queue_room(&c->out, a + b + 4);
        memcpy(to, name, a);
        memcpy(to + a, ": ", 2);
        memcpy(to + a + 2, value, b);
        memcpy(to + a + 2 + b, "\r\n", 2);
        queue_added(&c->out, a + b + 4);
}

static void put_pairs(HttpConn *c, const Buf *pairs, size_t n) {
        const char *s = buf_str(pairs);
        for (; n > 0; n--) {
                const char *value = s + strlen(s) + 1;
                put_header(c, s, value);
                s = value + strlen(value) + 1;
        }
}

static void common_headers(HttpReq *q) {
        HttpConn *c = req_conn(q);
        put_pairs(c, &q->priv->headers_out, q->priv->n_headers_out);
        if (!isempty(c->config.date))
                put_header(c, "Date", c->config.date);
        if (c->config.server_header)
                put_header(c, "Server", c->config.server_header);
}

void h1_reject(HttpConn *c, int status) {
        char body[96], length[24];
        int n = snprintf(body, sizeof(body), "%d %s\n", status, http_status_text(status));
        (void) snprintf(length, sizeof(length), "%d", n);
        status_line(c, status);
        put_header(c, "Content-Type", "text/plain; charset=utf-8");
        put_header(c, "Connection", "close");
        put_header(c, "Content-Length", length);
        queue_adds(&c->out, "\r\n");
        queue_add(&c->out, body, (size_t) n);
        c->keep_alive = false;
        c->finished = c->linger = true;
}

void h1_continue(HttpReq *q) {
        q->priv->wants_continue = false;
        queue_adds(&req_conn(q)->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Nobody will read the rest of the body, and it is too long to throw away: the connection must close. */
static bool body_in_the_way(const HttpReq *q) {
        const HttpReqPrivate *p = q->priv;
        if (q->body_end || p->collecting || (q->on_data && !p->ended))
                return false;
        return p->wants_continue || p->conn->parser.content_length > HTTP_DRAIN_MAX;
}

void h1_start(HttpReq *q, int status, int64_t length) {
        HttpReqPrivate *p = q->priv;
        HttpConn *c = p->conn;
        bool old = llhttp_get_http_minor(&c->parser) == 0;
        if (body_in_the_way(q) || c->stopping)
                c->keep_alive = false;
        status_line(c, status);
        common_headers(q);
        if (length >= 0 && status >= 200 && status != 204 && status != 304) {
                char text[24];
                (void) snprintf(text, sizeof(text), "%" PRId64, length);
                put_header(c, "Content-Length", text);
        } else if (length < 0 && !p->no_body) {
                p->chunked = !old;
                if (old)
                        c->keep_alive = false;
                else
                        put_header(c, "Transfer-Encoding", "chunked");
        }
        if (!c->keep_alive)
                put_header(c, "Connection", "close");
        else if (old)
                put_header(c, "Connection", "keep-alive");
        queue_adds(&c->out, "\r\n");
}

void h1_write(HttpReq *q, const void *p, size_t n) {
        HttpConn *c = req_conn(q);
        if (q->priv->chunked) {
                char size[24];
                int k = snprintf(size, sizeof(size), "%zx\r\n", n);
                queue_add(&c->out, size, (size_t) k);
        }
        queue_add(&c->out, p, n);
        if (q->priv->chunked)
                queue_adds(&c->out, "\r\n");
}

void h1_finish(HttpReq *q) {
        HttpReqPrivate *p = q->priv;
        HttpConn *c = p->conn;
        if (p->hijacked)
                c->finished = c->linger = true;
        if (!p->chunked)
                return;
        queue_adds(&c->out, "0\r\n");
        put_pairs(c, &p->trailers_out, p->n_trailers_out);
        queue_adds(&c->out, "\r\n");
}

int h1_hijack(HttpReq *q, int status) {
        HttpReqPrivate *p = q->priv;
        HttpConn *c = p->conn;
        if (status != 101 && (status < 200 || status > 299))
                return -EINVAL;
        p->hijacked = p->started = true;
        status_line(c, status);
        common_headers(q);
        if (status == 101) {
                const char *to = http_header(q, "upgrade");
                put_header(c, "Connection", "Upgrade");
                put_header(c, "Upgrade", isempty(to) ? "tcp" : to);
        }
        queue_adds(&c->out, "\r\n");
        c->keep_alive = false;
        q->body_end = false;
        buf_clear(&q->body);
        return 0; /* h1_process() switches as soon as the message was parsed to its end */
}

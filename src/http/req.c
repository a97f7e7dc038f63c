/* SPDX-License-Identifier: Apache-2.0 */

/* HttpReq: its life, and the half of its interface that does not depend on the wire. */

#include "codec/url.h"
#include "http/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

typedef struct ReqBlock { /* one allocation for both halves */
        HttpReq q;
        HttpReqPrivate p;
} ReqBlock;

HttpReq *req_new(HttpConn *c) {
        ReqBlock *b = xnew(ReqBlock, 1);
        b->q = (HttpReq){ .method = "",
                          .target = "",
                          .path_raw = "",
                          .path = "",
                          .query = "",
                          .host = "",
                          .peer = c->peer,
                          .peer_name = c->peer_name,
                          .tls = c->config.tls,
                          .priv = &b->p };
        b->p = (HttpReqPrivate){ .conn = c, .q = &b->q, .progress = c->now };
        LIST_APPEND(&c->reqs, &b->p, link);
        c->n_reqs++;
        return &b->q;
}

static void stop_collecting(HttpReqPrivate *p) {
        if (!p->collecting)
                return;
        p->collecting = false;
        assert(p->conn->n_timed > 0);
        p->conn->n_timed--;
}

void req_free(HttpReq *q) {
        HttpReqPrivate *p = q->priv;
        HttpConn *c = p->conn;
        assert(p->ended);
        stop_collecting(p);
        if (p->draining)
                c->n_timed--;
        if (q->on_free)
                q->on_free(q);
        LIST_REMOVE(&c->reqs, p, link);
        assert(c->n_reqs > 0);
        if (--c->n_reqs == 0) {
                c->began = c->now; /* idle from here */
                if (c->stopping)
                        c->finished = true;
        }
        buf_done(&q->body);
        buf_done(&p->headers_out);
        buf_done(&p->trailers_out);
        queue_done(&p->out);
        arena_done(&q->arena);
        free(container_of(q, ReqBlock, q));
}

/* ---- what came in ---- */

/* "http://host/path" as proxies send it, without scheme and authority. */
static const char *origin_form(const char *t) {
        const char *s = strncasecmp(t, "http://", 7) == 0    ? t + 7
                        : strncasecmp(t, "https://", 8) == 0 ? t + 8
                                                             : NULL;
        if (!s)
                return t;
        s += strcspn(s, "/?");
        return *s ? s : "/";
}

int req_set_target(HttpReq *q, const char *target, size_t n) {
        if (n == 0 || memchr(target, 0, n))
                return -EBADMSG;
        q->target = arena_strndup(&q->arena, target, n);
        const char *t = origin_form(q->target);
        size_t len = strcspn(t, "?#");
        q->path_raw = q->path = arena_strndup(&q->arena, t, len);
        if (t[len] == '?')
                q->query = arena_strndup(&q->arena, t + len + 1, strcspn(t + len + 1, "#"));
        if (*t != '/')
                return streq(t, "*") && streq(q->method, "OPTIONS") ? 0 : -EBADMSG;
        if (!memchr(t, '%', len))
                return 0;
        _cleanup_(buf_done) Buf b = {};
        if (url_decode(&b, t, len, false) < 0 || memchr(buf_str(&b), 0, b.len))
                return -EBADMSG;
        q->path = arena_strndup(&q->arena, buf_str(&b), b.len);
        return 0;
}

void req_set_headers(HttpReq *q, const char *head, size_t head_len, size_t n) {
        char *text = arena_strndup(&q->arena, head, head_len);
        HttpHeader *h = n > 0 ? arena_new(&q->arena, HttpHeader, n) : NULL;
        for (size_t i = 0; i < n; i++) {
                h[i].name = text;
                text += strlen(text) + 1;
                h[i].value = text;
                text += strlen(text) + 1;
        }
        q->headers = h;
        q->n_headers = n;
}

const char *http_header(const HttpReq *q, const char *name) {
        for (size_t i = 0; i < q->n_headers; i++)
                if (strcasecmp(q->headers[i].name, name) == 0)
                        return q->headers[i].value;
        return NULL;
}

/* The first value of `name` in form-encoded text, or NULL; malformed pairs are passed over as Go does. */
static const char *form_value(HttpReq *q, const char *s, size_t n, const char *name) {
        size_t name_len = strlen(name);
        for (const char *end = s + n, *at = s; at < end;) {
                const char *amp = memchr(at, '&', (size_t) (end - at)) ?: end;
                const char *eq = memchr(at, '=', (size_t) (amp - at)) ?: amp;
                _cleanup_(buf_done) Buf key = {};
                if (url_decode(&key, at, (size_t) (eq - at), true) >= 0 && key.len == name_len &&
                    memcmp(buf_str(&key), name, name_len) == 0) {
                        _cleanup_(buf_done) Buf value = {};
                        if (eq == amp)
                                return "";
                        if (url_decode(&value, eq + 1, (size_t) (amp - eq - 1), true) >= 0)
                                return arena_strndup(&q->arena, buf_str(&value), value.len);
                }
                at = amp + 1;
        }
        return NULL;
}

const char *http_query(HttpReq *q, const char *name) {
        return form_value(q, q->query, strlen(q->query), name);
}

const char *http_form(HttpReq *q, const char *name) {
        unsigned bit = http_method_bit(q->method);
        const char *type = http_header(q, "content-type");
        if (q->body.len > 0 && (bit & (HTTP_PUT | HTTP_POST | HTTP_PATCH)) && type &&
            strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0) {
                const char *v = form_value(q, q->body.data, q->body.len, name);
                if (v)
                        return v;
        }
        return http_query(q, name);
}

/* ---- calling the handler ---- */

static void may_continue(HttpReq *q) {
        HttpReqPrivate *p = q->priv;
        if (p->wants_continue && !p->ended && !p->started && !q->body_end && (p->collecting || q->on_data))
                h1_continue(q);
}

void req_dispatch(HttpReq *q) {
        HttpConn *c = req_conn(q);
        c->config.handler(q, c->config.user);
        may_continue(q);
        if (!q->priv->ended && q->body_end && !q->priv->collecting && q->on_data)
                q->on_data(q);
}

void req_got_body(HttpReq *q, const void *p, size_t n) {
        HttpReqPrivate *priv = q->priv;
        priv->progress = req_conn(q)->now;
        if (priv->ended || priv->body_dropped)
                return;
        if (priv->collecting && n > priv->body_max - MIN(priv->body_max, q->body.len)) {
                req_respond_error(q, 413);
                return;
        }
        buf_add(&q->body, p, n);
}

void req_body_changed(HttpReq *q) {
        HttpReqPrivate *p = q->priv;
        if (p->ended)
                return;
        if (p->collecting) {
                if (!q->body_end)
                        return;
                stop_collecting(p);
                p->then(q, p->then_user);
        } else if (q->on_data) {
                q->on_data(q);
        }
}

static uint64_t declared_length(const HttpReq *q) {
        const char *s = http_header(q, "content-length");
        uint64_t n;
        return s && parse_u64(s, &n) >= 0 ? n : 0;
}

void http_collect(HttpReq *q, size_t limit, HttpHandler then, void *user) {
        HttpReqPrivate *p = q->priv;
        if (p->ended)
                return;
        assert(!p->collecting && then);
        p->body_max = limit ?: req_conn(q)->config.limits->body_bytes;
        if (q->body.len > p->body_max || declared_length(q) > p->body_max) {
                req_respond_error(q, 413);
                return;
        }
        if (q->body_end) {
                then(q, user);
                return;
        }
        p->then = then;
        p->then_user = user;
        p->collecting = true;
        p->progress = req_conn(q)->now;
        req_conn(q)->n_timed++;
        req_conn(q)->input_max = MAX(req_conn(q)->input_max, p->body_max);
        if (p->stream_id > 0)
                h2_consume(q, 0);
}

void http_consume(HttpReq *q, size_t n) {
        HttpConn *c = req_conn(q);
        bool wanted = http_conn_want_read(c);
        buf_consume(&q->body, n);
        if (q->priv->stream_id > 0)
                h2_consume(q, n);
        else if (!wanted && http_conn_want_read(c))
                conn_wake(c);
}

void req_cancel(HttpReq *q) {
        HttpReqPrivate *p = q->priv;
        if (p->ended)
                return;
        p->ended = true;
        stop_collecting(p);
        if (q->on_cancel)
                q->on_cancel(q);
}

void req_writable(HttpReq *q) {
        q->priv->high = false;
        if (!q->priv->ended && q->on_writable)
                q->on_writable(q);
}

/* ---- the answer ---- */

/* Line breaks in a value would let a client write headers of its own: they become spaces. */
static void add_pair(Buf *b, size_t *count, const char *name, const char *value) {
        assert(*name && !strpbrk(name, "\r\n: "));
        buf_add(b, name, strlen(name) + 1);
        size_t at = b->len;
        buf_add(b, value, strlen(value) + 1);
        for (char *s = b->data + at; *s; s++)
                if (*s == '\r' || *s == '\n')
                        *s = ' ';
        (*count)++;
}

void http_add_header(HttpReq *q, const char *name, const char *value) {
        if (!q->priv->started && q->priv->n_headers_out < HTTP_HEADER_COUNT_MAX)
                add_pair(&q->priv->headers_out, &q->priv->n_headers_out, name, value);
}

void http_add_headerf(HttpReq *q, const char *name, const char *fmt, ...) {
        char text[1024];
        va_list ap;
        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        http_add_header(q, name, text);
}

void http_add_trailer(HttpReq *q, const char *name, const char *value) {
        if (q->priv->n_trailers_out < HTTP_HEADER_COUNT_MAX)
                add_pair(&q->priv->trailers_out, &q->priv->n_trailers_out, name, value);
}

static void start(HttpReq *q, int status, int64_t length) {
        HttpReqPrivate *p = q->priv;
        assert(!p->started);
        p->no_body = status < 200 || status == 204 || status == 304 || streq(q->method, "HEAD");
        p->started = true;
        if (p->stream_id > 0)
                h2_start(q, status, length);
        else
                h1_start(q, status, length);
}

static void wire_write(HttpReq *q, const void *p, size_t n) {
        if (n == 0 || q->priv->no_body)
                return;
        if (q->priv->stream_id > 0)
                h2_write(q, p, n);
        else
                h1_write(q, p, n);
}

static void wire_finish(HttpReq *q) {
        if (q->priv->stream_id > 0)
                h2_finish(q);
        else
                h1_finish(q);
}

static void respond(HttpReq *q, int status, const char *type, const void *body, size_t n) {
        if (type)
                http_add_header(q, "Content-Type", type);
        start(q, status, (int64_t) n);
        wire_write(q, body, n);
        wire_finish(q);
}

void req_respond_error(HttpReq *q, int status) {
        HttpReqPrivate *p = q->priv;
        if (p->ended)
                return;
        req_cancel(q);
        if (p->started) {
                if (p->stream_id > 0)
                        h2_reset(q);
                else
                        conn_break(p->conn);
                return;
        }
        buf_clear(&p->headers_out);
        p->n_headers_out = 0;
        p->conn->keep_alive = false;
        char text[128];
        int n = snprintf(text, sizeof(text), "%d %s\n", status, http_status_text(status));
        respond(q, status, "text/plain; charset=utf-8", text, (size_t) n);
        conn_wake(p->conn);
}

static void end(HttpReq *q) {
        stop_collecting(q->priv);
        q->priv->ended = true;
        q->on_cancel = NULL;
        conn_wake(req_conn(q));
}

void http_start(HttpReq *q, int status) {
        if (q->priv->ended || q->priv->started)
                return;
        start(q, status, -1);
        conn_wake(req_conn(q));
}

int http_write(HttpReq *q, const void *p, size_t n) {
        if (q->priv->ended)
                return -ECONNRESET;
        assert(q->priv->started);
        size_t queued = http_queued(q);
        if (n > HTTP_WRITE_MAX || queued > HTTP_WRITE_MAX - n ||
            req_conn(q)->queued + n > HTTP_CONN_WRITE_MAX)
                return -ENOBUFS;
        wire_write(q, p, n);
        conn_wake(req_conn(q));
        if (queued + n < HTTP_WRITE_HIGH)
                return 0;
        q->priv->high = true;
        return 1;
}

size_t http_queued(const HttpReq *q) {
        const HttpReqPrivate *p = q->priv;
        return p->stream_id > 0 ? queue_len(&p->out) : queue_len(&p->conn->out);
}

bool http_started(const HttpReq *q) {
        return q->priv->started;
}

void http_finish(HttpReq *q) {
        if (q->priv->ended)
                return;
        if (!q->priv->started) {
                http_respondf(q, 500, "500 Internal Server Error\n");
                return;
        }
        wire_finish(q);
        end(q);
}

void http_respond(HttpReq *q, int status, const char *type, const void *body, size_t n) {
        if (q->priv->ended || q->priv->started)
                return;
        respond(q, status, type, body, n);
        end(q);
}

void http_respondf(HttpReq *q, int status, const char *fmt, ...) {
        char *text = NULL;
        va_list ap;
        va_start(ap, fmt);
        int n = vasprintf(&text, fmt, ap);
        va_end(ap);
        if (n < 0)
                abort();
        http_respond(q, status, "text/plain; charset=utf-8", text, (size_t) n);
        free(text);
}

void http_abort(HttpReq *q) {
        if (q->priv->ended)
                return;
        end(q);
        if (q->priv->stream_id > 0)
                h2_reset(q);
        else
                conn_break(req_conn(q));
}

int http_hijack(HttpReq *q, int status) {
        HttpReqPrivate *p = q->priv;
        if (p->stream_id > 0 || p->ended || p->started)
                return -EOPNOTSUPP;
        int r = h1_hijack(q, status);
        conn_wake(req_conn(q));
        return r;
}

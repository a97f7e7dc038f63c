/* SPDX-License-Identifier: Apache-2.0 */

/* HTTP/1.1 of the client: one call at a time on a connection. */

#include "http/client-internal.h"

#include <ctype.h>
#include <stdio.h>

static HttpCallPrivate *current(llhttp_t *p) {
        ClientConn *c = p->data;
        return c->calls.first;
}

static int on_header_field(llhttp_t *parser, const char *s, size_t n) {
        HttpCallPrivate *p = current(parser);
        size_t at = p ? p->head.len : 0;
        if (!p || call_add_head(p, s, n) < 0)
                return -1;
        for (; at < p->head.len; at++)
                p->head.data[at] = (char) tolower((unsigned char) p->head.data[at]);
        return 0;
}

static int on_header_field_complete(llhttp_t *parser) {
        HttpCallPrivate *p = current(parser);
        return p && call_add_head(p, "", 1) >= 0 ? 0 : -1;
}

static int on_header_value(llhttp_t *parser, const char *s, size_t n) {
        HttpCallPrivate *p = current(parser);
        return p && !memchr(s, 0, n) && call_add_head(p, s, n) >= 0 ? 0 : -1;
}

static int on_header_value_complete(llhttp_t *parser) {
        HttpCallPrivate *p = current(parser);
        if (!p || call_add_head(p, "", 1) < 0)
                return -1;
        p->n_head++;
        return 0;
}

static bool informational(int status) {
        return status >= 100 && status < 200 && status != 101;
}

static int on_headers_complete(llhttp_t *parser) {
        HttpCallPrivate *p = current(parser);
        if (!p)
                return -1;
        int status = llhttp_get_status_code(parser);
        if (informational(status)) {
                buf_clear(&p->head);
                p->n_head = 0;
                return 0;
        }
        if (status == 101)
                return -1; /* nobody asked for an upgrade */
        p->call->status = status;
        call_headers(p);
        if (p->dead)
                return -1;
        return streq(p->method, "HEAD") ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *s, size_t n) {
        HttpCallPrivate *p = current(parser);
        if (!p)
                return -1;
        call_data(p, s, n);
        return p->dead || p->too_large ? -1 : 0;
}

static int on_message_complete(llhttp_t *parser) {
        ClientConn *c = parser->data;
        HttpCallPrivate *p = c->calls.first;
        if (!p)
                return -1;
        if (informational(llhttp_get_status_code(parser)))
                return 0;
        if (p->n_head > 0)
                call_trailers(p);
        bool keep = llhttp_should_keep_alive(parser) && p->request_end;
        if (!keep)
                c->going_away = true;
        p->call->body_end = true;
        if (p->config.on_data)
                p->config.on_data(p->call, p->config.user);
        call_end(p, 0, NULL);
        return c->state == CONN_CLOSED ? -1 : HPE_PAUSED;
}

static const llhttp_settings_t settings = {
        .on_header_field = on_header_field,
        .on_header_field_complete = on_header_field_complete,
        .on_header_value = on_header_value,
        .on_header_value_complete = on_header_value_complete,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
};

void ch1_init(ClientConn *c) {
        llhttp_init(&c->parser, HTTP_RESPONSE, &settings);
        c->parser.data = c;
}

int ch1_recv(ClientConn *c, const char *data, size_t n) {
        if (!c->calls.first) /* an answer nobody asked for */
                return -EPROTO;
        llhttp_errno_t e = llhttp_execute(&c->parser, data, n);
        if (c->state == CONN_CLOSED || e == HPE_OK)
                return 0;
        if (e == HPE_PAUSED) { /* the answer is complete */
                bool more = llhttp_get_error_pos(&c->parser) < data + n;
                llhttp_resume(&c->parser);
                if (more)
                        c->going_away = true;
                conn_idle(c);
                return 0;
        }
        HttpCallPrivate *p = c->calls.first;
        if (p && p->too_large) {
                call_end(p, -EMSGSIZE, "the answer is too large");
                return -EPROTO;
        }
        (void) snprintf(c->problem, sizeof(c->problem), "malformed answer: %s",
                        strempty(llhttp_get_error_reason(&c->parser)));
        return -EPROTO;
}

void ch1_eof(ClientConn *c) {
        if (!c->calls.first)
                return;
        llhttp_errno_t e = llhttp_finish(&c->parser); /* an answer may end with the connection */
        if (e == HPE_PAUSED && c->state != CONN_CLOSED)
                conn_fail(c, -ECONNRESET, "the connection was closed");
}

/* ---- the request ---- */

static void put(ClientConn *c, const char *name, const char *value) {
        queue_adds(&c->out, name);
        queue_adds(&c->out, ": ");
        queue_adds(&c->out, value);
        queue_adds(&c->out, "\r\n");
}

static bool has_header(const HttpCallPrivate *p, const char *name) {
        for (size_t i = 0; i < p->n_headers; i++)
                if (streq(p->headers[i].name, name))
                        return true;
        return false;
}

void ch1_send(ClientConn *c, HttpCallPrivate *p) {
        queue_adds(&c->out, p->method);
        queue_adds(&c->out, " ");
        queue_adds(&c->out, p->target);
        queue_adds(&c->out, " HTTP/1.1\r\n");
        if (!has_header(p, "host"))
                put(c, "Host", p->authority);
        for (size_t i = 0; i < p->n_headers; i++)
                put(c, p->headers[i].name, p->headers[i].value);
        if (p->streaming) {
                put(c, "Transfer-Encoding", "chunked");
        } else if (p->request.len > 0 || streq(p->method, "POST") || streq(p->method, "PUT")) {
                char length[24];
                (void) snprintf(length, sizeof(length), "%zu", p->request.len);
                put(c, "Content-Length", length);
        }
        queue_adds(&c->out, "\r\n");
        queue_add(&c->out, p->request.data, p->request.len);
        if (p->streaming) {
                ch1_write(p, queue_len(&p->out) > 0 ? queue_data(&p->out) : "", queue_len(&p->out));
                queue_done(&p->out);
                if (p->request_end)
                        ch1_end(p);
        }
        p->call->sent = true;
        c->got_bytes = false;
}

void ch1_write(HttpCallPrivate *p, const void *data, size_t n) {
        char size[24];
        if (n == 0)
                return;
        ClientConn *c = p->conn;
        int k = snprintf(size, sizeof(size), "%zx\r\n", n);
        queue_add(&c->out, size, (size_t) k);
        queue_add(&c->out, data, n);
        queue_adds(&c->out, "\r\n");
}

void ch1_end(HttpCallPrivate *p) {
        queue_adds(&p->conn->out, "0\r\n\r\n");
}

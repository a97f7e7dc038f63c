/* SPDX-License-Identifier: Apache-2.0 */
#include "http/grpc.h"
#include "http/internal.h"

#include <stdarg.h>
#include <stdio.h>

static const char content_type[] = "application/grpc";

bool grpc_is_request(const HttpReq *q) {
        const char *type = http_header(q, "content-type");
        const char *rest = type ? startswith(type, content_type) : NULL;
        return q->http2 && rest && (*rest == 0 || *rest == ';' || streq(rest, "+proto"));
}

static int bad_frame(HttpReq *q, int r) {
        if (r == -EMSGSIZE)
                grpc_finishf(q, GRPC_RESOURCE_EXHAUSTED, "grpc: received message larger than max (%u bytes)",
                             GRPC_MESSAGE_BYTES_MAX);
        else if (r == -EOPNOTSUPP)
                grpc_finish(q, GRPC_UNIMPLEMENTED,
                            "grpc: compressed messages are not supported by this server");
        else
                grpc_finish(q, GRPC_INTERNAL, "grpc: malformed message framing");
        return r;
}

/* The message handed out last is consumed only now: its bytes were borrowed until this call. */
static void drop_taken(HttpReq *q) {
        size_t n = q->priv->taken;
        q->priv->taken = 0;
        if (n > 0)
                http_consume(q, n);
}

int grpc_next(HttpReq *q, GrpcMsg *ret) {
        if (q->priv->ended)
                return -ECONNRESET;
        drop_taken(q);
        size_t used;
        int r = grpc_parse(buf_str(&q->body), q->body.len, GRPC_MESSAGE_BYTES_MAX, &ret->data, &ret->size,
                           &used);
        if (r > 0)
                q->priv->taken = used;
        else if (r == 0 && q->body_end && q->body.len > 0)
                r = -EBADMSG;
        else if (r == 0 && q->body.len >= HTTP_H2_WINDOW / 2)
                h2_grow_window(q); /* a message longer than the window would never get complete */
        return r < 0 ? bad_frame(q, r) : r;
}

int grpc_unary(HttpReq *q, GrpcMsg *ret) {
        if (q->priv->ended)
                return -ECONNRESET;
        if (!q->body_end) {
                size_t used;
                int r = grpc_parse(buf_str(&q->body), q->body.len, GRPC_MESSAGE_BYTES_MAX, &ret->data,
                                   &ret->size, &used);
                if (r == 0 && q->body.len >= HTTP_H2_WINDOW / 2)
                        h2_grow_window(q);
                return r < 0 ? bad_frame(q, r) : 0;
        }
        int r = grpc_next(q, ret);
        if (r == 0) {
                grpc_finish(q, GRPC_INTERNAL, "grpc: the request has no message");
                return -EBADMSG;
        }
        return r;
}

int grpc_send(HttpReq *q, const void *p, size_t n) {
        uint8_t prefix[GRPC_PREFIX_BYTES];
        if (q->priv->ended)
                return -ECONNRESET;
        if (n > UINT32_MAX)
                return -EMSGSIZE;
        if (!http_started(q)) {
                http_add_header(q, "content-type", content_type);
                http_start(q, 200);
        }
        if (http_queued(q) + n + sizeof(prefix) > HTTP_WRITE_MAX)
                return -ENOBUFS; /* all or nothing: half a message would break the stream */
        grpc_prefix(prefix, (uint32_t) n);
        int r = http_write(q, prefix, sizeof(prefix));
        return r < 0 ? r : http_write(q, p, n);
}

void grpc_finish(HttpReq *q, GrpcCode code, const char *message) {
        if (q->priv->ended)
                return;
        void (*add)(HttpReq *, const char *, const char *) =
                        http_started(q) ? http_add_trailer : http_add_header;
        char number[8];
        (void) snprintf(number, sizeof(number), "%u", (unsigned) code);
        if (!http_started(q))
                http_add_header(q, "content-type", content_type);
        add(q, "grpc-status", number);
        if (!isempty(message)) {
                _cleanup_(buf_done) Buf b = {};
                grpc_message_encode(&b, message);
                add(q, "grpc-message", buf_str(&b));
        }
        if (http_started(q)) {
                http_finish(q);
        } else {
                q->priv->trailers_only = true;
                http_respond(q, 200, NULL, NULL, 0);
        }
}

void grpc_finishf(HttpReq *q, GrpcCode code, const char *fmt, ...) {
        char text[1024];
        va_list ap;
        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        grpc_finish(q, code, text);
}

Usec grpc_timeout(const HttpReq *q) {
        const char *s = http_header(q, "grpc-timeout");
        Usec t;
        return s && grpc_timeout_parse(s, &t) >= 0 ? t : USEC_NEVER;
}

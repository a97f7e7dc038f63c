/* SPDX-License-Identifier: Apache-2.0 */

/* gRPC calls on top of HTTP/2 calls. */

#include "http/client-internal.h"

#include <stdio.h>

struct GrpcCall {
        HttpCall *http; /* weak: the client owns it; NULL once it has ended */
        GrpcCallConfig config;
        bool in_callback, cancelled;
        GrpcCode code; /* found out before the transport ended */
        bool broken;
        char problem[200];
};

static void fail(GrpcCall *g, GrpcCode code, const char *problem) {
        g->broken = true;
        g->code = code;
        (void) snprintf(g->problem, sizeof(g->problem), "%s", problem);
}

static void finish(GrpcCall *g, GrpcCode code, const char *message, bool sent) {
        void (*done)(GrpcCall *, GrpcCode, const char *, bool, void *) = g->config.on_done;
        void *user = g->config.user;
        _cleanup_free_ char *text = xstrdup(strempty(message)); /* may lie in what the callback frees */
        g->http = NULL;
        done(g, code, text, sent, user);
        free(g);
}

static int next_message(GrpcCall *g, const void **ret, size_t *ret_n, size_t *ret_used) {
        Buf *body = &g->http->body;
        size_t max = g->config.message_max ?: HTTP_CLIENT_BODY_MAX;
        int r = grpc_parse(buf_str(body), body->len, max, ret, ret_n, ret_used);
        if (r == -EMSGSIZE)
                fail(g, GRPC_RESOURCE_EXHAUSTED, "the received message is too large");
        else if (r == -EOPNOTSUPP)
                fail(g, GRPC_INTERNAL, "the received message is compressed");
        else if (r < 0)
                fail(g, GRPC_INTERNAL, "malformed message framing");
        return r;
}

static void on_data(HttpCall *call, void *user) {
        GrpcCall *g = user;
        const void *msg;
        size_t n, used;
        const char *type = http_call_header(call, "content-type");
        if (call->status != 200 || !type || !startswith(type, "application/grpc")) {
                http_call_consume(call, call->body.len); /* an error page */
                return;
        }
        g->in_callback = true;
        while (!g->cancelled && !g->broken && next_message(g, &msg, &n, &used) > 0) {
                if (g->config.on_message)
                        g->config.on_message(g, msg, n, g->config.user);
                if (!g->cancelled)
                        http_call_consume(call, used);
        }
        g->in_callback = false;
        if (g->cancelled) {
                free(g);
                return;
        }
        if (g->broken) {
                (void) http_call_cancel(call);
                finish(g, g->code, g->problem, true);
                return;
        }
        if (call->body.len >= CLIENT_STREAM_WINDOW / 2) /* longer than the window: let more in */
                ch2_consume(call->priv, call->body.len);
}

static GrpcCode code_of_status(int status) {
        switch (status) {
        case 400:
                return GRPC_INTERNAL;
        case 401:
                return GRPC_UNAUTHENTICATED;
        case 403:
                return GRPC_PERMISSION_DENIED;
        case 404:
                return GRPC_UNIMPLEMENTED;
        case 429:
        case 502:
        case 503:
        case 504:
                return GRPC_UNAVAILABLE;
        default:
                return GRPC_UNKNOWN;
        }
}

static void on_done(HttpCall *call, int r, void *user) {
        GrpcCall *g = user;
        if (r < 0) {
                finish(g,
                       r == -ETIMEDOUT && !call->sent ? GRPC_UNAVAILABLE
                       : r == -ETIMEDOUT              ? GRPC_DEADLINE_EXCEEDED
                                                      : GRPC_UNAVAILABLE,
                       http_call_error(call), call->sent);
                return;
        }
        const char *status = http_call_trailer(call, "grpc-status") ?: http_call_header(call, "grpc-status");
        const char *message =
                        http_call_trailer(call, "grpc-message") ?: http_call_header(call, "grpc-message");
        uint64_t code;
        if (status && parse_u64(status, &code) >= 0) {
                _cleanup_(buf_done) Buf text = {};
                grpc_message_decode(&text, strempty(message));
                finish(g, code < _GRPC_CODE_MAX ? (GrpcCode) code : GRPC_UNKNOWN, buf_str(&text), true);
                return;
        }
        char text[100];
        (void) snprintf(text, sizeof(text), "the server is no gRPC server (HTTP status %d)", call->status);
        finish(g, code_of_status(call->status), text, true);
}

static void frame(Buf *b, const void *p, size_t n) {
        uint8_t prefix[GRPC_PREFIX_BYTES];
        grpc_prefix(prefix, (uint32_t) n);
        buf_add(b, prefix, sizeof(prefix));
        buf_add(b, p, n);
}

int grpc_call(HttpClient *c, const GrpcCallConfig *config, GrpcCall **ret, Err *err) {
        _cleanup_free_ char *url = xasprintf("%s%s", config->origin, config->method);
        _cleanup_(buf_done) Buf body = {};
        char timeout[16];
        assert(config->on_done && config->method[0] == '/');
        HttpHeader *headers = xnew(HttpHeader, config->n_metadata + 3);
        size_t n = 0;
        headers[n++] = (HttpHeader){ "content-type", "application/grpc" };
        headers[n++] = (HttpHeader){ "te", "trailers" };
        if (config->timeout > 0)
                headers[n++] = (HttpHeader){ "grpc-timeout", grpc_timeout_format(timeout, config->timeout) };
        for (size_t i = 0; i < config->n_metadata; i++)
                headers[n++] = config->metadata[i];
        if (config->message || !config->stream)
                frame(&body, config->message, config->message_size);
        GrpcCall *g = xnew(GrpcCall, 1);
        g->config = *config;
        g->config.origin = g->config.method = NULL;
        HttpCallConfig http = { .method = "POST",
                                .url = url,
                                .headers = headers,
                                .n_headers = n,
                                .body = buf_str(&body),
                                .body_size = body.len,
                                .timeout = config->timeout,
                                .flags = HTTP_CALL_H2 | (config->stream ? HTTP_CALL_STREAM_REQUEST : 0),
                                .on_data = on_data,
                                .on_done = on_done,
                                .user = g };
        int r = http_call(c, &http, &g->http, err);
        free(headers);
        if (r < 0) {
                free(g);
                return r;
        }
        *ret = g;
        return 0;
}

int grpc_call_send(GrpcCall *call, const void *p, size_t n) {
        _cleanup_(buf_done) Buf b = {};
        if (!call->http || n > UINT32_MAX)
                return -ECONNRESET;
        frame(&b, p, n);
        return http_call_write(call->http, buf_str(&b), b.len);
}

void grpc_call_end(GrpcCall *call) {
        if (call->http)
                http_call_end(call->http);
}

GrpcCall *grpc_call_cancel(GrpcCall *call) {
        if (!call || call->cancelled)
                return NULL;
        call->http = http_call_cancel(call->http);
        if (call->in_callback)
                call->cancelled = true; /* on_data() frees it */
        else
                free(call);
        return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "etcd/apiv2/apiv2.h"
#include "etcd/apiv3/apiv3.h"
#include "etcd/apiv3/json.h"

/* The JSON gateway: POST /v3/..., the same calls with messages as JSON (spec b.4). A stream takes the messages of
 * the body and answers with one {"result":...} a line for as long as the client listens. */

static int http_status_of(GrpcCode code) {
        switch (code) {
        case GRPC_OK:
                return 200;
        case GRPC_INVALID_ARGUMENT:
        case GRPC_OUT_OF_RANGE:
                return 400;
        case GRPC_UNAUTHENTICATED:
                return 401;
        case GRPC_PERMISSION_DENIED:
                return 403;
        case GRPC_NOT_FOUND:
                return 404;
        case GRPC_CANCELED:
        case GRPC_DEADLINE_EXCEEDED:
                return 408;
        case GRPC_ALREADY_EXISTS:
        case GRPC_ABORTED:
                return 409;
        case GRPC_FAILED_PRECONDITION:
                return 412;
        case GRPC_RESOURCE_EXHAUSTED:
                return 429;
        case GRPC_UNIMPLEMENTED:
                return 501;
        case GRPC_UNAVAILABLE:
                return 503;
        case GRPC_UNKNOWN:
        case GRPC_INTERNAL:
        case GRPC_DATA_LOSS:
        case _GRPC_CODE_MAX:
                break;
        }
        return 500;
}

static void add_ok_headers(HttpReq *q) {
        http_add_header(q, "Content-Type", "application/json");
        http_add_header(q, "Grpc-Metadata-Content-Type", "application/grpc");
}

static void error_body(GrpcCode code, const char *message, Buf *b) {
        JsonOut j = { .buf = b };
        jo_obj(&j);
        jo_kstr(&j, "error", message);
        jo_kstr(&j, "message", message);
        jo_kint(&j, "code", code);
        jo_end(&j);
}

static void fail(V3Call *c, GrpcCode code, const char *message) {
        _cleanup_(buf_done) Buf b = {};
        c->server->stats.grpc_failed++;
        if (http_started(c->q)) {
                JsonOut j = { .buf = &b };
                jo_obj(&j);
                jo_key(&j, "error");
                jo_obj(&j);
                jo_kint(&j, "grpc_code", code);
                jo_kint(&j, "http_code", http_status_of(code));
                jo_kstr(&j, "message", message);
                jo_kstr(&j, "http_status", http_status_text(http_status_of(code)));
                jo_end(&j);
                jo_end(&j);
                buf_addc(&b, '\n');
                (void) http_write(c->q, b.data, b.len);
                http_finish(c->q);
                return;
        }
        error_body(code, message, &b);
        http_respond(c->q, http_status_of(code), "application/json", b.data, b.len);
}

static void reply(V3Call *c, const void *p, size_t n) {
        _cleanup_(buf_done) Buf b = {};
        int r = v3_to_json(c->method->response, p, n, &b);
        assert(r >= 0); /* our own message */
        c->server->stats.grpc_ok++;
        add_ok_headers(c->q);
        http_respond(c->q, 200, NULL, b.data, b.len);
}

static int send_one(V3Call *c, const void *p, size_t n) {
        _cleanup_(buf_done) Buf b = {};
        if (!http_started(c->q)) {
                add_ok_headers(c->q);
                http_start(c->q, 200);
        }
        buf_adds(&b, "{\"result\":");
        int r = v3_to_json(c->method->response, p, n, &b);
        assert(r >= 0);
        buf_adds(&b, "}\n");
        return http_write(c->q, b.data, b.len);
}

static void finish(V3Call *c) {
        c->server->stats.grpc_ok++;
        if (!http_started(c->q)) {
                add_ok_headers(c->q);
                http_start(c->q, 200);
        }
        http_finish(c->q);
}

static const V3Wire gateway_wire = { .reply = reply, .fail = fail, .send = send_one, .finish = finish };

/* ---- requests ---- */

static const V3Method *find_method(const char *path) {
        const char *rest = startswith(path, "/v3beta") ?: startswith(path, "/v3");
        const char *alias = startswith(rest, "/kv/lease/"); /* the older places of three of them */
        for (const V3Method *m = v3_methods; m->path; m++) {
                if (!m->json)
                        continue;
                const char *lease = startswith(m->json, "/lease/");
                if (streq(m->json, rest) || (alias && lease && streq(alias, lease) && !m->open))
                        return m;
        }
        return NULL;
}

/* One message of the body, packed: 1; 0 when nothing but white space is left. */
static int convert(const V3Method *m, const char *p, size_t n, size_t *ret_used, Buf *to, Err *err) {
        json_error_t e;
        _cleanup_json_ json_t *root = NULL;
        size_t skip = 0;
        while (skip < n && strchr(" \t\r\n", p[skip]))
                skip++;
        *ret_used = n;
        if (skip == n)
                return 0;
        root = json_loadb(p + skip, n - skip, JSON_DISABLE_EOF_CHECK, &e);
        if (!root)
                return err_set(err, -EINVAL, "invalid JSON: %s", e.text);
        *ret_used = skip + (size_t) e.position;
        int r = v3_from_json(m->request, root, 0, to, err);
        return r < 0 ? r : 1;
}

static void run_stream(V3Call *c) {
        Buf body = c->q->body; /* moved: the answer may begin while it is read */
        c->q->body = (Buf){};
        size_t at = 0;
        c->method->open(c);
        while (!c->ended && at < body.len) {
                _cleanup_(buf_done) Buf msg = {};
                _cleanup_(err_done) Err err = {};
                size_t used;
                int r = convert(c->method, body.data + at, body.len - at, &used, &msg, &err);
                if (r < 0) {
                        c->method->cancel(c);
                        v3_fail(c, GRPC_INVALID_ARGUMENT, err_msg(&err));
                        break;
                }
                at += used;
                if (r > 0)
                        c->method->run(c, buf_str(&msg), msg.len);
                arena_done(&c->scratch);
        }
        buf_done(&body);
        if (!c->ended)
                c->method->end(c);
}

static void collected(HttpReq *q, void *user) {
        const V3Method *m = find_method(q->path);
        V3Call *c = v3_call_new(q, user, m, &gateway_wire);
        if (!c)
                return;
        if (m->open) {
                q->on_writable = v3_call_writable;
                run_stream(c);
                return;
        }
        _cleanup_(buf_done) Buf msg = {};
        _cleanup_(err_done) Err err = {};
        size_t used;
        if (convert(m, buf_str(&q->body), q->body.len, &used, &msg, &err) < 0) {
                v3_fail(c, GRPC_INVALID_ARGUMENT, err_msg(&err));
                return;
        }
        size_t max = c->server->config->max_request_bytes + ETCD_REQUEST_OVERHEAD;
        if (msg.len > max) {
                _cleanup_free_ char *text =
                                xasprintf("grpc: received message larger than max (%zu vs. %zu)", msg.len, max);
                v3_fail(c, GRPC_RESOURCE_EXHAUSTED, text);
                return;
        }
        m->run(c, buf_str(&msg), msg.len);
}

void apiv3_gateway(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (!find_method(q->path)) {
                http_go_error(q, 404, "Not Found");
                return;
        }
        if (!streq(q->method, "POST")) {
                http_go_error(q, 405, "Method Not Allowed");
                return;
        }
        /* base64 makes a request a third larger */
        http_collect(q, (s->config->max_request_bytes + ETCD_REQUEST_OVERHEAD) * 3 / 2, collected, s);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "codec/base64.h"
#include "fleet/api-internal.h"

#include <stdio.h>

#define JSON_TYPE "application/json"
#define UNREACHABLE "fleet server unable to communicate with etcd"

void api_json(HttpReq *q, int status, const Buf *body) {
        http_add_header(q, "Server", API_SERVER);
        http_respond(q, status, JSON_TYPE, body->data, body->len);
}

void api_empty(HttpReq *q, int status) {
        http_add_header(q, "Server", API_SERVER);
        http_respond(q, status, NULL, NULL, 0);
}

static void error_body(Buf *b, int status, const char *message) {
        JsonOut o = { .buf = b };
        jo_obj(&o);
        jo_key(&o, "error");
        jo_obj(&o);
        jo_kint(&o, "code", status);
        jo_kstr(&o, "message", message);
        jo_end(&o);
        jo_end(&o);
}

void api_error(HttpReq *q, int status, const char *message) {
        _cleanup_(buf_done) Buf b = {};
        error_body(&b, status, message);
        api_json(q, status, &b);
}

/* COMPAT: fleetd sends this one without its Server header. */
void api_unreachable(HttpReq *q) {
        _cleanup_(buf_done) Buf b = {};
        error_body(&b, 503, UNREACHABLE);
        http_respond(q, 503, JSON_TYPE, b.data, b.len);
}

bool api_result_ok(ApiOp *op, const EtcdResult *r) {
        op->call = NULL;
        if (r->error >= 0)
                return true;
        if (r->error == -EREMOTE && r->code != GRPC_UNAVAILABLE && r->code != GRPC_DEADLINE_EXCEEDED)
                api_error(op->q, 500, r->message); /* etcd was reached and said no: out of space, no permission */
        else
                api_unreachable(op->q);
        return false;
}

/* ---- pages: base64 of two little-endian 16-bit numbers, limit and page ---- */

static int decode_token(const ApiOp *op, const char *token, uint16_t *ret_page, char *why, size_t why_n) {
        _cleanup_(buf_done) Buf b = {};
        uint16_t limit, page;

        if (base64_decode(&b, token, strlen(token)) < 0) {
                size_t bad = strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
                (void) snprintf(why, why_n, "illegal base64 data at input byte %zu", token[bad] ? bad : 0);
                return -EINVAL;
        }
        Rd rd = rd_new(b.data, b.len);
        if (rd_le16(&rd, &limit) < 0 || rd_le16(&rd, &page) < 0) {
                (void) snprintf(why, why_n, "%s", b.len == 0 || b.len == 2 ? "EOF" : "unexpected EOF");
                return -EINVAL;
        }
        if (limit != op->api->c.token_limit) {
                (void) snprintf(why, why_n, "token limit must be %" PRIu64, op->api->c.token_limit);
                return -EINVAL;
        }
        if (page == 0) {
                (void) snprintf(why, why_n, "token page must be greater than zero");
                return -EINVAL;
        }
        *ret_page = page;
        return 0;
}

static size_t count_parameter(const char *query, const char *name) {
        size_t n = 0, len = strlen(name);
        for (const char *p = query; *p;) {
                if (strncmp(p, name, len) == 0 && (p[len] == '=' || p[len] == '&' || !p[len]))
                        n++;
                const char *amp = strchr(p, '&');
                if (!amp)
                        break;
                p = amp + 1;
        }
        return n;
}

bool api_page(ApiOp *op) {
        char why[96];

        op->page = 1;
        if (count_parameter(op->q->query, "nextPageToken") > 1) {
                api_error(op->q, 400, "too many values for page token");
                return false;
        }
        const char *token = http_query(op->q, "nextPageToken");
        if (isempty(token))
                return true;
        if (decode_token(op, token, &op->page, why, sizeof(why)) < 0) {
                api_error(op->q, 400, why);
                return false;
        }
        return true;
}

void api_slice(const ApiOp *op, size_t total, size_t *ret_from, size_t *ret_to, char *ret_token) {
        size_t limit = (size_t) op->api->c.token_limit, from = (op->page - (size_t) 1) * limit;

        *ret_from = MIN(from, total);
        *ret_to = MIN(from + limit, total);
        *ret_token = 0;
        /* COMPAT: also when this was exactly the last full page; the client then gets an empty one. */
        if (op->page * limit <= total && op->page < UINT16_MAX) {
                _cleanup_(buf_done) Buf raw = {}, text = {};
                buf_add_le16(&raw, (uint16_t) limit);
                buf_add_le16(&raw, (uint16_t) (op->page + 1));
                base64_encode(&text, raw.data, raw.len, BASE64_URL);
                memcpy(ret_token, text.data, text.len + 1);
        }
}

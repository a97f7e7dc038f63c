/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv3/apiv3.h"
#include "http/grpc.h"

/* ---- gRPC as the wire ---- */

static void grpc_reply(V3Call *c, const void *p, size_t n) {
        c->server->stats.grpc_ok++;
        (void) grpc_send(c->q, p, n);
        grpc_finish(c->q, GRPC_OK, NULL);
}

static void grpc_fail(V3Call *c, GrpcCode code, const char *message) {
        c->server->stats.grpc_failed++;
        grpc_finish(c->q, code, message);
}

static int grpc_send_one(V3Call *c, const void *p, size_t n) {
        return grpc_send(c->q, p, n);
}

static void grpc_end(V3Call *c) {
        c->server->stats.grpc_ok++;
        grpc_finish(c->q, GRPC_OK, NULL);
}

static const V3Wire grpc_wire = { .reply = grpc_reply, .fail = grpc_fail, .send = grpc_send_one, .finish = grpc_end };

/* ---- shared by the methods ---- */

void v3_reply(V3Call *c, Buf *b) {
        assert(!c->ended);
        if (b->len > V3_RESPONSE_MAX) {
                _cleanup_free_ char *text = xasprintf("etcdserver: the response of %zu bytes is too large; "
                                                      "ask for less at once (limit)",
                                                      b->len);
                v3_fail(c, GRPC_RESOURCE_EXHAUSTED, text);
                return;
        }
        c->ended = true;
        c->wire->reply(c, buf_str(b), b->len);
}

void v3_fail(V3Call *c, GrpcCode code, const char *message) {
        assert(!c->ended);
        c->ended = true;
        c->wire->fail(c, code, message);
}

void v3_fail_store(V3Call *c, StoreError e) {
        v3_fail(c, (GrpcCode) store_error_grpc_code(e), store_error_message(e));
}

void v3_fail_wait(V3Call *c, int error) {
        GrpcCode code = error == -EBUSY    ? GRPC_RESOURCE_EXHAUSTED
                        : error == -EINVAL ? GRPC_INVALID_ARGUMENT
                                           : GRPC_UNAVAILABLE;
        v3_fail(c, code, etcd_wait_error(c->server, error));
}

static void *arena_malloc(void *user, size_t n) {
        return arena_alloc(user, n);
}

static void arena_nofree(void *user, void *p) {
}

void *v3_unpack(V3Call *c, const ProtobufCMessageDescriptor *d, const void *p, size_t n) {
        ProtobufCAllocator a = { .alloc = arena_malloc, .free = arena_nofree, .allocator_data = c->method->open ? &c->scratch : &c->q->arena };
        void *m = protobuf_c_message_unpack(d, &a, n, p);
        if (!m)
                v3_fail(c, GRPC_INTERNAL, "grpc: error while marshaling: the request message is malformed");
        return m;
}

static void proposed(EtcdWait *w, int error, EtcdResult *res) {
        V3Call *c = (V3Call *) w;
        if (error < 0 || !res)
                v3_fail_wait(c, error);
        else if (res->apply.error != STORE_OK)
                v3_fail_store(c, res->apply.error);
        else
                v3_reply(c, &res->body);
}

void v3_propose(V3Call *c, Command *cmd) {
        etcd_propose(c->server, &c->wait, cmd, proposed);
}

void v3_read_then(V3Call *c, EtcdDone done) {
        etcd_read(c->server, &c->wait, done);
}

/* ---- what may be asked now ---- */

static bool allowed_on_learner(const V3Method *m) {
        return m->run == v3_status || m->run == v3_member_list || m->run == v3_health || m->run == v3_range;
}

static bool refuse_now(V3Call *c) {
        const Member *self = members_find(&c->server->members, c->server->id);
        const char *has_leader = http_header(c->q, "hasleader");
        if (self && self->learner && !allowed_on_learner(c->method))
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: rpc not supported for learner");
        else if (has_leader && streq(has_leader, "true") && etcd_leader(c->server) == 0)
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: no leader");
        else
                return false;
        return true;
}

void apiv3_no_leader(EtcdServer *s) {
        LIST_FOREACH(c, &s->led_calls, led) {
                if (c->ended)
                        continue;
                if (c->method->cancel)
                        c->method->cancel(c);
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: no leader");
        }
}

/* ---- dispatch ---- */

static void call_cancelled(HttpReq *q) {
        V3Call *c = q->user;
        c->ended = true;
        v3_call_unlink(c);
        etcd_wait_cancel(&c->wait);
        if (c->method->cancel)
                c->method->cancel(c);
}

static void call_free(HttpReq *q) {
        V3Call *c = q->user;
        if (c->needs_leader)
                LIST_REMOVE(&c->server->led_calls, c, led);
        arena_done(&c->scratch);
}

static void unary_data(HttpReq *q) {
        V3Call *c = q->user;
        GrpcMsg m;
        if (c->ended || c->got_message)
                return;
        int r = grpc_unary(q, &m);
        if (r < 0)
                c->ended = true;
        if (r <= 0)
                return;
        c->got_message = true;
        c->method->run(c, m.data, m.size);
}

static void stream_data(HttpReq *q) {
        V3Call *c = q->user;
        GrpcMsg m;
        while (!c->ended) {
                int r = grpc_next(q, &m);
                if (r < 0) { /* answered already */
                        c->ended = true;
                        if (c->method->cancel)
                                c->method->cancel(c);
                        return;
                }
                if (r == 0)
                        break;
                c->method->run(c, m.data, m.size);
                arena_done(&c->scratch);
        }
        if (!c->ended && q->body_end && q->body.len == 0)
                c->method->end(c);
}

void v3_call_writable(HttpReq *q) {
        V3Call *c = q->user;
        if (!c->ended && c->method->writable)
                c->method->writable(c);
}

static void unknown_method(HttpReq *q, EtcdServer *s) {
        const char *slash = strrchr(q->path, '/');
        const char *service = q->path + (*q->path == '/');
        int n = slash && slash > service ? (int) (slash - service) : (int) strlen(service);
        s->stats.grpc_failed++;
        for (const V3Method *m = v3_methods; m->path; m++)
                if (strncmp(m->path + 1, service, (size_t) n) == 0 && m->path[1 + n] == '/') {
                        grpc_finishf(q, GRPC_UNIMPLEMENTED, "unknown method %s for service %.*s",
                                     slash ? slash + 1 : "", n, service);
                        return;
                }
        grpc_finishf(q, GRPC_UNIMPLEMENTED, "unknown service %.*s", n, service);
}

V3Call *v3_call_new(HttpReq *q, EtcdServer *s, const V3Method *m, const V3Wire *wire) {
        V3Call *c = arena_new(&q->arena, V3Call, 1);
        *c = (V3Call){ .server = s, .q = q, .method = m, .wire = wire };
        q->user = c;
        q->on_cancel = call_cancelled;
        q->on_free = call_free;
        if (refuse_now(c))
                return NULL;
        const char *has_leader = http_header(q, "hasleader");
        if (m->open && has_leader && streq(has_leader, "true")) {
                c->needs_leader = true;
                LIST_APPEND(&s->led_calls, c, led);
        }
        return c;
}

void apiv3_grpc(HttpReq *q, EtcdServer *s) {
        const V3Method *m = v3_methods;
        while (m->path && !streq(m->path, q->path))
                m++;
        if (!m->path) {
                unknown_method(q, s);
                return;
        }
        V3Call *c = v3_call_new(q, s, m, &grpc_wire);
        if (!c)
                return;
        if (!m->open) {
                q->on_data = unary_data;
                unary_data(q);
                return;
        }
        q->on_data = stream_data;
        q->on_writable = v3_call_writable;
        m->open(c);
        if (!c->ended && (q->body.len > 0 || q->body_end))
                stream_data(q);
}

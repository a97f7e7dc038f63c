/* SPDX-License-Identifier: Apache-2.0 */

/* Requests with one answer: attempts, repetitions, deadlines. */

#include "etcdclient/internal.h"
#include "sys/clock.h"

#include <stdio.h>

struct EtcdCall {
        EtcdClient *client;
        LIST_LINK(EtcdCall) link;
        char *method;   /* owned */
        char *pinned;   /* owned; the only endpoint allowed, or NULL */
        char *endpoint; /* owned; of the running attempt */
        EtcdCallKind kind;
        const ProtobufCMessageDescriptor *response;
        Buf request, answer;
        bool answered;
        GrpcCall *grpc;
        sd_event_source *timer;
        Usec deadline;
        unsigned attempts;
        bool ever_sent; /* some attempt may have reached a server */
        bool busy;      /* not admitted: the client has too many */
        bool finishing;
        EtcdDone done;
        void *user;
        char problem[256];
};

static void attempt(EtcdCall *call);

static void call_free(EtcdCall *call) {
        LIST_REMOVE(&call->client->calls, call, link);
        call->client->n_calls--;
        grpc_call_cancel(call->grpc);
        sd_event_source_disable_unref(call->timer);
        buf_done(&call->request);
        buf_done(&call->answer);
        free(call->method);
        free(call->pinned);
        free(call->endpoint);
        free(call);
}

EtcdCall *etcd_call_cancel(EtcdCall *call) {
        if (call && !call->finishing)
                call_free(call);
        return NULL;
}

static void finish(EtcdCall *call, EtcdResult result) {
        result.message = strempty(result.message);
        call->finishing = true;
        call->done(&result, call->user);
        call_free(call);
}

static void finish_transport(EtcdCall *call) {
        bool write = call->kind == ETCD_CALL_WRITE;
        EtcdResult result = {
                .error = call->busy        ? -EBUSY
                         : call->ever_sent ? -ETIMEDOUT
                                           : -ENOTCONN,
                .code = call->ever_sent ? GRPC_DEADLINE_EXCEEDED : GRPC_UNAVAILABLE,
                .message = call->problem[0] ? call->problem : "no answer in time",
                .maybe = write && call->ever_sent,
        };
        finish(call, result);
}

static void finish_answer(EtcdCall *call) {
        ProtobufCMessage *m =
                        call->answered ? protobuf_c_message_unpack(call->response, NULL, call->answer.len,
                                                                   (const uint8_t *) buf_str(&call->answer))
                                       : NULL;
        EtcdResult result = { .any = m };
        if (!m)
                result = (EtcdResult){ .error = -EBADMSG,
                                       .code = GRPC_INTERNAL,
                                       .message = "the server's answer cannot be understood",
                                       .maybe = call->kind == ETCD_CALL_WRITE };
        /* The answer may outlive the call if done() frees the client with everything in it. */
        finish(call, result);
        if (m)
                protobuf_c_message_free_unpacked(m, NULL);
}

/* ---- attempts ---- */

static int on_timer(sd_event_source *s, uint64_t usec, void *user) {
        EtcdCall *call = user;
        if (call->busy || now_monotonic() >= call->deadline)
                finish_transport(call);
        else
                attempt(call);
        return 0;
}

static void wake_in(EtcdCall *call, Usec in) {
        if (!call->timer) {
                (void) sd_event_add_time_relative(call->client->event, &call->timer, CLOCK_MONOTONIC, in, 1,
                                                  on_timer, call);
                return;
        }
        (void) sd_event_source_set_time_relative(call->timer, in);
        (void) sd_event_source_set_enabled(call->timer, SD_EVENT_ONESHOT);
}

/* Every endpoint gets one chance at once; then there are pauses. */
static void again(EtcdCall *call) {
        Usec left = usec_sub(call->deadline, now_monotonic());
        call->attempts++;
        size_t n = call->pinned ? 1 : call->client->n_endpoints;
        Usec pause = call->attempts < n ? 0 : backoff(call->attempts - (unsigned) n);
        wake_in(call, MIN(pause, left));
}

static void on_message(GrpcCall *g, const void *p, size_t n, void *user) {
        EtcdCall *call = user;
        if (call->answered)
                return;
        call->answered = true;
        buf_add(&call->answer, p, n);
}

static void note_problem(EtcdCall *call, GrpcCode code, const char *message) {
        (void) snprintf(call->problem, sizeof(call->problem), "%s",
                        isempty(message) ? grpc_code_name(code) : message);
}

static void on_done(GrpcCall *g, GrpcCode code, const char *message, bool sent, void *user) {
        EtcdCall *call = user;
        EtcdClient *c = call->client;
        call->grpc = NULL;
        if (code == GRPC_OK) {
                client_success(c, call->endpoint);
                finish_answer(call);
                return;
        }
        bool leave;
        Verdict v = judge_failure(code, message, sent, &leave);
        note_problem(call, code, message);
        if (leave)
                client_failure(c, call->endpoint, call->problem);
        else
                client_success(c, call->endpoint);
        if (v == VERDICT_UNKNOWN)
                call->ever_sent = true;
        bool may = v == VERDICT_BEFORE || (v == VERDICT_UNKNOWN && call->kind == ETCD_CALL_READ);
        bool time_left = now_monotonic() < call->deadline;
        if (may && time_left && !(call->pinned && !sent)) {
                buf_clear(&call->answer);
                call->answered = false;
                again(call);
        } else if (v == VERDICT_FINAL || startswith(message, "etcdserver: ")) {
                finish(call, (EtcdResult){ .error = -EREMOTE,
                                           .code = code,
                                           .message = call->problem,
                                           .maybe = call->kind == ETCD_CALL_WRITE && v == VERDICT_UNKNOWN });
        } else {
                finish_transport(call);
        }
}

/* A read does not stay with a silent endpoint until its deadline while there are others. */
static Usec attempt_time(const EtcdCall *call, Usec left) {
        size_t n = call->client->n_endpoints;
        if (call->kind == ETCD_CALL_WRITE || call->pinned || n < 2)
                return left;
        return MIN(left, MAX(left / n, 1 * USEC_PER_SEC));
}

static void attempt(EtcdCall *call) {
        static const HttpHeader leader = { "hasleader", "true" };
        EtcdClient *c = call->client;
        Usec now = now_monotonic(), left = usec_sub(call->deadline, now);
        free(call->endpoint);
        call->endpoint = xstrdup(call->pinned ?: client_endpoint(c));
        GrpcCallConfig config = {
                .origin = call->endpoint,
                .method = call->method,
                .message = buf_str(&call->request),
                .message_size = call->request.len,
                .timeout = MAX(attempt_time(call, left), (Usec) 1000),
                .metadata = &leader,
                .n_metadata = c->require_leader && !call->pinned ? 1 : 0,
                .on_message = on_message,
                .on_done = on_done,
                .user = call,
        };
        _cleanup_(err_done) Err err = {};
        int r = grpc_call(c->http, &config, &call->grpc, &err);
        if (r < 0) {
                (void) snprintf(call->problem, sizeof(call->problem), "%s", err_msg(&err));
                wake_in(call, left);
        }
}

EtcdCall *etcd_unary(EtcdClient *c, const char *method, EtcdCallKind kind, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response, const EtcdOptions *options, EtcdDone done,
                     void *user) {
        assert(done && method);
        EtcdCall *call = xnew(EtcdCall, 1);
        *call = (EtcdCall){ .client = c,
                            .method = xstrdup(method),
                            .kind = kind,
                            .response = response,
                            .done = done,
                            .user = user };
        LIST_APPEND(&c->calls, call, link);
        c->n_calls++;
        Usec timeout = options && options->timeout ? options->timeout : c->timeout;
        call->deadline = usec_add(now_monotonic(), timeout);
        if (options && options->endpoint)
                call->pinned = strstr(options->endpoint, "://") ? xstrdup(options->endpoint)
                                                                : xasprintf("http://%s", options->endpoint);
        size_t n = protobuf_c_message_get_packed_size(request);
        buf_reserve(&call->request, n);
        call->request.len = protobuf_c_message_pack(request, (uint8_t *) call->request.data);
        assert(call->request.len == n);
        if (c->n_calls > ETCD_CLIENT_CALLS_MAX) {
                call->busy = true;
                (void) snprintf(call->problem, sizeof(call->problem), "too many requests at once");
                wake_in(call, 0);
        } else {
                attempt(call);
        }
        return call;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv2/apiv2.h"
#include "sys/clock.h"

#include <ctype.h>

#define KEYS_PREFIX "/v2/keys"
#define KEYS_ALLOW "HEAD,GET,PUT,POST,DELETE"
#define TTL_SEC_MAX ((uint64_t) INT64_MAX / 2000000000U) /* keeps expire_nsec in range */

/* One request that waits: for the log, for a read to be confirmed, or for events. */
typedef struct KeysCall {
        EtcdWait wait; /* first */
        HttpReq *q;
        EtcdServer *server;
        V2Params params;
        V2Watcher *watcher;
} KeysCall;

static void add_headers(const EtcdServer *s, HttpReq *q, uint64_t index, bool raft) {
        http_add_cluster_id(s, q);
        http_add_headerf(q, "X-Etcd-Index", "%" PRIu64, index);
        if (!raft)
                return;
        http_add_headerf(q, "X-Raft-Index", "%" PRIu64, raft_commit(replica_raft(s->replica)));
        http_add_headerf(q, "X-Raft-Term", "%" PRIu64, raft_term(replica_raft(s->replica)));
}

static void answer_error(EtcdServer *s, HttpReq *q, const V2Error *e) {
        _cleanup_(buf_done) Buf b = {};
        v2_error_json(e, &b);
        buf_addc(&b, '\n');
        add_headers(s, q, e->index, false);
        http_respond(q, v2_error_status(e->code), "application/json", b.data, b.len);
}

/* An error of the server itself: no leader, a timeout, too many requests. */
static void answer_failed(EtcdServer *s, HttpReq *q, int error) {
        V2Error e = { .code = 300, .cause = bytes_of(etcd_wait_error(s, error)), .index = v2_index(s->store) };
        answer_error(s, q, &e);
}

static void call_cancelled(HttpReq *q) {
        KeysCall *c = q->user;
        etcd_wait_cancel(&c->wait);
        c->watcher = v2_watch_free(c->watcher);
}

/* ---- writing ---- */

static void without_value(Buf *b, const V2Event *e) {
        buf_addf(b, "{\"action\":\"%s\"}", v2_action_name(e->action));
}

static void write_done(EtcdWait *w, int error, EtcdResult *res) {
        KeysCall *c = (KeysCall *) w;
        EtcdServer *s = c->server;
        HttpReq *q = c->q;
        if (error < 0 || !res) {
                answer_failed(s, q, error);
                return;
        }
        const ApplyResult *a = &res->apply;
        if (!a->v2_event) {
                V2Error e = a->v2_error;
                if (e.code == 0) /* the store refused the command as a whole */
                        e = (V2Error){ .code = 300, .cause = bytes_of(store_error_message(a->error)) };
                e.index = a->v2_index;
                answer_error(s, q, &e);
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        bool drop = c->params.no_value && c->params.write.method != V2_DELETE;
        if (drop)
                without_value(&b, a->v2_event);
        else
                v2_event_json(a->v2_event, &b);
        buf_addc(&b, '\n');
        add_headers(s, q, a->v2_index, true);
        http_respond(q, v2_event_status(a->v2_event), "application/json", b.data, b.len);
}

static void start_write(KeysCall *c) {
        V2Req *w = &c->params.write;
        w->wall_nsec = now_wall_nsec();
        if (c->params.has_ttl)
                w->expire_nsec = w->wall_nsec + (int64_t) MIN(c->params.ttl, TTL_SEC_MAX) * 1000000000;
        Command cmd = { .kind = CMD_V2, .v2 = *w };
        etcd_propose(c->server, &c->wait, &cmd, write_done);
}

/* ---- reading ---- */

static void answer_get(KeysCall *c) {
        EtcdServer *s = c->server;
        V2GetReq get = { .path = c->params.write.path,
                         .recursive = c->params.recursive,
                         .sorted = c->params.sorted,
                         .wall_nsec = now_wall_nsec() };
        V2View view;
        V2Error e = {};
        if (v2_get(s->store, &get, &c->q->arena, &view, &e) < 0) {
                answer_error(s, c->q, &e);
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        v2_get_json(&view, &b);
        buf_addc(&b, '\n');
        add_headers(s, c->q, v2_index(s->store), true);
        http_respond(c->q, 200, "application/json", b.data, b.len);
}

static void read_confirmed(EtcdWait *w, int error, EtcdResult *res) {
        KeysCall *c = (KeysCall *) w;
        if (error < 0)
                answer_failed(c->server, c->q, error);
        else
                answer_get(c);
}

/* ---- watching ---- */

static void deliver(KeysCall *c) {
        V2Event *e;
        while ((e = v2_watch_take(c->watcher))) {
                _cleanup_(buf_done) Buf b = {};
                v2_event_json(e, &b);
                buf_addc(&b, '\n');
                v2_event_unref(e);
                c->server->stats.watch_events++;
                int r = http_write(c->q, b.data, b.len);
                if (!c->params.stream || r < 0) {
                        c->watcher = v2_watch_free(c->watcher);
                        if (r < 0)
                                http_abort(c->q);
                        else
                                http_finish(c->q);
                        return;
                }
        }
        if (v2_watch_ended(c->watcher)) {
                c->watcher = v2_watch_free(c->watcher);
                http_finish(c->q);
        }
}

void apiv2_watch_deliver(V2Watcher *w) {
        deliver(v2_watch_user(w));
}

static void start_watch(KeysCall *c) {
        EtcdServer *s = c->server;
        V2WatchReq req = { .path = c->params.write.path,
                           .recursive = c->params.recursive,
                           .stream = c->params.stream,
                           .wait_index = c->params.wait_index,
                           .user = c };
        V2Error e = {};
        if (v2_watch(s->store, &req, &c->q->arena, &c->watcher, &e) < 0) {
                answer_error(s, c->q, &e);
                return;
        }
        add_headers(s, c->q, v2_watch_start_index(c->watcher), true);
        http_add_header(c->q, "Content-Type", "application/json");
        http_start(c->q, 200);
        deliver(c);
}

/* ---- the handler ---- */

static bool is_form(const HttpReq *q) {
        const char *type = http_header(q, "content-type");
        if (!type || (!streq(q->method, "PUT") && !streq(q->method, "POST")))
                return false;
        while (isspace((unsigned char) *type))
                type++;
        const char *want = "application/x-www-form-urlencoded";
        size_t n = strlen(want);
        return strncasecmp(type, want, n) == 0 && (type[n] == 0 || type[n] == ';' || type[n] == ' ');
}

static void run(HttpReq *q, void *user) {
        EtcdServer *s = user;
        KeysCall *c = arena_new(&q->arena, KeysCall, 1);
        *c = (KeysCall){ .q = q, .server = s };
        _cleanup_(buf_done) Buf clean = {};
        const char *rest = q->path + strlen(KEYS_PREFIX);
        v2_path_clean(bytes_of(*rest ? rest : "/"), &clean);
        char *path = arena_strdup(&q->arena, buf_str(&clean)), *cause = NULL;
        bool form = is_form(q);
        int code = v2_params_parse(q->method, path, q->query, form ? buf_str(&q->body) : "",
                                   form ? q->body.len : 0, &q->arena, &c->params, &cause);
        q->user = c;
        q->on_cancel = call_cancelled;
        if (code == 0 && clean.len > V2_PATH_MAX) {
                code = 210;
                cause = arena_strdup(&q->arena, "the path is too long");
        }
        if (code != 0)
                answer_error(s, q, &(V2Error){ .code = code, .cause = bytes_of(cause) });
        else if (!streq(q->method, "GET") && !streq(q->method, "HEAD"))
                start_write(c);
        else if (c->params.wait)
                start_watch(c);
        else if (c->params.quorum)
                etcd_read(s, &c->wait, read_confirmed);
        else
                answer_get(c);
}

void apiv2_keys(HttpReq *q, void *user) {
        static const char *const methods[] = { "HEAD", "GET", "PUT", "POST", "DELETE" };
        bool ok = false;
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                ok = ok || streq(q->method, methods[i]);
        if (!ok) {
                http_method_not_allowed(q, KEYS_ALLOW);
                return;
        }
        const char *length = http_header(q, "content-length");
        uint64_t n;
        if (length && is_form(q) && parse_u64(length, &n) >= 0 && n > ETCD_V2_BODY_MAX) {
                V2Error e = { .code = 210, .cause = bytes_of("http: POST too large") };
                answer_error(user, q, &e);
                return;
        }
        http_collect(q, ETCD_V2_BODY_MAX, run, user);
}

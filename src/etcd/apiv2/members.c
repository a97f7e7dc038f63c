/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "etcd/apiv2/apiv2.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdarg.h>
#include <stdlib.h>

#define MEMBERS_PATH "/v2/members"

typedef struct MemberCall {
        EtcdWait wait; /* first */
        HttpReq *q;
        EtcdServer *server;
        MemberChangeType type;
        uint64_t id;
        char *id_text; /* arena */
} MemberCall;

/* ---- answers that several handlers share ---- */

void http_go_error(HttpReq *q, int status, const char *text) {
        http_add_header(q, "X-Content-Type-Options", "nosniff");
        http_respondf(q, status, "%s\n", text);
}

void http_method_not_allowed(HttpReq *q, const char *allow) {
        if (allow)
                http_add_header(q, "Allow", allow);
        http_go_error(q, 405, "Method Not Allowed");
}

void http_message_error(HttpReq *q, int status, const char *fmt, ...) {
        va_list ap;
        char *text = NULL;
        va_start(ap, fmt);
        int n = vasprintf(&text, fmt, ap);
        va_end(ap);
        assert(n >= 0);
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kstr(&j, "message", text);
        jo_end(&j);
        free(text);
        http_respond(q, status, "application/json", b.data, b.len);
}

void http_add_cluster_id(const EtcdServer *s, HttpReq *q) {
        http_add_headerf(q, "X-Etcd-Cluster-Id", "%" PRIx64, s->cluster_id);
}

static void write_urls(JsonOut *j, const char *key, char *const *urls) {
        jo_key(j, key);
        jo_arr(j);
        STRV_FOREACH(i, urls)
                jo_str(j, *i);
        jo_end(j);
}

static void write_member(JsonOut *j, const Member *m) {
        char id[17];
        snprintf(id, sizeof(id), "%" PRIx64, m->id);
        jo_obj(j);
        jo_kstr(j, "id", id);
        jo_kstr(j, "name", m->name);
        write_urls(j, "peerURLs", m->peer_urls);
        write_urls(j, "clientURLs", m->client_urls);
        jo_end(j);
}

static void respond_json(HttpReq *q, int status, Buf *b) {
        buf_addc(b, '\n');
        http_respond(q, status, "application/json", b->data, b->len);
}

/* ---- reading ---- */

static void list_members(EtcdServer *s, HttpReq *q) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_key(&j, "members");
        jo_arr(&j);
        for (size_t i = 0; i < s->members.n; i++)
                write_member(&j, &s->members.list[i]);
        jo_end(&j);
        jo_end(&j);
        respond_json(q, 200, &b);
}

static void get_members(EtcdServer *s, HttpReq *q, const char *sub) {
        if (!*sub) {
                list_members(s, q);
                return;
        }
        if (!streq(sub, "leader")) {
                http_message_error(q, 404, "Not found");
                return;
        }
        const Member *leader = members_find(&s->members, etcd_leader(s));
        if (!leader) {
                http_message_error(q, 503, "During election");
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        write_member(&j, leader);
        respond_json(q, 200, &b);
}

void apiv2_peer_members(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (!streq(q->method, "GET")) {
                http_method_not_allowed(q, "GET");
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_arr(&j);
        for (size_t i = 0; i < s->members.n; i++) {
                const Member *m = &s->members.list[i];
                jo_obj(&j);
                jo_kuint(&j, "id", m->id);
                write_urls(&j, "peerURLs", m->peer_urls);
                if (m->learner)
                        jo_kbool(&j, "isLearner", true);
                if (*m->name)
                        jo_kstr(&j, "name", m->name);
                if (m->client_urls)
                        write_urls(&j, "clientURLs", m->client_urls);
                jo_end(&j);
        }
        jo_end(&j);
        http_add_cluster_id(s, q);
        respond_json(q, 200, &b);
}

/* ---- changing ---- */

static void cancelled(HttpReq *q) {
        MemberCall *c = q->user;
        etcd_wait_cancel(&c->wait);
}

static void answer_refused(MemberCall *c, MemberResult r) {
        switch (r) {
        case MEMBER_ID_EXISTS:
        case MEMBER_URL_EXISTS:
                http_message_error(c->q, 409, "%s", member_result_text(r));
                break;
        case MEMBER_REMOVED:
                http_message_error(c->q, 410, "Member permanently removed: %s", c->id_text);
                break;
        case MEMBER_NOT_FOUND:
                http_message_error(c->q, 404, "No such member: %s", c->id_text);
                break;
        case MEMBER_OK:
        case MEMBER_NOT_LEARNER:
        case MEMBER_TOO_MANY_LEARNERS:
        case MEMBER_NOT_ENOUGH_STARTED:
        case MEMBER_LEARNER_NOT_READY:
        case MEMBER_UNHEALTHY:
        case MEMBER_TOO_MANY:
        case _MEMBER_RESULT_MAX:
                http_message_error(c->q, 500, "%s", member_result_text(r));
                break;
        }
}

static void change_done(EtcdWait *w, int error, EtcdResult *res) {
        MemberCall *c = (MemberCall *) w;
        if (error < 0) {
                http_message_error(c->q, 500, "%s", etcd_wait_error(c->server, error));
                return;
        }
        if (res && res->member != MEMBER_OK) {
                answer_refused(c, res->member);
                return;
        }
        if (c->type != MEMBER_ADD) {
                http_respond(c->q, 204, NULL, NULL, 0);
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        const Member *m = members_find(&c->server->members, c->id);
        if (!m) {
                http_message_error(c->q, 500, "the new member has been removed again");
                return;
        }
        write_member(&j, m);
        respond_json(c->q, 201, &b);
}

static void start_change(MemberCall *c, char **urls) {
        EtcdServer *s = c->server;
        MemberChange change = { .type = c->type, .id = c->id, .peer_urls = urls };
        MemberResult r = members_check(&s->members, &change);
        if (r == MEMBER_OK && s->config->strict_reconfig)
                r = members_check_strict(&s->members, &change);
        if (r == MEMBER_OK && s->config->strict_reconfig && !etcd_healthy(s))
                r = MEMBER_UNHEALTHY;
        if (r != MEMBER_OK) {
                member_change_done(&change);
                answer_refused(c, r);
                return;
        }
        c->q->user = c;
        c->q->on_cancel = cancelled;
        etcd_change_member(s, &c->wait, &change, change_done);
}

/* The body {"peerURLs":[...]}, or an answer and NULL. */
static char **parse_body(HttpReq *q) {
        const char *type = http_header(q, "content-type");
        if (!type || !startswith(type, "application/json")) {
                http_message_error(q, 415, "Bad Content-Type %s, accept application/json", strempty(type));
                return NULL;
        }
        _cleanup_(err_done) Err err = {};
        _cleanup_json_ json_t *root = NULL;
        _cleanup_strv_ char **urls = NULL;
        if (ji_parse(buf_str(&q->body), q->body.len, 0, &root, &err) < 0) {
                http_message_error(q, 400, "%s", err_msg(&err));
                return NULL;
        }
        json_t *u;
        size_t i;
        json_array_foreach (ji_arr(root, "peerURLs"), i, u) {
                if (!json_is_string(u) || strv_len(urls) >= MEMBER_URLS_MAX) {
                        http_message_error(q, 400, "peerURLs must be at most %u strings", MEMBER_URLS_MAX);
                        return NULL;
                }
                strv_add(&urls, json_string_value(u));
        }
        if (etcd_urls_check(urls, &err) < 0) {
                http_message_error(q, 400, "%s", err_msg(&err));
                return NULL;
        }
        return TAKE_PTR(urls);
}

static void change_members(EtcdServer *s, HttpReq *q, const char *sub) {
        MemberCall *c = arena_new(&q->arena, MemberCall, 1);
        *c = (MemberCall){ .q = q, .server = s, .id_text = arena_strdup(&q->arena, sub) };
        char **urls = NULL;
        if (streq(q->method, "POST")) {
                c->type = MEMBER_ADD;
                urls = parse_body(q);
                if (!urls)
                        return;
                _cleanup_free_ char *time_text = xasprintf("%" PRId64, now_wall_nsec() / 1000000000);
                c->id = member_id_of(urls, s->config->initial_token, time_text);
        } else {
                if (parse_u64_base(sub, 16, &c->id) < 0 || c->id == 0) {
                        http_message_error(q, 404, "No such member: %s", sub);
                        return;
                }
                c->type = streq(q->method, "PUT") ? MEMBER_UPDATE : MEMBER_REMOVE;
                if (c->type == MEMBER_UPDATE && !(urls = parse_body(q)))
                        return;
        }
        start_change(c, urls);
}

void apiv2_members(HttpReq *q, void *user) {
        EtcdServer *s = user;
        http_add_cluster_id(s, q);
        const char *sub = q->path + strlen(MEMBERS_PATH);
        while (*sub == '/')
                sub++;
        if (streq(q->method, "GET"))
                get_members(s, q, sub);
        else if ((streq(q->method, "POST") && !*sub) ||
                 ((streq(q->method, "PUT") || streq(q->method, "DELETE")) && *sub))
                change_members(s, q, sub);
        else if (streq(q->method, "POST"))
                http_go_error(q, 404, "404 page not found");
        else if (streq(q->method, "PUT") || streq(q->method, "DELETE"))
                http_method_not_allowed(q, NULL);
        else
                http_method_not_allowed(q, "GET,POST,DELETE,PUT");
}

void apiv2_machines(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (!streq(q->method, "GET") && !streq(q->method, "HEAD")) {
                http_method_not_allowed(q, "GET,HEAD");
                return;
        }
        _cleanup_strv_ char **all = NULL;
        for (size_t i = 0; i < s->members.n; i++)
                STRV_FOREACH(u, s->members.list[i].client_urls)
                        strv_add(&all, *u);
        if (all)
                strv_sort(all);
        _cleanup_free_ char *text = strv_join(all, ", ");
        http_respondf(q, 200, "%s", text);
}

/* Users and roles are not built. Asking whether they are in force has a true answer; anything else would have to
 * pretend. */
void apiv2_auth(HttpReq *q, void *user) {
        EtcdServer *s = user;
        http_add_cluster_id(s, q);
        if (streq(q->path, "/v2/auth/enable") && streq(q->method, "GET")) {
                http_respond(q, 200, "application/json", "{\"enabled\":false}\n", 18);
                return;
        }
        http_message_error(q, 501, "auth: users and roles are not built into this etcd; restrict access with "
                                   "--client-cert-auth");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv2/apiv2.h"
#include "etcd/apiv3/apiv3.h"
#include "http/client.h"
#include "sys/clock.h"

#include <stdio.h>

#define LEARNER_READY_PERCENT 90U /* of the leader's log, as etcd */

typedef struct MemberState {
        MemberChangeType type;
        uint64_t id;
} MemberState;

static GrpcCode result_code(MemberResult r) {
        switch (r) {
        case MEMBER_NOT_FOUND:
        case MEMBER_REMOVED:
                return GRPC_NOT_FOUND;
        case MEMBER_UNHEALTHY:
                return GRPC_UNAVAILABLE;
        case MEMBER_OK:
        case MEMBER_ID_EXISTS:
        case MEMBER_URL_EXISTS:
        case MEMBER_NOT_LEARNER:
        case MEMBER_TOO_MANY_LEARNERS:
        case MEMBER_NOT_ENOUGH_STARTED:
        case MEMBER_LEARNER_NOT_READY:
        case MEMBER_TOO_MANY:
        case _MEMBER_RESULT_MAX:
                break;
        }
        return GRPC_FAILED_PRECONDITION;
}

static void answer_members(V3Call *c, const Member *added) {
        EtcdServer *s = c->server;
        _cleanup_(buf_done) Buf b = {};
        v3_pack_header(s, 0, &b); /* no revision: members are no keys */
        if (added) {
                size_t at = pb_begin(&b, 2);
                pb_uint(&b, 1, added->id);
                STRV_FOREACH(u, added->peer_urls)
                        pb_text(&b, 3, *u);
                pb_uint(&b, 5, added->learner);
                pb_end(&b, at);
        }
        v3_pack_members(s, added ? 3 : 2, &b);
        v3_reply(c, &b);
}

static void changed(EtcdWait *w, int error, EtcdResult *res) {
        V3Call *c = (V3Call *) w;
        MemberState *st = c->state;
        if (error < 0)
                v3_fail_wait(c, error);
        else if (res && res->member != MEMBER_OK)
                v3_fail(c, result_code(res->member), member_result_text(res->member));
        else {
                bool add = st->type == MEMBER_ADD || st->type == MEMBER_ADD_LEARNER;
                answer_members(c, add ? members_find(&c->server->members, st->id) : NULL);
        }
}

/* Only the leader knows how far a learner has come. */
static MemberResult learner_ready(const EtcdServer *s, uint64_t id) {
        RaftStatus st;
        raft_status(replica_raft(s->replica), &st);
        for (size_t i = 0; i < st.n_peers; i++)
                if (st.peers[i].id == id && st.peers[i].match * 100 >= st.last_index * LEARNER_READY_PERCENT)
                        return MEMBER_OK;
        return MEMBER_LEARNER_NOT_READY;
}

/* ---- a promotion that has to be asked of the leader, by POST /members/promote/ID on its peer port; the answer is 200
 * or "CODE text" ---- */

static void promote_ok(V3Call *c, const void *p, size_t n) {
        http_respondf(c->q, 200, "ok\n");
}

static void promote_failed(V3Call *c, GrpcCode code, const char *message) {
        http_respondf(c->q, 412, "%u %s\n", code, message);
}

static const V3Wire promote_wire = { .reply = promote_ok, .fail = promote_failed };

static void promotion_answered(HttpCall *call, int r, void *user) {
        V3Call *c = user;
        c->state = NULL;
        c->forwarded = false;
        char *text = call->body.data;
        unsigned code = GRPC_UNAVAILABLE;
        int used = 0;
        if (r >= 0 && call->status == 200) {
                answer_members(c, NULL);
                return;
        }
        if (r >= 0 && text && sscanf(text, "%u %n", &code, &used) == 1 && used > 0 && code < _GRPC_CODE_MAX)
                v3_fail(c, (GrpcCode) code, strstrip(text + used));
        else
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: leader changed");
}

static void forward_promotion(V3Call *c, uint64_t id) {
        EtcdServer *s = c->server;
        const Member *leader = members_find(&s->members, etcd_leader(s));
        if (!leader || !leader->peer_urls || c->wire == &promote_wire) {
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: no leader");
                return;
        }
        _cleanup_free_ char *url = xasprintf("%s/members/promote/%" PRIx64, leader->peer_urls[0], id);
        HttpCallConfig config = { .method = "POST",
                                  .url = url,
                                  .timeout = etcd_request_timeout(s),
                                  .on_done = promotion_answered,
                                  .user = c };
        HttpCall *call = NULL;
        if (http_call(peers_client(s->peers), &config, &call, NULL) < 0)
                v3_fail(c, GRPC_UNAVAILABLE, "etcdserver: no leader");
        else {
                c->state = call;
                c->forwarded = true;
        }
}

void v3_promote_cancel(V3Call *c) {
        if (c->forwarded)
                (void) http_call_cancel(c->state);
        c->forwarded = false;
}

static void change(V3Call *c, MemberChange *ch) {
        EtcdServer *s = c->server;
        MemberResult r = members_check(&s->members, ch);
        if (r == MEMBER_OK && s->config->strict_reconfig)
                r = members_check_strict(&s->members, ch);
        if (r == MEMBER_OK && s->config->strict_reconfig && ch->type != MEMBER_UPDATE && !etcd_healthy(s))
                r = MEMBER_UNHEALTHY;
        if (r == MEMBER_OK && ch->type == MEMBER_PROMOTE) {
                if (!etcd_is_leader(s)) {
                        forward_promotion(c, ch->id);
                        member_change_done(ch);
                        return;
                }
                r = learner_ready(s, ch->id);
        }
        if (r != MEMBER_OK) {
                member_change_done(ch);
                v3_fail(c, result_code(r), member_result_text(r));
                return;
        }
        MemberState *st = arena_new(&c->q->arena, MemberState, 1);
        *st = (MemberState){ .type = ch->type, .id = ch->id };
        c->state = st;
        etcd_change_member(s, &c->wait, ch, changed);
}

/* A checked, sorted copy, or NULL after the call was failed. */
static char **take_urls(V3Call *c, char **urls, size_t n) {
        _cleanup_strv_ char **l = NULL;
        for (size_t i = 0; i < MIN(n, (size_t) MEMBER_URLS_MAX + 1); i++)
                strv_add(&l, urls[i]);
        if (n > MEMBER_URLS_MAX || etcd_urls_check(l, NULL) < 0) {
                v3_fail(c, GRPC_INVALID_ARGUMENT, "etcdserver: given member URLs are invalid");
                return NULL;
        }
        return TAKE_PTR(l);
}

void v3_member_add(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__MemberAddRequest *m = v3_unpack(c, &etcdserverpb__member_add_request__descriptor, p, n);
        char **urls = m ? take_urls(c, m->peerurls, m->n_peerurls) : NULL;
        if (!urls)
                return;
        _cleanup_free_ char *now = xasprintf("%" PRId64, now_wall_nsec() / 1000000000);
        MemberChange ch = { .type = m->islearner ? MEMBER_ADD_LEARNER : MEMBER_ADD,
                            .id = member_id_of(urls, "", now),
                            .peer_urls = urls };
        change(c, &ch);
}

void v3_member_remove(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__MemberRemoveRequest *m =
                        v3_unpack(c, &etcdserverpb__member_remove_request__descriptor, p, n);
        if (!m)
                return;
        MemberChange ch = { .type = MEMBER_REMOVE, .id = m->id };
        change(c, &ch);
}

void v3_member_update(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__MemberUpdateRequest *m =
                        v3_unpack(c, &etcdserverpb__member_update_request__descriptor, p, n);
        char **urls = m ? take_urls(c, m->peerurls, m->n_peerurls) : NULL;
        if (!urls)
                return;
        MemberChange ch = { .type = MEMBER_UPDATE, .id = m->id, .peer_urls = urls };
        change(c, &ch);
}

void v3_member_promote(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__MemberPromoteRequest *m =
                        v3_unpack(c, &etcdserverpb__member_promote_request__descriptor, p, n);
        if (!m)
                return;
        MemberChange ch = { .type = MEMBER_PROMOTE, .id = m->id };
        change(c, &ch);
}

void apiv3_peer_promote(HttpReq *q, void *user) {
        static const V3Method method = { .path = "/members/promote", .run = v3_member_promote };
        const char *id = strrchr(q->path, '/') + 1;
        uint64_t n;
        if (!streq(q->method, "POST") || parse_u64_base(id, 16, &n) < 0) {
                http_go_error(q, 400, "usage: POST /members/promote/ID");
                return;
        }
        V3Call *c = v3_call_new(q, user, &method, &promote_wire);
        if (!c)
                return;
        MemberChange ch = { .type = MEMBER_PROMOTE, .id = n };
        change(c, &ch);
}

static void list_confirmed(EtcdWait *w, int error, EtcdResult *res) {
        V3Call *c = (V3Call *) w;
        if (error < 0)
                v3_fail_wait(c, error);
        else
                answer_members(c, NULL);
}

void v3_member_list(V3Call *c, const void *p, size_t n) {
        const Etcdserverpb__MemberListRequest *m =
                        v3_unpack(c, &etcdserverpb__member_list_request__descriptor, p, n);
        if (!m)
                return;
        if (m->linearizable)
                v3_read_then(c, list_confirmed);
        else
                answer_members(c, NULL);
}

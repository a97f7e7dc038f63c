/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv3/apiv3.h"
#include "sys/clock.h"

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

static void change(V3Call *c, MemberChange *ch) {
        EtcdServer *s = c->server;
        MemberResult r = members_check(&s->members, ch);
        if (r == MEMBER_OK && s->config->strict_reconfig)
                r = members_check_strict(&s->members, ch);
        if (r == MEMBER_OK && s->config->strict_reconfig && ch->type != MEMBER_UPDATE && !etcd_healthy(s))
                r = MEMBER_UNHEALTHY;
        if (r == MEMBER_OK && ch->type == MEMBER_PROMOTE) {
                if (!etcd_is_leader(s)) {
                        member_change_done(ch);
                        v3_fail(c, GRPC_FAILED_PRECONDITION, "etcdserver: not leader");
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

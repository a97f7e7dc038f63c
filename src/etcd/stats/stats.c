/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/stats/stats.h"
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonout.h"
#include "etcd/apiv2/apiv2.h"
#include "etcd/server.h"
#include "sys/clock.h"

#include <stdio.h>

static bool only_get(HttpReq *q) {
        if (streq(q->method, "GET"))
                return true;
        http_method_not_allowed(q, "GET");
        return false;
}

void etcd_serve_version(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (!only_get(q))
                return;
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kstr(&j, "etcdserver", ETCD_VERSION);
        jo_kstr(&j, "etcdcluster", s->members.version ?: "not_decided");
        jo_end(&j);
        http_respond(q, 200, "application/json", b.data, b.len);
}

/* ---- /health: healthy means that a write could be committed, shown by confirming the leader ---- */

typedef struct HealthCall {
        EtcdWait wait; /* first */
        HttpReq *q;
} HealthCall;

static void answer_health(HttpReq *q, bool healthy) {
        http_respondf(q, healthy ? 200 : 503, "{\"health\":\"%s\"}", healthy ? "true" : "false");
}

static void health_known(EtcdWait *w, int error, EtcdResult *res) {
        HealthCall *c = (HealthCall *) w;
        answer_health(c->q, error >= 0);
}

static void health_cancelled(HttpReq *q) {
        HealthCall *c = q->user;
        etcd_wait_cancel(&c->wait);
}

void etcd_serve_health(HttpReq *q, void *user) {
        EtcdServer *s = user;
        size_t n_alarms;
        if (!only_get(q))
                return;
        (void) store_alarms(s->store, &n_alarms);
        if (n_alarms > 0 || etcd_leader(s) == 0) {
                answer_health(q, false);
                return;
        }
        HealthCall *c = arena_new(&q->arena, HealthCall, 1);
        *c = (HealthCall){ .q = q };
        q->user = c;
        q->on_cancel = health_cancelled;
        etcd_read(s, &c->wait, health_known);
}

/* ---- /v2/stats ---- */

static void format_uptime(char *buf, size_t size, Usec usec) {
        Usec sec = usec / USEC_PER_SEC;
        double rest = (double) (usec % (60 * USEC_PER_SEC)) / 1e6;
        if (sec >= 3600)
                snprintf(buf, size, "%" PRIu64 "h%" PRIu64 "m%.9gs", sec / 3600, sec / 60 % 60, rest);
        else if (sec >= 60)
                snprintf(buf, size, "%" PRIu64 "m%.9gs", sec / 60, rest);
        else
                snprintf(buf, size, "%.9gs", rest);
}

void etcd_serve_stats_self(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (!only_get(q))
                return;
        static const char *const states[_RAFT_ROLE_MAX] = { [RAFT_FOLLOWER] = "StateFollower",
                                                            [RAFT_PRE_CANDIDATE] = "StatePreCandidate",
                                                            [RAFT_CANDIDATE] = "StateCandidate",
                                                            [RAFT_LEADER] = "StateLeader" };
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        char text[64];
        Usec up = usec_sub(now_monotonic(), s->leader_since);
        jo_obj(&j);
        jo_kstr(&j, "name", s->config->name);
        snprintf(text, sizeof(text), "%" PRIx64, s->id);
        jo_kstr(&j, "id", text);
        jo_kstr(&j, "state", states[raft_role(replica_raft(s->replica))]);
        jo_kstr(&j, "startTime", format_rfc3339(text, s->started_nsec, 9, true));
        jo_key(&j, "leaderInfo");
        jo_obj(&j);
        snprintf(text, sizeof(text), "%" PRIx64, etcd_leader(s));
        jo_kstr(&j, "leader", etcd_leader(s) ? text : "");
        format_uptime(text, sizeof(text), up);
        jo_kstr(&j, "uptime", text);
        jo_kstr(&j, "startTime", format_rfc3339(text, now_wall_nsec() - (int64_t) up * 1000, 9, true));
        jo_end(&j);
        jo_kuint(&j, "recvAppendRequestCnt", s->stats.recv_append);
        jo_kuint(&j, "sendAppendRequestCnt", s->stats.send_append);
        jo_end(&j);
        buf_addc(&b, '\n');
        http_respond(q, 200, "application/json", b.data, b.len);
}

static void write_follower(JsonOut *j, const EtcdServer *s, uint64_t id) {
        PeerInfo p = {};
        char text[24];
        (void) peers_info(s->peers, id, &p);
        snprintf(text, sizeof(text), "%" PRIx64, id);
        jo_key(j, text);
        jo_obj(j);
        jo_key(j, "latency");
        jo_obj(j);
        static const char *const names[] = { "current", "average", "standardDeviation", "minimum", "maximum" };
        const double values[] = { p.latency_ms, p.latency_ms_mean, 0, p.latency_ms_min, p.latency_ms_max };
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                jo_key(j, names[i]);
                jo_double(j, values[i]);
        }
        jo_end(j);
        jo_key(j, "counts");
        jo_obj(j);
        jo_kuint(j, "fail", p.sent_fail);
        jo_kuint(j, "success", p.sent_ok);
        jo_end(j);
        jo_end(j);
}

void etcd_serve_stats_leader(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (!only_get(q))
                return;
        if (!etcd_is_leader(s)) {
                http_message_error(q, 403, "not current leader");
                return;
        }
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        char text[24];
        snprintf(text, sizeof(text), "%" PRIx64, s->id);
        jo_obj(&j);
        jo_kstr(&j, "leader", text);
        jo_key(&j, "followers");
        jo_obj(&j);
        for (size_t i = 0; i < s->members.n; i++)
                if (s->members.list[i].id != s->id)
                        write_follower(&j, s, s->members.list[i].id);
        jo_end(&j);
        jo_end(&j);
        http_respond(q, 200, "application/json", b.data, b.len);
}

void etcd_serve_stats_store(HttpReq *q, void *user) {
        EtcdServer *s = user;
        if (!only_get(q))
                return;
        V2Stats stats;
        _cleanup_(buf_done) Buf b = {};
        v2_stats(s->store, &stats);
        v2_stats_json(&stats, &b);
        http_respond(q, 200, "application/json", b.data, b.len);
}

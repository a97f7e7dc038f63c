/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/server.h"
#include "base/alloc.h"
#include "http/tls.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdlib.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#define ALARM_NOSPACE 1U

/* An event that came up while replica_step() was being carried out: its actions are borrowed, so it waits. */
struct EtcdDeferred {
        ReplicaEvent ev;
        Buf data;           /* of a proposal */
        RaftConfChange conf; /* of a membership change; its context is in `data` */
};

/* ---- carrying out what the replica says ---- */

void etcd_fail(EtcdServer *s, const char *why) {
        if (s->failed)
                return;
        s->failed = true;
        log_error("%s; stopping at once, because nothing may be acknowledged any more", why);
        (void) sd_event_exit(s->event, 1);
}

static void finish_wait(EtcdServer *s, const ReplicaDone *d) {
        EtcdWait *w = map_delu(&s->waits, d->id);
        EtcdResult *result = d->result;
        if (!w)
                return;
        w->id = 0;
        if (d->error < 0)
                s->stats.proposals_failed++;
        w->done(w, d->error, result);
}

static void free_result(EtcdServer *s, EtcdResult *r) {
        if (!r)
                return;
        apply_result_done(&r->apply);
        buf_done(&r->body);
        free(r);
}

static void persist(EtcdServer *s, const RaftPersist *p) {
        Buf b = {};
        wal_batch_persist(&b, p);
        wal_thread_submit(s->wal, &b, p->seq, p->must_sync, false);
        buf_done(&b);
}

static void leader_changed(EtcdServer *s) {
        uint64_t leader = etcd_leader(s);
        if (leader == s->leader)
                return;
        s->leader_lost = leader ? 0 : now_monotonic();
        if (leader) {
                s->stats.leader_changes++;
                s->leader_since = now_monotonic();
                log_info("raft: %" PRIx64 " elected leader %" PRIx64 " at term %" PRIu64, s->id, leader,
                         raft_term(replica_raft(s->replica)));
        } else
                log_info("raft: %" PRIx64 " lost leader %" PRIx64, s->id, s->leader);
        s->leader = leader;
}

/* The log is told of the snapshot, and what recovery needs no more goes: segments of the log once the mark is
 * durable, hence older snapshot files only as far as the log had forgotten them before. */
static void mark_snapshot(EtcdServer *s, const RaftSnapMeta *meta) {
        _cleanup_(err_done) Err err = {};
        Buf b = {};
        wal_batch_snapshot(&b, meta->index, meta->term);
        wal_thread_submit(s->wal, &b, 0, true, true);
        buf_done(&b);
        uint64_t oldest = wal_thread_oldest_mark(s->wal);
        if (oldest && snap_purge(s->disk, oldest, &err) < 0)
                log_warning("cannot remove old snapshots: %s", err_msg(&err));
}

static void act(EtcdServer *s, const ReplicaActions *a) {
        if (a->persist)
                persist(s, a->persist);
        for (size_t i = 0; i < a->n_messages; i++) {
                if (a->messages[i].type == RAFT_MSG_APP)
                        s->stats.send_append++;
                peers_send(s->peers, &a->messages[i]);
        }
        for (size_t i = 0; i < a->n_snapshot_sends; i++)
                peers_send_snapshot(s->peers, &a->snapshot_sends[i]);
        if (a->restore) {
                _cleanup_(err_done) Err err = {};
                if (etcd_restore(s, a->restore, &err) < 0)
                        etcd_fail(s, err_msg(&err));
        }
        if (a->mark)
                mark_snapshot(s, a->mark);
        if (a->snapshot)
                snap_saver_start(s->saver, a->snapshot, a->snapshot_view);
        for (size_t i = 0; i < a->n_done; i++) {
                if (!s->failed) /* a snapshot that could not be loaded: the state is not what the replica believes */
                        finish_wait(s, &a->done[i]);
                free_result(s, a->done[i].result);
        }
        if (a->state_changed) {
                leader_changed(s);
                etcd_housekeeping_state(s);
        }
}

static void step_once(EtcdServer *s, const ReplicaEvent *ev) {
        ReplicaActions a;
        s->stepping = true;
        replica_step(s->replica, ev, &a);
        act(s, &a);
        while (a.more && !s->failed) {
                replica_step(s->replica, NULL, &a);
                act(s, &a);
        }
        s->stepping = false;
}

static void defer(EtcdServer *s, const ReplicaEvent *ev) {
        GROW(s->deferred, s->cap_deferred, s->n_deferred + 1);
        struct EtcdDeferred *d = &s->deferred[s->n_deferred++];
        *d = (struct EtcdDeferred){ .ev = *ev };
        if (ev->type == REPLICA_EV_PROPOSE)
                buf_add(&d->data, ev->request.data, ev->request.len);
        else if (ev->type == REPLICA_EV_CONF_CHANGE) {
                d->conf = *ev->request.conf;
                buf_add(&d->data, d->conf.context, d->conf.context_len);
        } else
                assert(ev->type == REPLICA_EV_READ || ev->type == REPLICA_EV_CANCEL ||
                       ev->type == REPLICA_EV_UNREACHABLE || ev->type == REPLICA_EV_SNAPSHOT_SENT ||
                       ev->type == REPLICA_EV_TRANSFER);
}

static void run_deferred(EtcdServer *s) {
        for (size_t i = 0; i < s->n_deferred; i++) {
                struct EtcdDeferred d = s->deferred[i]; /* the array may grow meanwhile */
                if (d.ev.type == REPLICA_EV_PROPOSE)
                        d.ev.request.data = d.data.data;
                else if (d.ev.type == REPLICA_EV_CONF_CHANGE) {
                        d.conf.context = d.data.data;
                        d.ev.request.conf = &d.conf;
                }
                if (!s->failed)
                        step_once(s, &d.ev);
                buf_done(&d.data);
        }
        s->n_deferred = 0;
}

/* ---- the clock of the replica ---- */

static void arm(EtcdServer *s) {
        Usec deadline = replica_deadline(s->replica);
        if (deadline <= now_monotonic()) {
                if (!s->soon_on)
                        (void) sd_event_source_set_enabled(s->soon, SD_EVENT_ONESHOT);
                s->soon_on = true;
                return;
        }
        (void) sd_event_source_set_time(s->timer, deadline);
        (void) sd_event_source_set_enabled(s->timer,
                                           deadline == USEC_NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

void etcd_step(EtcdServer *s, const ReplicaEvent *ev) {
        if (s->failed)
                return;
        if (s->stepping) {
                defer(s, ev);
                return;
        }
        step_once(s, ev);
        run_deferred(s);
        if (s->failed)
                return;
        etcd_deliver_watches(s);
        run_deferred(s);
        etcd_housekeeping_rearm(s);
        arm(s);
}

static int tick(EtcdServer *s) {
        if (!s->failed)
                run_deferred(s);
        etcd_step(s, &(ReplicaEvent){ .type = REPLICA_EV_TICK, .now = now_monotonic() });
        return 0;
}

static int on_timer(sd_event_source *src, uint64_t usec, void *user) {
        return tick(user);
}

static int on_soon(sd_event_source *src, void *user) {
        EtcdServer *s = user;
        s->soon_on = false;
        return tick(s);
}

static int on_wal(sd_event_source *src, int fd, uint32_t events, void *user) {
        EtcdServer *s = user;
        _cleanup_(err_done) Err err = {};
        uint64_t seq = 0;
        int r = wal_thread_completed(s->wal, &seq, &err);
        Usec now = now_monotonic();
        if (r < 0) {
                etcd_step(s, &(ReplicaEvent){ .type = REPLICA_EV_STORAGE_FAILED, .now = now });
                _cleanup_free_ char *why =
                                xasprintf("the log cannot be written: %s%s", err_msg(&err),
                                          r == -ENOSPC ? " (free some space on its disk and start again)" : "");
                etcd_fail(s, why);
                return 0;
        }
        if (seq > 0)
                etcd_step(s, &(ReplicaEvent){ .type = REPLICA_EV_PERSISTED, .now = now, .seq = seq });
        return 0;
}

/* ---- requests ---- */

static uint64_t begin_wait(EtcdServer *s, EtcdWait *w, EtcdDone done) {
        assert(w->id == 0);
        uint64_t id = ++s->next_id ?: ++s->next_id;
        w->server = s;
        w->id = id;
        w->done = done;
        (void) map_putu(&s->waits, id, w);
        return id;
}

static ReplicaEvent request_event(EtcdServer *s, ReplicaEventType type, uint64_t id) {
        Usec now = now_monotonic();
        return (ReplicaEvent){ .type = type,
                               .now = now,
                               .request = { .id = id, .deadline = now + etcd_request_timeout(s) } };
}

/* Answers of the replica may come within the very step that began the wait; its users were promised that
 * done() never runs inside their call, so the events of requests always take the road over the queue. */
static void queue_request(EtcdServer *s, const ReplicaEvent *ev) {
        defer(s, ev);
        if (!s->stepping && !s->soon_on) {
                (void) sd_event_source_set_enabled(s->soon, SD_EVENT_ONESHOT);
                s->soon_on = true;
        }
}

void etcd_propose(EtcdServer *s, EtcdWait *w, Command *cmd, EtcdDone done) {
        uint64_t id = begin_wait(s, w, done);
        cmd->proposer = s->id;
        if (cmd->kind != CMD_LEASE_EXPIRE && cmd->kind != CMD_V2_SYNC)
                cmd->seq = id;
        Buf b = {};
        cmd_encode(cmd, &b);
        ReplicaEvent ev = request_event(s, REPLICA_EV_PROPOSE, id);
        ev.request.data = b.data;
        ev.request.len = b.len;
        s->stats.proposals_sent++;
        queue_request(s, &ev);
        buf_done(&b);
}

void etcd_read(EtcdServer *s, EtcdWait *w, EtcdDone done) {
        ReplicaEvent ev = request_event(s, REPLICA_EV_READ, begin_wait(s, w, done));
        s->stats.reads++;
        queue_request(s, &ev);
}

void etcd_change_member(EtcdServer *s, EtcdWait *w, MemberChange *change, EtcdDone done) {
        static const RaftConfChangeType types[_MEMBER_CHANGE_MAX] = {
                [MEMBER_ADD] = RAFT_CONF_ADD_VOTER,     [MEMBER_ADD_LEARNER] = RAFT_CONF_ADD_LEARNER,
                [MEMBER_PROMOTE] = RAFT_CONF_ADD_VOTER, [MEMBER_REMOVE] = RAFT_CONF_REMOVE,
                [MEMBER_UPDATE] = RAFT_CONF_UPDATE,
        };
        uint64_t id = begin_wait(s, w, done);
        Buf b = {};
        member_change_encode(change, &b);
        RaftConfChange conf = {
                .type = types[change->type], .id = change->id, .context = b.data, .context_len = b.len
        };
        ReplicaEvent ev = request_event(s, REPLICA_EV_CONF_CHANGE, id);
        ev.request.conf = &conf;
        queue_request(s, &ev);
        buf_done(&b);
        member_change_done(change);
}

void etcd_wait_cancel(EtcdWait *w) {
        if (w->id == 0)
                return;
        EtcdServer *s = w->server;
        (void) map_delu(&s->waits, w->id);
        ReplicaEvent ev = { .type = REPLICA_EV_CANCEL, .now = now_monotonic(), .request = { .id = w->id } };
        w->id = 0;
        if (s->replica && !s->failed)
                queue_request(s, &ev);
}

void etcd_transfer_leader(EtcdServer *s, uint64_t to) {
        ReplicaEvent ev = { .type = REPLICA_EV_TRANSFER, .now = now_monotonic(), .peer = to };
        queue_request(s, &ev);
}

const char *etcd_wait_error(const EtcdServer *s, int error) {
        switch (error) {
        case -EBUSY:
                return "etcdserver: too many requests";
        case -ETIMEDOUT: {
                Usec timeout = etcd_request_timeout(s);
                if (s->leader && usec_sub(now_monotonic(), s->leader_since) < timeout)
                        return "etcdserver: request timed out, possibly due to previous leader failure";
                return "etcdserver: request timed out";
        }
        case -EIO:
                return "etcdserver: server stopped";
        case -EALREADY:
                return "etcdserver: another membership change is in progress";
        case -EINVAL:
                return "etcdserver: request is too large";
        default:
                return "etcdserver: request failed";
        }
}

bool etcd_healthy(const EtcdServer *s) {
        if (etcd_leader(s) == 0)
                return false;
        if (!etcd_is_leader(s))
                return true;
        RaftStatus st;
        raft_status(replica_raft(s->replica), &st);
        size_t active = 1, voters = 1;
        for (size_t i = 0; i < st.n_peers; i++) {
                active += !st.peers[i].learner && st.peers[i].active;
                voters += !st.peers[i].learner;
        }
        return active > voters / 2;
}

uint64_t etcd_quota(const EtcdServer *s) {
        return s->config->quota_bytes ?: ETCD_QUOTA_DEFAULT;
}

static bool alarm_is_on(const EtcdServer *s, uint32_t alarm) {
        size_t n;
        const StoreAlarm *a = store_alarms(s->store, &n);
        for (size_t i = 0; i < n; i++)
                if (a[i].alarm == alarm)
                        return true;
        return false;
}

static void alarm_raised(EtcdWait *w, int error, EtcdResult *res) {
        log_warning("the store has passed its quota of %" PRIu64 " bytes: puts are refused until keys were compacted "
                    "away and the alarm was disarmed",
                    etcd_quota(w->server));
}

bool etcd_no_space(EtcdServer *s, size_t more) {
        bool on = alarm_is_on(s, ALARM_NOSPACE);
        if (on || store_bytes(s->store) + more <= etcd_quota(s))
                return on;
        if (!s->alarm_wait.id) {
                Command cmd = { .kind = CMD_ALARM,
                                .alarm = { .member = s->id, .alarm = ALARM_NOSPACE, .activate = true } };
                etcd_propose(s, &s->alarm_wait, &cmd, alarm_raised);
        }
        return true;
}

/* ---- peers ---- */

static void on_peer_message(void *user, const RaftMsg *m) {
        EtcdServer *s = user;
        if (m->type == RAFT_MSG_APP)
                s->stats.recv_append++;
        etcd_step(s, &(ReplicaEvent){ .type = REPLICA_EV_RECEIVE, .now = now_monotonic(), .msg = m });
}

static bool on_wants_snapshot(void *user, const RaftMsg *head) {
        EtcdServer *s = user;
        return raft_wants_snapshot(replica_raft(s->replica), head);
}

static void on_snapshot_sent(void *user, uint64_t peer, uint64_t index, bool ok) {
        EtcdServer *s = user;
        ReplicaEvent ev = { .type = REPLICA_EV_SNAPSHOT_SENT,
                            .now = now_monotonic(),
                            .sent = { .peer = peer, .index = index, .ok = ok } };
        etcd_step(s, &ev);
}

static void on_unreachable(void *user, uint64_t peer) {
        etcd_step(user, &(ReplicaEvent){ .type = REPLICA_EV_UNREACHABLE, .now = now_monotonic(), .peer = peer });
}

static void on_removed(void *user) {
        EtcdServer *s = user;
        if (s->removed)
                return;
        s->removed = true;
        log_error("the member has been permanently removed from the cluster; "
                  "the data-dir used by this member must be removed before it may join again: %s",
                  s->config->data_dir);
        etcd_server_stop(s, 1);
}

static bool was_removed(void *user, uint64_t id) {
        EtcdServer *s = user;
        return members_was_removed(&s->members, id);
}

void etcd_peers_changed(EtcdServer *s) {
        peers_update(s->peers, &s->members, s->members.n == 0 ? &s->boot_peers : NULL);
        if (members_was_removed(&s->members, s->id))
                on_removed(s);
}

static int start_peers(EtcdServer *s, Err *err) {
        PeersConfig c = { .event = s->event,
                          .id = s->id,
                          .cluster_id = s->cluster_id,
                          .tls = s->peer_client_tls,
                          .disk = s->disk,
                          .user = s,
                          .on_message = on_peer_message,
                          .wants_snapshot = on_wants_snapshot,
                          .on_snapshot = on_peer_message,
                          .on_snapshot_sent = on_snapshot_sent,
                          .on_unreachable = on_unreachable,
                          .on_removed = on_removed,
                          .was_removed = was_removed };
        int r = peers_new(&c, &s->peers, err);
        if (r >= 0)
                etcd_peers_changed(s);
        return r;
}

/* ---- snapshots ---- */

static void on_snapshot_saved(void *user, uint64_t index, uint64_t term, int r, const char *error) {
        EtcdServer *s = user;
        if (r < 0)
                log_error("snapshot at index %" PRIu64 " was not saved: %s", index, error);
        else {
                s->stats.snapshots++;
                log_info("saved snapshot at index %" PRIu64, index);
        }
        ReplicaEvent ev = { .type = REPLICA_EV_SNAPSHOT_SAVED,
                            .now = now_monotonic(),
                            .saved = { .index = index, .ok = r >= 0 } };
        etcd_step(s, &ev);
}

/* ---- life ---- */

static int on_signal(sd_event_source *src, const struct signalfd_siginfo *si, void *user) {
        EtcdServer *s = user;
        log_notice("received signal; shutting down...");
        etcd_server_stop(s, 0);
        return 0;
}

static int start_sources(EtcdServer *s) {
        assert(s->wal);
        int r = sd_event_add_time(s->event, &s->timer, CLOCK_MONOTONIC, 0, 1, on_timer, s);
        if (r >= 0)
                r = sd_event_add_defer(s->event, &s->soon, on_soon, s);
        s->soon_on = true;
        if (r >= 0)
                r = sd_event_add_io(s->event, &s->wal_io, wal_thread_fd(s->wal), EPOLLIN, on_wal, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, &s->sigterm, SIGTERM, on_signal, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, &s->sigint, SIGINT, on_signal, s);
        return r;
}

int etcd_server_start(EtcdConfig *config, sd_event *event, EtcdServer **ret, Err *err) {
        _cleanup_(etcd_server_freep) EtcdServer *s = xnew(EtcdServer, 1);
        s->config = config;
        s->event = sd_event_ref(event);
        s->next_id = random_u64();
        s->started = now_monotonic();
        s->started_nsec = now_wall_nsec();
        random_bytes(s->store_options.hash_key, sizeof(s->store_options.hash_key));
        s->store_options.max_txn_ops = config->max_txn_ops;
        int r = etcd_boot(s, err);
        if (r >= 0)
                r = snap_saver_new(event, s->disk, on_snapshot_saved, s, &s->saver, err);
        if (r >= 0)
                r = etcd_listen(s, err);
        if (r >= 0)
                r = start_peers(s, err);
        if (r < 0)
                return r;
        r = start_sources(s);
        if (r >= 0)
                r = etcd_housekeeping_start(s);
        if (r < 0)
                return err_errno(err, r, "cannot set up the event loop");
        *ret = TAKE_PTR(s);
        return 0;
}

static void stopped(void *user) {
        EtcdServer *s = user;
        (void) sd_event_exit(s->event, s->exit_code);
}

static int on_transfer_over(sd_event_source *src, uint64_t usec, void *user) {
        EtcdServer *s = user;
        if (s->client_http)
                http_server_stop(s->client_http, ETCD_STOP_GRACE, stopped, s);
        else
                stopped(s);
        return 0;
}

void etcd_server_stop(EtcdServer *s, int code) {
        if (s->stopping)
                return;
        s->stopping = true;
        s->exit_code = code;
        (void) sd_notify(false, "STOPPING=1");
        bool handing_over = etcd_is_leader(s) && members_voters(&s->members) > 1;
        if (handing_over) /* spares the others an election timeout */
                etcd_transfer_leader(s, 0);
        Usec grace = handing_over ? 2 * s->config->heartbeat_ms * USEC_PER_MSEC : 0;
        int r = sd_event_add_time_relative(s->event, NULL, CLOCK_MONOTONIC, grace, 1, on_transfer_over, s);
        if (r < 0)
                stopped(s);
}

static void free_sources(EtcdServer *s) {
        sd_event_source_disable_unref(s->timer);
        sd_event_source_disable_unref(s->soon);
        sd_event_source_disable_unref(s->wal_io);
        sd_event_source_disable_unref(s->sigterm);
        sd_event_source_disable_unref(s->sigint);
}

EtcdServer *etcd_server_free(EtcdServer *s) {
        if (!s)
                return NULL;
        s->failed = true; /* nothing steps any more */
        http_server_free(s->client_http);
        http_server_free(s->metrics_http);
        http_server_free(s->peer_http);
        etcd_housekeeping_done(s);
        free_sources(s);
        peers_free(s->peers);
        snap_saver_free(s->saver);
        wal_thread_stop(s->wal);
        replica_free(s->replica);
        store_free(s->store);
        for (size_t i = 0; i < s->n_deferred; i++)
                buf_done(&s->deferred[i].data);
        free(s->deferred);
        map_done(&s->waits);
        members_done(&s->members);
        members_done(&s->boot_peers);
        tls_context_unref(s->client_tls);
        tls_context_unref(s->peer_tls);
        tls_context_unref(s->peer_client_tls);
        disk_free(s->disk);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

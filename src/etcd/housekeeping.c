/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv3/apiv3.h"
#include "etcd/attributes.h"
#include "etcd/compactor.h"
#include "etcd/server.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <systemd/sd-daemon.h>

/* What a server does of its own accord: publish itself, let leases and v2 nodes expire (the leader only),
 * compact, catch watchers up.
 *
 * Expiry: only a leader that has just been confirmed by a quorum orders it, and the order names its term; a
 * member that was paused while others took over can thus revoke nothing (issue etcd#15247). */

#define EXPIRY_PAUSE (100 * USEC_PER_MSEC) /* between two rounds of expiry */
#define PUBLISH_RETRY (500 * USEC_PER_MSEC)

/* ---- publishing ---- */

static void published(EtcdWait *w, int error, EtcdResult *res) {
        EtcdServer *s = w->server;
        s->publishing = false;
        if (error < 0) {
                log_debug("cannot publish this member yet: %s", etcd_wait_error(s, error));
                return;
        }
        if (!s->published)
                log_info("published name %s to cluster %" PRIx64 "; ready to serve client requests",
                         s->config->name, s->cluster_id);
        s->published = true;
        (void) sd_notify(false, "READY=1");
}

static bool is_up_to_date(const EtcdServer *s, const Member *m) {
        return streq(m->name, s->config->name) && etcd_urls_equal(m->client_urls, s->config->advertise_client_urls);
}

static void publish(EtcdServer *s) {
        const Member *m = members_find(&s->members, s->id);
        if (s->published || s->publishing || !m || etcd_leader(s) == 0)
                return;
        if (is_up_to_date(s, m)) { /* a restart */
                s->publishing = true;
                etcd_read(s, &s->publish_wait, published);
                return;
        }
        _cleanup_(buf_done) Buf key = {}, value = {};
        attributes_of_member(s->id, s->config->name, s->config->advertise_client_urls, &key, &value);
        Command cmd = { .kind = CMD_ATTR,
                        .attr = { .key = { key.data, key.len },
                                  .value = { value.data, value.len },
                                  .v2_event = true } };
        s->publishing = true;
        etcd_propose(s, &s->publish_wait, &cmd, published);
}

static void version_set(EtcdWait *w, int error, EtcdResult *res) {
}

static void decide_version(EtcdServer *s) {
        if (!s->published || s->members.version || s->version_wait.id || !etcd_is_leader(s))
                return;
        Command cmd = { .kind = CMD_ATTR,
                        .attr = { .key = bytes_of(ATTRIBUTES_VERSION_KEY),
                                  .value = bytes_of(ETCD_CLUSTER_VERSION),
                                  .v2_event = true } };
        etcd_propose(s, &s->version_wait, &cmd, version_set);
}

/* ---- expiry ---- */

static void expired(EtcdWait *w, int error, EtcdResult *res) {
}

static void expire_leases(EtcdServer *s, uint64_t term) {
        int64_t ids[LEASE_DUE_MAX];
        if (s->expire_wait.id)
                return;
        size_t n = lease_due(s->store, now_monotonic(), ETCD_RETRY_LEASE, ids, LEASE_DUE_MAX);
        if (n == 0)
                return;
        s->stats.lease_expired += n;
        Command cmd = { .kind = CMD_LEASE_EXPIRE, .seq = term, .revoke = { .ids = ids, .n_ids = n } };
        etcd_propose(s, &s->expire_wait, &cmd, expired);
}

static void expire_v2(EtcdServer *s, uint64_t term) {
        int64_t wall = now_wall_nsec();
        if (s->sync_wait.id || !v2_has_expired(s->store, wall))
                return;
        Command cmd = { .kind = CMD_V2_SYNC, .seq = term, .v2_sync = { .wall_nsec = wall } };
        etcd_propose(s, &s->sync_wait, &cmd, expired);
}

static void still_leader(EtcdWait *w, int error, EtcdResult *res) {
        EtcdServer *s = w->server;
        uint64_t term = raft_term(replica_raft(s->replica));
        if (error < 0 || !replica_is_settled_leader(s->replica) || term != s->led_term)
                return;
        expire_leases(s, term);
        expire_v2(s, term);
}

static void check_expiry(EtcdServer *s) {
        if (s->led_term == 0 || s->lease_wait.id)
                return;
        s->expiry_checked = now_monotonic();
        if (lease_next_due(s->store) <= s->expiry_checked || v2_has_expired(s->store, now_wall_nsec()))
                etcd_read(s, &s->lease_wait, still_leader);
}

/* ---- leadership ---- */

void etcd_housekeeping_state(EtcdServer *s) {
        apiv3_state_changed(s);
        uint64_t term = raft_term(replica_raft(s->replica));
        if (!etcd_is_leader(s)) {
                if (s->led_term)
                        lease_demote(s->store);
                s->led_term = 0;
        } else if (s->led_term && s->led_term != term)
                s->led_term = 0;
}

/* Clients of the earlier leader may have renewed a moment ago, so every lease gets its whole time again. */
static void take_leases(EtcdServer *s) {
        if (s->led_term || !replica_is_settled_leader(s->replica))
                return;
        s->led_term = raft_term(replica_raft(s->replica));
        lease_promote(s->store, now_monotonic(), s->config->election_ms * USEC_PER_MSEC);
}

/* ---- the timer ---- */

/* As etcd: three election timeouts without a leader end the streams that require one. */
static Usec no_leader_patience(const EtcdServer *s) {
        return 3 * s->config->election_ms * USEC_PER_MSEC;
}

/* The only voter need not wait for an election timeout. */
static void campaign_alone(EtcdServer *s) {
        const RaftConf *conf = raft_conf(replica_raft(s->replica));
        if (!s->campaign || conf->n_voters == 0)
                return;
        s->campaign = false;
        if (conf->n_voters == 1 && raft_conf_is_voter(conf, s->id))
                etcd_step(s, &(ReplicaEvent){ .type = REPLICA_EV_CAMPAIGN, .now = now_monotonic() });
}

static Usec next_expiry(EtcdServer *s, Usec now) {
        if (s->led_term == 0)
                return USEC_NEVER;
        Usec next = lease_next_due(s->store);
        int64_t v2 = v2_next_expiry(s->store);
        if (v2 != INT64_MAX) {
                int64_t left = v2 - now_wall_nsec();
                next = MIN(next, now + (left > 0 ? (Usec) (left / 1000) + 1 : 0));
        }
        return next == USEC_NEVER ? next : MAX(next, s->expiry_checked + EXPIRY_PAUSE);
}

void etcd_housekeeping_rearm(EtcdServer *s) {
        if (!s->housekeeping)
                return;
        Usec now = now_monotonic();
        take_leases(s);
        Usec at = next_expiry(s, now);
        if (s->compactor)
                at = MIN(at, compactor_deadline(s->compactor));
        if (s->leader_lost && s->led_calls.first)
                at = MIN(at, MAX(s->leader_lost + no_leader_patience(s), now));
        if (s->moving_calls.first)
                at = MIN(at, MAX(apiv3_move_deadline(s), now));
        if (!s->published || !s->members.version)
                at = MIN(at, now + PUBLISH_RETRY);
        if (at != s->housekeeping_at) {
                s->housekeeping_at = at;
                (void) sd_event_source_set_time(s->housekeeping, at);
                (void) sd_event_source_set_enabled(s->housekeeping,
                                                   at == USEC_NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
        }
        campaign_alone(s);
        if (!s->published)
                publish(s);
        decide_version(s);
        if (!s->idle_on && (store_watch_pending(s->store) || s->compacting)) {
                s->idle_on = true;
                (void) sd_event_source_set_enabled(s->idle, SD_EVENT_ON);
        }
}

static int on_housekeeping(sd_event_source *src, uint64_t usec, void *user) {
        EtcdServer *s = user;
        s->housekeeping_at = 0;
        check_expiry(s);
        if (s->moving_calls.first)
                apiv3_state_changed(s);
        if (s->leader_lost && s->leader_lost + no_leader_patience(s) <= now_monotonic())
                apiv3_no_leader(s);
        if (s->compactor)
                compactor_run(s->compactor, now_monotonic());
        etcd_housekeeping_rearm(s);
        return 0;
}

/* Catching watchers up and physical compaction, a slice at a time between everything else. */
static int on_idle(sd_event_source *src, void *user) {
        EtcdServer *s = user;
        (void) store_watch_step(s->store);
        etcd_deliver_watches(s);
        bool more = s->compacting && store_compact_step(s->store);
        if (s->compacting && !store_compact_pending(s->store)) {
                s->compacting = false;
                apiv3_compacted(s);
        }
        /* compaction that a snapshot holds up goes on at the next occasion */
        if (!more && !store_watch_pending(s->store)) {
                s->idle_on = false;
                (void) sd_event_source_set_enabled(s->idle, SD_EVENT_OFF);
        }
        return 0;
}

int etcd_housekeeping_start(EtcdServer *s) {
        int r = sd_event_add_time(s->event, &s->housekeeping, CLOCK_MONOTONIC, 0, 1, on_housekeeping, s);
        if (r >= 0)
                r = sd_event_add_defer(s->event, &s->idle, on_idle, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->idle, SD_EVENT_OFF);
        if (s->config->compaction_usec || s->config->compaction_revisions)
                s->compactor = compactor_new(s);
        const RaftConf *conf = raft_conf(replica_raft(s->replica));
        s->campaign = conf->n_voters <= 1;
        return r;
}

void etcd_housekeeping_done(EtcdServer *s) {
        s->housekeeping = sd_event_source_disable_unref(s->housekeeping);
        s->idle = sd_event_source_disable_unref(s->idle);
        s->compactor = compactor_free(s->compactor);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/presence.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/log.h"

#define RETRY_USEC (300 * USEC_PER_MSEC)
#define WATCH_OTHER_USEC (500 * USEC_PER_MSEC)

struct Presence {
        PresenceConfig c;
        MachineRecord self; /* owned copy */
        char *key;
        EtcdCall *call; /* the one step under way */
        EtcdKeeper *keeper;
        sd_event_source *timer;
        int64_t lease; /* 0 = no session */
        int64_t candidate, old_lease;
        int64_t seen_revision; /* of the entry, 0 = there is none */
        /* watching an entry of another boot */
        int64_t other_ttl;
        Usec other_since;
        bool duplicate;
        char *problem;
        bool update_wanted;
        void (*left)(void *user);
        void *left_user;
};

static void look(Presence *p);
static void write_entry(Presence *p);

static void set_problem(Presence *p, const char *what, const EtcdResult *r) {
        free(p->problem);
        p->problem = r ? xasprintf("%s: %s", what, r->message) : xstrdup(what);
        log_debug("presence: %s", p->problem);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *user) {
        look(user);
        return 0;
}

static void retry(Presence *p, Usec after) {
        p->timer = sd_event_source_disable_unref(p->timer);
        (void) sd_event_add_time_relative(p->c.event, &p->timer, CLOCK_MONOTONIC, after, 1, on_retry, p);
}

/* ---- the session ---- */

static void on_lost(EtcdKeeper *k, bool expired, void *user) {
        Presence *p = user;

        p->keeper = NULL;
        p->lease = 0;
        log_warning(expired ? "the registry has forgotten this machine's lease" :
                              "the registry has been out of reach for the time of the lease");
        p->c.on_lost(p->c.user);
        p->call = etcd_call_cancel(p->call);
        look(p);
}

static void on_renewed(EtcdKeeper *k, int64_t ttl_sec, void *user) {
        Presence *p = user;
        registry_contact(p->c.registry, now_monotonic());
}

static void on_old_revoked(const EtcdResult *r, void *user) {
}

static void begin_session(Presence *p) {
        EtcdKeeperConfig config = { .id = p->candidate,
                                    .ttl_sec = (int64_t) (p->c.ttl / USEC_PER_SEC),
                                    .on_renewed = on_renewed,
                                    .on_lost = on_lost,
                                    .user = p };
        EtcdClient *etcd = registry_etcd(p->c.registry);

        p->lease = p->candidate;
        p->problem = xfree(p->problem);
        p->duplicate = false;
        p->keeper = etcd_lease_keep(etcd, &config);
        registry_contact(p->c.registry, now_monotonic());
        if (p->old_lease)
                (void) etcd_lease_revoke(etcd, p->old_lease, NULL, on_old_revoked, NULL);
        p->old_lease = 0;
        log_info("registered machine %s (%s)", p->self.id, isempty(p->self.ip) ? "no address" : p->self.ip);
        p->c.on_session(p->lease, p->c.user);
}

static void on_written(const EtcdResult *r, void *user) {
        Presence *p = user;

        p->call = NULL;
        if (r->error < 0 || !r->txn->succeeded) {
                /* Somebody else was faster, the lease has ended, or the answer is unknown: look again. */
                set_problem(p, "cannot register", r->error < 0 ? r : NULL);
                retry(p, RETRY_USEC);
                return;
        }
        p->seen_revision = r->txn->header ? r->txn->header->revision : 0;
        if (p->lease == 0)
                begin_session(p);
        if (p->update_wanted && !p->call)
                write_entry(p);
}

static void write_entry(Presence *p) {
        EtcdTxn *t = etcd_txn_new();
        _cleanup_free_ char *value = machine_encode(&p->self);

        p->update_wanted = false;
        etcd_txn_if_mod_revision(t, p->key, p->seen_revision);
        etcd_txn_put(t, p->key, value, strlen(value), p->lease ? p->lease : p->candidate);
        p->call = etcd_txn_commit(registry_etcd(p->c.registry), t, on_written, p);
}

static void on_granted(const EtcdResult *r, void *user) {
        Presence *p = user;

        p->call = NULL;
        if (r->error < 0) {
                set_problem(p, "cannot get a lease", r);
                retry(p, RETRY_USEC);
                return;
        }
        p->candidate = r->grant->id;
        write_entry(p);
}

static void grant(Presence *p, int64_t old_lease) {
        p->old_lease = old_lease;
        p->call = etcd_lease_grant(registry_etcd(p->c.registry), (int64_t) (p->c.ttl / USEC_PER_SEC), 0, NULL,
                                   on_granted, p);
}

/* ---- an entry is there already ---- */

static void on_own_lease(const EtcdResult *r, void *user) {
        Presence *p = user;

        p->call = NULL;
        if (r->error < 0) {
                set_problem(p, "cannot read this machine's lease", r);
                retry(p, RETRY_USEC);
        } else if (r->time_to_live->ttl > 0 && r->time_to_live->grantedttl == (int64_t) (p->c.ttl / USEC_PER_SEC))
                write_entry(p); /* the lease lives on under us */
        else
                grant(p, r->time_to_live->ttl > 0 ? p->candidate : 0);
}

static void report_duplicate(Presence *p) {
        if (!p->duplicate)
                log_error("another machine with the same machine id %s is alive in this cluster: this one stays out "
                          "until it has an id of its own (see /etc/machine-id)", p->self.id);
        p->duplicate = true;
        set_problem(p, "another machine with the same machine id is alive", NULL);
}

static void on_other_lease(const EtcdResult *r, void *user) {
        Presence *p = user;
        Usec now = now_monotonic();

        p->call = NULL;
        if (r->error < 0) {
                set_problem(p, "cannot read the lease of this machine's entry", r);
                retry(p, RETRY_USEC);
                return;
        }
        const Etcdserverpb__LeaseTimeToLiveResponse *t = r->time_to_live;
        if (t->ttl > 0 && (p->other_since == 0 || t->ttl > p->other_ttl)) {
                if (p->other_since != 0)
                        report_duplicate(p);
                p->other_since = now;
        }
        p->other_ttl = t->ttl;
        /* A live machine renews after a third of its TTL. */
        Usec patience = (Usec) MAX(t->grantedttl, 1) * USEC_PER_SEC / 3 + 2 * USEC_PER_SEC;
        if (t->ttl <= 0 || usec_sub(now, p->other_since) > patience) {
                p->other_since = 0;
                grant(p, t->ttl > 0 ? p->candidate : 0);
        } else
                retry(p, WATCH_OTHER_USEC);
}

static void on_looked(const EtcdResult *r, void *user) {
        Presence *p = user;
        EtcdClient *etcd = registry_etcd(p->c.registry);
        MachineRecord m = {};

        p->call = NULL;
        if (r->error < 0) {
                set_problem(p, "cannot reach the registry", r);
                retry(p, RETRY_USEC);
                return;
        }
        const Etcdserverpb__KeyValue *kv = r->range->n_kvs > 0 ? r->range->kvs[0] : NULL;
        p->seen_revision = kv ? kv->mod_revision : 0;
        if (!kv || kv->lease == 0 || machine_decode(p->self.id, kv, &m) < 0) {
                grant(p, 0);
                return;
        }
        p->candidate = kv->lease;
        p->call = etcd_lease_time_to_live(etcd, kv->lease, false, NULL,
                                          streq(m.boot, p->self.boot) ? on_own_lease : on_other_lease, p);
        machine_done(&m);
}

static void look(Presence *p) {
        if (p->call || p->left)
                return;
        p->call = etcd_get_key(registry_etcd(p->c.registry), p->key, on_looked, p);
}

/* ---- interface ---- */

Presence *presence_new(const PresenceConfig *config) {
        assert(config->ttl >= USEC_PER_SEC);
        Presence *p = xnew(Presence, 1);
        const MachineRecord *m = config->self;

        p->c = *config;
        p->self = (MachineRecord){ .id = xstrdup(m->id), .ip = xstrdup(strempty(m->ip)), .boot = xstrdup(m->boot),
                                   .version = xstrdup(m->version), .engine_disabled = m->engine_disabled };
        metadata_copy(&m->metadata, &p->self.metadata);
        p->key = registry_key(config->registry, "machines/%s/object", m->id);
        look(p);
        return p;
}

Presence *presence_free(Presence *p) {
        if (!p)
                return NULL;
        etcd_call_cancel(p->call);
        etcd_keeper_cancel(p->keeper);
        sd_event_source_disable_unref(p->timer);
        machine_done(&p->self);
        free(p->key);
        free(p->problem);
        free(p);
        return NULL;
}

int64_t presence_lease(const Presence *p) {
        return p->lease;
}

const char *presence_problem(const Presence *p) {
        return strempty(p->problem);
}

void presence_update(Presence *p, const char *ip, const Metadata *metadata) {
        if (streq_ptr(p->self.ip, ip) && metadata_equal(&p->self.metadata, metadata))
                return;
        free(p->self.ip);
        p->self.ip = xstrdup(strempty(ip));
        metadata_done(&p->self.metadata);
        metadata_copy(metadata, &p->self.metadata);
        p->update_wanted = true;
        if (p->lease && !p->call)
                write_entry(p);
}

static void on_left(const EtcdResult *r, void *user) {
        Presence *p = user;
        p->call = NULL;
        p->left(p->left_user);
}

void presence_leave(Presence *p, void (*done)(void *user), void *user) {
        p->left = done;
        p->left_user = user;
        p->call = etcd_call_cancel(p->call);
        p->keeper = etcd_keeper_cancel(p->keeper);
        p->timer = sd_event_source_disable_unref(p->timer);
        int64_t lease = p->lease;
        p->lease = 0;
        EtcdOptions options = { .timeout = 2 * USEC_PER_SEC };
        if (lease)
                p->call = etcd_lease_revoke(registry_etcd(p->c.registry), lease, &options, on_left, p);
        else
                done(user);
}

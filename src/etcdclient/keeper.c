/* SPDX-License-Identifier: Apache-2.0 */

/* Keeping a lease alive. Each renewal is a stream of one message, which makes it an ordinary request that
 * the rules of call.c repeat elsewhere; the lease counts as lost when `ttl` has passed since the last
 * renewal that succeeded was *sent*. */

#include "etcdclient/internal.h"
#include "sys/clock.h"

struct EtcdKeeper {
        EtcdClient *client;
        LIST_LINK(EtcdKeeper) link;
        EtcdKeeperConfig config;
        int64_t ttl_sec;
        EtcdCall *call;
        sd_event_source *timer;
        Usec valid_from, sent_at; /* when the last success, and when the running renewal, was sent */
        bool in_callback, cancelled;
};

static void renew(EtcdKeeper *k);

static void keeper_free(EtcdKeeper *k) {
        LIST_REMOVE(&k->client->keepers, k, link);
        etcd_call_cancel(k->call);
        sd_event_source_disable_unref(k->timer);
        free(k);
}

EtcdKeeper *etcd_keeper_cancel(EtcdKeeper *k) {
        if (!k || k->cancelled)
                return NULL;
        k->cancelled = true;
        if (!k->in_callback)
                keeper_free(k);
        return NULL;
}

static void lost(EtcdKeeper *k, bool expired) {
        k->in_callback = true;
        k->cancelled = true;
        if (k->config.on_lost)
                k->config.on_lost(k, expired, k->config.user);
        keeper_free(k);
}

static Usec lost_at(const EtcdKeeper *k) {
        return usec_add(k->valid_from, (Usec) k->ttl_sec * USEC_PER_SEC);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *user) {
        EtcdKeeper *k = user;
        if (now_monotonic() >= lost_at(k))
                lost(k, false);
        else
                renew(k);
        return 0;
}

static void wake_at(EtcdKeeper *k, Usec at) {
        if (!k->timer) {
                (void) sd_event_add_time(k->client->event, &k->timer, CLOCK_MONOTONIC, at, 1, on_timer, k);
                return;
        }
        (void) sd_event_source_set_time(k->timer, at);
        (void) sd_event_source_set_enabled(k->timer, SD_EVENT_ONESHOT);
}

static Usec interval(const EtcdKeeper *k) {
        return (Usec) k->ttl_sec * USEC_PER_SEC / 3;
}

static void renewed(EtcdKeeper *k, int64_t ttl) {
        k->ttl_sec = ttl;
        k->valid_from = k->sent_at;
        wake_at(k, k->sent_at + interval(k));
        if (!k->config.on_renewed)
                return;
        k->in_callback = true;
        k->config.on_renewed(k, ttl, k->config.user);
        k->in_callback = false;
        if (k->cancelled)
                keeper_free(k);
}

static void on_renewed(const EtcdResult *result, void *user) {
        EtcdKeeper *k = user;
        k->call = NULL;
        if (result->error < 0) { /* the time is not over yet: try again soon, or see the end of it */
                wake_at(k, MIN(now_monotonic() + 100 * USEC_PER_MSEC, lost_at(k)));
                return;
        }
        const Etcdserverpb__LeaseKeepAliveResponse *m =
                        (const Etcdserverpb__LeaseKeepAliveResponse *) result->any;
        if (m->ttl <= 0)
                lost(k, true);
        else
                renewed(k, m->ttl);
}

static void renew(EtcdKeeper *k) {
        Etcdserverpb__LeaseKeepAliveRequest q = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
        q.id = k->config.id;
        k->sent_at = now_monotonic();
        Usec left = usec_sub(lost_at(k), k->sent_at);
        EtcdOptions options = { .timeout = MAX(MIN(interval(k), left), 10 * USEC_PER_MSEC) };
        k->call = etcd_unary(k->client, "/etcdserverpb.Lease/LeaseKeepAlive", ETCD_CALL_READ, &q.base,
                             &etcdserverpb__lease_keep_alive_response__descriptor, &options, on_renewed, k);
}

EtcdKeeper *etcd_lease_keep(EtcdClient *c, const EtcdKeeperConfig *config) {
        assert(config->id != 0 && config->ttl_sec > 0);
        EtcdKeeper *k = xnew(EtcdKeeper, 1);
        k->client = c;
        k->config = *config;
        k->ttl_sec = config->ttl_sec;
        k->valid_from = now_monotonic();
        LIST_APPEND(&c->keepers, k, link);
        renew(k);
        return k;
}

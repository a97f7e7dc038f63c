/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/engine-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "sys/clock.h"
#include "sys/log.h"

#define RETRY_USEC (500 * USEC_PER_MSEC)

/* Leadership: claiming the key, watching it, losing it. What a leader does is in engine-lead.c. */

static void claim(Engine *e);

static int on_retry(sd_event_source *s, uint64_t usec, void *user) {
        claim(user);
        return 0;
}

static void claim_later(Engine *e, Usec after) {
        e->retry = sd_event_source_disable_unref(e->retry);
        (void) sd_event_add_time_relative(e->event, &e->retry, CLOCK_MONOTONIC, after, 1, on_retry, e);
}

static char *leader_value(const Engine *e) {
        Buf b = {};
        JsonOut o = { .buf = &b };
        jo_obj(&o);
        jo_kstr(&o, "MachineID", e->machine_id);
        jo_kint(&o, "Version", 1);
        jo_end(&o);
        return buf_take(&b);
}

static void become_leader(Engine *e, int64_t create_revision) {
        if (e->leader_revision == create_revision)
                return;
        e->leader_revision = create_revision;
        e->stats.leader_since = now_wall();
        log_info("this machine's engine leads the cluster");
        lead_begin(e);
}

static void step_down(Engine *e) {
        if (e->leader_revision == 0)
                return;
        e->leader_revision = 0;
        e->stats.leader_since = 0;
        log_info("this machine's engine does not lead the cluster any more");
        lead_end(e);
}

/* The key as it stands: ours, another's, or free (kv NULL). */
static void look_at(Engine *e, const Etcdserverpb__KeyValue *kv) {
        _cleanup_json_ json_t *v = NULL;

        if (!kv) {
                step_down(e);
                claim(e);
                return;
        }
        if (kv->lease == e->lease && ji_parse(kv->value.data, kv->value.len, 4096, &v, NULL) >= 0 &&
            streq_ptr(ji_str(v, "MachineID"), e->machine_id)) {
                become_leader(e, kv->create_revision);
                return;
        }
        step_down(e);
}

static void on_leader_event(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision, void *user) {
        Engine *e = user;
        registry_contact(e->registry, now_monotonic());
        if (n > 0)
                look_at(e, events[n - 1]->type == ETCDSERVERPB__EVENT__TYPE__PUT ? events[n - 1]->kv : NULL);
}

static void on_compacted(EtcdWatch *w, int64_t revision, void *user) {
        Engine *e = user;
        e->leader_watch = NULL;
        claim(e);
}

static void on_failed(EtcdWatch *w, GrpcCode code, const char *message, void *user) {
        Engine *e = user;
        e->leader_watch = NULL;
        claim_later(e, RETRY_USEC);
}

static void watch_leader(Engine *e, int64_t revision) {
        _cleanup_free_ char *key = registry_key(e->registry, "lease/engine-leader");
        EtcdWatchConfig config = { .key = key,
                                   .key_len = strlen(key),
                                   .start_revision = revision + 1,
                                   .on_events = on_leader_event,
                                   .on_compacted = on_compacted,
                                   .on_failed = on_failed,
                                   .user = e };
        if (!e->leader_watch)
                e->leader_watch = etcd_watch(registry_etcd(e->registry), &config);
}

static void on_claimed(const EtcdResult *r, void *user) {
        Engine *e = user;

        e->claim = NULL;
        if (r->error < 0) {
                claim_later(e, RETRY_USEC);
                return;
        }
        const Etcdserverpb__RangeResponse *range = NULL;
        for (size_t i = 0; i < r->txn->n_responses; i++)
                if (r->txn->responses[i]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
                        range = r->txn->responses[i]->response_range;
        watch_leader(e, r->txn->header->revision);
        look_at(e, range && range->n_kvs > 0 ? range->kvs[0] : NULL);
}

/* Creates the key unless it is there; reads it in the same transaction. */
static void claim(Engine *e) {
        EtcdTxn *t;
        _cleanup_free_ char *key = registry_key(e->registry, "lease/engine-leader"), *value = leader_value(e);

        if (!e->lease || e->claim || e->leaving)
                return;
        t = etcd_txn_new();
        etcd_txn_if_missing(t, key);
        etcd_txn_put(t, key, value, strlen(value), e->lease);
        etcd_txn_get(t, key);
        etcd_txn_else(t);
        etcd_txn_get(t, key);
        e->claim = etcd_txn_commit(registry_etcd(e->registry), t, on_claimed, e);
}

void engine_session(Engine *e, int64_t lease) {
        e->lease = lease;
        claim(e);
}

void engine_session_lost(Engine *e) {
        step_down(e);
        e->lease = 0;
        e->claim = etcd_call_cancel(e->claim);
        e->leader_watch = etcd_watch_cancel(e->leader_watch);
        e->retry = sd_event_source_disable_unref(e->retry);
}

static void on_left(const EtcdResult *r, void *user) {
        Engine *e = user;
        e->claim = NULL;
        e->left(e->left_user);
}

void engine_leave(Engine *e, void (*done)(void *user), void *user) {
        _cleanup_free_ char *key = registry_key(e->registry, "lease/engine-leader");
        int64_t was = e->leader_revision;

        engine_session_lost(e);
        e->leaving = true;
        if (!was) {
                done(user);
                return;
        }
        e->left = done;
        e->left_user = user;
        EtcdTxn *t = etcd_txn_new();
        etcd_txn_if_create_revision(t, key, was);
        etcd_txn_delete(t, key);
        e->claim = etcd_txn_commit(registry_etcd(e->registry), t, on_left, e);
}

bool engine_is_leader(const Engine *e) {
        return e->leader_revision != 0;
}

const EngineStats *engine_stats(const Engine *e) {
        return &e->stats;
}

Engine *engine_new(sd_event *event, Registry *registry, const char *machine_id) {
        Engine *e = xnew(Engine, 1);
        e->event = sd_event_ref(event);
        e->registry = registry;
        e->machine_id = xstrdup(machine_id);
        return e;
}

Engine *engine_free(Engine *e) {
        if (!e)
                return NULL;
        lead_end(e);
        etcd_call_cancel(e->claim);
        etcd_watch_cancel(e->leader_watch);
        sd_event_source_disable_unref(e->retry);
        sd_event_unref(e->event);
        free(e->machine_id);
        free(e);
        return NULL;
}

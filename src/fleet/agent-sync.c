/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/agent-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/log.h"

/* What the registry wants of this machine: read once in one transaction, then watched from there. */

static int on_sync_timer(sd_event_source *s, uint64_t usec, void *user) {
        sync_begin(user);
        return 0;
}

static void sync_again(Agent *a, Usec after) {
        sync_end(a);
        (void) sd_event_add_time_relative(a->event, &a->sync_timer, CLOCK_MONOTONIC, after, 1, on_sync_timer, a);
}

/* ---- wishes ---- */

static void set_want(Agent *a, int kind, const char *name, const ProtobufCBinaryData *value) {
        char *hash = NULL;
        UnitState target = UNIT_INACTIVE;
        Local *l = value ? local_obtain(a, name) : local_get(a, name);

        if (!l)
                return;
        if (value && assignment_decode(value, &hash, &target) < 0)
                log_warning("the registry's wish for %s cannot be understood", name);
        free(l->want[kind].hash);
        l->want[kind].hash = hash;
        l->want[kind].target = target;
        l->changed = true;
}

static void apply_one(Agent *a, Local *l) {
        int kind = l->want[WANT_SCHEDULED].hash ? WANT_SCHEDULED : WANT_GLOBAL;
        const char *hash = l->want[kind].hash;
        _cleanup_(xfleet_done) XFleet req = {};

        if (!l->changed)
                return;
        if (!hash) {
                l->changed = false;
                agent_unwant(&a->plan, l->name);
                publish(l);
                return;
        }
        const UnitFile *u = registry_unit(a->registry, hash);
        const AgentUnit *here = agent_unit(&a->plan, l->name);
        l->changed = false;
        if (u)
                xfleet_read(u, l->name, &req);
        else if (here && here->present && streq(here->hash, hash))
                xfleet_copy(&here->here_req, &req); /* the registry lost the content; what is here stays */
        else
                return;
        agent_want(&a->plan, l->name, hash, l->want[kind].target, &req);
}

static void on_fetched(int error, const char *message, void *user) {
        Agent *a = user;
        a->fetch = NULL;
        if (error < 0) {
                log_warning("cannot read units from the registry: %s", message);
                sync_again(a, USEC_PER_SEC);
                return;
        }
        sync_apply(a);
}

void sync_apply(Agent *a) {
        _cleanup_strv_ char **hashes = NULL, **names = NULL;

        if (!a->discovered || !a->lease || a->sync_call || a->fetch || !a->watches[0])
                return;
        for (MapIter i = {}; map_next(&a->locals, &i);) {
                Local *l = i.value;
                if (!l->changed)
                        continue;
                strv_add(&names, l->name);
                for (int k = 0; k < _WANT_MAX; k++)
                        if (l->want[k].hash && !registry_unit_known(a->registry, l->want[k].hash))
                                strv_add(&hashes, l->want[k].hash);
        }
        if (hashes)
                a->fetch = registry_fetch(a->registry, hashes, on_fetched, a);
        if (a->fetch)
                return;
        STRV_FOREACH(n, names) {
                Local *l = local_get(a, *n);
                if (l)
                        apply_one(a, l);
        }
        if (!a->synced) {
                a->synced = true;
                publish_all(a);
        }
        agent_run_soon(a);
}

/* ---- metadata ---- */

static void forget_removed(Agent *a, const char *key) {
        char **keep = NULL;
        STRV_FOREACH(k, a->removed)
                if (!streq(*k, key))
                        strv_add(&keep, *k);
        strv_free(a->removed);
        a->removed = keep;
}

static void set_metadata_key(Agent *a, const char *key, const ProtobufCBinaryData *value) {
        _cleanup_free_ char *text = value ? etcd_text(value) : NULL;

        forget_removed(a, key);
        if (value && !*text)
                strv_add(&a->removed, key); /* "" takes away what the configuration says */
        metadata_set(&a->overlay, key, text);
}

static void apply_metadata(Agent *a) {
        _cleanup_(metadata_done) Metadata m = {};

        metadata_copy(&a->configured, &m);
        for (size_t i = 0; a->overlay.keys && a->overlay.keys[i]; i++)
                metadata_set(&m, a->overlay.keys[i], a->overlay.values[i]);
        STRV_FOREACH(k, a->removed)
                metadata_set(&m, *k, NULL);
        agent_set_metadata(&a->plan, &m);
        agent_run_soon(a);
}

void agent_set_configured_metadata(Agent *a, const Metadata *metadata) {
        metadata_done(&a->configured);
        metadata_copy(metadata, &a->configured);
        apply_metadata(a);
}

/* ---- watching ---- */

static void on_compacted(EtcdWatch *w, int64_t revision, void *user) {
        Agent *a = user;
        for (size_t i = 0; i < ELEMENTSOF(a->watches); i++)
                if (a->watches[i] == w)
                        a->watches[i] = NULL;
        log_info("the registry was compacted past what this agent has seen: reading it anew");
        sync_again(a, 1);
}

static void on_failed(EtcdWatch *w, GrpcCode code, const char *message, void *user) {
        Agent *a = user;
        for (size_t i = 0; i < ELEMENTSOF(a->watches); i++)
                if (a->watches[i] == w)
                        a->watches[i] = NULL;
        log_error("the registry refuses a watch: %s", message);
        sync_again(a, USEC_PER_SEC);
}

static void on_wishes(Agent *a, int kind, const char *folder, Etcdserverpb__Event *const *events, size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *name = registry_strip(a->registry, &events[i]->kv->key, folder);
                bool put = events[i]->type == ETCDSERVERPB__EVENT__TYPE__PUT;
                if (name)
                        set_want(a, kind, name, put ? &events[i]->kv->value : NULL);
        }
        sync_apply(a);
}

static void on_schedule(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision, void *user) {
        Agent *a = user;
        _cleanup_free_ char *folder = xasprintf("schedule/%s/", a->machine_id);
        registry_contact(a->registry, now_monotonic());
        on_wishes(a, WANT_SCHEDULED, folder, events, n);
}

static void on_global(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision, void *user) {
        on_wishes(user, WANT_GLOBAL, "global/", events, n);
}

static void on_metadata(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision, void *user) {
        Agent *a = user;
        _cleanup_free_ char *folder = xasprintf("machines/%s/metadata/", a->machine_id);

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *key = registry_strip(a->registry, &events[i]->kv->key, folder);
                bool put = events[i]->type == ETCDSERVERPB__EVENT__TYPE__PUT;
                if (key)
                        set_metadata_key(a, key, put ? &events[i]->kv->value : NULL);
        }
        apply_metadata(a);
}

static void begin_watches(Agent *a, int64_t revision) {
        void (*const handlers[])(EtcdWatch *, Etcdserverpb__Event *const *, size_t, int64_t, void *) = {
                on_schedule, on_global, on_metadata
        };
        _cleanup_free_ char *schedule = registry_key(a->registry, "schedule/%s/", a->machine_id),
                            *global = registry_key(a->registry, "global/"),
                            *metadata = registry_key(a->registry, "machines/%s/metadata/", a->machine_id);
        const char *const prefixes[] = { schedule, global, metadata };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                EtcdWatchConfig config = { .key = prefixes[i],
                                           .key_len = strlen(prefixes[i]),
                                           .prefix = true,
                                           .start_revision = revision + 1,
                                           .on_events = handlers[i],
                                           .on_compacted = on_compacted,
                                           .on_failed = on_failed,
                                           .user = a };
                a->watches[i] = etcd_watch(registry_etcd(a->registry), &config);
        }
}

/* ---- the first reading ---- */

static void take_wishes(Agent *a, int kind, const char *folder, const Etcdserverpb__RangeResponse *range) {
        for (MapIter i = {}; map_next(&a->locals, &i);) {
                Local *l = i.value;
                l->want[kind].hash = xfree(l->want[kind].hash);
                l->changed = true;
        }
        for (size_t i = 0; i < range->n_kvs; i++) {
                _cleanup_free_ char *name = registry_strip(a->registry, &range->kvs[i]->key, folder);
                if (name)
                        set_want(a, kind, name, &range->kvs[i]->value);
        }
}

/* States that are there on our own lease need not be written again; the rest will be, or will be deleted. */
static void take_states(Agent *a, const Etcdserverpb__RangeResponse *range) {
        _cleanup_free_ char *folder = xasprintf("state/%s/", a->machine_id);

        for (MapIter i = {}; map_next(&a->locals, &i);)
                publish_done(i.value);
        for (size_t i = 0; i < range->n_kvs; i++) {
                const Etcdserverpb__KeyValue *kv = range->kvs[i];
                _cleanup_free_ char *name = registry_strip(a->registry, &kv->key, folder);
                if (!name)
                        continue;
                Local *l = local_obtain(a, name);
                l->published = true; /* so that it is deleted when it is wrong */
                if (kv->lease == a->lease)
                        (void) state_decode(a->machine_id, name, &kv->value, &l->record);
        }
}

static void take_metadata(Agent *a, const Etcdserverpb__RangeResponse *range) {
        _cleanup_free_ char *folder = xasprintf("machines/%s/metadata/", a->machine_id);

        metadata_done(&a->overlay);
        a->removed = strv_free(a->removed);
        for (size_t i = 0; i < range->n_kvs; i++) {
                _cleanup_free_ char *key = registry_strip(a->registry, &range->kvs[i]->key, folder);
                if (key)
                        set_metadata_key(a, key, &range->kvs[i]->value);
        }
        apply_metadata(a);
}

static void on_read(const EtcdResult *r, void *user) {
        Agent *a = user;

        a->sync_call = NULL;
        if (r->error < 0) {
                log_warning("cannot read this machine's schedule: %s", r->message);
                sync_again(a, 300 * USEC_PER_MSEC);
                return;
        }
        assert(r->txn->n_responses == 4);
        _cleanup_free_ char *schedule = xasprintf("schedule/%s/", a->machine_id);
        take_wishes(a, WANT_SCHEDULED, schedule, r->txn->responses[0]->response_range);
        take_wishes(a, WANT_GLOBAL, "global/", r->txn->responses[1]->response_range);
        take_metadata(a, r->txn->responses[2]->response_range);
        take_states(a, r->txn->responses[3]->response_range);
        begin_watches(a, r->txn->header->revision);
        sync_apply(a);
}

void sync_begin(Agent *a) {
        EtcdTxn *t = etcd_txn_new();
        _cleanup_free_ char *schedule = registry_key(a->registry, "schedule/%s/", a->machine_id),
                            *global = registry_key(a->registry, "global/"),
                            *metadata = registry_key(a->registry, "machines/%s/metadata/", a->machine_id),
                            *state = registry_key(a->registry, "state/%s/", a->machine_id);

        sync_end(a);
        etcd_txn_get_prefix(t, schedule);
        etcd_txn_get_prefix(t, global);
        etcd_txn_get_prefix(t, metadata);
        etcd_txn_get_prefix(t, state);
        a->sync_call = etcd_txn_commit(registry_etcd(a->registry), t, on_read, a);
}

void sync_end(Agent *a) {
        a->sync_call = etcd_call_cancel(a->sync_call);
        a->fetch = registry_fetch_cancel(a->fetch);
        a->sync_timer = sd_event_source_disable_unref(a->sync_timer);
        for (size_t i = 0; i < ELEMENTSOF(a->watches); i++)
                a->watches[i] = etcd_watch_cancel(a->watches[i]);
}

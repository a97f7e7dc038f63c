/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/engine-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/log.h"

/* ---- jobs ---- */

static void job_free(JobRecord *j) {
        if (!j)
                return;
        job_done(j);
        free(j);
}

static void plan_job(Engine *e, const JobRecord *j) {
        const UnitFile *u = registry_unit(e->registry, j->hash);
        _cleanup_(xfleet_done) XFleet req = {};

        if (!u)
                return; /* not read yet, or there is none: a unit without content takes no part */
        xfleet_read(u, j->name, &req);
        plan_set_unit(&e->plan, j->name, j->hash, j->target, &req, j->machine);
}

bool lead_set_job(Engine *e, const char *name, const Etcdserverpb__KeyValue *kv) {
        JobRecord *j = xnew(JobRecord, 1);
        const JobRecord *had = map_gets(&e->jobs, name);

        /* Our own write may be answered before the watch tells of it, or of something older. */
        if (kv && had && had->mod_revision >= kv->mod_revision) {
                free(j);
                return true;
        }
        if (!kv || job_decode(name, kv, j) < 0) {
                if (kv)
                        log_warning("the registry's job %s cannot be understood", name);
                free(j);
                job_free(map_dels(&e->jobs, name));
                plan_drop_unit(&e->plan, name);
                return true;
        }
        job_free(map_puts(&e->jobs, name, j));
        plan_job(e, j);
        return registry_unit_known(e->registry, j->hash);
}

static void on_fetched(int error, const char *message, void *user) {
        Engine *e = user;

        e->fetch = NULL;
        if (error < 0) {
                log_warning("the engine cannot read units: %s", message);
                lead_reload(e, USEC_PER_SEC);
                return;
        }
        for (MapIter i = {}; map_next(&e->jobs, &i);) {
                const PlanUnit *u = plan_unit(&e->plan, i.key);
                const JobRecord *j = i.value;
                if (!u || !streq_ptr(u->hash, j->hash))
                        plan_job(e, j);
        }
        lead_fetch(e); /* for what came in the meantime */
}

/* Reads the contents that are missing, then decides. */
void lead_fetch(Engine *e) {
        _cleanup_strv_ char **hashes = NULL;

        if (e->fetch)
                return;
        e->jobs_changed = false;
        for (MapIter i = {}; map_next(&e->jobs, &i);) {
                const JobRecord *j = i.value;
                if (!registry_unit_known(e->registry, j->hash))
                        strv_add(&hashes, j->hash);
        }
        if (hashes)
                e->fetch = registry_fetch(e->registry, hashes, on_fetched, e);
        if (!e->fetch) {
                e->loaded = true;
                lead_soon(e);
        }
}

/* ---- machines ---- */

static void machine_free(MachineRecord *m) {
        if (!m)
                return;
        machine_done(m);
        free(m);
}

static void plan_machine_again(Engine *e, const char *id) {
        const MachineRecord *m = map_gets(&e->machines, id);
        const Metadata *overlay = map_gets(&e->overlays, id);
        _cleanup_(metadata_done) Metadata all = {};

        if (!m) {
                plan_drop_machine(&e->plan, id);
                return;
        }
        metadata_copy(&m->metadata, &all);
        for (size_t i = 0; overlay && overlay->keys && overlay->keys[i]; i++)
                metadata_set(&all, overlay->keys[i], overlay->values[i]);
        plan_set_machine(&e->plan, id, &all);
}

static void set_overlay(Engine *e, const char *id, const char *key, const ProtobufCBinaryData *value) {
        Metadata *o = map_gets(&e->overlays, id);
        _cleanup_free_ char *text = value ? etcd_text(value) : NULL;
        Metadata keep = {};

        if (!o) {
                o = xnew(Metadata, 1);
                (void) map_puts(&e->overlays, id, o);
        }
        for (size_t i = 0; o->keys && o->keys[i]; i++)
                if (!streq(o->keys[i], key))
                        metadata_add(&keep, o->keys[i], o->values[i]);
        if (text)
                metadata_add(&keep, key, text); /* "" takes the configured value away */
        metadata_done(o);
        *o = keep;
        plan_machine_again(e, id);
}

static void set_machine(Engine *e, const char *id, const Etcdserverpb__KeyValue *kv) {
        MachineRecord *m = xnew(MachineRecord, 1);

        if (!kv || machine_decode(id, kv, m) < 0) {
                free(m);
                m = NULL;
                machine_free(map_dels(&e->machines, id));
                if (plan_machine(&e->plan, id)) {
                        log_info("machine %s is gone", id);
                        e->stats.machine_away++;
                }
        } else {
                if (!map_gets(&e->machines, id))
                        log_info("machine %s (%s) is there", id, m->ip);
                machine_free(map_puts(&e->machines, id, m));
        }
        plan_machine_again(e, id);
}

/* <id>/object or <id>/metadata/<key> */
static void take_machine_key(Engine *e, const char *rest, const Etcdserverpb__KeyValue *kv) {
        const char *slash = strchr(rest, '/');
        if (!slash)
                return;
        _cleanup_free_ char *id = xstrndup(rest, (size_t) (slash - rest));
        const char *key = startswith(slash, "/metadata/");
        if (key)
                set_overlay(e, id, key, kv ? &kv->value : NULL);
        else if (streq(slash, "/object"))
                set_machine(e, id, kv);
}

/* ---- reading and watching ---- */

/* kv NULL = the key is gone. True when there may be something to decide. */
static bool take_key(Engine *e, const ProtobufCBinaryData *key, const Etcdserverpb__KeyValue *kv) {
        _cleanup_free_ char *job = registry_strip(e->registry, key, "job/");
        if (job) {
                (void) lead_set_job(e, job, kv);
                e->jobs_changed = true;
                return true;
        }
        _cleanup_free_ char *machine = registry_strip(e->registry, key, "machines/");
        if (machine) {
                take_machine_key(e, machine, kv);
                return true;
        }
        _cleanup_free_ char *state = registry_strip(e->registry, key, "state/"), *id = NULL, *name = NULL;
        return state && registry_split(state, &id, &name) && plan_set_holder(&e->plan, name, id, kv != NULL);
}

static void on_events(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision, void *user) {
        Engine *e = user;

        bool relevant = false;

        registry_contact(e->registry, now_monotonic());
        for (size_t i = 0; i < n; i++) {
                bool put = events[i]->type == ETCDSERVERPB__EVENT__TYPE__PUT;
                relevant = take_key(e, &events[i]->kv->key, put ? events[i]->kv : NULL) || relevant;
        }
        if (e->jobs_changed)
                lead_fetch(e);
        else if (relevant && e->loaded)
                lead_soon(e);
}

static void on_compacted(EtcdWatch *w, int64_t revision, void *user) {
        Engine *e = user;
        e->watch = NULL;
        lead_reload(e, 1);
}

static void on_failed(EtcdWatch *w, GrpcCode code, const char *message, void *user) {
        Engine *e = user;
        e->watch = NULL;
        log_error("the registry refuses the engine's watch: %s", message);
        lead_reload(e, USEC_PER_SEC);
}

static void on_loaded(const EtcdResult *r, void *user) {
        Engine *e = user;

        e->load = NULL;
        if (r->error < 0) {
                log_warning("the engine cannot read the cluster: %s", r->message);
                lead_reload(e, 300 * USEC_PER_MSEC);
                return;
        }
        for (size_t i = 0; i < r->txn->n_responses; i++) {
                const Etcdserverpb__RangeResponse *range = r->txn->responses[i]->response_range;
                for (size_t k = 0; range && k < range->n_kvs; k++)
                        (void) take_key(e, &range->kvs[k]->key, range->kvs[k]);
        }
        _cleanup_free_ char *prefix = registry_key(e->registry, "%s", "");
        EtcdWatchConfig config = { .key = prefix,
                                   .key_len = strlen(prefix),
                                   .prefix = true,
                                   .start_revision = r->txn->header->revision + 1,
                                   .on_events = on_events,
                                   .on_compacted = on_compacted,
                                   .on_failed = on_failed,
                                   .user = e };
        e->watch = etcd_watch(registry_etcd(e->registry), &config);
        lead_fetch(e);
        collect_begin(e);
}

static void forget_cluster(Engine *e) {
        for (MapIter i = {}; map_next(&e->jobs, &i);)
                job_free(i.value);
        for (MapIter i = {}; map_next(&e->machines, &i);)
                machine_free(i.value);
        for (MapIter i = {}; map_next(&e->overlays, &i);) {
                metadata_done(i.value);
                free(i.value);
        }
        map_done(&e->jobs);
        map_done(&e->machines);
        map_done(&e->overlays);
        plan_done(&e->plan);
}

void lead_begin(Engine *e) {
        EtcdTxn *t = etcd_txn_new();
        _cleanup_free_ char *job = registry_key(e->registry, "job/"), *machines = registry_key(e->registry, "machines/"),
                            *state = registry_key(e->registry, "state/");

        lead_end(e);
        etcd_txn_get_prefix(t, machines);
        etcd_txn_get_prefix(t, job);
        etcd_txn_get_prefix(t, state);
        e->load = etcd_txn_commit(registry_etcd(e->registry), t, on_loaded, e);
}

void lead_end(Engine *e) {
        e->loaded = false;
        e->load = etcd_call_cancel(e->load);
        e->fetch = registry_fetch_cancel(e->fetch);
        e->watch = etcd_watch_cancel(e->watch);
        e->due = sd_event_source_disable_unref(e->due);
        e->settle = sd_event_source_disable_unref(e->settle);
        e->reload = sd_event_source_disable_unref(e->reload);
        collect_end(e);
        write_cancel_all(e);
        forget_cluster(e);
}

static int on_reload(sd_event_source *s, uint64_t usec, void *user) {
        lead_begin(user);
        return 0;
}

void lead_reload(Engine *e, Usec after) {
        lead_end(e);
        (void) sd_event_add_time_relative(e->event, &e->reload, CLOCK_MONOTONIC, after, 1, on_reload, e);
}

/* ---- deciding ---- */

static int on_settled(sd_event_source *s, uint64_t usec, void *user) {
        lead_soon(user);
        return 0;
}

/* True when machines that are missing are to be taken for dead. While this machine itself is missing from what the
 * registry says, that is not believed either. */
static bool settled(Engine *e) {
        Usec now = now_monotonic(), at = registry_settled_at(e->registry);

        if (!plan_machine(&e->plan, e->machine_id))
                return false;
        if (now >= at)
                return true;
        e->settle = sd_event_source_disable_unref(e->settle);
        (void) sd_event_add_time(e->event, &e->settle, CLOCK_MONOTONIC, at, 1, on_settled, e);
        return false;
}

static int on_due(sd_event_source *s, uint64_t usec, void *user) {
        Engine *e = user;
        PlanDecisions d = {};

        e->due = sd_event_source_disable_unref(e->due);
        if (!e->loaded || e->leader_revision == 0)
                return 0;
        if (e->writes.first) {
                e->again = true; /* one round at a time: the next one sees what became of this one */
                return 0;
        }
        e->again = false;
        e->stats.reconciles++;
        plan_decide(&e->plan, settled(e), &d);
        write_decisions(e, &d);
        plan_decisions_done(&d);
        return 0;
}

void lead_soon(Engine *e) {
        if (!e->due)
                (void) sd_event_add_time_relative(e->event, &e->due, CLOCK_MONOTONIC, 0, 1, on_due, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/engine-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/log.h"

/* One decision on its way into the registry. */
struct Write {
        Engine *e;
        JobRecord now;
        bool placing;
        EtcdCall *call;
        LIST_LINK(Write) all;
};

static void write_free(Write *w) {
        LIST_REMOVE(&w->e->writes, w, all);
        etcd_call_cancel(w->call);
        job_done(&w->now);
        free(w);
}

void write_cancel_all(Engine *e) {
        while (e->writes.first)
                write_free(e->writes.first);
}

static void finished(Engine *e) {
        if (!e->writes.first && e->again)
                lead_soon(e);
}

/* What the registry has wins over what was decided. */
static void take_back(Engine *e, const char *name, const Etcdserverpb__RangeResponse *range) {
        JobRecord *had = map_gets(&e->jobs, name);
        if (had)
                had->mod_revision = 0;
        (void) lead_set_job(e, name, range && range->n_kvs > 0 ? range->kvs[0] : NULL);
        e->again = true;
        lead_fetch(e);
}

static void on_written(const EtcdResult *r, void *user) {
        Write *w = user;
        Engine *e = w->e;

        w->call = NULL;
        if (r->error < 0) {
                log_warning("cannot write the engine's decision about %s: %s", w->now.name, r->message);
                (*(w->placing ? &e->stats.schedule_failures : &e->stats.unschedule_failures))++;
                /* It may have happened or not: begin from what the registry has. */
                lead_reload(e, USEC_PER_SEC);
                return;
        }
        if (r->txn->succeeded) {
                JobRecord *j = map_gets(&e->jobs, w->now.name);
                if (j && j->mod_revision < r->txn->header->revision) {
                        job_done(j);
                        job_copy(&w->now, j);
                        j->mod_revision = r->txn->header->revision;
                }
                (*(w->placing ? &e->stats.schedules : &e->stats.unschedules))++;
        } else {
                log_debug("the job %s changed while the engine decided", w->now.name);
                const Etcdserverpb__ResponseOp *op = r->txn->n_responses > 0 ? r->txn->responses[0] : NULL;
                take_back(e, w->now.name, op ? op->response_range : NULL);
        }
        write_free(w);
        finished(e);
}

static void write_one(Engine *e, const PlanDecision *d) {
        const JobRecord *j = map_gets(&e->jobs, d->unit);
        _cleanup_free_ char *leader = registry_key(e->registry, "lease/engine-leader"),
                            *key = registry_key(e->registry, "job/%s", d->unit);

        if (!j)
                return; /* gone meanwhile; the plan has been told */
        Write *w = xnew(Write, 1);
        w->e = e;
        w->placing = d->to != NULL;
        job_copy(j, &w->now);
        free(w->now.machine);
        w->now.machine = d->to ? xstrdup(d->to) : NULL;
        LIST_APPEND(&e->writes, w, all);

        EtcdTxn *t = etcd_txn_new();
        etcd_txn_if_create_revision(t, leader, e->leader_revision);
        etcd_txn_if_mod_revision(t, key, j->mod_revision);
        registry_txn_job(e->registry, t, j, &w->now);
        etcd_txn_else(t);
        etcd_txn_get(t, key);
        log_info("%s: %s%s%s (%s)", d->unit, d->to ? "scheduled on " : "unscheduled", strempty(d->to),
                 d->from && d->to ? ", moved" : "", d->why);
        w->call = etcd_txn_commit(registry_etcd(e->registry), t, on_written, w);
}

void write_decisions(Engine *e, const PlanDecisions *d) {
        for (size_t i = 0; i < d->n; i++)
                write_one(e, &d->list[i]);
}

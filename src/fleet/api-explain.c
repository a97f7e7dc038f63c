/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "fleet/api-internal.h"

/* Why is this unit not running? Any daemon can tell: it asks the engine's own rules about the cluster as it is. */

static void build_plan(const ApiOp *op, Plan *p) {
        for (size_t i = 0; i < op->n_machines; i++)
                plan_set_machine(p, op->machines[i].id, &op->machines[i].metadata);
        for (size_t i = 0; i < op->n_jobs; i++) {
                const JobRecord *j = &op->jobs[i];
                const UnitFile *u = registry_unit(op->api->c.registry, j->hash);
                _cleanup_(xfleet_done) XFleet x = {};
                if (!u)
                        continue;
                xfleet_read(u, j->name, &x);
                plan_set_unit(p, j->name, j->hash, j->target, &x, j->machine);
        }
        for (size_t i = 0; i < op->n_states; i++)
                plan_set_holder(p, op->states[i].name, op->states[i].machine, true);
}

static const JobRecord *find_job(const ApiOp *op) {
        for (size_t i = 0; i < op->n_jobs; i++)
                if (streq(op->jobs[i].name, op->name))
                        return &op->jobs[i];
        return NULL;
}

static void answer(ApiOp *op) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut o = { .buf = &b };
        const JobRecord *j = find_job(op);
        Plan plan = {};
        bool waiting = false;

        if (!j) {
                api_error(op->q, 404, "unit does not exist");
                return;
        }
        build_plan(op, &plan);
        _cleanup_free_ char *why = plan_explain(&plan, op->name, &waiting);
        const StateRecord *s = api_state_of(op, j);

        jo_obj(&o);
        if (s && s->error)
                jo_kstr(&o, "error", s->error);
        if (j->machine)
                jo_kstr(&o, "machineID", j->machine);
        jo_kstr(&o, "name", op->name);
        jo_kbool(&o, "placed", j->machine != NULL || j->global);
        if (why)
                jo_kstr(&o, "reason", why);
        jo_kbool(&o, "waiting", waiting);
        jo_end(&o);
        plan_done(&plan);
        api_json(op->q, 200, &b);
}

static void on_read(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        if (!api_result_ok(op, r))
                return;
        api_take_jobs(op, r->txn->responses[0]->response_range);
        api_take_states(op, r->txn->responses[1]->response_range);
        api_take_machines(op, r->txn->responses[2]->response_range);
        api_fetch_units(op, answer);
}

void api_explain(Api *a, HttpReq *q, const char *name) {
        ApiOp *op = api_op_new(a, q, name);
        EtcdTxn *t = etcd_txn_new();
        const char *const folders[] = { "job/", "state/", "machines/" };

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *key = registry_key(a->c.registry, "%s", folders[i]);
                etcd_txn_get_prefix(t, key);
        }
        op->call = etcd_txn_commit(registry_etcd(a->c.registry), t, on_read, op);
}

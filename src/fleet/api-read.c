/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "fleet/api-internal.h"

#include <stdlib.h>

#define TOKEN_CHARS 16

static EtcdClient *etcd_of(ApiOp *op) {
        return registry_etcd(op->api->c.registry);
}

/* ---- from the registry's answers ---- */

static int by_job(const void *a, const void *b) {
        return strcmp(((const JobRecord *) a)->name, ((const JobRecord *) b)->name);
}

static int by_state(const void *a, const void *b) {
        const StateRecord *x = a, *y = b;
        int r = strcmp(x->name, y->name);
        return r ? r : strcmp(x->machine, y->machine);
}

void api_take_jobs(ApiOp *op, const Etcdserverpb__RangeResponse *range) {
        for (size_t i = 0; i < range->n_kvs; i++) {
                _cleanup_free_ char *name = registry_strip(op->api->c.registry, &range->kvs[i]->key, "job/");
                GROW(op->jobs, op->cap_jobs, op->n_jobs + 1);
                if (name && job_decode(name, range->kvs[i], &op->jobs[op->n_jobs]) >= 0)
                        op->n_jobs++;
        }
        if (op->n_jobs > 0)
                qsort(op->jobs, op->n_jobs, sizeof(*op->jobs), by_job);
}

void api_take_states(ApiOp *op, const Etcdserverpb__RangeResponse *range) {
        for (size_t i = 0; i < range->n_kvs; i++) {
                _cleanup_free_ char *rest = registry_strip(op->api->c.registry, &range->kvs[i]->key, "state/");
                _cleanup_free_ char *machine = NULL, *name = NULL;
                if (!rest || !registry_split(rest, &machine, &name))
                        continue;
                GROW(op->states, op->cap_states, op->n_states + 1);
                if (state_decode(machine, name, &range->kvs[i]->value, &op->states[op->n_states]) >= 0)
                        op->n_states++;
        }
        if (op->n_states > 0)
                qsort(op->states, op->n_states, sizeof(*op->states), by_state);
}

/* Keys come sorted: an id's metadata before its object. */
void api_take_machines(ApiOp *op, const Etcdserverpb__RangeResponse *range) {
        Metadata set = {};
        _cleanup_free_ char *of = NULL;

        for (size_t i = 0; i < range->n_kvs; i++) {
                const Etcdserverpb__KeyValue *kv = range->kvs[i];
                _cleanup_free_ char *rest = registry_strip(op->api->c.registry, &kv->key, "machines/");
                char *slash = rest ? strchr(rest, '/') : NULL;
                if (!slash)
                        continue;
                *slash = 0;
                if (!streq_ptr(of, rest)) {
                        metadata_done(&set);
                        free(of);
                        of = xstrdup(rest);
                }
                const char *key = startswith(slash + 1, "metadata/");
                if (key) {
                        _cleanup_free_ char *value = etcd_text(&kv->value);
                        metadata_add(&set, key, value);
                } else if (streq(slash + 1, "object")) {
                        GROW(op->machines, op->cap_machines, op->n_machines + 1);
                        MachineRecord *m = &op->machines[op->n_machines];
                        if (machine_decode(rest, kv, m) < 0)
                                continue;
                        op->n_machines++;
                        for (size_t k = 0; set.keys && set.keys[k]; k++)
                                metadata_set(&m->metadata, set.keys[k], set.values[k]);
                }
        }
        metadata_done(&set);
}

const StateRecord *api_state_of(const ApiOp *op, const JobRecord *j) {
        if (!j->machine)
                return NULL;
        StateRecord want = { .name = j->name, .machine = j->machine };
        return op->n_states > 0 ? bsearch(&want, op->states, op->n_states, sizeof(*op->states), by_state) : NULL;
}

static void on_units_fetched(int error, const char *message, void *user) {
        ApiOp *op = user;
        op->fetch = NULL;
        if (error < 0)
                api_unreachable(op->q);
        else
                op->then(op);
}

void api_fetch_units(ApiOp *op, void (*then)(ApiOp *op)) {
        _cleanup_strv_ char **hashes = NULL;

        for (size_t i = 0; i < op->n_jobs; i++)
                strv_add(&hashes, op->jobs[i].hash);
        op->then = then;
        op->fetch = registry_fetch(op->api->c.registry, hashes, on_units_fetched, op);
        if (!op->fetch)
                then(op);
}

/* ---- units ---- */

static void write_unit(JsonOut *o, const ApiOp *op, const JobRecord *j, const UnitFile *u) {
        const StateRecord *s = api_state_of(op, j);

        jo_obj(o);
        if (!j->global)
                jo_kstr(o, "currentState", unit_state_to_string(s ? s->current : UNIT_INACTIVE));
        jo_kstr(o, "desiredState", unit_state_to_string(j->target));
        if (j->machine)
                jo_kstr(o, "machineID", j->machine);
        jo_kstr(o, "name", j->name);
        if (u->n > 0) {
                jo_key(o, "options");
                jo_arr(o);
                for (size_t i = 0; i < u->n; i++) {
                        jo_obj(o);
                        if (*u->options[i].name)
                                jo_kstr(o, "name", u->options[i].name);
                        if (*u->options[i].section)
                                jo_kstr(o, "section", u->options[i].section);
                        if (*u->options[i].value)
                                jo_kstr(o, "value", u->options[i].value);
                        jo_end(o);
                }
                jo_end(o);
        }
        jo_end(o);
}

static void drop_units_without_content(ApiOp *op) {
        size_t n = 0;
        for (size_t i = 0; i < op->n_jobs; i++) {
                if (registry_unit(op->api->c.registry, op->jobs[i].hash))
                        op->jobs[n++] = op->jobs[i];
                else
                        job_done(&op->jobs[i]);
        }
        op->n_jobs = n;
}

static void answer_unit_list(ApiOp *op) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut o = { .buf = &b };
        size_t from, to;
        char token[TOKEN_CHARS];

        drop_units_without_content(op);
        api_slice(op, op->n_jobs, &from, &to, token);
        jo_obj(&o);
        if (*token)
                jo_kstr(&o, "nextPageToken", token);
        if (to > from) {
                jo_key(&o, "units");
                jo_arr(&o);
                for (size_t i = from; i < to; i++)
                        write_unit(&o, op, &op->jobs[i], registry_unit(op->api->c.registry, op->jobs[i].hash));
                jo_end(&o);
        }
        jo_end(&o);
        api_json(op->q, 200, &b);
}

static void on_unit_list(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        if (!api_result_ok(op, r))
                return;
        api_take_jobs(op, r->txn->responses[0]->response_range);
        api_take_states(op, r->txn->responses[1]->response_range);
        api_fetch_units(op, answer_unit_list);
}

static void read_prefixes(ApiOp *op, const char *const *folders, size_t n, EtcdDone done) {
        EtcdTxn *t = etcd_txn_new();
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *key = registry_key(op->api->c.registry, "%s", folders[i]);
                etcd_txn_get_prefix(t, key);
        }
        op->call = etcd_txn_commit(etcd_of(op), t, done, op);
}

void api_list_units(Api *a, HttpReq *q) {
        ApiOp *op = api_op_new(a, q, NULL);
        if (api_page(op))
                read_prefixes(op, (const char *const[]){ "job/", "state/" }, 2, on_unit_list);
}

static void answer_unit(ApiOp *op) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut o = { .buf = &b };
        const UnitFile *u = registry_unit(op->api->c.registry, op->jobs[0].hash);

        if (!u) {
                api_error(op->q, 404, "unit does not exist");
                return;
        }
        write_unit(&o, op, &op->jobs[0], u);
        api_json(op->q, 200, &b);
}

static void on_unit_state(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        if (!api_result_ok(op, r))
                return;
        api_take_states(op, r->range);
        api_fetch_units(op, answer_unit);
}

static void on_unit(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        if (!api_result_ok(op, r))
                return;
        api_take_jobs(op, r->range);
        if (op->n_jobs == 0) {
                api_error(op->q, 404, "unit does not exist");
                return;
        }
        if (!op->jobs[0].machine) {
                api_fetch_units(op, answer_unit);
                return;
        }
        _cleanup_free_ char *key = registry_key(op->api->c.registry, "state/%s/%s", op->jobs[0].machine, op->name);
        op->call = etcd_get_key(etcd_of(op), key, on_unit_state, op);
}

static void get_job(ApiOp *op, EtcdDone done) {
        _cleanup_free_ char *key = registry_key(op->api->c.registry, "job/%s", op->name);
        op->call = etcd_get_key(etcd_of(op), key, done, op);
}

void api_get_unit(Api *a, HttpReq *q, const char *name) {
        get_job(api_op_new(a, q, name), on_unit);
}

/* ---- states ---- */

static void write_state(JsonOut *o, const StateRecord *s) {
        jo_obj(o);
        const struct {
                const char *key, *value;
        } fields[] = {
                { "hash", s->hash },
                { "machineID", s->machine },
                { "name", s->name },
                { "systemdActiveState", s->active },
                { "systemdLoadState", s->load },
                { "systemdSubState", s->sub },
        };
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                if (!isempty(fields[i].value))
                        jo_kstr(o, fields[i].key, fields[i].value);
        jo_end(o);
}

static void filter_states(ApiOp *op) {
        const char *machine = http_query(op->q, "machineID"), *name = http_query(op->q, "unitName");
        size_t n = 0;

        for (size_t i = 0; i < op->n_states; i++) {
                StateRecord *s = &op->states[i];
                if ((isempty(machine) || streq(machine, s->machine)) && (isempty(name) || streq(name, s->name)))
                        op->states[n++] = *s;
                else
                        state_done(s);
        }
        op->n_states = n;
}

static void on_state_list(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        _cleanup_(buf_done) Buf b = {};
        JsonOut o = { .buf = &b };
        size_t from, to;
        char token[TOKEN_CHARS];

        if (!api_result_ok(op, r))
                return;
        api_take_states(op, r->range);
        filter_states(op);
        api_slice(op, op->n_states, &from, &to, token);
        jo_obj(&o);
        if (*token)
                jo_kstr(&o, "nextPageToken", token);
        if (to > from) {
                jo_key(&o, "states");
                jo_arr(&o);
                for (size_t i = from; i < to; i++)
                        write_state(&o, &op->states[i]);
                jo_end(&o);
        }
        jo_end(&o);
        api_json(op->q, 200, &b);
}

void api_list_states(Api *a, HttpReq *q) {
        ApiOp *op = api_op_new(a, q, NULL);
        _cleanup_free_ char *key = registry_key(a->c.registry, "state/");
        if (api_page(op))
                op->call = etcd_get_prefix(etcd_of(op), key, on_state_list, op);
}

/* COMPAT: fleetd dies on a unit without a state, and the stock fleetctl on a 404 here; so an existing unit always
 * has at least its name. */
static void answer_state(ApiOp *op) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut o = { .buf = &b };
        StateRecord none = { .name = op->name };
        const StateRecord *s = op->n_jobs > 0 && op->jobs[0].machine ? api_state_of(op, &op->jobs[0]) : NULL;

        for (size_t i = 0; i < op->n_states && !s; i++)
                if (streq(op->states[i].name, op->name))
                        s = &op->states[i];
        write_state(&o, s ? s : &none);
        api_json(op->q, 200, &b);
}

static void on_all_states(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        if (!api_result_ok(op, r))
                return;
        api_take_states(op, r->range);
        answer_state(op);
}

static void on_state_job(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        if (!api_result_ok(op, r))
                return;
        api_take_jobs(op, r->range);
        if (op->n_jobs == 0) {
                api_error(op->q, 404, "unit state does not exist");
                return;
        }
        const JobRecord *j = &op->jobs[0];
        if (!j->global && !j->machine) {
                answer_state(op);
                return;
        }
        _cleanup_free_ char *key = j->machine ? registry_key(op->api->c.registry, "state/%s/%s", j->machine, op->name) :
                                                registry_key(op->api->c.registry, "state/");
        op->call = j->machine ? etcd_get_key(etcd_of(op), key, on_all_states, op) :
                                etcd_get_prefix(etcd_of(op), key, on_all_states, op);
}

void api_get_state(Api *a, HttpReq *q, const char *name) {
        get_job(api_op_new(a, q, name), on_state_job);
}

/* ---- machines ---- */

static void write_machine(JsonOut *o, const MachineRecord *m) {
        _cleanup_strv_ char **keys = strv_copy(m->metadata.keys);

        strv_sort(keys);
        jo_obj(o);
        jo_kstr(o, "id", m->id);
        if (keys && keys[0]) {
                jo_key(o, "metadata");
                jo_obj(o);
                STRV_FOREACH(k, keys)
                        jo_kstr(o, *k, metadata_get(&m->metadata, *k));
                jo_end(o);
        }
        if (!isempty(m->ip))
                jo_kstr(o, "primaryIP", m->ip);
        jo_end(o);
}

static void on_machines(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        _cleanup_(buf_done) Buf b = {};
        JsonOut o = { .buf = &b };
        size_t from, to;
        char token[TOKEN_CHARS];

        if (!api_result_ok(op, r))
                return;
        api_take_machines(op, r->range);
        api_slice(op, op->n_machines, &from, &to, token);
        jo_obj(&o);
        if (to > from) {
                jo_key(&o, "machines");
                jo_arr(&o);
                for (size_t i = from; i < to; i++)
                        write_machine(&o, &op->machines[i]);
                jo_end(&o);
        }
        if (*token)
                jo_kstr(&o, "nextPageToken", token);
        jo_end(&o);
        api_json(op->q, 200, &b);
}

void api_list_machines(Api *a, HttpReq *q) {
        ApiOp *op = api_op_new(a, q, NULL);
        _cleanup_free_ char *key = registry_key(a->c.registry, "machines/");
        if (api_page(op))
                op->call = etcd_get_prefix(etcd_of(op), key, on_machines, op);
}

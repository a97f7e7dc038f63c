/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "fleet/api-internal.h"
#include "fleet/plan/name.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define PATCH_OPS_MAX 100 /* one transaction */

static EtcdClient *etcd_of(ApiOp *op) {
        return registry_etcd(op->api->c.registry);
}

static void errorf(HttpReq *q, int status, const char *fmt, ...) _printf_(3, 4);
static void errorf(HttpReq *q, int status, const char *fmt, ...) {
        char text[1024];
        va_list ap;
        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        api_error(q, status, text);
}

/* ---- reading the body ---- */

static bool content_type_ok(HttpReq *q) {
        const char *type = NULL;
        size_t n = 0;

        for (size_t i = 0; i < q->n_headers; i++)
                if (strcasecmp(q->headers[i].name, "content-type") == 0) {
                        type = q->headers[i].value;
                        n++;
                }
        if (n != 1) {
                errorf(q, 415, "expected 1 Content-Type, got %zu", n);
                return false;
        }
        size_t len = strcspn(type, "; \t");
        if (len != strlen("application/json") || strncasecmp(type, "application/json", len) != 0) {
                api_error(q, 415, "only acceptable Content-Type is application/json");
                return false;
        }
        return true;
}

/* What clients send must come back as it was, and give the same file on every machine. */
static int options_survive(const UnitFile *u, Err *err) {
        _cleanup_free_ char *text = unitfile_text(u);
        _cleanup_(unitfile_done) UnitFile again = {};

        int r = unitfile_parse(text, strlen(text), 0, &again, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *same = unitfile_text(&again);
        if (!streq(text, same))
                return err_set(err, -EINVAL, "options cannot be written as a unit file and read back");
        return 0;
}

static bool has_nul(const json_t *v) {
        return json_is_string(v) && strlen(json_string_value(v)) != json_string_length(v);
}

static int read_options(const json_t *body, UnitFile *ret, Err *err) {
        const json_t *list = json_object_get(body, "options");
        size_t i;
        json_t *o;

        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list))
                return err_set(err, -EINVAL, "unable to decode body: options is no array");
        if (json_array_size(list) > UNITFILE_OPTIONS_MAX)
                return err_set(err, -EINVAL, "unable to decode body: more than %d options", UNITFILE_OPTIONS_MAX);
        json_array_foreach(list, i, o) {
                const char *keys[] = { "section", "name", "value" };
                const char *v[3];
                for (size_t k = 0; k < 3; k++) {
                        const json_t *f = json_object_get(o, keys[k]);
                        if (!json_is_object(o) || (f && !json_is_string(f) && !json_is_null(f)) || has_nul(f))
                                return err_set(err, -EINVAL, "unable to decode body: option %zu is malformed", i);
                        v[k] = strempty(json_string_value(f));
                }
                unitfile_add(ret, v[0], v[1], v[2]);
        }
        return 0;
}

static bool read_desired(ApiOp *op, const json_t *body) {
        const json_t *v = json_object_get(body, "desiredState");
        const char *s = json_string_value(v);

        if (!v || json_is_null(v) || (s && !*s))
                return true;
        op->desired = unit_state_from_string(s);
        op->desired_given = true;
        if (op->desired >= 0)
                return true;
        errorf(op->q, 400, "invalid desiredState \"%s\": must be inactive, loaded or launched", strempty(s));
        return false;
}

static bool read_unit_body(ApiOp *op) {
        _cleanup_json_ json_t *body = NULL;
        _cleanup_(err_done) Err err = {};
        HttpReq *q = op->q;

        if (!content_type_ok(q))
                return false;
        if (ji_parse(q->body.data, q->body.len, API_UNIT_BODY_MAX, &body, &err) < 0 || !json_is_object(body)) {
                errorf(q, 400, "unable to decode body: %s", body ? "not an object" : err_msg(&err));
                return false;
        }
        const char *name = ji_str(body, "name");
        if (has_nul(json_object_get(body, "name")) || (!isempty(name) && !streq(name, op->name))) {
                errorf(q, 400, "name in URL \"%s\" differs from unit name in request body \"%s\"", op->name, name);
                return false;
        }
        if (unit_name_validate(op->name, &err) < 0 || read_options(body, &op->options, &err) < 0) {
                api_error(q, 400, err_msg(&err));
                return false;
        }
        if (!read_desired(op, body))
                return false;
        if (op->options.n > 0)
                op->hash = unitfile_hash(&op->options);
        return true;
}

/* ---- PUT ---- */

static void read_job(ApiOp *op);

/* The one place where a unit's options are judged, for creation and for replacement. */
static bool valid_options(ApiOp *op, bool *ret_global) {
        _cleanup_(xfleet_done) XFleet x = {};
        _cleanup_(err_done) Err err = {};

        xfleet_read(&op->options, op->name, &x);
        if (options_survive(&op->options, &err) < 0 || xfleet_validate(&x, &err) < 0) {
                api_error(op->q, 400, err_msg(&err));
                return false;
        }
        *ret_global = x.global;
        return true;
}

static void on_put(const EtcdResult *r, void *user) {
        ApiOp *op = user;

        bool too_large = r->code == GRPC_INVALID_ARGUMENT ||
                         (r->code == GRPC_RESOURCE_EXHAUSTED && strstr(r->message, "larger than max"));
        if (r->error == -EREMOTE && too_large) {
                op->call = NULL;
                api_error(op->q, 400, r->message);
                return;
        }
        if (!api_result_ok(op, r))
                return;
        if (r->txn->succeeded)
                api_empty(op->q, op->page); /* the status that was decided on */
        else if (++op->attempts < API_CONFLICTS_MAX)
                read_job(op);
        else
                api_error(op->q, 409, "the unit keeps changing, try again");
}

static void commit_job(ApiOp *op, const JobRecord *old, const JobRecord *now, bool content, int status) {
        Registry *r = op->api->c.registry;
        _cleanup_free_ char *key = registry_key(r, "job/%s", op->name);
        EtcdTxn *t = etcd_txn_new();

        etcd_txn_if_mod_revision(t, key, old ? old->mod_revision : 0);
        if (content) {
                /* Always written, also when it is there: that keeps the collector of unused contents off it. */
                _cleanup_free_ char *unit = registry_key(r, "unit/%s", now->hash), *value = unit_encode(&op->options);
                etcd_txn_put(t, unit, value, strlen(value), 0);
                registry_add_unit(r, now->hash, &op->options);
        }
        registry_txn_job(r, t, old, now);
        op->page = (uint16_t) status;
        op->call = etcd_txn_commit(etcd_of(op), t, on_put, op);
}

static bool may_activate(ApiOp *op, UnitState desired) {
        if (desired == UNIT_INACTIVE || !unit_name_is_template(op->name))
                return true;
        errorf(op->q, 400, "cannot activate template \"%s\"", op->name);
        return false;
}

static void write_content(ApiOp *op, const JobRecord *old) {
        UnitState target = op->desired_given ? op->desired : UNIT_INACTIVE;
        JobRecord now = { .name = op->name, .hash = op->hash, .target = target };

        if (!valid_options(op, &now.global) || !may_activate(op, target))
                return;
        if (old && target != UNIT_INACTIVE && !now.global)
                now.machine = old->machine;
        commit_job(op, old, &now, true, 201);
}

static void write_target(ApiOp *op, const JobRecord *old) {
        JobRecord now = *old;

        if (!op->desired_given) {
                api_error(op->q, 409, "must provide DesiredState to update existing unit");
                return;
        }
        if (!may_activate(op, op->desired))
                return;
        now.target = op->desired;
        if (now.target == UNIT_INACTIVE)
                now.machine = NULL; /* needs no engine: it is what the engine would decide */
        if (now.target == old->target && streq_ptr(now.machine, old->machine))
                api_empty(op->q, 204);
        else
                commit_job(op, old, &now, false, 204);
}

static void on_job(const EtcdResult *r, void *user) {
        ApiOp *op = user;

        if (!api_result_ok(op, r))
                return;
        for (size_t i = 0; i < op->n_jobs; i++)
                job_done(&op->jobs[i]);
        op->n_jobs = 0;
        api_take_jobs(op, r->range);
        const JobRecord *old = op->n_jobs > 0 ? &op->jobs[0] : NULL;
        if (!old && !op->hash)
                api_error(op->q, 409, "unit does not exist and options field empty");
        else if (!old || (op->hash && !streq(op->hash, old->hash)))
                write_content(op, old);
        else
                write_target(op, old);
}

static void read_job(ApiOp *op) {
        _cleanup_free_ char *key = registry_key(op->api->c.registry, "job/%s", op->name);
        op->call = etcd_get_key(etcd_of(op), key, on_job, op);
}

void api_put_unit(Api *a, HttpReq *q, const char *name) {
        ApiOp *op = api_op_new(a, q, name);
        if (read_unit_body(op))
                read_job(op);
}

/* ---- DELETE ---- */

static void on_delete_job(const EtcdResult *r, void *user);

static void on_deleted(const EtcdResult *r, void *user) {
        ApiOp *op = user;

        if (!api_result_ok(op, r))
                return;
        if (r->txn->succeeded) {
                api_empty(op->q, 204);
                return;
        }
        if (++op->attempts >= API_CONFLICTS_MAX) {
                api_error(op->q, 409, "the unit keeps changing, try again");
                return;
        }
        _cleanup_free_ char *key = registry_key(op->api->c.registry, "job/%s", op->name);
        op->call = etcd_get_key(etcd_of(op), key, on_delete_job, op);
}

static void on_delete_job(const EtcdResult *r, void *user) {
        ApiOp *op = user;

        if (!api_result_ok(op, r))
                return;
        for (size_t i = 0; i < op->n_jobs; i++)
                job_done(&op->jobs[i]);
        op->n_jobs = 0;
        api_take_jobs(op, r->range);
        if (r->range->n_kvs == 0) {
                api_error(op->q, 404, "unit does not exist");
                return;
        }
        _cleanup_free_ char *key = registry_key(op->api->c.registry, "job/%s", op->name);
        EtcdTxn *t = etcd_txn_new();
        etcd_txn_if_mod_revision(t, key, r->range->kvs[0]->mod_revision);
        if (op->n_jobs > 0)
                registry_txn_job_delete(op->api->c.registry, t, &op->jobs[0]);
        else
                etcd_txn_delete(t, key); /* one that cannot be understood can still be destroyed */
        op->call = etcd_txn_commit(etcd_of(op), t, on_deleted, op);
}

void api_delete_unit(Api *a, HttpReq *q, const char *name) {
        ApiOp *op = api_op_new(a, q, name);
        _cleanup_free_ char *key = registry_key(a->c.registry, "job/%s", name);
        op->call = etcd_get_key(etcd_of(op), key, on_delete_job, op);
}

/* ---- PATCH machines ---- */

/* "/<machine>/metadata/<key>" to "machines/<machine>/metadata/<key>", owned, or NULL. */
static char *patch_key(const char *path) {
        const char *machine = path && *path == '/' ? path + 1 : NULL, *slash = machine ? strchr(machine, '/') : NULL;
        const char *key = slash && slash > machine ? startswith(slash, "/metadata/") : NULL;

        if (isempty(key))
                return NULL;
        for (const char *c = key; *c; c++)
                if (!strchr("_.-", *c) && !(*c >= '0' && *c <= '9') && !(*c >= 'A' && *c <= 'Z') &&
                    !(*c >= 'a' && *c <= 'z'))
                        return NULL;
        return xasprintf("machines%s", path);
}

/* Both the documented "value":"V" and what clients really send, "value":{"value":"V"}. */
static const char *patch_value(const json_t *op) {
        const json_t *v = json_object_get(op, "value");
        return json_is_string(v) ? json_string_value(v) : json_is_object(v) ? ji_str(v, "value") : NULL;
}

static void patch_add(ApiOp *op, const char *key, const char *value) {
        for (size_t i = 0; op->patch_keys && op->patch_keys[i]; i++)
                if (streq(op->patch_keys[i], key)) {
                        free(op->patch_values[i]);
                        op->patch_values[i] = xstrdup(value);
                        return;
                }
        strv_add(&op->patch_keys, key);
        strv_add(&op->patch_values, value);
}

static const char *read_patch(ApiOp *op, const json_t *list) {
        size_t i;
        json_t *o;

        json_array_foreach(list, i, o) {
                const char *kind = strempty(ji_str(o, "op")), *value = patch_value(o);
                bool remove = streq(kind, "remove");
                if (!remove && !streq(kind, "add") && !streq(kind, "replace"))
                        return "invalid op: expect add, remove, or replace";
                _cleanup_free_ char *key = patch_key(ji_str(o, "path"));
                if (!key)
                        return "machine metadata path invalid";
                if (!remove && isempty(value))
                        return "invalid value: add and replace require a value";
                /* An empty value takes away what the machine's own configuration says, too. */
                patch_add(op, key, remove ? "" : value);
        }
        return NULL;
}

static void on_patched(const EtcdResult *r, void *user) {
        ApiOp *op = user;
        if (api_result_ok(op, r))
                api_empty(op->q, 204);
}

void api_patch_machines(Api *a, HttpReq *q) {
        ApiOp *op = api_op_new(a, q, NULL);
        _cleanup_json_ json_t *list = NULL;
        _cleanup_(err_done) Err err = {};

        if (ji_parse(q->body.data, q->body.len, 0, &list, &err) < 0 || !json_is_array(list)) {
                api_error(q, 400, list ? "expected an array of operations" : err_msg(&err));
                return;
        }
        if (json_array_size(list) > PATCH_OPS_MAX) {
                errorf(q, 400, "at most %d operations in one request", PATCH_OPS_MAX);
                return;
        }
        const char *wrong = read_patch(op, list);
        if (wrong) {
                api_error(q, 400, wrong);
                return;
        }
        EtcdTxn *t = etcd_txn_new();
        for (size_t i = 0; op->patch_keys && op->patch_keys[i]; i++) {
                _cleanup_free_ char *key = registry_key(a->c.registry, "%s", op->patch_keys[i]);
                etcd_txn_put(t, key, op->patch_values[i], strlen(op->patch_values[i]), 0);
        }
        op->call = etcd_txn_commit(etcd_of(op), t, on_patched, op);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/api-internal.h"

#include "base/alloc.h"
#include "base/str.h"

/* ---- a request's life ---- */

static void op_free(HttpReq *q) {
        ApiOp *op = q->user;

        etcd_call_cancel(op->call);
        registry_fetch_cancel(op->fetch);
        for (size_t i = 0; i < op->n_jobs; i++)
                job_done(&op->jobs[i]);
        for (size_t i = 0; i < op->n_states; i++)
                state_done(&op->states[i]);
        for (size_t i = 0; i < op->n_machines; i++)
                machine_done(&op->machines[i]);
        free(op->jobs);
        free(op->states);
        free(op->machines);
        unitfile_done(&op->options);
        strv_free(op->patch_keys);
        strv_free(op->patch_values);
        free(op->hash);
        free(op->name);
        free(op);
}

static void op_cancelled(HttpReq *q) {
        ApiOp *op = q->user;
        op->call = etcd_call_cancel(op->call);
        op->fetch = registry_fetch_cancel(op->fetch);
}

ApiOp *api_op_new(Api *a, HttpReq *q, const char *name) {
        ApiOp *op = xnew(ApiOp, 1);
        op->api = a;
        op->q = q;
        op->name = name ? xstrdup(name) : NULL;
        q->user = op;
        q->on_cancel = op_cancelled;
        q->on_free = op_free;
        return op;
}

/* ---- metrics ---- */

static void counter(Buf *b, const char *name, const char *labels, uint64_t value) {
        buf_addf(b, "fleet_engine_%s%s %" PRIu64 "\n", name, labels, value);
}

static void metrics(Api *a, HttpReq *q) {
        _cleanup_(buf_done) Buf b = {};
        const EngineStats none = {}, *s = a->c.engine ? engine_stats(a->c.engine) : &none;

        buf_adds(&b, "# TYPE fleet_engine_leader_start_time gauge\n");
        counter(&b, "leader_start_time", "", s->leader_since / USEC_PER_SEC);
        buf_adds(&b, "# TYPE fleet_engine_reconcile_count_total counter\n");
        counter(&b, "reconcile_count_total", "", s->reconciles);
        buf_adds(&b, "# TYPE fleet_engine_task_count_total counter\n");
        counter(&b, "task_count_total", "{type=\"attemptscheduleunit\"}", s->schedules + s->schedule_failures);
        counter(&b, "task_count_total", "{type=\"unscheduleunit\"}", s->unschedules + s->unschedule_failures);
        buf_adds(&b, "# TYPE fleet_engine_task_failure_count_total counter\n");
        counter(&b, "task_failure_count_total", "{type=\"attemptscheduleunit\"}", s->schedule_failures);
        counter(&b, "task_failure_count_total", "{type=\"unscheduleunit\"}", s->unschedule_failures);
        buf_adds(&b, "# TYPE fleet_engine_reconcile_failure_count_total counter\n");
        counter(&b, "reconcile_failure_count_total", "{type=\"machine_away\"}", s->machine_away);
        http_respond(q, 200, "text/plain; version=0.0.4", b.data, b.len);
}

/* ---- routing ---- */

/* "/fleet/v1/units/a.service" to ("units", "a.service"). The raw path is looked at for slashes, so that %2F in a
 * name does not make a path of it, but a nested one, which there is not. */
static const char *below_base(const char *path) {
        const char *bases[] = { "/fleet/v1", "/v1-alpha" };
        for (size_t i = 0; i < ELEMENTSOF(bases); i++) {
                const char *rest = startswith(path, bases[i]);
                if (rest && (*rest == '/' || !*rest))
                        return rest;
        }
        return NULL;
}

static void units(Api *a, HttpReq *q, const char *item) {
        unsigned m = http_method_bit(q->method);

        if (!item && m == HTTP_GET)
                api_list_units(a, q);
        else if (!item)
                api_error(q, 405, "only GET supported against this resource");
        else if (m == HTTP_GET)
                api_get_unit(a, q, item);
        else if (m == HTTP_PUT)
                api_put_unit(a, q, item);
        else if (m == HTTP_DELETE)
                api_delete_unit(a, q, item);
        else
                api_error(q, 405, "only GET, PUT and DELETE supported against this resource");
}

static void states(Api *a, HttpReq *q, const char *item) {
        if (http_method_bit(q->method) != HTTP_GET)
                api_error(q, 405, "only GET supported against this resource");
        else if (item)
                api_get_state(a, q, item);
        else
                api_list_states(a, q);
}

static void machines(Api *a, HttpReq *q, const char *item) {
        unsigned m = http_method_bit(q->method);

        if (item)
                api_error(q, 404, "");
        else if (m == HTTP_GET)
                api_list_machines(a, q);
        else if (m == HTTP_PATCH)
                api_patch_machines(a, q);
        else
                api_error(q, 405, "only GET and PATCH supported against this resource");
}

static void discovery(HttpReq *q, const char *item) {
        if (item)
                api_error(q, 404, "");
        else if (http_method_bit(q->method) != HTTP_GET)
                api_error(q, 400, "only HTTP GET supported against this resource");
        else {
                Buf b = { .data = (char *) api_discovery_text, .len = strlen(api_discovery_text) };
                api_json(q, 200, &b);
        }
}

static void explain(Api *a, HttpReq *q, const char *item) {
        if (!item)
                api_error(q, 404, "");
        else if (http_method_bit(q->method) != HTTP_GET)
                api_error(q, 405, "only GET supported against this resource");
        else
                api_explain(a, q, item);
}

static void dispatch(HttpReq *q, void *user) {
        Api *a = user;
        const char *rest = below_base(q->path);

        if (!rest || !*rest) {
                bool root = rest || streq(q->path, "/");
                api_error(q, root ? 405 : 404, "");
                return;
        }
        const char *name = rest + 1, *slash = strchr(name, '/');
        _cleanup_free_ char *collection = slash ? xstrndup(name, (size_t) (slash - name)) : xstrdup(name);
        const char *item = slash ? slash + 1 : NULL;

        if (item && (!*item || strchr(item, '/')))
                api_error(q, 404, "");
        else if (streq(collection, "units"))
                units(a, q, item);
        else if (streq(collection, "state"))
                states(a, q, item);
        else if (streq(collection, "machines"))
                machines(a, q, item);
        else if (streq(collection, "discovery"))
                discovery(q, item);
        else if (streq(collection, "explain"))
                explain(a, q, item);
        else
                api_error(q, 404, "");
}

void api_handle(HttpReq *q, void *user) {
        Api *a = user;

        if (!a->ready) {
                api_unreachable(q);
                return;
        }
        if (streq(q->path, "/metrics") && http_method_bit(q->method) == HTTP_GET) {
                metrics(a, q);
                return;
        }
        http_collect(q, API_UNIT_BODY_MAX, dispatch, a);
}

Api *api_new(const ApiConfig *config) {
        Api *a = xnew(Api, 1);
        a->c = *config;
        return a;
}

Api *api_free(Api *a) {
        free(a);
        return NULL;
}

void api_set_ready(Api *a, bool ready) {
        a->ready = ready;
}

void api_set_token_limit(Api *a, uint64_t limit) {
        a->c.token_limit = limit;
}

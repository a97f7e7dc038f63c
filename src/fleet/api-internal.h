/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "fleet/api.h"

#include "codec/jsonout.h"

#define API_SERVER "fleetd/" CORACLE_VERSION
#define API_UNIT_BODY_MAX (4U << 20)
#define API_CONFLICTS_MAX 20 /* attempts of a write that others keep getting in the way of */

struct Api {
        ApiConfig c;
        bool ready;
};

/* One request on its way through the registry. Freed with the HttpReq (on_free), which cancels what is under way;
 * callbacks from the registry therefore never find a request that is gone. */
typedef struct ApiOp {
        Api *api;
        HttpReq *q;
        char *name; /* of the unit; owned, may be NULL */
        EtcdCall *call;
        RegistryFetch *fetch;
        /* lists */
        uint16_t page;
        JobRecord *jobs;
        size_t n_jobs, cap_jobs;
        StateRecord *states;
        size_t n_states, cap_states;
        MachineRecord *machines;
        size_t n_machines, cap_machines;
        void (*then)(struct ApiOp *op); /* after the fetch */
        /* writes */
        UnitFile options;
        char *hash; /* of options; NULL = none given */
        UnitState desired;
        bool desired_given;
        int attempts;
        char **patch_keys, **patch_values; /* owned strvs */
} ApiOp;

typedef struct ApiPath {
        char *collection, *item; /* owned; item NULL = the collection itself */
} ApiPath;

ApiOp *api_op_new(Api *a, HttpReq *q, const char *name);
/* api-reply.c */
void api_json(HttpReq *q, int status, const Buf *body);
void api_empty(HttpReq *q, int status);
void api_error(HttpReq *q, int status, const char *message);
void api_unreachable(HttpReq *q);
/* True = the result is good; else the request has been answered with 503. */
bool api_result_ok(ApiOp *op, const EtcdResult *r);
/* Reads ?nextPageToken; false = answered with 400. */
bool api_page(ApiOp *op);
/* The slice of `total` that is on this page; writes "nextPageToken" when there is another. */
void api_slice(const ApiOp *op, size_t total, size_t *ret_from, size_t *ret_to, char *ret_token);
/* api-read.c */
void api_list_units(Api *a, HttpReq *q);
void api_get_unit(Api *a, HttpReq *q, const char *name);
void api_list_states(Api *a, HttpReq *q);
void api_get_state(Api *a, HttpReq *q, const char *name);
void api_list_machines(Api *a, HttpReq *q);
void api_take_jobs(ApiOp *op, const Etcdserverpb__RangeResponse *range);
void api_take_states(ApiOp *op, const Etcdserverpb__RangeResponse *range);
void api_take_machines(ApiOp *op, const Etcdserverpb__RangeResponse *range);
const StateRecord *api_state_of(const ApiOp *op, const JobRecord *j);
/* Reads contents of all op->jobs, then op->then(op). */
void api_fetch_units(ApiOp *op, void (*then)(ApiOp *op));
/* api-write.c */
void api_put_unit(Api *a, HttpReq *q, const char *name);
void api_delete_unit(Api *a, HttpReq *q, const char *name);
void api_patch_machines(Api *a, HttpReq *q);
/* api-explain.c */
void api_explain(Api *a, HttpReq *q, const char *name);
/* discovery.c */
extern const char api_discovery_text[];

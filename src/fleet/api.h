/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* fleet's HTTP API (spec/fleet.md section 2), on /fleet/v1 and /v1-alpha, so that the stock fleetctl works. Beyond it:
 * GET /fleet/v1/explain/NAME says why a unit is not running, as
 * {"error","machineID","name","placed","reason","waiting"}.
 *
 * Every read is one linearizable transaction: what one daemon has acknowledged every other one shows. Every write is
 * checked by the same code, whichever path it comes on. */

#include "fleet/engine.h"
#include "fleet/registry.h"
#include "http/http.h"

typedef struct Api Api;

typedef struct ApiConfig {
        Registry *registry;
        Engine *engine; /* for metrics; may be NULL */
        uint64_t token_limit;
} ApiConfig;

Api *api_new(const ApiConfig *config);
Api *api_free(Api *a); /* the HTTP server must be gone before */
DEFINE_CLEANUP(Api *, api_free)
void api_set_ready(Api *a, bool ready); /* false: every request is answered with 503 */
void api_set_token_limit(Api *a, uint64_t limit);
void api_handle(HttpReq *q, void *api); /* HttpHandler */

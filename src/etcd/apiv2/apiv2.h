/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The v2 API over HTTP: /v2/keys, /v2/machines, /v2/members, /v2/stats (spec a.1 to a.5), answer by answer as
 * etcd 3.4 with --enable-v2 gives it; tests/interop/test-etcd-v2-parity.py holds the two side by side.
 * Parameters are parsed here, in etcd's order of checks; what a request does is the store's business. */

#include "etcd/server.h"

/* Handlers of routes; `user` is the EtcdServer. */
void apiv2_keys(HttpReq *q, void *user);
void apiv2_machines(HttpReq *q, void *user);
void apiv2_members(HttpReq *q, void *user);
void apiv2_auth(HttpReq *q, void *user);
/* Gives a watcher's client what is queued for it. */
void apiv2_watch_deliver(V2Watcher *w);

/* "Method Not Allowed" with Allow, as etcd's handlers write it; `allow` NULL leaves the header out. */
void http_method_not_allowed(HttpReq *q, const char *allow);
/* Go's http.Error(): text and a newline, nosniff. */
void http_go_error(HttpReq *q, int status, const char *text);
/* {"message":"..."} */
void http_message_error(HttpReq *q, int status, const char *fmt, ...) _printf_(3, 4);
void http_add_cluster_id(const EtcdServer *s, HttpReq *q);
/* GET /members of the peer port, and the members of /v2/members. */
void apiv2_peer_members(HttpReq *q, void *user);

/* ---- the parameters of /v2/keys, for the handler and for tests ---- */
typedef struct V2Form V2Form;
typedef struct V2Params {
        bool get, wait, quorum, stream, recursive, sorted, dir, no_value;
        uint64_t wait_index;
        V2Req write;
        bool has_ttl;
        uint64_t ttl;
} V2Params;
/* method, path (clean, without /v2/keys), query and form body as they came. 0, or the code of the error with its
 * cause in the arena. */
int v2_params_parse(const char *method, const char *path, const char *query, const char *body, size_t body_len,
                    Arena *arena, V2Params *ret, char **ret_cause);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A small client of etcd's v2 HTTP API (spec a.1 to a.5), asynchronous on sd-event: one request, one answer,
 * other endpoints when one does not work. A GET is repeated elsewhere whatever happened; anything else only
 * while the server certainly did not get it. Watches are GETs with wait=true: the caller asks again from the
 * event's modifiedIndex + 1, an empty answer means "ask again". */

#include "base/err.h"
#include "base/time.h"
#include "http/tls.h"

#include <jansson.h>
#include <systemd/sd-event.h>

#define ETCD2_TIMEOUT (5 * USEC_PER_SEC)

typedef struct Etcd2Client Etcd2Client;
typedef struct Etcd2Call Etcd2Call;

typedef struct Etcd2Config {
        sd_event *event;        /* kept by reference */
        char *const *endpoints; /* "http://127.0.0.1:2379"; copied */
        TlsContext *tls;        /* kept by reference; may be NULL */
        Usec timeout;           /* of one attempt; 0 = 1 s, as etcdctl */
        Usec total_timeout;     /* of a request; 0 = ETCD2_TIMEOUT */
} Etcd2Config;

int etcd2_client_new(const Etcd2Config *config, Etcd2Client **ret, Err *err);
Etcd2Client *etcd2_client_free(Etcd2Client *c); /* not from inside a callback */
DEFINE_CLEANUP(Etcd2Client *, etcd2_client_free)
char *const *etcd2_endpoints(const Etcd2Client *c);
int etcd2_set_endpoints(Etcd2Client *c, char *const *endpoints, Err *err);

typedef struct Etcd2Result {
        int error; /* negative errno: no server gave an answer; message tells why, one line an endpoint */
        const char *message; /* never NULL */
        int status;          /* HTTP status */
        const json_t *body;  /* NULL when it is empty or no JSON */
        const char *text;    /* the body as it came */
        uint64_t index;      /* X-Etcd-Index */
        int code;            /* errorCode of an error answer (100 = key not found), or 0 */
        const char *endpoint;
} Etcd2Result;
typedef void (*Etcd2Done)(const Etcd2Result *r, void *user);

typedef struct Etcd2Request {
        const char *method;   /* NULL = GET */
        const char *path;     /* "/v2/keys/a%20b", encoded */
        const char *query;    /* "recursive=true", or NULL */
        const char *form;     /* "value=x&ttl=5" as the body, or NULL */
        const char *json;     /* a JSON body instead (members), or NULL */
        bool wait;            /* may take for ever */
        const char *endpoint; /* only this one, or NULL */
} Etcd2Request;
Etcd2Call *etcd2_request(Etcd2Client *c, const Etcd2Request *q, Etcd2Done done, void *user);
Etcd2Call *etcd2_cancel(Etcd2Call *call); /* NULL is allowed */

/* /v2/keys + the key, encoded; owned. */
char *etcd2_key_path(const char *key);
/* Keys by their verbs; condition arguments: NULL or 0 = none. */
Etcd2Call *etcd2_get(Etcd2Client *c, const char *key, bool recursive, Etcd2Done done, void *user);
Etcd2Call *etcd2_set(Etcd2Client *c, const char *key, const char *value, int64_t ttl_sec, Etcd2Done done,
                     void *user);
Etcd2Call *etcd2_create(Etcd2Client *c, const char *key, const char *value, int64_t ttl_sec, Etcd2Done done,
                        void *user);
Etcd2Call *etcd2_compare_and_swap(Etcd2Client *c, const char *key, const char *value, const char *prev_value,
                                  uint64_t prev_index, Etcd2Done done, void *user);
Etcd2Call *etcd2_delete(Etcd2Client *c, const char *key, bool recursive, Etcd2Done done, void *user);
Etcd2Call *etcd2_watch(Etcd2Client *c, const char *key, bool recursive, uint64_t wait_index, Etcd2Done done,
                       void *user);
/* Replaces the endpoints by the members' client URLs; then done() with the answer of /v2/members. */
Etcd2Call *etcd2_sync(Etcd2Client *c, Etcd2Done done, void *user);

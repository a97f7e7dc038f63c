/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What client.c, call.c, watch.c and keeper.c share. */

#include "base/alloc.h"
#include "base/list.h"
#include "base/str.h"
#include "etcdclient/etcdclient.h"
#include "http/client.h"

#define ETCD_CLIENT_WATCH_TIMEOUT (3 * USEC_PER_SEC) /* for a server to confirm a watch */

struct EtcdClient {
        sd_event *event;
        HttpClient *http;
        char **endpoints; /* owned strv of origins */
        size_t n_endpoints, current;
        bool works; /* the current endpoint gave the last answer */
        bool require_leader;
        Usec timeout, dial_timeout;
        char *problem; /* owned; why an endpoint was left last */
        LIST_HEAD(EtcdCall) calls;
        LIST_HEAD(EtcdWatch) watches;
        LIST_HEAD(EtcdKeeper) keepers;
        size_t n_calls;
};

/* The endpoint to use now, borrowed. */
const char *client_endpoint(EtcdClient *c);
/* `endpoint` answered, or it failed: then another one becomes the current. */
void client_success(EtcdClient *c, const char *endpoint);
void client_failure(EtcdClient *c, const char *endpoint, const char *problem);

typedef enum Verdict {
        VERDICT_FINAL,   /* the server's decision */
        VERDICT_BEFORE,  /* it was certainly not carried out: may be repeated */
        VERDICT_UNKNOWN, /* it may have been carried out */
} Verdict;
/* What a failed attempt means; *ret_leave: try another endpoint. */
Verdict judge_failure(GrpcCode code, const char *message, bool sent, bool *ret_leave);
/* The pause before the n-th repetition (0, 1, 2 ...), with jitter. */
Usec backoff(unsigned n);

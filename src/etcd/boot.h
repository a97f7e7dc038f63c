/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a member comes to be: what is on its disk decides (a log there means restart, and all bootstrap flags are
 * then ignored, as in etcd), else the initial cluster, else discovery. */

#include "etcd/server.h"

/* What a fresh member starts from. */
typedef struct Founding {
        Members members;    /* all of the cluster */
        bool existing;      /* join: the log will come from the others */
        uint64_t id, cluster_id;
} Founding;
void founding_done(Founding *f);
/* Reads the flags, asks discovery or the running members; blocks. */
int founding_of(const EtcdConfig *c, TlsContext *peer_tls, Founding *ret, Err *err);
/* Checks and turns an initial cluster into members with ids; `name` is this member. -EINVAL with etcd's words. */
int founding_members(const EtcdConfig *c, const EtcdInitialCluster *cluster, const char *token, Founding *ret,
                     Err *err);
/* The JSON list of GET /members on a peer port into `ret`. -EBADMSG. */
int founding_parse_remote(const void *p, size_t n, Members *ret, Err *err);
/* Gives the flags' members the ids of the running cluster; -EINVAL when they are not the same members. */
int founding_match_remote(Members *local, const Members *remote, Err *err);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The discovery protocol, client side (spec a.7): members of a cluster that does not exist yet find each
 * other through a folder of any v2 store. Its URL is the token; TOKEN/_config/size says how many belong
 * together; each writes TOKEN/<member id> = "name=peerURL[,name=peerURL]" and waits until all are there. The
 * order of creation decides who belongs when more than `size` register.
 *
 * It runs before the server exists, so it blocks. Connection failures are tried again for ever, with growing
 * pauses, as etcd does: an operator starts machines in any order. */

#include "base/err.h"

#define DISCOVERY_SIZE_MAX 32U
#define DISCOVERY_PAUSE_MAX_SEC 32U

/* Registers this member ("name=url,..." in `config`) and returns the initial cluster once it is complete.
 * -EEXIST: the id or the name is registered already; -ENOSPC: the cluster is full; -ENOENT: no size key;
 * -EINVAL: the size key, the URL or what others registered is bad. */
int discovery_join(const char *url, uint64_t id, const char *config, char **ret_cluster, Err *err);
/* The cluster behind the token without registering. */
int discovery_read(const char *url, char **ret_cluster, Err *err);

/* ---- pure parts, for the above and for tests ---- */

typedef struct DiscoveryNode {
        char *key, *value; /* owned; key: what follows the last slash */
        uint64_t created;
} DiscoveryNode;
typedef struct DiscoveryNodes {
        DiscoveryNode *list; /* owned; ascending by created, without hidden ones */
        size_t n, cap;
} DiscoveryNodes;
void discovery_nodes_done(DiscoveryNodes *l);
/* The listing of the token's folder. -EBADMSG. */
int discovery_parse_listing(const void *p, size_t n, DiscoveryNodes *ret, Err *err);
/* "name=url,..." of the first `size` nodes, or -EINVAL when a name comes twice or a value is bad. */
int discovery_cluster(const DiscoveryNodes *l, size_t size, char **ret, Err *err);
/* Position of the member in the list, or -ENOENT. */
int discovery_position(const DiscoveryNodes *l, uint64_t id);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The replicated facts about members that are no membership changes: what a member publishes about itself (name,
 * client URLs), and the cluster version. They travel as CMD_ATTR and land in the list of members. Pure. */

#include "etcd/cluster/members.h"
#include "etcd/store/types.h"

#define ATTRIBUTES_VERSION_KEY "version"

/* Key and value of the attribute that publishes a member; both are appended to. */
void attributes_of_member(uint64_t id, const char *name, char *const *client_urls, Buf *key, Buf *value);
/* Folds an attribute into the list; unknown keys and malformed values change nothing. */
void attributes_apply(Members *m, Bytes key, Bytes value);

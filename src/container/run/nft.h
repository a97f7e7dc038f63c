/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The firewall side of the container network: one nftables table "coracle", loaded once per network namespace by
 * the nft program, with two maps of published ports whose elements are set by our own netlink messages (0.15 ms
 * instead of the 10 ms that starting nft takes). */

#include "container/run/spec.h"

#define NFT_TABLE "coracle"

/* Loads the table unless it is there for the same subnet. *ret_new says that its maps are empty now. */
int nft_table_ensure(const char *bridge, const char *subnet, bool *ret_new, Err *err);
/* Adds or replaces the element that leads p's host port to ip:p->port (ip in network byte order). */
int nft_port_add(const PortBinding *p, uint32_t ip, Err *err);
/* Removes it; nothing to do is success. */
int nft_port_remove(const PortBinding *p);

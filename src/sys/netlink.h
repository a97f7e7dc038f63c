/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Netlink messages: a builder, a socket with acknowledged requests, and the few rtnetlink operations that the
 * container network needs. Written without libmnl because the container shim is linked statically and Debian has
 * no static libmnl. */

#include "base/buf.h"

#include <linux/netlink.h>
#include <sys/types.h>

typedef struct Netlink {
        int fd;
        uint32_t seq;
} Netlink;

int netlink_open(int protocol, Netlink *ret); /* NETLINK_ROUTE, NETLINK_NETFILTER; in the caller's netns */
void netlink_done(Netlink *n);

/* Starts a message in `b` (appending), returns its offset for nl_end(). `body` is the fixed part behind
 * nlmsghdr. */
size_t nl_begin(Buf *b, uint16_t type, uint16_t flags, const void *body, size_t body_n);
void nl_end(Buf *b, size_t at);
void nl_attr(Buf *b, uint16_t type, const void *p, size_t n);
void nl_attr_str(Buf *b, uint16_t type, const char *s); /* with its NUL */
void nl_attr_u32(Buf *b, uint16_t type, uint32_t v);    /* host order */
void nl_attr_be32(Buf *b, uint16_t type, uint32_t v);
size_t nl_nest(Buf *b, uint16_t type);
void nl_nest_end(Buf *b, size_t at);

/* Sends one message (built with NLM_F_ACK) and waits for its acknowledgement: 0 or the kernel's -errno. With
 * `reply` set, an answer that comes before or instead of the ack is put there (the payload behind nlmsghdr). */
int netlink_call(Netlink *n, Buf *message, Buf *reply);
/* Sends a batch and collects one acknowledgement per message that asked for one; the first error is returned. */
int netlink_batch(Netlink *n, Buf *messages, unsigned n_acks);

/* ---- rtnetlink ---- */
int rtnl_bridge_new(Netlink *n, const char *name, uint32_t mtu); /* created up; -EEXIST */
typedef struct VethArgs {
        const char *name;
        const char *master;       /* bridge, NULL = none */
        const char *peer_name;
        pid_t peer_pid;           /* whose netns gets the peer */
        const uint8_t *peer_mac;  /* 6 bytes, or NULL */
        uint32_t mtu;             /* 0 = default */
} VethArgs;
int rtnl_veth_new(Netlink *n, const VethArgs *a);
int rtnl_hairpin(Netlink *n, const char *port);
int rtnl_up(Netlink *n, const char *name);
/* Adds an IPv4 address (network byte order); -EEXIST when it is there. */
int rtnl_addr_add(Netlink *n, const char *name, uint32_t addr, unsigned prefix);
int rtnl_default_route(Netlink *n, uint32_t gateway);

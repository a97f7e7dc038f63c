/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The container network: a bridge docker0 made when first needed, one veth pair per container, addresses from a
 * lease file, published ports as elements of a map in one nftables table. Everything but the table's first
 * loading (by the nft program) is done with netlink messages from the container's shim.
 *
 * Nothing has to be cleaned up after SIGKILL: the veth goes with the container's network namespace; a published
 * port is also reserved by a bound socket in the shim, which the kernel closes (and which makes "port is already
 * allocated" certain, against other programs too); a lease and a map element left behind are recognised by their
 * owner's free lock, and replaced by the next container that wants the address or the port, or removed by
 * network_reconcile().
 *
 *   ROOT/network/lock    flock around changes
 *   ROOT/network/leases  lines "ADDRESS ID [PROTO:HOSTIP:HOSTPORT:PORT …]"
 *
 * Bridge address and MTU: "bip" and "mtu" of /etc/docker/daemon.json, else flannel's /run/flannel_docker_opts.env
 * (DOCKER_OPT_BIP, DOCKER_OPT_MTU) or /run/flannel/subnet.env (FLANNEL_SUBNET, FLANNEL_MTU), else 172.17.0.1/16. */

#include "container/run/launch.h"
#include "container/run/store.h"

#define NETWORK_BRIDGE "docker0"

typedef enum NetworkMode {
        NETWORK_OWN_BRIDGE, /* "default", "bridge" */
        NETWORK_HOST,
        NETWORK_NONE,
        NETWORK_CONTAINER, /* "container:<id>" */
        NETWORK_UNKNOWN,
} NetworkMode;
NetworkMode network_mode(const char *mode);

typedef struct Network {
        NetState state;
        uint32_t ip, gateway; /* network byte order */
        uint8_t mac[6];
        uint32_t mtu;
        char subnet[24]; /* "172.17.0.0/16" */
        char veth[16];
        int *port_fds; /* one bound socket per state.ports */
        bool leased;
} Network;

/* The bridge's address as text, valid for ever: what "host-gateway" means. */
const char *network_gateway(void);
/* Reserves an address and the published ports. -EADDRINUSE with docker's message for a port that is taken. */
int network_prepare(const Store *s, const ContainerSpec *spec, Network *n, Err *err);
/* Bridge, veth into the network namespace of `pid`, port elements. */
int network_connect(const Store *s, const ContainerSpec *spec, Network *n, pid_t pid, Err *err);
/* In the container's namespace: addresses and routes; m->ip 0 = only the loopback device. */
int network_child(const SyncMessage *m, Err *err);
/* Gives everything back (the veth goes by itself). */
void network_release(const Store *s, const ContainerSpec *spec, Network *n);
/* Removes what containers that died without a word have left. Cheap when there is nothing. */
void network_reconcile(const Store *s);

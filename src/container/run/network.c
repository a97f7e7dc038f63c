/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/network.h"
#include "base/str.h"
#include "container/run/leases.h"
#include "container/run/nft.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>

#define LEASES_FILE_MAX (16U << 20)
#define EPHEMERAL_FIRST 49153U
#define EPHEMERAL_LAST 65535U

NetworkMode network_mode(const char *mode) {
        if (isempty(mode) || streq(mode, "default") || streq(mode, "bridge"))
                return NETWORK_OWN_BRIDGE;
        if (streq(mode, "host"))
                return NETWORK_HOST;
        if (streq(mode, "none"))
                return NETWORK_NONE;
        return startswith(mode, "container:") ? NETWORK_CONTAINER : NETWORK_UNKNOWN;
}

/* ---- configuration ---- */

typedef struct Subnet {
        uint32_t gateway; /* network byte order */
        unsigned prefix;
        uint32_t mtu;
} Subnet;

static int parse_cidr(const char *s, Subnet *n) {
        const char *slash = strchr(s, '/');
        _cleanup_free_ char *ip = slash ? xstrndup(s, (size_t) (slash - s)) : NULL;
        uint32_t prefix;
        struct in_addr a;
        if (!ip || inet_pton(AF_INET, ip, &a) != 1 || parse_u32(slash + 1, &prefix) < 0 || prefix < 8 || prefix > 30)
                return -EINVAL;
        n->gateway = a.s_addr;
        n->prefix = prefix;
        return 0;
}

/* Shell-like K=V lines as flannel writes them; the value may be quoted and begin with "--bip=". */
static void read_flannel(const char *path, const char *bip_key, const char *mtu_key, Subnet *n) {
        _cleanup_(buf_done) Buf b = {};
        if (read_file(path, 64 << 10, &b) < 0)
                return;
        _cleanup_strv_ char **lines = strv_split(buf_str(&b), "\n", false);
        STRV_FOREACH(l, lines) {
                const char *bip = startswith(*l, bip_key), *mtu = startswith(*l, mtu_key);
                const char *v = bip ?: mtu;
                if (!v)
                        continue;
                _cleanup_free_ char *value = xstrdup(v);
                char *s = value + strspn(value, "\"' ");
                s[strcspn(s, "\"' ")] = 0;
                const char *plain = startswith(s, "--bip=") ?: startswith(s, "--mtu=") ?: s;
                if (bip)
                        (void) parse_cidr(plain, n);
                else
                        (void) parse_u32(plain, &n->mtu);
        }
}

static Subnet read_subnet(void) {
        Subnet n = { .prefix = 16 };
        _cleanup_(buf_done) Buf b = {};
        _cleanup_json_ json_t *j = NULL;
        if (read_file("/etc/docker/daemon.json", 1 << 20, &b) >= 0 && ji_parse(b.data, b.len, 0, &j, NULL) >= 0) {
                (void) parse_cidr(strempty(ji_str(j, "bip")), &n);
                n.mtu = (uint32_t) ji_int(j, "mtu", 0);
        }
        if (!n.gateway)
                read_flannel("/run/flannel_docker_opts.env", "DOCKER_OPT_BIP=", "DOCKER_OPT_MTU=", &n);
        if (!n.gateway)
                read_flannel("/run/flannel/subnet.env", "FLANNEL_SUBNET=", "FLANNEL_MTU=", &n);
        if (!n.gateway)
                (void) parse_cidr("172.17.0.1/16", &n);
        if (n.mtu < 576 || n.mtu > 65535)
                n.mtu = 0;
        return n;
}

const char *network_gateway(void) {
        static char text[INET_ADDRSTRLEN];
        Subnet n = read_subnet();
        return inet_ntop(AF_INET, &n.gateway, text, sizeof(text));
}

/* ---- leases ---- */

static int lock_network(const Store *s) {
        _cleanup_free_ char *path = container_store_path(s, "network/lock");
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        while (flock(fd, LOCK_EX) < 0)
                if (errno != EINTR)
                        return -errno;
        return TAKE_FD(fd);
}

static void load_leases(const Store *s, Leases *l) {
        _cleanup_free_ char *path = container_store_path(s, "network/leases");
        _cleanup_(buf_done) Buf b = {};
        if (read_file(path, LEASES_FILE_MAX, &b) >= 0)
                leases_parse(buf_str(&b), l);
}

static int save_leases(const Store *s, const Leases *l) {
        _cleanup_free_ char *path = container_store_path(s, "network/leases"), *tmp = xasprintf("%s.new", path);
        _cleanup_(buf_done) Buf b = {};
        leases_write(l, &b);
        _cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        int r = fd < 0 ? -errno : write_all(fd, buf_str(&b), b.len);
        return r < 0 ? r : RET_NERRNO(rename(tmp, path));
}

/* Forgets containers that have died without saying so, and takes their elements out of the map. */
static bool drop_dead(const Store *s, Leases *l, const char *self) {
        bool changed = false;
        for (size_t i = l->n; i-- > 0;) {
                Lease *x = &l->items[i];
                if (streq_ptr(x->id, self) || container_is_alive(s, x->id) != 0)
                        continue;
                for (size_t k = 0; k < x->n_ports; k++)
                        (void) nft_port_remove(&x->ports[k]);
                leases_remove(l, i);
                changed = true;
        }
        return changed;
}

void network_reconcile(const Store *s) {
        _cleanup_(leases_done) Leases seen = {};
        load_leases(s, &seen);
        bool dead = false;
        for (size_t i = 0; i < seen.n && !dead; i++)
                dead = container_is_alive(s, seen.items[i].id) == 0;
        if (!dead)
                return;
        _cleanup_close_ int lock = lock_network(s);
        _cleanup_(leases_done) Leases l = {};
        if (lock < 0)
                return;
        load_leases(s, &l);
        if (drop_dead(s, &l, NULL))
                (void) save_leases(s, &l);
}

/* ---- published ports ---- */

/* A bound socket that nobody reads keeps the port ours. First without SO_REUSEADDR, which excludes everybody; if
 * that fails with it, which still fails when somebody listens, but not for connections in TIME_WAIT. */
static int bind_port(const PortBinding *p) {
        bool tcp = streq(p->proto, "tcp"), sctp = streq(p->proto, "sctp");
        _cleanup_close_ int fd = socket(AF_INET, (streq(p->proto, "udp") ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC,
                                        sctp ? IPPROTO_SCTP : 0);
        if (fd < 0)
                return sctp ? -EBADF : -errno;
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(p->host_port) };
        if (!isempty(p->host_ip) && inet_pton(AF_INET, p->host_ip, &a.sin_addr) != 1)
                return -EAFNOSUPPORT;
        if (bind(fd, (struct sockaddr *) &a, sizeof(a)) >= 0)
                return TAKE_FD(fd);
        int one = 1;
        if (errno != EADDRINUSE || !tcp || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
                return -errno;
        /* With SO_REUSEADDR two bound sockets may coexist: only listen() tells whether the port is really free. */
        if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0 || listen(fd, 1) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int reserve_port(const ContainerSpec *spec, const Leases *l, PortBinding *p, Err *err) {
        const char *ip = isempty(p->host_ip) ? "0.0.0.0" : p->host_ip;
        if (strchr(ip, ':'))
                return err_set(err, -EAFNOSUPPORT, "cannot publish on the IPv6 address %s: the container network is "
                               "IPv4", ip);
        unsigned first = p->host_port ? p->host_port : EPHEMERAL_FIRST;
        unsigned last = p->host_port ? p->host_port : EPHEMERAL_LAST;
        int r = -EADDRINUSE;
        for (unsigned port = first; r == -EADDRINUSE && port <= last; port++) {
                p->host_port = (uint16_t) port;
                if (!leases_find_port(l, p))
                        r = bind_port(p);
                else if (first == last)
                        return err_set(err, -EADDRINUSE,
                                       "driver failed programming external connectivity on endpoint %s (%s): Bind for "
                                       "%s:%u failed: port is already allocated", spec->name, spec->id, ip, port);
        }
        if (r < 0 && r != -EBADF)
                return err_set(err, r,
                               "driver failed programming external connectivity on endpoint %s (%s): listen %s %s:%u: "
                               "bind: %s", spec->name, spec->id, p->proto, ip, first,
                               r == -EADDRINUSE ? "address already in use" : strerror(-r));
        return r;
}

static int reserve_ports(const ContainerSpec *spec, const Leases *l, Lease *mine, Network *n, Err *err) {
        size_t count = spec->host.n_ports;
        n->state.ports = xnew(PortBinding, MAX(count, (size_t) 1));
        n->port_fds = xnew(int, MAX(count, (size_t) 1));
        for (size_t i = 0; i < count; i++)
                n->port_fds[i] = -EBADF;
        /* Asked-for ports first, so that no ephemeral one takes them. */
        for (unsigned pass = 0; pass < 2; pass++)
                for (size_t i = 0; i < count; i++) {
                        const PortBinding *want = &spec->host.ports[i];
                        if ((want->host_port == 0) != (pass == 1))
                                continue;
                        PortBinding *p = &n->state.ports[n->state.n_ports];
                        *p = *want;
                        bool any = isempty(want->host_ip) || streq(want->host_ip, "0.0.0.0");
                        p->host_ip = any ? NULL : xstrdup(want->host_ip);
                        n->state.n_ports++;
                        int r = reserve_port(spec, l, p, err);
                        if (r < 0 && r != -EBADF)
                                return r;
                        n->port_fds[n->state.n_ports - 1] = r;
                        lease_add_port(mine, p);
                }
        return 0;
}

/* ---- a container's network ---- */

static void describe(const Subnet *subnet, uint32_t ip, Network *n) {
        char text[INET_ADDRSTRLEN];
        n->ip = ip;
        n->gateway = subnet->gateway;
        n->mtu = subnet->mtu;
        n->state.prefix = subnet->prefix;
        n->state.ip = xstrdup(inet_ntop(AF_INET, &ip, text, sizeof(text)));
        n->state.gateway = xstrdup(inet_ntop(AF_INET, &subnet->gateway, text, sizeof(text)));
        uint8_t mac[6] = { 0x02, 0x42 };
        memcpy(mac + 2, &ip, 4);
        memcpy(n->mac, mac, 6);
        n->state.mac = xasprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        uint32_t net = htonl(ntohl(subnet->gateway) & (UINT32_MAX << (32 - subnet->prefix)));
        (void) snprintf(n->subnet, sizeof(n->subnet), "%s/%u", inet_ntop(AF_INET, &net, text, sizeof(text)),
                        subnet->prefix);
        uint8_t random[4];
        random_bytes(random, sizeof(random));
        (void) snprintf(n->veth, sizeof(n->veth), "veth%02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
}

static uint32_t pick_address(const Subnet *subnet, Leases *l) {
        uint32_t mask = UINT32_MAX << (32 - subnet->prefix), net = ntohl(subnet->gateway) & mask;
        (void) leases_add(l, subnet->gateway, "gateway"); /* for the search only */
        uint32_t ip = leases_pick(l, net + 1, (net | ~mask) - 1);
        leases_remove(l, l->n - 1);
        return ip;
}

int network_prepare(const Store *s, const ContainerSpec *spec, Network *n, Err *err) {
        Subnet subnet = read_subnet();
        _cleanup_close_ int lock = lock_network(s);
        if (lock < 0)
                return err_errno(err, lock, "cannot lock the container network");
        _cleanup_(leases_done) Leases l = {};
        load_leases(s, &l);
        (void) drop_dead(s, &l, spec->id);
        for (size_t i = l.n; i-- > 0;) /* of an earlier run */
                if (streq(l.items[i].id, spec->id))
                        leases_remove(&l, i);
        uint32_t ip = pick_address(&subnet, &l);
        if (!ip)
                return err_set(err, -EADDRNOTAVAIL, "no available IPv4 addresses on this network's address pools: "
                               "bridge");
        describe(&subnet, ip, n);
        Lease *mine = leases_add(&l, ip, spec->id);
        int r = reserve_ports(spec, &l, mine, n, err);
        if (r >= 0) {
                r = save_leases(s, &l);
                if (r < 0)
                        (void) err_errno(err, r, "cannot write the container network's leases");
        }
        n->leased = r >= 0;
        if (r < 0)
                network_release(s, spec, n);
        return r;
}

/* ip_forward is of the whole machine (namespace): set when it is not. */
static void set_sysctl(const char *path, const char *value) {
        _cleanup_free_ char *now = NULL;
        if (read_line_file(path, &now) < 0 || !streq(now, value))
                (void) write_existing(path, value);
}

static int ensure_bridge(Netlink *rt, const Network *n, Err *err) {
        int r = 0;
        if (if_nametoindex(NETWORK_BRIDGE) == 0) {
                r = rtnl_bridge_new(rt, NETWORK_BRIDGE, n->mtu);
                if (r < 0 && r != -EEXIST)
                        return err_errno(err, r, "cannot make the bridge " NETWORK_BRIDGE);
        }
        r = rtnl_addr_add(rt, NETWORK_BRIDGE, n->gateway, n->state.prefix);
        if (r < 0 && r != -EEXIST)
                return err_errno(err, r, "cannot give the bridge " NETWORK_BRIDGE " its address");
        (void) rtnl_up(rt, NETWORK_BRIDGE);
        set_sysctl("/proc/sys/net/ipv4/ip_forward", "1");
        set_sysctl("/proc/sys/net/ipv4/conf/" NETWORK_BRIDGE "/route_localnet", "1");
        return 0;
}

/* A fresh table has lost the elements of running containers: put them back. */
static void restore_elements(const Leases *l, const char *self) {
        for (size_t i = 0; i < l->n; i++)
                for (size_t k = 0; !streq(l->items[i].id, self) && k < l->items[i].n_ports; k++)
                        (void) nft_port_add(&l->items[i].ports[k], l->items[i].ip, NULL);
}

static int publish(const Store *s, const ContainerSpec *spec, const Network *n, Err *err) {
        bool fresh = false;
        int r = nft_table_ensure(NETWORK_BRIDGE, n->subnet, &fresh, err);
        if (r >= 0 && fresh) {
                _cleanup_(leases_done) Leases l = {};
                load_leases(s, &l);
                restore_elements(&l, spec->id);
        }
        for (size_t i = 0; r >= 0 && i < n->state.n_ports; i++)
                r = nft_port_add(&n->state.ports[i], n->ip, err);
        return r;
}

static int set_up_host_side(const Store *s, const ContainerSpec *spec, Netlink *rt, const Network *n, Err *err) {
        _cleanup_close_ int lock = lock_network(s);
        int r = lock < 0 ? err_errno(err, lock, "cannot lock the container network") : ensure_bridge(rt, n, err);
        return r < 0 ? r : publish(s, spec, n, err);
}

int network_connect(const Store *s, const ContainerSpec *spec, Network *n, pid_t pid, Err *err) {
        Netlink rt;
        int r = netlink_open(NETLINK_ROUTE, &rt);
        if (r < 0)
                return err_errno(err, r, "cannot open netlink");
        r = set_up_host_side(s, spec, &rt, n, err);
        if (r >= 0) {
                VethArgs a = { .name = n->veth, .master = NETWORK_BRIDGE, .peer_name = "eth0", .peer_pid = pid,
                               .peer_mac = n->mac, .mtu = n->mtu };
                r = rtnl_veth_new(&rt, &a);
                if (r < 0)
                        (void) err_errno(err, r, "cannot connect the container to the bridge");
        }
        if (r >= 0)
                (void) rtnl_hairpin(&rt, n->veth);
        netlink_done(&rt);
        return r;
}

int network_child(const SyncMessage *m, Err *err) {
        Netlink n;
        int r = netlink_open(NETLINK_ROUTE, &n);
        if (r < 0)
                return err_errno(err, r, "cannot open netlink");
        r = rtnl_up(&n, "lo");
        if (r >= 0 && m->ip) {
                r = rtnl_addr_add(&n, "eth0", m->ip, m->prefix);
                if (r >= 0)
                        r = rtnl_up(&n, "eth0");
                if (r >= 0)
                        r = rtnl_default_route(&n, m->gateway);
        }
        netlink_done(&n);
        return r < 0 ? err_errno(err, r, "cannot set up the container's network") : 0;
}

static void give_lease_back(const Store *s, const ContainerSpec *spec, const Network *n) {
        _cleanup_close_ int lock = lock_network(s);
        _cleanup_(leases_done) Leases l = {};
        if (lock < 0)
                return;
        for (size_t i = 0; i < n->state.n_ports; i++)
                (void) nft_port_remove(&n->state.ports[i]);
        load_leases(s, &l);
        for (size_t i = l.n; i-- > 0;)
                if (streq(l.items[i].id, spec->id))
                        leases_remove(&l, i);
        (void) save_leases(s, &l);
}

void network_release(const Store *s, const ContainerSpec *spec, Network *n) {
        if (n->leased)
                give_lease_back(s, spec, n);
        n->leased = false;
        for (size_t i = 0; n->port_fds && i < n->state.n_ports; i++)
                (void) safe_close(n->port_fds[i]);
        n->port_fds = xfree(n->port_fds);
        net_state_done(&n->state);
}

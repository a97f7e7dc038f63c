/* SPDX-License-Identifier: Apache-2.0 */

/* The cluster's network: a bridge on the host, a veth pair and a named namespace per node. Done with ip(8):
 * a handful of calls, once, that a person can repeat by hand. */

#include "base/alloc.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/fs.h"

#include <stdio.h>
#include <unistd.h>

static char *bridge_name(const Cluster *c) {
        return xasprintf("%.12s0", c->name);
}

static char *veth_name(const Node *n) {
        return xasprintf("%.10s-%s", n->cluster->name, n->name);
}

static bool link_exists(const char *name) {
        _cleanup_free_ char *p = xasprintf("/sys/class/net/%s", name);
        return access(p, F_OK) == 0;
}

int bridge_up(const Cluster *c, Err *err) {
        _cleanup_free_ char *br = bridge_name(c), *gw = cluster_gateway(c), *addr = xasprintf("%s/24", gw);
        if (link_exists(br))
                return 0;
        _cleanup_free_ char *existing = NULL, *pattern = xasprintf("%s.", c->subnet);
        char *argv[] = { "ip", "-4", "-o", "addr", NULL };
        if (run_program(argv, &existing) == 0 && strstr(existing, pattern))
                return err_set(err, -EADDRINUSE,
                               "an interface of this computer already uses %s.0/24; choose another with "
                               "--subnet",
                               c->subnet);
        int r = run_checked(err, "ip", "link", "add", br, "type", "bridge", NULL);
        if (r >= 0)
                r = run_checked(err, "ip", "addr", "add", addr, "dev", br, NULL);
        return r < 0 ? r : run_checked(err, "ip", "link", "set", br, "up", NULL);
}

int bridge_down(const Cluster *c, Err *err) {
        _cleanup_free_ char *br = bridge_name(c);
        return link_exists(br) ? run_checked(err, "ip", "link", "del", br, NULL) : 0;
}

int node_net_up(const Node *n, Err *err) {
        _cleanup_free_ char *br = bridge_name(n->cluster), *veth = veth_name(n),
                            *gw = cluster_gateway(n->cluster), *addr = xasprintf("%s/24", n->ip);
        const char *ns = n->netns;
        int r = node_net_down(n, err);
        if (r >= 0)
                r = run_checked(err, "ip", "netns", "add", ns, NULL);
        if (r >= 0)
                r = run_checked(err, "ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0",
                                "netns", ns, NULL);
        if (r >= 0)
                r = run_checked(err, "ip", "link", "set", veth, "master", br, "up", NULL);
        if (r >= 0)
                r = run_checked(err, "ip", "-n", ns, "addr", "add", addr, "dev", "eth0", NULL);
        if (r >= 0)
                r = run_checked(err, "ip", "-n", ns, "link", "set", "eth0", "up", NULL);
        if (r >= 0)
                r = run_checked(err, "ip", "-n", ns, "link", "set", "lo", "up", NULL);
        return r < 0 ? r : run_checked(err, "ip", "-n", ns, "route", "add", "default", "via", gw, NULL);
}

int node_net_down(const Node *n, Err *err) {
        _cleanup_free_ char *veth = veth_name(n), *path = xasprintf("/run/netns/%s", n->netns);
        int r = link_exists(veth) ? run_checked(err, "ip", "link", "del", veth, NULL) : 0;
        if (r >= 0 && access(path, F_OK) == 0)
                r = run_checked(err, "ip", "netns", "del", n->netns, NULL);
        return r;
}

int node_link_set(const Node *n, bool up, Err *err) {
        _cleanup_free_ char *veth = veth_name(n);
        if (!link_exists(veth))
                return err_set(err, -ENOENT, "node %s has no network: it is not running", n->name);
        return run_checked(err, "ip", "link", "set", veth, up ? "up" : "down", NULL);
}

bool node_link_is_up(const Node *n) {
        _cleanup_free_ char *veth = veth_name(n), *path = xasprintf("/sys/class/net/%s/operstate", veth),
                            *v = NULL;
        return read_line_file(path, &v) >= 0 && streq(v, "up");
}

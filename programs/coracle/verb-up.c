/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/options.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define UP_TIMEOUT (120 * USEC_PER_SEC)

static int complain(const char *verb, int r, const Err *err) {
        fprintf(stderr, "\ncoracle %s: %s\n", verb, err_msg(err));
        return r;
}

static int make_tree(const Cluster *c, Err *err) {
        _cleanup_free_ char *tree = path_join(c->home, "tree"), *tool = NULL, *out = NULL;
        int r = find_tool("node-tree", &tool, err);
        if (r < 0)
                return r;
        char *check[] = { tool, "--check", tree, NULL };
        if (run_program(check, &out) == 0)
                return 0;
        progress_begin("Making the nodes' tree from Debian packages");
        char *argv[] = { tool, tree, NULL };
        r = progress_run(argv, err);
        if (r >= 0)
                progress_end("done");
        return r;
}

static bool any_node_runs(const Cluster *c) {
        for (unsigned i = 1; i <= c->n_nodes; i++) {
                _cleanup_(node_done) Node n = {};
                (void) node_init(&n, c, i);
                if (node_leader(&n) > 0)
                        return true;
        }
        return false;
}

/* The cluster keeps a copy of the layer: a lower folder must not change while an overlay stands on it. */
static int copy_layer(const Cluster *c, Err *err) {
        _cleanup_free_ char *layer = NULL, *copy = path_join(c->dir, "layer");
        if (any_node_runs(c))
                return 0;
        int r = find_layer(&layer, err);
        if (r >= 0)
                r = rm_rf(copy);
        if (r < 0)
                return err_errno(err, r, "cannot replace %s", copy);
        return run_checked(err, "cp", "-a", "-T", layer, copy, NULL);
}

static int ssh_key(const Cluster *c, char **ret_public, Err *err) {
        _cleanup_free_ char *key = path_join(c->dir, "id_ed25519"),
                            *pub = path_join(c->dir, "id_ed25519.pub");
        if (access(key, F_OK) < 0) {
                int r = run_checked(err, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "coracle",
                                    "-f", key, NULL);
                if (r < 0)
                        return r;
        }
        int r = read_line_file(pub, ret_public);
        return r < 0 ? err_errno(err, r, "cannot read %s", pub) : 0;
}

static int start_node(const Cluster *c, unsigned number, const char *key, Err *err) {
        _cleanup_(node_done) Node n = {};
        (void) node_init(&n, c, number);
        if (access(n.dir, F_OK) < 0) {
                _cleanup_free_ char *data = user_data_for(&n, key);
                int r = node_create(&n, data, err);
                if (r < 0)
                        return r;
        }
        return node_start(&n, err);
}

/* Each node's fleet API answers once etcd has a leader and the machine is registered. */
static int wait_ready(const Cluster *c, Err *err) {
        Usec until = now_monotonic() + UP_TIMEOUT;
        unsigned ready = 0;
        while (now_monotonic() < until) {
                ready = 0;
                for (unsigned i = 1; i <= c->n_nodes; i++) {
                        _cleanup_free_ char *url = xasprintf("http://%s.%u:49153/fleet/v1/machines",
                                                             c->subnet, 10 + i),
                                            *out = NULL;
                        char *argv[] = { "curl", "-sf", "--max-time", "2", url, NULL };
                        ready += run_program(argv, &out) == 0 && strstr(out, "\"id\"");
                }
                if (ready == c->n_nodes)
                        return 0;
                progress_tick("waiting for etcd and fleet");
                (void) poll(NULL, 0, 100);
        }
        return err_set(err, -ETIMEDOUT,
                       "only %u of %u nodes answer; `coracle status` and `coracle journal n1` may tell more",
                       ready, c->n_nodes);
}

static int up(Cluster *c, Err *err) {
        int r = make_tree(c, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *key = NULL;
        r = cluster_save(c, err);
        if (r >= 0)
                r = copy_layer(c, err);
        if (r >= 0)
                r = ssh_key(c, &key, err);
        if (r >= 0)
                r = bridge_up(c, err);
        if (r >= 0)
                r = registry_start(c, err);
        if (r < 0)
                return r;
        progress_begin("Starting %u nodes", c->n_nodes);
        for (unsigned i = 1; i <= c->n_nodes && r >= 0; i++)
                r = start_node(c, i, key, err);
        if (r < 0)
                return r;
        progress_end("running");
        progress_begin("Forming the cluster");
        r = wait_ready(c, err);
        if (r >= 0)
                progress_end("etcd has a leader, fleet knows %u machines", c->n_nodes);
        return r;
}

int verb_up(int argc, char **argv) {
        uint64_t nodes = 0;
        const Option options[] = {
                { "nodes", 'n', OPT_UINT, &nodes, "N", "How many nodes (default: 3)", NULL }, {}
        };
        _cleanup_free_ char **rest = NULL;
        _cleanup_(err_done) Err err = {};
        int r = options_parse(options, 0, argc, argv, &rest, &err);
        if (r >= 0 && rest[0])
                r = err_set(&err, -EINVAL, "unexpected argument: %s", rest[0]);
        if (r >= 0 && nodes > CLUSTER_NODES_MAX)
                r = err_set(&err, -EINVAL, "at most %d nodes", CLUSTER_NODES_MAX);
        if (r < 0)
                return complain("up", r, &err);
        _cleanup_(cluster_done) Cluster c = {};
        r = cluster_load(&c, &err);
        if (r == -ENOENT) {
                err_done(&err);
                cluster_init(&c, nodes ? (unsigned) nodes : 3);
                r = 0;
        } else if (r >= 0 && nodes > 0 && nodes != c.n_nodes)
                r = err_set(&err, -EEXIST, "the cluster exists with %u nodes; `coracle down` removes it",
                            c.n_nodes);
        if (r >= 0)
                r = up(&c, &err);
        return r < 0 ? complain("up", r, &err) : 0;
}

static int down(const Cluster *c, bool keep, Err *err) {
        int r = 0;
        for (unsigned i = 1; i <= c->n_nodes; i++) {
                _cleanup_(node_done) Node n = {};
                (void) node_init(&n, c, i);
                int k = node_kill(&n, err);
                if (k >= 0)
                        k = node_cleanup(&n, err);
                r = k < 0 ? k : r;
        }
        int k = registry_stop(c, err);
        if (k >= 0)
                k = bridge_down(c, err);
        r = k < 0 ? k : r;
        if (r >= 0 && !keep)
                r = rm_rf(c->dir);
        return r < 0 ? err_errno(err, r, "cannot remove %s", c->dir) : 0;
}

int verb_down(int argc, char **argv) {
        bool keep = false;
        const Option options[] = {
                { "keep", 0, OPT_BOOL, &keep, NULL, "Keep the nodes' disks for the next `up`", NULL }, {}
        };
        _cleanup_free_ char **rest = NULL;
        _cleanup_(err_done) Err err = {};
        _cleanup_(cluster_done) Cluster c = {};
        int r = options_parse(options, 0, argc, argv, &rest, &err);
        if (r >= 0)
                r = cluster_load(&c, &err);
        if (r == -ENOENT) {
                puts("nothing to stop");
                return 0;
        }
        if (r < 0)
                return complain("down", r, &err);
        progress_begin("Stopping %u nodes", c.n_nodes);
        r = down(&c, keep, &err);
        if (r < 0)
                return complain("down", r, &err);
        progress_end(keep ? "stopped; their disks are kept" : "stopped and removed");
        return 0;
}

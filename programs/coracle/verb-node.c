/* SPDX-License-Identifier: Apache-2.0 */

/* The verbs that look into one node or break it. */

#include "base/alloc.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/fs.h"

#include <stdio.h>
#include <unistd.h>

/* Loads the cluster and the node that argv[1] names; complains on stderr. */
static int open_node(int argc, char **argv, Cluster *c, Node *n) {
        _cleanup_(err_done) Err err = {};
        int r = argc < 2 ? err_set(&err, -EINVAL, "which node?") : cluster_load(c, &err);
        if (r >= 0)
                r = node_find(n, c, argv[1], &err);
        if (r < 0)
                fprintf(stderr, "coracle %s: %s\n", argv[0], err_msg(&err));
        return r;
}

static int finish(const char *verb, int r, const Err *err) {
        if (r < 0)
                fprintf(stderr, "coracle %s: %s\n", verb, err_msg(err));
        return r;
}

/* Enters all namespaces of the node with the given command. Only returns on failure. */
static int enter(const Node *n, char *const *command) {
        pid_t leader = node_leader(n);
        if (leader == 0) {
                fprintf(stderr, "node %s is not running\n", n->name);
                return -ESRCH;
        }
        _cleanup_strv_ char **argv = NULL;
        strv_add(&argv, "nsenter");
        strv_addf(&argv, "--target=%d", leader);
        static const char *const rest[] = {
                "--mount",
                "--uts",
                "--ipc",
                "--net",
                "--pid",
                "--cgroup",
                "--root",
                "--wdns=/root",
                "--",
                "env",
                "-i",
                "HOME=/root",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8"
        };
        for (size_t i = 0; i < ELEMENTSOF(rest); i++)
                strv_add(&argv, rest[i]);
        const char *term = getenv("TERM");
        strv_addf(&argv, "TERM=%s", term ? term : "dumb");
        STRV_FOREACH(i, command)
                strv_add(&argv, *i);
        execvp(argv[0], argv);
        fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
        return -errno;
}

int verb_ssh(int argc, char **argv) {
        _cleanup_(cluster_done) Cluster c = {};
        _cleanup_(node_done) Node n = {};
        int r = open_node(argc, argv, &c, &n);
        if (r < 0)
                return r;
        char **words = argv + 2;
        if (*words && streq(*words, "--"))
                words++;
        /* As ssh does: the words joined by spaces are a shell command. */
        _cleanup_free_ char *line = strv_join(words, " ");
        char *shell[] = { "/bin/bash", "-l", NULL }, *command[] = { "/bin/bash", "-c", line, NULL };
        return enter(&n, *words ? command : shell);
}

int verb_journal(int argc, char **argv) {
        _cleanup_(cluster_done) Cluster c = {};
        _cleanup_(node_done) Node n = {};
        int r = open_node(argc, argv, &c, &n);
        if (r < 0)
                return r;
        _cleanup_strv_ char **command = NULL;
        strv_add(&command, "journalctl");
        if (isatty(STDOUT_FILENO) != 1)
                strv_add(&command, "--no-pager");
        bool running = node_leader(&n) > 0;
        if (!running)
                strv_addf(&command, "--directory=%s/upper/var/log/journal", n.dir);
        STRV_FOREACH(i, argv + 2)
                strv_add(&command, *i);
        if (running)
                return enter(&n, command);
        execvp(command[0], command);
        fprintf(stderr, "journalctl: %s\n", strerror(errno));
        return -errno;
}

int verb_kill(int argc, char **argv) {
        _cleanup_(cluster_done) Cluster c = {};
        _cleanup_(node_done) Node n = {};
        _cleanup_(err_done) Err err = {};
        int r = open_node(argc, argv, &c, &n);
        if (r < 0)
                return r;
        if (node_leader(&n) == 0)
                return finish("kill", err_set(&err, -ESRCH, "node %s is not running", n.name), &err);
        r = node_kill(&n, &err);
        if (r >= 0)
                r = node_cleanup(&n, &err);
        if (r >= 0)
                printf("%s has lost power\n", n.name);
        return finish("kill", r, &err);
}

int verb_start(int argc, char **argv) {
        _cleanup_(cluster_done) Cluster c = {};
        _cleanup_(node_done) Node n = {};
        _cleanup_(err_done) Err err = {};
        int r = open_node(argc, argv, &c, &n);
        if (r < 0)
                return r;
        if (access(n.dir, F_OK) < 0)
                return finish("start",
                              err_set(&err, -ENOENT, "node %s was never made; see coracle up", n.name),
                              &err);
        r = node_start(&n, &err);
        if (r >= 0)
                printf("%s is starting\n", n.name);
        return finish("start", r, &err);
}

static int set_link(int argc, char **argv, bool up) {
        _cleanup_(cluster_done) Cluster c = {};
        _cleanup_(node_done) Node n = {};
        _cleanup_(err_done) Err err = {};
        int r = open_node(argc, argv, &c, &n);
        if (r < 0)
                return r;
        r = node_link_set(&n, up, &err);
        if (r >= 0)
                printf("%s is %s the network\n", n.name, up ? "back on" : "cut off");
        return finish(argv[0], r, &err);
}

int verb_partition(int argc, char **argv) {
        return set_link(argc, argv, false);
}

int verb_heal(int argc, char **argv) {
        return set_link(argc, argv, true);
}

static void print_node(const Node *n) {
        pid_t leader = node_leader(n);
        const char *state = leader == 0 ? "off" : node_link_is_up(n) ? "running" : "cut off";
        bool etcd = leader > 0 && node_reachable(n, 2379), fleet = leader > 0 && node_reachable(n, 49153);
        printf("%-6s%-16s%-10s%-10s%-10s%s\n", n->name, n->ip, state, etcd ? "up" : "-", fleet ? "up" : "-",
               n->dir);
}

int verb_status(int argc, char **argv) {
        _cleanup_(cluster_done) Cluster c = {};
        _cleanup_(err_done) Err err = {};
        int r = argc > 1 ? err_set(&err, -EINVAL, "unexpected argument: %s", argv[1])
                         : cluster_load(&c, &err);
        if (r < 0)
                return finish("status", r, &err);
        printf("%-6s%-16s%-10s%-10s%-10s%s\n", "NODE", "IP", "STATE", "ETCD", "FLEET", "DISK");
        char *endpoint = NULL;
        for (unsigned i = 1; i <= c.n_nodes; i++) {
                _cleanup_(node_done) Node n = {};
                (void) node_init(&n, &c, i);
                print_node(&n);
                if (!endpoint && node_leader(&n) > 0 && node_link_is_up(&n))
                        endpoint = xasprintf("http://%s:49153", n.ip);
        }
        if (endpoint) {
                printf("\n%-6s(fleetctl --endpoint %s list-units)\n", "UNITS", endpoint);
                (void) fflush(stdout);
                _cleanup_free_ char *tool = NULL, *layer = NULL;
                if (find_layer(&layer, NULL) >= 0) {
                        tool = path_join(layer, "usr/bin/fleetctl");
                        char *list[] = { tool, "--endpoint", endpoint, "list-units", NULL };
                        (void) run_program(list, NULL);
                }
        }
        free(endpoint);
        return 0;
}

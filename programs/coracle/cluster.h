/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A cluster on this computer: nodes are systemd-nspawn machines over one read-only tree.
 *
 *   <home>/tree       the Debian tree (made once by tools/node-tree, shared by all clusters)
 *   <home>/NAME/      one cluster: cluster.json, ssh key, registry/, nodes/<node>/
 *   nodes/<node>/     upper, work (overlay on disk), root (mount point), data (bound to /var/lib/coracle,
 *                     because an overlay cannot carry another overlay's upper layer), log, pid
 *
 * Every node has its own network namespace NAME-<node>, joined by veth to the bridge NAME0, and its own
 * cgroups NAME-<node> in every controller. There is no supervising daemon: what runs is found again by its
 * pid file, whose lock-free test is "does this pid still have our namespace as its net namespace". */

#include "base/err.h"

#include <sys/types.h>

#define CLUSTER_NODES_MAX 64

typedef struct Cluster {
        char *name;   /* also the prefix of bridge and namespaces; owned */
        char *home;   /* e.g. /var/lib/coracle-clusters; owned */
        char *dir;    /* home/name; owned */
        char *subnet; /* first three octets, e.g. "10.99.0"; owned */
        unsigned n_nodes;
} Cluster;

/* Options that every verb shares; set by main(). */
extern char *arg_name, *arg_home, *arg_subnet;

/* Reads cluster.json; -ENOENT with a message when there is no such cluster. */
int cluster_load(Cluster *c, Err *err);
int cluster_save(const Cluster *c, Err *err);
void cluster_init(Cluster *c, unsigned n_nodes); /* from the options, without a file */
void cluster_done(Cluster *c);
char *cluster_gateway(const Cluster *c); /* owned: the bridge's address */

/* The layer with our programs and units, and the tool that makes the tree; owned. */
int find_layer(char **ret, Err *err);
int find_tool(const char *name, char **ret, Err *err);

/* ---- node.c ---- */
typedef struct Node {
        const Cluster *cluster; /* weak */
        unsigned number;        /* from 1 */
        char *name;             /* "n1"; owned */
        char *ip;               /* owned */
        char *dir;              /* owned */
        char *netns;            /* owned */
} Node;

int node_init(Node *n, const Cluster *c, unsigned number);
/* Resolves "n2" or "2"; -ENOENT with a message. */
int node_find(Node *n, const Cluster *c, const char *name, Err *err);
void node_done(Node *n);
/* The pid of the node's PID 1 as seen from here, or 0 when it is not running. */
pid_t node_leader(const Node *n);
int node_create(const Node *n, const char *user_data, Err *err); /* folders, identity, cloud-config */
int node_start(const Node *n, Err *err);                         /* mounts, network, nspawn; does not wait */
int node_kill(const Node *n, Err *err);                          /* power cut: SIGKILL to its PID 1 */
int node_cleanup(const Node *n, Err *err);         /* after it stopped: mount, netns, cgroups */
bool node_reachable(const Node *n, unsigned port); /* does it accept a TCP connection? */

/* ---- net.c ---- */
int bridge_up(const Cluster *c, Err *err);
int bridge_down(const Cluster *c, Err *err);
int node_net_up(const Node *n, Err *err);
int node_net_down(const Node *n, Err *err);
int node_link_set(const Node *n, bool up, Err *err); /* partition and heal */
bool node_link_is_up(const Node *n);

/* ---- cgroup.c ---- */
int cgroup_enter(const char *name);  /* called in the child: moves it into its own group everywhere */
int cgroup_remove(const char *name); /* after everything in it has ended */
bool cgroup_is_v2(void);

/* ---- registry.c: docker-registry on the bridge's address, for images made here ---- */
int registry_start(const Cluster *c, Err *err);
int registry_stop(const Cluster *c, Err *err);

/* ---- userdata.c ---- */
/* The cloud-config of one node; owned text. */
char *user_data_for(const Node *n, const char *ssh_key);

/* ---- run.c ---- */
/* Runs a program found in PATH and waits. stdout and stderr go to `output` when given (else are inherited).
 * Returns its exit status, or a negative errno. */
int run_program(char *const *argv, char **output);
/* run_program() that must exit 0; otherwise the error carries what it printed. */
int run_checked(Err *err, const char *first, ...) __attribute__((sentinel));

/* ---- progress.c: one line per step, with elapsed time that ticks on a terminal ---- */
void progress_begin(const char *fmt, ...) _printf_(1, 2);
void progress_tick(const char *detail); /* detail may be NULL */
void progress_end(const char *fmt, ...) _printf_(1, 2);
/* Runs a program with its last line of output as the ticking detail. */
int progress_run(char *const *argv, Err *err);

/* ---- verbs ---- */
typedef int (*Verb)(int argc, char **argv);
int verb_up(int argc, char **argv);
int verb_down(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_ssh(int argc, char **argv);
int verb_journal(int argc, char **argv);
int verb_kill(int argc, char **argv);
int verb_start(int argc, char **argv);
int verb_partition(int argc, char **argv);
int verb_heal(int argc, char **argv);

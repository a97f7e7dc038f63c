/* SPDX-License-Identifier: Apache-2.0 */

/* coracle: the workstation command. It starts a cluster of real systemd nodes on this computer, looks
 * inside, and breaks it on request. */

#include "base/alloc.h"
#include "base/options.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/log.h"

#include <stdio.h>
#include <unistd.h>

char *arg_name, *arg_home, *arg_subnet;
static bool arg_help, arg_version;

static const Option options[] = {
        { "name", 0, OPT_STR, &arg_name, "NAME", "The cluster to work on (default: coracle)", NULL },
        { "home", 0, OPT_STR, &arg_home, "DIR", "Where clusters live (default: /var/lib/coracle-clusters)",
          NULL },
        { "subnet", 0, OPT_STR, &arg_subnet, "A.B.C",
          "First three octets of the nodes' addresses (default: 10.99.0)", NULL },
        { "help", 'h', OPT_BOOL, &arg_help, NULL, "Show this help", NULL },
        { "version", 0, OPT_BOOL, &arg_version, NULL, "Show the version", NULL },
        {},
};

static const struct {
        const char *name, *args, *help;
        Verb run;
        bool root;
} verbs[] = {
        { "up", "[--nodes N]", "Start a cluster (made new, or as `down --keep` left it)", verb_up, true },
        { "down", "[--keep]", "Stop the cluster and remove it, or keep its disks", verb_down, true },
        { "status", "", "Show machines, members and units", verb_status, true },
        { "ssh", "NODE [COMMAND...]", "Open a shell on a node, or run a command there", verb_ssh, true },
        { "journal", "NODE [OPTION...]", "Show a node's journal (options as journalctl)", verb_journal,
          true },
        { "kill", "NODE", "Cut a node's power", verb_kill, true },
        { "start", "NODE", "Start a node that was killed", verb_start, true },
        { "partition", "NODE", "Cut a node off the network", verb_partition, true },
        { "heal", "NODE", "Put a node back on the network", verb_heal, true },
};

static void usage(void) {
        printf("coracle [OPTIONS] COMMAND\n\nA cluster of machines on this computer.\n\nCommands:\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                printf("  %-10s%-20s %s\n", verbs[i].name, verbs[i].args, verbs[i].help);
        _cleanup_free_ char *text = options_help(options);
        printf("\nOptions:\n%s", text);
}

static int dispatch(int argc, char **argv) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                if (!streq(argv[0], verbs[i].name))
                        continue;
                if (verbs[i].root && geteuid() != 0) {
                        fprintf(stderr,
                                "coracle %s: only root can do this (it makes namespaces and mounts)\n",
                                argv[0]);
                        return EXIT_FAILURE;
                }
                return verbs[i].run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        }
        fprintf(stderr, "coracle: no such command: %s (see coracle --help)\n", argv[0]);
        return 2;
}

int main(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        _cleanup_(err_done) Err err = {};
        log_open("coracle");
        if (options_parse(options, OPTIONS_STOP_AT_ARG, argc, argv, &rest, &err) < 0) {
                fprintf(stderr, "coracle: %s\n", err_msg(&err));
                return 2;
        }
        if (arg_version) {
                puts("coracle " CORACLE_VERSION);
                return 0;
        }
        int n = (int) strv_len(rest);
        if (arg_help || n == 0 || streq(rest[0], "help")) {
                usage();
                return 0;
        }
        if (!arg_name)
                arg_name = xstrdup("coracle");
        if (!arg_home)
                arg_home = xstrdup("/var/lib/coracle-clusters");
        int r = dispatch(n, rest);
        free(arg_name);
        free(arg_home);
        free(arg_subnet);
        return r;
}

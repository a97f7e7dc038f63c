/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetctl.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/log.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char *arg_endpoint, *arg_driver, *arg_tunnel, *arg_ssh_username, *arg_known_hosts, *arg_ca_file, *arg_cert_file,
        *arg_key_file;
bool arg_strict_host_keys = true, arg_debug;
Usec arg_ssh_timeout = 10 * USEC_PER_SEC;
bool arg_replace, arg_no_block, arg_full, arg_no_legend, arg_sign;
int64_t arg_block_attempts, arg_ssh_port = 22;
char *arg_fields, *arg_output;

static bool arg_help, arg_version;
static char *arg_request_timeout, *arg_key_prefix, *arg_experimental;

static int set_ssh_timeout(const char *name, const char *value, Err *err) {
        char *end;
        double d = strtod(value, &end);
        if (end == value || *end || !(d > 0) || d > 86400)
                return err_set(err, -EINVAL, "invalid value \"%s\" for --%s: seconds expected", value, name);
        arg_ssh_timeout = (Usec) (d * USEC_PER_SEC);
        return 0;
}

static const Option options_global[] = {
        { "endpoint", 0, OPT_STR, &arg_endpoint, "URL", "Where fleetd is (unix:///var/run/fleet.sock)" },
        { "tunnel", 0, OPT_STR, &arg_tunnel, "HOST[:PORT]", "Reach the endpoint and the machines by ssh through this host" },
        { "ssh-username", 0, OPT_STR, &arg_ssh_username, "USER", "User for ssh (core)" },
        { "ssh-timeout", 0, OPT_CALL, NULL, "SECONDS", "How long an ssh connection may take (10)", set_ssh_timeout },
        { "strict-host-key-checking", 0, OPT_BOOL, &arg_strict_host_keys, NULL, "Verify host keys (true)" },
        { "known-hosts-file", 0, OPT_STR, &arg_known_hosts, "FILE", "Known host keys (~/.fleetctl/known_hosts)" },
        { "ca-file", 0, OPT_STR, &arg_ca_file, "FILE", "Authority of the endpoint's certificate" },
        { "cert-file", 0, OPT_STR, &arg_cert_file, "FILE", "Own certificate" },
        { "key-file", 0, OPT_STR, &arg_key_file, "FILE", "Key of the own certificate" },
        { "driver", 0, OPT_STR, &arg_driver, "API", "How to reach the cluster: API" },
        { "debug", 0, OPT_BOOL, &arg_debug, NULL, "Show every request" },
        { "version", 'v', OPT_BOOL, &arg_version, NULL, "Print the version" },
        { "help", 'h', OPT_BOOL, &arg_help, NULL, "Show help" },
        { "h", 0, OPT_BOOL, &arg_help, NULL, NULL },
        /* only meaningful with driver etcd, and said so there */
        { "etcd-key-prefix", 0, OPT_STR, &arg_key_prefix, "PREFIX", NULL },
        { "request-timeout", 0, OPT_STR, &arg_request_timeout, "SECONDS", NULL },
        { "experimental-api", 0, OPT_STR, &arg_experimental, "BOOL", NULL },
        { "etcd-cafile", 0, OPT_STR, &arg_ca_file, "FILE", NULL },
        { "etcd-certfile", 0, OPT_STR, &arg_cert_file, "FILE", NULL },
        { "etcd-keyfile", 0, OPT_STR, &arg_key_file, "FILE", NULL },
        {},
};

#define BLOCK                                                                                                 \
        { "no-block", 0, OPT_BOOL, &arg_no_block, NULL, "Do not wait until it has happened" },                \
        { "block-attempts", 0, OPT_INT, &arg_block_attempts, "N", "Wait for N times 2 seconds (0: for ever)" }
#define REPLACE                                                                                               \
        { "replace", 0, OPT_BOOL, &arg_replace, NULL, "Replace what is in the cluster by the local file" },   \
        { "sign", 0, OPT_BOOL, &arg_sign, NULL, NULL }
#define LIST                                                                                                  \
        { "full", 'l', OPT_BOOL, &arg_full, NULL, "Do not shorten ids and hashes" },                          \
        { "l", 0, OPT_BOOL, &arg_full, NULL, NULL },                                                          \
        { "no-legend", 0, OPT_BOOL, &arg_no_legend, NULL, "No heading" },                                     \
        { "output", 'o', OPT_STR, &arg_output, "FORMAT", "table or json" }

static const Option options_submit[] = { REPLACE, {} };
static const Option options_create[] = { REPLACE, BLOCK, {} };
static const Option options_block[] = { BLOCK, {} };
static const Option options_list_units[] = {
        { "fields", 0, OPT_STR, &arg_fields, "LIST", "Of active,hash,load,machine,sub,unit" }, LIST, {},
};
static const Option options_list_files[] = {
        { "fields", 0, OPT_STR, &arg_fields, "LIST", "Of desc,dstate,global,hash,state,target,unit" }, LIST, {},
};
static const Option options_list_machines[] = {
        { "fields", 0, OPT_STR, &arg_fields, "LIST", "Of machine,ip,metadata" }, LIST, {},
};
static const Option options_none[] = { {} };

const Command commands[] = {
        { "cat", "UNIT", "Output the contents of a submitted unit", "Prints the unit as the machines get it.",
          options_none, cmd_cat },
        { "destroy", "UNIT...", "Destroy one or more units in the cluster",
          "Stops the units and removes them. With --block-attempts it waits until they have stopped.", options_block,
          cmd_destroy },
        { "explain", "UNIT...", "Say why a unit is not running",
          "For every machine, what keeps the unit from being placed there; or what went wrong where it is.",
          options_none, cmd_explain },
        { "fd-forward", "SOCKET", NULL, "Connects stdin and stdout with a unix socket.", options_none, cmd_fd_forward,
          .offline = true },
        { "journal", "UNIT", "Print the journal of a unit in the cluster to stdout",
          "Runs journalctl on the machine the unit is on, by ssh unless it is this one.", options_journal, cmd_journal },
        { "list-machines", "", "Enumerate the current hosts in the cluster", "Lists the machines.",
          options_list_machines, cmd_list_machines },
        { "list-unit-files", "", "List the units that exist in the cluster", "Lists the units and their states.",
          options_list_files, cmd_list_unit_files },
        { "list-units", "", "List the current state of units in the cluster", "Lists what systemd says of the units.",
          options_list_units, cmd_list_units },
        { "load", "UNIT...", "Schedule one or more units in the cluster, first submitting them if necessary",
          "Puts the units on machines without starting them.", options_create, cmd_load },
        { "restart", "UNIT...", "Restart one or more units in the cluster",
          "Stops the units and starts them again, where they are.", options_block, cmd_restart },
        { "ssh", "[MACHINE|UNIT] [--] [COMMAND...]", "Open interactive shell on a machine in the cluster",
          "The machine is given by its id, or the beginning of it, or by a unit that it runs.", options_ssh, cmd_ssh,
          .stop_at_arg = true },
        { "start", "UNIT...", "Instruct systemd to start one or more units in the cluster, first submitting and loading if necessary",
          "Waits until the units run; says so at once when no machine can take one.", options_create, cmd_start },
        { "status", "UNIT...", "Output the status of one or more units in the cluster",
          "Runs systemctl status on the machine the unit is on, by ssh unless it is this one.", options_status,
          cmd_status },
        { "stop", "UNIT...", "Instruct systemd to stop one or more units in the cluster",
          "The units stay loaded on their machines.", options_block, cmd_stop },
        { "submit", "UNIT...", "Upload one or more units to the cluster without starting them",
          "The units are known to the cluster and on no machine.", options_submit, cmd_submit },
        { "unload", "UNIT...", "Unschedule one or more units in the cluster",
          "Stops the units and takes them off their machines.", options_block, cmd_unload },
        { "verify", "UNIT", NULL, "Deprecated.", options_none, cmd_verify, .offline = true },
        { "version", "", "Print the version and exit", "", options_none, NULL, .offline = true },
        { "help", "[COMMAND]", "Show help for a command", "", options_none, NULL, .offline = true },
        {},
};

static void vline(FILE *f, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void vline(FILE *f, const char *fmt, va_list ap) {
        (void) vfprintf(f, fmt, ap);
        (void) fputc('\n', f);
        (void) fflush(f);
}

void say_error(const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        vline(stderr, fmt, ap);
        va_end(ap);
}

void say(const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        vline(stdout, fmt, ap);
        va_end(ap);
}

/* ---- help ---- */

static int usage_all(void) {
        _cleanup_free_ char *options = options_help(options_global);

        printf("NAME:\n\tfleetctl - a command-line interface to fleet, the cluster-wide CoreOS init system\n\n"
               "USAGE:\n\tfleetctl [global options] <command> [command options] [arguments...]\n\n"
               "VERSION:\n\t%s\n\nCOMMANDS:\n",
               CORACLE_VERSION);
        for (const Command *c = commands; c->name; c++)
                if (c->summary)
                        printf("\t%-16s%s\n", c->name, c->summary);
        printf("\nOPTIONS:\n%s\n"
               "Global options can also be given in the environment, as FLEETCTL_ENDPOINT for --endpoint. Run\n"
               "\"fleetctl help <command>\" for more details on a specific command.\n",
               options);
        return 0;
}

static int usage_command(const Command *c) {
        _cleanup_free_ char *own = options_help(c->options), *global = options_help(options_global);

        printf("NAME:\n\tfleetctl %s - %s\n\nUSAGE:\n\tfleetctl %s [options] %s\n\nDESCRIPTION:\n\t%s\n", c->name,
               strempty(c->summary), c->name, c->arguments, c->description);
        if (*own)
                printf("\nOPTIONS:\n%s", own);
        printf("\nGLOBAL OPTIONS:\n%s", global);
        return 0;
}

/* An exact name, or the beginning of exactly one. */
static const Command *find_command(const char *word, Err *err) {
        const Command *found = NULL;

        for (const Command *c = commands; c->name; c++) {
                if (streq(c->name, word))
                        return c;
                if (!startswith(c->name, word))
                        continue;
                if (found) {
                        (void) err_set(err, -EINVAL, "ambiguous command \"%s\" for \"fleetctl\": %s, %s ...", word,
                                       found->name, c->name);
                        return NULL;
                }
                found = c;
        }
        if (!found)
                (void) err_set(err, -EINVAL, "unknown command \"%s\" for \"fleetctl\"\nRun 'fleetctl --help' for usage.",
                               word);
        return found;
}

/* ---- running ---- */

static const Option *join_options(const Option *a, const Option *b, Option *into, size_t max) {
        size_t n = 0;
        for (; a->name || a->shrt; a++)
                into[n++] = *a;
        for (; b->name || b->shrt; b++)
                into[n++] = *b;
        assert(n < max);
        into[n] = (Option){};
        return into;
}

static int run_command(const Command *c, char **args) {
        _cleanup_(err_done) Err err = {};

        if (!c->offline && api_open(&err) < 0) {
                say_error("Unable to initialize client: %s", err_msg(&err));
                api_close();
                return 1;
        }
        int r = c->run(args);
        api_close();
        return r;
}

static int run_help(char **args) {
        _cleanup_(err_done) Err err = {};
        const Command *c = args[0] ? find_command(args[0], &err) : NULL;

        if (!args[0])
                return usage_all();
        if (c)
                return usage_command(c);
        say_error("Error: %s", err_msg(&err));
        return 1;
}

static int dispatch(char **words) {
        _cleanup_(err_done) Err err = {};
        _cleanup_free_ char **rest = NULL;
        Option all[64];

        if (!words[0] || arg_help)
                return words[0] ? run_help(words) : usage_all();
        const Command *c = find_command(words[0], &err);
        int r = c ? 0 : -EINVAL;
        if (r >= 0)
                r = options_parse(join_options(c->options, options_global, all, ELEMENTSOF(all)),
                                  c->stop_at_arg ? OPTIONS_STOP_AT_ARG : 0, (int) strv_len(words), words, &rest, &err);
        if (r < 0) {
                say_error("Error: %s", err_msg(&err));
                return 1;
        }
        if (arg_help)
                return usage_command(c);
        if (streq(c->name, "help"))
                return run_help(rest);
        if (streq(c->name, "version") || arg_version) {
                say("fleetctl version %s", CORACLE_VERSION);
                return 0;
        }
        return run_command(c, rest);
}

static void free_args(void) {
        char **const all[] = { &arg_endpoint, &arg_driver, &arg_tunnel, &arg_ssh_username, &arg_known_hosts,
                               &arg_ca_file, &arg_cert_file, &arg_key_file, &arg_fields, &arg_output,
                               &arg_request_timeout, &arg_key_prefix, &arg_experimental };
        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                free(*all[i]);
}

int main(int argc, char **argv) {
        _cleanup_(err_done) Err err = {};
        _cleanup_free_ char **rest = NULL;

        log_open("fleetctl");
        (void) signal(SIGPIPE, SIG_IGN);
        arg_endpoint = xstrdup("unix:///var/run/fleet.sock");
        arg_driver = xstrdup("API");
        arg_ssh_username = xstrdup("core");
        arg_known_hosts = xstrdup("~/.fleetctl/known_hosts");
        arg_output = xstrdup("table");

        int r = options_from_env(options_global, "FLEETCTL_", environ, &err);
        if (r >= 0)
                r = options_parse(options_global, OPTIONS_STOP_AT_ARG, argc, argv, &rest, &err);
        if (r < 0) {
                say_error("Error: %s", err_msg(&err));
                return 1;
        }
        if (arg_version && !rest[0]) {
                say("fleetctl version %s", CORACLE_VERSION);
                return 0;
        }
        r = dispatch(rest);
        free_args();
        return r;
}

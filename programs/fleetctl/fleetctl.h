/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* fleetctl: the command line of fleet. Each command is a function in a cmd-*.c and a row in main.c's table; api.c
 * speaks to a fleetd (ours or the stock one), content.c finds unit files, wait.c waits, ssh.c reaches machines. */

#include "base/err.h"
#include "base/options.h"
#include "base/time.h"
#include "codec/unitfile.h"
#include "fleet/plan/plan.h"

#include <jansson.h>

/* ---- global options ---- */
extern char *arg_endpoint, *arg_driver, *arg_tunnel, *arg_ssh_username, *arg_known_hosts, *arg_ca_file, *arg_cert_file,
        *arg_key_file;
extern bool arg_strict_host_keys, arg_debug;
extern Usec arg_ssh_timeout;

/* ---- options that several commands share ---- */
extern bool arg_replace, arg_no_block, arg_full, arg_no_legend, arg_sign;
extern int64_t arg_block_attempts, arg_ssh_port;
extern char *arg_fields, *arg_output;

void say_error(const char *fmt, ...) _printf_(1, 2); /* one line on stderr */
void say(const char *fmt, ...) _printf_(1, 2);       /* one line on stdout */

/* ---- api.c: blocking calls ---- */
int api_open(Err *err); /* checks the endpoint, builds the tunnel */
void api_close(void);
/* *ret_status is the HTTP status; *ret_body (may be NULL) the answer, NULL when it is no JSON. Negative only when
 * there was no answer. */
int api_call(const char *method, const char *path, const char *body, int *ret_status, json_t **ret_body, Err *err);
/* As api_call(), but a status that is not 2xx is an error with the stock client's text: -ENOENT for 404, -EREMOTE
 * otherwise. */
int api_request(const char *method, const char *path, const char *body, json_t **ret_body, Err *err);
/* All pages; the elements of member `key` in one array. */
int api_list(const char *path, const char *key, json_t **ret, Err *err);
char *api_unit_path(const char *collection, const char *name); /* owned, escaped */

typedef struct Unit {
        char *name, *machine; /* machine NULL = none */
        UnitState current, desired;
        bool has_current; /* Global units have none */
        UnitFile options;
        XFleet req;
} Unit;
void unit_done(Unit *u);
int unit_from_json(const json_t *o, Unit *ret, Err *err);
/* 1 = there, 0 = there is none, negative = error. */
int unit_get(const char *name, Unit *ret, Err *err);
int unit_create(const char *name, const UnitFile *options, Err *err);
int unit_set_state(const char *name, UnitState state, Err *err);
int unit_destroy(const char *name, Err *err); /* 1, or 0 when there was none */

typedef struct Machine {
        char *id, *ip;
        Metadata metadata;
} Machine;
typedef struct Machines {
        Machine *list;
        size_t n;
} Machines;
void machines_done(Machines *m);
int machines_get(Machines *ret, Err *err);
const Machine *machines_find(const Machines *m, const char *id);
/* "12345678.../10.0.0.1", as tables show it; owned. */
char *machine_label(const Machines *m, const char *id, bool full);

/* ---- content.c ---- */
/* Creates what is not there, replaces with --replace where `replaceable` (bits 1 << UnitState) allows. Waits for
 * what it created. *ret_names: mangled names, owned strv. */
int lazy_create(char **args, unsigned replaceable, char ***ret_names, Err *err);

/* ---- wait.c ---- */
/* Waits until every unit reports `state` (Global ones: as desired state), printing a line for each as it gets there.
 * Obeys --no-block and --block-attempts; `verb` is for the message. Fails at once when it cannot come about. */
int wait_units(char **names, UnitState state, const char *verb, Err *err);
/* After a start: until systemd says active; what ran and ended well (oneshot) counts. */
int wait_active(char **names, Err *err);
void pause_usec(Usec t);

/* ---- ssh.c ---- */
/* Runs the command (NULL = a shell) on the machine, here when it is this one; returns its exit status. */
int run_on_machine(const Machine *m, char *const *command, bool forward_agent, bool as_typed);
int run_here(char *const *command);
bool machine_is_local(const char *id);
/* A socket here that leads to the endpoint behind --tunnel; owned path. */
int tunnel_open(const char *endpoint_host, const char *endpoint_unix, char **ret_socket, Err *err);
void tunnel_close(void);

/* ---- list.c ---- */
typedef struct Field {
        const char *name;
        char *(*cell)(const void *item, const Machines *machines); /* owned */
} Field;
/* Prints chosen fields of n items (an array of pointers). */
int print_table(const Field *fields, const char *chosen, const void *const *items, size_t n, const Machines *machines);

/* ---- commands ---- */
typedef struct Command {
        const char *name, *arguments, *summary, *description;
        const Option *options;
        int (*run)(char **args);
        bool stop_at_arg, offline;
} Command;
extern const Command commands[];

int cmd_submit(char **args);
int cmd_load(char **args);
int cmd_start(char **args);
int cmd_stop(char **args);
int cmd_unload(char **args);
int cmd_restart(char **args);
int cmd_destroy(char **args);
int cmd_cat(char **args);
int cmd_status(char **args);
int cmd_journal(char **args);
int cmd_ssh(char **args);
int cmd_list_units(char **args);
int cmd_list_unit_files(char **args);
int cmd_list_machines(char **args);
int cmd_explain(char **args);
int cmd_fd_forward(char **args);
int cmd_verify(char **args);
extern const Option options_ssh[], options_journal[], options_status[];

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ETCDCTL_API=2: what its files share. */

#include "codec/jsonin.h"
#include "ctl.h"
#include "etcdclient/v2.h"

enum { /* exit codes of etcdctl 2 */
       V2_BAD_ARGS = 1,
       V2_BAD_CONNECTION = 2,
       V2_BAD_AUTH = 3,
       V2_SERVER_ERROR = 4,
       V2_UNHEALTHY = 5,
};

typedef struct V2Verb {
        const char *name, *use, *help;
        const Option *options;
        int (*run)(int argc, char **argv); /* argv[0] is the first argument; NULL: known but not built */
} V2Verb;

typedef struct V2Answer { /* an Etcd2Result that stays */
        int status, code;
        uint64_t index;
        json_t *body;
        char *text, *endpoint;
} V2Answer;

extern bool v2_debug;
extern const char *v2_output;                                          /* simple, extended or json */
_noreturn_ void v2_die(int code, const char *fmt, ...) _printf_(2, 3); /* "Error:  ..." */
V2Answer v2_ask(const Etcd2Request *q);                                /* dies when no server answers */
bool v2_try(const Etcd2Request *q, V2Answer *ret, char **ret_problem);
void v2_check(const V2Answer *a); /* dies with the server's error when it is one */
char *const *v2_endpoints(void);
int v2_run_group(const V2Verb *verbs, const char *group, int argc, char **argv);
void v2_print_node(const V2Answer *a);

extern const Option v2_set_options[], v2_get_options[], v2_mk_options[], v2_ttl_options[], v2_rm_options[];
extern const Option v2_ls_options[], v2_watch_options[], v2_exec_watch_options[], v2_health_options[];
int v2_set(int argc, char **argv);
int v2_get(int argc, char **argv);
int v2_mk(int argc, char **argv);
int v2_mkdir(int argc, char **argv);
int v2_setdir(int argc, char **argv);
int v2_update(int argc, char **argv);
int v2_updatedir(int argc, char **argv);
int v2_rm(int argc, char **argv);
int v2_rmdir(int argc, char **argv);
int v2_ls(int argc, char **argv);
int v2_watch(int argc, char **argv);
int v2_exec_watch(int argc, char **argv);
int v2_cluster_health(int argc, char **argv);
int v2_member(int argc, char **argv);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* etcdctl, both API modes. v3.c has the flags, the verb table and the connection; each v3-*.c a family of
 * verbs; print.c the four output forms; v2.c and v2-keys.c the mode of ETCDCTL_API=2. Texts and exit codes
 * are those of etcdctl 3.4.23 (API 3) and 2.3.8 (API 2), recorded in tests/data/golden/etcdctl-*.txt. */

#include "base/alloc.h"
#include "base/buf.h"
#include "base/options.h"
#include "base/str.h"
#include "etcdclient/etcdclient.h"

#include <stdio.h>

#define CTL_STDIN_MAX (64U << 20)
#define CTL_DEFAULT_ENDPOINT "127.0.0.1:2379"

enum { /* exit codes of the v3 mode */
       CTL_ERROR = 1,
       CTL_BAD_CONNECTION = 2,
       CTL_INVALID_INPUT = 3,
       CTL_BAD_FEATURE = 4,
       CTL_INTERRUPTED = 5,
       CTL_BAD_ARGS = 128,
};

typedef struct CtlVerb {
        const char *name; /* "lease grant"; NULL ends the table */
        const char *use;  /* "grant <ttl>" as in the usage line */
        const char *help;
        const Option *options;
        int (*run)(int argc, char **argv); /* argv[0] is the first argument; NULL: known but not built */
} CtlVerb;

typedef enum CtlFormat { CTL_SIMPLE, CTL_JSON, CTL_FIELDS, CTL_TABLE } CtlFormat;

/* v3.c */
extern CtlFormat ctl_format;
extern bool arg_hex;
extern char **ctl_exec_args; /* what followed "--"; NULL without one */
int v3_main(int argc, char **argv);
int v2_main(int argc, char **argv);
_noreturn_ void ctl_die(int code, const char *fmt, ...) _printf_(2, 3);
sd_event *ctl_event(void);
EtcdClient *ctl_client(void);
char *const *ctl_endpoints(void);
Usec ctl_timeout(void);
/* One request; the answer is owned (protobuf_c_message_free_unpacked, or left to the end of the program).
 * Does not return on failure: "Error: <message>", with `wrap` ("failed to revoke lease (%s)") around it. */
void *ctl_call(const char *method, EtcdCallKind kind, const void *request, const void *descriptor,
               const char *wrap);
/* The same, but a failure is returned: *ret_message is owned. `endpoint` may be NULL. */
int ctl_try(const char *method, EtcdCallKind kind, const void *request, const void *descriptor,
            const char *endpoint, void **ret, GrpcCode *ret_code, char **ret_message);
extern bool ctl_stop;    /* a signal came */
void ctl_run_loop(void); /* until SIGINT or SIGTERM */
void ctl_run_until(const bool *flag);
int64_t ctl_parse_i64(const char *s, int64_t *ret, unsigned base, char **ret_error); /* Go's words */
int64_t ctl_lease_id(const char *s);                                                 /* hex, or dies */
char *ctl_read_stdin(size_t *ret_n);
/* Parses argv with a command's options (sub-commands of txn, interactive watch). */
char **ctl_parse_words(const Option *options, char **words, const char *what);
char **ctl_split_words(const char *line);    /* quotes as etcdctl takes them */
int ctl_exec(char **argv, char **extra_env); /* runs a program; its exit status, or negative errno */
ProtobufCBinaryData ctl_bytes(const char *s);

/* print.c */
void print_json(const ProtobufCMessage *m);       /* one line */
void print_json_lease(const ProtobufCMessage *m); /* header fields first, without "header" */
void json_message(Buf *b, const ProtobufCMessage *m);
void print_header_fields(const Etcdserverpb__ResponseHeader *h);
void print_kv_fields(const char *prefix, const Etcdserverpb__KeyValue *kv);
void print_kv(const Etcdserverpb__KeyValue *kv, bool value_only, bool key_only);
char *go_quote(const void *p, size_t n); /* %q */
char *go_duration(Usec t);
char *human_bytes(uint64_t n);
_noreturn_ void die_no_table(void);
typedef struct Table {
        char **cells; /* owned */
        size_t n, columns;
} Table;
void table_row(Table *t, size_t columns, ...); /* const char *, copied; the first row is the head */
void table_print(Table *t);                    /* and frees */

/* v3-kv.c: also used by txn */
typedef enum OpKind { OP_PUT, OP_GET, OP_DEL } OpKind;
Etcdserverpb__RangeRequest *make_get(int argc, char **argv);
Etcdserverpb__PutRequest *make_put(int argc, char **argv);
Etcdserverpb__DeleteRangeRequest *make_del(int argc, char **argv);
void reset_kv_flags(void);
extern const Option put_options[], get_options[], del_options[], txn_options[], compaction_options[];
extern const Option watch_options[], lease_keep_options[], lease_ttl_options[], member_add_options[];
extern const Option member_update_options[], endpoint_options[], hashkv_options[], lock_options[],
                elect_options[];
void show_put(const Etcdserverpb__PutResponse *r);
void show_get(const Etcdserverpb__RangeResponse *r);
void show_del(const Etcdserverpb__DeleteRangeResponse *r);

int verb_put(int argc, char **argv);
int verb_get(int argc, char **argv);
int verb_del(int argc, char **argv);
int verb_txn(int argc, char **argv);
int verb_compaction(int argc, char **argv);
int verb_watch(int argc, char **argv);
int verb_lease_grant(int argc, char **argv);
int verb_lease_revoke(int argc, char **argv);
int verb_lease_timetolive(int argc, char **argv);
int verb_lease_list(int argc, char **argv);
int verb_lease_keep_alive(int argc, char **argv);
int verb_member_list(int argc, char **argv);
int verb_member_add(int argc, char **argv);
int verb_member_remove(int argc, char **argv);
int verb_member_update(int argc, char **argv);
int verb_member_promote(int argc, char **argv);
int verb_endpoint_health(int argc, char **argv);
int verb_endpoint_status(int argc, char **argv);
int verb_endpoint_hashkv(int argc, char **argv);
int verb_lock(int argc, char **argv);
int verb_elect(int argc, char **argv);
int verb_version(int argc, char **argv);

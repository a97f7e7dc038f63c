/* SPDX-License-Identifier: Apache-2.0 */

/* API 3: flags, verbs, help, and the one connection that the verbs share. */

#include "ctl.h"
#include "sys/fs.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

CtlFormat ctl_format;
bool arg_hex;
char **ctl_exec_args;
bool ctl_stop;

static char **arg_endpoints;
static char *arg_cacert, *arg_cert, *arg_key, *arg_user, *arg_password, *arg_format, *arg_srv, *arg_srv_name;
static bool arg_debug, arg_help, arg_insecure_discovery = true, arg_skip_verify,
                                 arg_insecure_transport = true;
static int64_t arg_command_timeout = 5 * USEC_PER_SEC, arg_dial_timeout = 2 * USEC_PER_SEC;
static int64_t arg_keepalive_time = 2 * USEC_PER_SEC, arg_keepalive_timeout = 6 * USEC_PER_SEC;
static sd_event *the_event;
static EtcdClient *the_client;
static TlsContext *the_tls;

static int set_endpoints(const char *name, const char *value, Err *err) {
        strv_free(arg_endpoints);
        arg_endpoints = strv_split(value, ",", false);
        return 0;
}

/* In the place of a metavar stands what --help shows behind the name: the default. */
static const Option globals[] = {
        { "cacert", 0, OPT_STR, &arg_cacert, "=\"\"",
          "verify certificates of TLS-enabled secure servers using this CA bundle" },
        { "cert", 0, OPT_STR, &arg_cert, "=\"\"", "identify secure client using this TLS certificate file" },
        { "command-timeout", 0, OPT_DURATION, &arg_command_timeout, "=5s",
          "timeout for short running command (excluding dial timeout)" },
        { "debug", 0, OPT_BOOL, &arg_debug, "[=false]", "enable client-side debug logging" },
        { "dial-timeout", 0, OPT_DURATION, &arg_dial_timeout, "=2s", "dial timeout for client connections" },
        { "discovery-srv", 'd', OPT_STR, &arg_srv, "=\"\"",
          "domain name to query for SRV records describing cluster endpoints" },
        { "discovery-srv-name", 0, OPT_STR, &arg_srv_name, "=\"\"",
          "service name to query when using DNS discovery" },
        { "endpoints", 0, OPT_CALL, NULL, "=[127.0.0.1:2379]", "gRPC endpoints", set_endpoints },
        { "help", 'h', OPT_BOOL, &arg_help, "[=false]", NULL },
        { "hex", 0, OPT_BOOL, &arg_hex, "[=false]", "print byte strings as hex encoded strings" },
        { "insecure-discovery", 0, OPT_BOOL, &arg_insecure_discovery, "[=true]",
          "accept insecure SRV records describing cluster endpoints" },
        { "insecure-skip-tls-verify", 0, OPT_BOOL, &arg_skip_verify, "[=false]",
          "skip server certificate verification (CAUTION: this option should be enabled only for testing "
          "purposes)" },
        { "insecure-transport", 0, OPT_BOOL, &arg_insecure_transport, "[=true]",
          "disable transport security for client connections" },
        { "keepalive-time", 0, OPT_DURATION, &arg_keepalive_time, "=2s",
          "keepalive time for client connections" },
        { "keepalive-timeout", 0, OPT_DURATION, &arg_keepalive_timeout, "=6s",
          "keepalive timeout for client connections" },
        { "key", 0, OPT_STR, &arg_key, "=\"\"", "identify secure client using this TLS key file" },
        { "password", 0, OPT_STR, &arg_password, "=\"\"",
          "password for authentication (if this option is used, --user option shouldn't include password)" },
        { "user", 0, OPT_STR, &arg_user, "=\"\"",
          "username[:password] for authentication (prompt if password is not supplied)" },
        { "write-out", 'w', OPT_STR, &arg_format, "=\"simple\"",
          "set the output format (fields, json, protobuf, simple, table)" },
        {},
};

static const Option none[] = { {} };

static const CtlVerb verbs[] = {
        { "alarm disarm", "disarm", "Disarms all alarms", none, NULL },
        { "alarm list", "list", "Lists all alarms", none, NULL },
        { "auth disable", "disable", "Disables authentication", none, NULL },
        { "auth enable", "enable", "Enables authentication", none, NULL },
        { "check perf", "perf [options]", "Check the performance of the etcd cluster", none, NULL },
        { "compaction", "compaction [options] <revision>", "Compacts the event history in etcd",
          compaction_options, verb_compaction },
        { "defrag", "defrag", "Defragments the storage of the etcd members with given endpoints", none,
          NULL },
        { "del", "del [options] <key> [range_end]",
          "Removes the specified key or range of keys [key, range_end)", del_options, verb_del },
        { "elect", "elect <election-name> [proposal]", "Observes and participates in leader election",
          elect_options, verb_elect },
        { "endpoint hashkv", "hashkv", "Prints the KV history hash for each endpoint in --endpoints",
          hashkv_options, verb_endpoint_hashkv },
        { "endpoint health", "health", "Checks the healthiness of endpoints specified in `--endpoints` flag",
          endpoint_options, verb_endpoint_health },
        { "endpoint status", "status", "Prints out the status of endpoints specified in `--endpoints` flag",
          endpoint_options, verb_endpoint_status },
        { "get", "get [options] <key> [range_end]", "Gets the key or a range of keys", get_options,
          verb_get },
        { "lease grant", "grant <ttl>", "Creates leases", none, verb_lease_grant },
        { "lease keep-alive", "keep-alive [options] <leaseID>", "Keeps leases alive (renew)",
          lease_keep_options, verb_lease_keep_alive },
        { "lease list", "list", "List all active leases", none, verb_lease_list },
        { "lease revoke", "revoke <leaseID>", "Revokes leases", none, verb_lease_revoke },
        { "lease timetolive", "timetolive <leaseID> [options]", "Get lease information", lease_ttl_options,
          verb_lease_timetolive },
        { "lock", "lock <lockname> [exec-command arg1 arg2 ...]", "Acquires a named lock", lock_options,
          verb_lock },
        { "make-mirror", "make-mirror [options] <destination>",
          "Makes a mirror at the destination etcd cluster", none, NULL },
        { "member add", "add <memberName> [options]", "Adds a member into the cluster", member_add_options,
          verb_member_add },
        { "member list", "list", "Lists all members in the cluster", none, verb_member_list },
        { "member promote", "promote <memberID>", "Promotes a non-voting member in the cluster", none,
          verb_member_promote },
        { "member remove", "remove <memberID>", "Removes a member from the cluster", none,
          verb_member_remove },
        { "member update", "update <memberID> [options]", "Updates a member in the cluster",
          member_update_options, verb_member_update },
        { "migrate", "migrate", "Migrates keys in a v2 store to a mvcc store", none, NULL },
        { "move-leader", "move-leader <transferee-member-id>",
          "Transfers leadership to another etcd cluster member.", none, NULL },
        { "put", "put [options] <key> <value> (<value> can also be given from stdin)",
          "Puts the given key into the store", put_options, verb_put },
        { "role add", "add <role name>", "Adds a new role", none, NULL },
        { "role delete", "delete <role name>", "Deletes a role", none, NULL },
        { "role get", "get <role name>", "Gets detailed information of a role", none, NULL },
        { "role grant-permission", "grant-permission", "Grants a key to a role", none, NULL },
        { "role list", "list", "Lists all roles", none, NULL },
        { "role revoke-permission", "revoke-permission", "Revokes a key from a role", none, NULL },
        { "snapshot restore", "restore <filename> [options]",
          "Restores an etcd member snapshot to an etcd directory", none, NULL },
        { "snapshot save", "save <filename>", "Stores an etcd node backend snapshot to a given file", none,
          NULL },
        { "snapshot status", "status <filename>", "Gets backend snapshot status of a given file", none,
          NULL },
        { "txn", "txn [options]", "Txn processes all the requests in one transaction", txn_options,
          verb_txn },
        { "user add", "add <user name>", "Adds a new user", none, NULL },
        { "user delete", "delete <user name>", "Deletes a user", none, NULL },
        { "user get", "get <user name>", "Gets detailed information of a user", none, NULL },
        { "user grant-role", "grant-role <user name> <role name>", "Grants a role to a user", none, NULL },
        { "user list", "list", "Lists all users", none, NULL },
        { "user passwd", "passwd <user name>", "Changes password of user", none, NULL },
        { "user revoke-role", "revoke-role <user name> <role name>", "Revokes a role from a user", none,
          NULL },
        { "version", "version", "Prints the version of etcdctl", none, verb_version },
        { "watch", "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
          "Watches events stream on keys or prefixes", watch_options, verb_watch },
        {},
};

void ctl_die(int code, const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        (void) fflush(stdout);
        fputs("Error: ", stderr);
        (void) vfprintf(stderr, fmt, ap);
        fputc('\n', stderr);
        va_end(ap);
        exit(code);
}

/* ---- help: the layout of etcdctl's own template, tabs and all ---- */

static size_t flag_text(const Option *o, char *buf, size_t n) {
        if (o->shrt)
                return (size_t) snprintf(buf, n, "  -%c, --%s%s", o->shrt, o->name, o->metavar);
        return (size_t) snprintf(buf, n, "      --%s%s", o->name, o->metavar);
}

static void show_flags(FILE *f, const Option *options, const char *help_of) {
        char text[128];
        size_t width = 0;
        static const Option help = { "help", 'h', OPT_BOOL, NULL, "[=false]", "" };
        for (const Option *o = options; o->name; o++)
                if (o->help || help_of)
                        width = MAX(width, flag_text(o, text, sizeof(text)));
        if (help_of)
                width = MAX(width, flag_text(&help, text, sizeof(text)));
        width = (width + 1 + 7) / 8 * 8;
        bool help_done = !help_of;
        for (const Option *o = options; o->name || !help_done; o++) {
                bool help_now = !help_done && (!o->name || strcmp(o->name, "help") > 0);
                const Option *show = help_now ? &help : o;
                if (!show->help) /* the global --help is shown with the command's own */
                        continue;
                size_t n = flag_text(show, text, sizeof(text));
                fputs(text, f);
                for (; n < width; n = (n / 8 + 1) * 8)
                        fputc('\t', f);
                if (help_now)
                        fprintf(f, "help for %s\n", help_of);
                else
                        fprintf(f, "%s\n", show->help);
                if (help_now) {
                        help_done = true;
                        if (!o->name)
                                break;
                        o--;
                }
        }
}

static void show_verb_help(FILE *f, const CtlVerb *v) {
        const char *space = strchr(v->name, ' '), *last = space ? space + 1 : v->name;
        fprintf(f, "NAME:\n\t%s - %s\n\nUSAGE:\n\tetcdctl %.*s%s [flags]\n\nOPTIONS:\n", v->name, v->help,
                space ? (int) (space - v->name + 1) : 0, v->name, v->use);
        show_flags(f, v->options, last);
        fputs("\nGLOBAL OPTIONS:\n", f);
        show_flags(f, globals, NULL);
        fputc('\n', f);
}

static void show_commands(FILE *f, const char *group) {
        size_t width = 0, skip = group ? strlen(group) + 1 : 0;
        for (const CtlVerb *v = verbs; v->name; v++)
                if (!group || (startswith(v->name, group) && v->name[skip - 1] == ' '))
                        width = MAX(width, strlen(v->name + skip));
        width = (width + 1 + 7) / 8 * 8;
        for (const CtlVerb *v = verbs; v->name; v++) {
                if (group && !(startswith(v->name, group) && v->name[skip - 1] == ' '))
                        continue;
                fprintf(f, "\t%s", v->name + skip);
                for (size_t n = strlen(v->name + skip); n < width; n = (n / 8 + 1) * 8)
                        fputc('\t', f);
                fprintf(f, "%s%s\n", v->help, v->run ? "" : " (not built yet)");
        }
}

static void show_group_help(const char *group) {
        static const char *const words[][2] = {
                { "alarm", "Alarm" },
                { "auth", "Enable or disable authentication" },
                { "endpoint", "Endpoint" },
                { "lease", "Lease" },
                { "member", "Membership" },
                { "role", "Role" },
                { "snapshot", "Manages etcd node snapshots" },
                { "user", "User" },
        };
        const char *title = group;
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (streq(words[i][0], group))
                        title = words[i][1];
        printf("NAME:\n\t%s - %s%s\n\nUSAGE:\n\tetcdctl %s <subcommand> [flags]\n\nAPI "
               "VERSION:\n\t3.4\n\n\nCOMMANDS:\n",
               group, title, strchr(title, ' ') ? "" : " related commands", group);
        show_commands(stdout, group);
        fputs("\nOPTIONS:\n", stdout);
        show_flags(stdout, none, group);
        fputs("\nGLOBAL OPTIONS:\n", stdout);
        show_flags(stdout, globals, NULL);
        fputc('\n', stdout);
}

static void show_help(void) {
        fputs("NAME:\n\tetcdctl - A simple command line client for etcd3.\n\nUSAGE:\n\tetcdctl "
              "[flags]\n\nVERSION:\n\t" CORACLE_VERSION " (Coracle)\n\nAPI VERSION:\n\t3.4\n\n\nCOMMANDS:\n",
              stdout);
        show_commands(stdout, NULL);
        fputs("\nOPTIONS:\n", stdout);
        show_flags(stdout, globals, NULL);
}

int verb_version(int argc, char **argv) {
        printf("etcdctl version: %s (Coracle)\nAPI version: 3.4\n", CORACLE_VERSION);
        return 0;
}

/* ---- the connection ---- */

sd_event *ctl_event(void) {
        if (!the_event && sd_event_new(&the_event) < 0)
                ctl_die(CTL_ERROR, "cannot make an event loop");
        return the_event;
}

char *const *ctl_endpoints(void) {
        if (!arg_endpoints)
                strv_add(&arg_endpoints, CTL_DEFAULT_ENDPOINT);
        return arg_endpoints;
}

Usec ctl_timeout(void) {
        return (Usec) arg_command_timeout;
}

static bool wants_tls(void) {
        bool any = arg_cacert || arg_cert || arg_key || arg_skip_verify || !arg_insecure_transport;
        STRV_FOREACH(e, ctl_endpoints())
                any |= startswith(*e, "https://") != NULL;
        return any;
}

/* With TLS flags an endpoint without a scheme means https, as in etcdctl. */
static char **full_endpoints(bool tls) {
        char **list = NULL;
        STRV_FOREACH(e, ctl_endpoints())
                strv_addf(&list, "%s%s", strstr(*e, "://") ? "" : tls ? "https://" : "http://", *e);
        return list;
}

EtcdClient *ctl_client(void) {
        _cleanup_(err_done) Err err = {};
        if (the_client)
                return the_client;
        bool tls = wants_tls();
        if (tls) {
                TlsClientConfig config = { .ca_file = arg_cacert,
                                           .cert_file = arg_cert,
                                           .key_file = arg_key,
                                           .insecure = arg_skip_verify };
                if (tls_client_context_new(&config, &the_tls, &err) < 0)
                        ctl_die(CTL_BAD_ARGS, "%s", err_msg(&err));
        }
        _cleanup_strv_ char **list = full_endpoints(tls);
        EtcdClientConfig config = { .event = ctl_event(),
                                    .endpoints = list,
                                    .tls = the_tls,
                                    .timeout = (Usec) arg_command_timeout,
                                    .dial_timeout = (Usec) arg_dial_timeout,
                                    .ping_interval = (Usec) MAX(arg_keepalive_time,
                                                                (int64_t) (10 * USEC_PER_SEC)),
                                    .ping_timeout = (Usec) arg_keepalive_timeout };
        if (etcd_client_new(&config, &the_client, &err) < 0)
                ctl_die(CTL_BAD_ARGS, "%s", err_msg(&err));
        return the_client;
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *user) {
        ctl_stop = true;
        return 0;
}

void ctl_run_loop(void) {
        sigset_t set;
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        (void) sd_event_add_signal(ctl_event(), NULL, SIGINT, on_signal, NULL);
        (void) sd_event_add_signal(ctl_event(), NULL, SIGTERM, on_signal, NULL);
        ctl_run_until(&ctl_stop);
}

void ctl_run_until(const bool *flag) {
        while (!*flag)
                if (sd_event_run(ctl_event(), UINT64_MAX) < 0)
                        ctl_die(CTL_ERROR, "the event loop failed");
}

typedef struct Wait {
        bool done;
        int error;
        GrpcCode code;
        char *message;
        void *answer;
} Wait;

static void *copy_message(const ProtobufCMessage *m) {
        size_t n = protobuf_c_message_get_packed_size(m);
        _cleanup_free_ uint8_t *packed = xmalloc(n + 1);
        (void) protobuf_c_message_pack(m, packed);
        return protobuf_c_message_unpack(m->descriptor, NULL, n, packed);
}

static void on_done(const EtcdResult *r, void *user) {
        Wait *w = user;
        w->done = true;
        w->error = r->error;
        w->code = r->code;
        w->message = xstrdup(r->message);
        w->answer = r->error == 0 ? copy_message(r->any) : NULL;
}

int ctl_try(const char *method, EtcdCallKind kind, const void *request, const void *descriptor,
            const char *endpoint, void **ret, GrpcCode *ret_code, char **ret_message) {
        Wait w = {};
        EtcdOptions options = { .endpoint = endpoint };
        (void) etcd_unary(ctl_client(), method, kind, request, descriptor, &options, on_done, &w);
        ctl_run_until(&w.done);
        if (arg_debug && w.error < 0)
                fprintf(stderr, "%s: %s (%s)\n", method, w.message, strerror(-w.error));
        /* What etcdctl calls a passed deadline; the cause goes before it. */
        if (w.error == -ENOTCONN || w.error == -ETIMEDOUT) {
                if (!endpoint)
                        fprintf(stderr, "%s\n", w.message);
                free(w.message);
                w.message = xstrdup("context deadline exceeded");
        }
        *ret = w.answer;
        *ret_code = w.code;
        *ret_message = w.message;
        return w.error;
}

void *ctl_call(const char *method, EtcdCallKind kind, const void *request, const void *descriptor,
               const char *wrap) {
        void *answer;
        GrpcCode code;
        char *message;
        if (ctl_try(method, kind, request, descriptor, NULL, &answer, &code, &message) >= 0) {
                free(message);
                return answer;
        }
        if (wrap)
                ctl_die(CTL_ERROR, "%s (%s)", wrap, message);
        ctl_die(CTL_ERROR, "%s", message);
}

/* ---- start ---- */

static const CtlVerb *find_verb(int argc, char **argv, int *ret_used) {
        for (const CtlVerb *v = verbs; v->name; v++) {
                const char *space = strchr(v->name, ' ');
                size_t n = space ? (size_t) (space - v->name) : strlen(v->name);
                if (strlen(argv[0]) != n || strncmp(argv[0], v->name, n) != 0)
                        continue;
                if (space && (argc < 2 || !streq(argv[1], space + 1)))
                        continue;
                *ret_used = space ? 2 : 1;
                return v;
        }
        return NULL;
}

static bool is_group(const char *word) {
        for (const CtlVerb *v = verbs; v->name; v++) {
                const char *rest = startswith(v->name, word);
                if (rest && *rest == ' ')
                        return true;
        }
        return false;
}

static Option *merge(const Option *a, const Option *b) {
        size_t n = 0, m = 0;
        while (a[n].name)
                n++;
        while (b[m].name)
                m++;
        Option *all = xnew(Option, n + m + 1);
        memcpy(all, a, n * sizeof(Option));
        memcpy(all + n, b, m * sizeof(Option));
        return all;
}

static void check_globals(void) {
        static const char *const names[] = { "simple", "json", "fields", "table" };
        if (arg_user || arg_password)
                ctl_die(CTL_BAD_FEATURE, "--user and --password: authentication is not built yet");
        if (arg_srv || arg_srv_name)
                ctl_die(CTL_BAD_FEATURE,
                        "--discovery-srv: finding endpoints by DNS is not built yet; use --endpoints");
        for (size_t i = 0; arg_format && i < ELEMENTSOF(names); i++)
                if (streq(arg_format, names[i])) {
                        ctl_format = (CtlFormat) i;
                        return;
                }
        if (arg_format && streq(arg_format, "protobuf"))
                ctl_die(CTL_BAD_FEATURE, "-w protobuf is not built yet (fields, json, simple, table)");
        if (arg_format)
                ctl_die(CTL_BAD_FEATURE, "unsupported output format");
}

/* `--` ends the flags; watch and lock also want to know where it stood. */
static int split_at_dashes(int argc, char **argv) {
        for (int i = 1; i < argc; i++)
                if (streq(argv[i], "--")) {
                        ctl_exec_args = argv + i + 1;
                        return i;
                }
        return argc;
}

static int run_verb(const CtlVerb *v, int argc, char **argv) {
        _cleanup_(err_done) Err err = {};
        _cleanup_free_ Option *all = merge(v->options, globals);
        char **rest;
        bool takes_command = v->run == verb_watch || v->run == verb_lock;
        int n = takes_command ? split_at_dashes(argc, argv) : argc;
        /* After the first plain word of `lock NAME CMD -x` everything is the command's. */
        if (options_parse(all, 0, n, argv, &rest, &err) < 0) {
                fprintf(stderr, "Error: %s\n", err_msg(&err));
                show_verb_help(stderr, v);
                ctl_die(CTL_ERROR, "%s", err_msg(&err));
        }
        if (arg_help) {
                show_verb_help(stdout, v);
                return 0;
        }
        if (!v->run)
                ctl_die(CTL_BAD_FEATURE, "\"etcdctl %s\" is not built yet", v->name);
        check_globals();
        int r = v->run((int) strv_len(rest), rest);
        free(rest);
        return r;
}

static void environment(void) {
        _cleanup_(err_done) Err err = {};
        extern char **environ;
        _cleanup_strv_ char **env = NULL;
        STRV_FOREACH(e, environ)
                if (startswith(*e, "ETCDCTL_") && !startswith(*e, "ETCDCTL_API=") &&
                    !startswith(*e, "ETCDCTL_WATCH_"))
                        strv_add(&env, *e);
        if (options_from_env(globals, "ETCDCTL_", env, &err) < 0)
                ctl_die(CTL_BAD_ARGS, "%s", err_msg(&err));
}

static int dispatch(int argc, char **argv) {
        int used;
        if (argc == 0 || (argc == 1 && streq(argv[0], "help"))) {
                show_help();
                return 0;
        }
        bool help = streq(argv[0], "help");
        if (help) {
                argv++;
                argc--;
                arg_help = true;
        }
        const CtlVerb *v = find_verb(argc, argv, &used);
        if (v)
                return run_verb(v, argc - used + 1, argv + used - 1);
        if (is_group(argv[0])) {
                show_group_help(argv[0]);
                return 0;
        }
        fprintf(stderr, "Error: unknown command \"%s\" for \"etcdctl\"\nRun 'etcdctl --help' for usage.\n",
                argv[0]);
        ctl_die(CTL_ERROR, "unknown command \"%s\" for \"etcdctl\"", argv[0]);
}

int v3_main(int argc, char **argv) {
        _cleanup_(err_done) Err err = {};
        char **rest;
        environment();
        if (options_parse(globals, OPTIONS_STOP_AT_ARG, argc, argv, &rest, &err) < 0)
                ctl_die(CTL_ERROR, "%s", err_msg(&err));
        int r = dispatch((int) strv_len(rest), rest);
        free(rest);
        the_client = etcd_client_free(the_client);
        the_event = sd_event_unref(the_event);
        the_tls = tls_context_unref(the_tls);
        (void) fflush(stdout);
        return r;
}

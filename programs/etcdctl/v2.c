/* SPDX-License-Identifier: Apache-2.0 */

/* API 2: flags, verbs, the connection. */

#include "v2.h"

#include <ctype.h>
#include <stdarg.h>
#include <unistd.h>

bool v2_debug;
const char *v2_output = "simple";

static char **arg_endpoints;
static char *arg_output, *arg_srv, *arg_cert, *arg_key, *arg_ca, *arg_user;
static bool arg_no_sync, arg_help, arg_version;
static int64_t arg_timeout = 1 * USEC_PER_SEC, arg_total_timeout = 5 * USEC_PER_SEC;
static sd_event *the_event;
static Etcd2Client *the_client;

static int set_endpoints(const char *name, const char *value, Err *err) {
        _cleanup_strv_ char **list = strv_split(value, ",", false);
        strv_free(arg_endpoints);
        arg_endpoints = NULL;
        STRV_FOREACH(e, list)
                strv_addf(&arg_endpoints, "%s%s", strstr(*e, "://") ? "" : "http://", *e);
        return 0;
}

static const Option globals[] = {
        { "debug", 0, OPT_BOOL, &v2_debug, NULL,
          "output cURL commands which can be used to reproduce the request" },
        { "no-sync", 0, OPT_BOOL, &arg_no_sync, NULL,
          "don't synchronize cluster information before sending request" },
        { "output", 'o', OPT_STR, &arg_output, "FORM",
          "output response in the given format (simple, extended or json)" },
        { "discovery-srv", 'D', OPT_STR, &arg_srv, "DOMAIN", "domain name to query for SRV records" },
        { "endpoints", 0, OPT_CALL, NULL, "LIST",
          "machine addresses in the cluster (default: http://127.0.0.1:2379,http://127.0.0.1:4001)",
          set_endpoints },
        { "endpoint", 0, OPT_CALL, NULL, "LIST", "DEPRECATED - \"--endpoints\" should be used instead",
          set_endpoints },
        { "peers", 'C', OPT_CALL, NULL, "LIST", "DEPRECATED - \"--endpoints\" should be used instead",
          set_endpoints },
        { "cert-file", 0, OPT_STR, &arg_cert, "FILE",
          "identify HTTPS client using this SSL certificate file" },
        { "key-file", 0, OPT_STR, &arg_key, "FILE", "identify HTTPS client using this SSL key file" },
        { "ca-file", 0, OPT_STR, &arg_ca, "FILE",
          "verify certificates of HTTPS-enabled servers using this CA bundle" },
        { "username", 'u', OPT_STR, &arg_user, "USER[:PW]", "provide username[:password]" },
        { "timeout", 0, OPT_DURATION, &arg_timeout, "TIME", "connection timeout per request (default: 1s)" },
        { "total-timeout", 0, OPT_DURATION, &arg_total_timeout, "TIME",
          "timeout for the command execution (except watch) (default: 5s)" },
        { "help", 'h', OPT_BOOL, &arg_help, NULL, "show help" },
        { "version", 'v', OPT_BOOL, &arg_version, NULL, "print the version" },
        {},
};
static const Option none[] = { {} };

static const V2Verb verbs[] = {
        { "backup", "", "backup an etcd directory", none, NULL },
        { "cluster-health", "", "check the health of the etcd cluster", v2_health_options,
          v2_cluster_health },
        { "mk", "<key> <value>", "make a new key with a given value", v2_mk_options, v2_mk },
        { "mkdir", "<key>", "make a new directory", v2_ttl_options, v2_mkdir },
        { "rm", "<key>", "remove a key or a directory", v2_rm_options, v2_rm },
        { "rmdir", "<key>", "removes the key if it is an empty directory or a key-value pair", none,
          v2_rmdir },
        { "get", "<key>", "retrieve the value of a key", v2_get_options, v2_get },
        { "ls", "[key]", "retrieve a directory", v2_ls_options, v2_ls },
        { "set", "<key> <value>", "set the value of a key", v2_set_options, v2_set },
        { "setdir", "<key>", "create a new directory or update an existing directory TTL", v2_ttl_options,
          v2_setdir },
        { "update", "<key> <value>", "update an existing key with a given value", v2_ttl_options,
          v2_update },
        { "updatedir", "<key>", "update an existing directory", v2_ttl_options, v2_updatedir },
        { "watch", "<key>", "watch a key for changes", v2_watch_options, v2_watch },
        { "exec-watch", "<key> <command> [args...]", "watch a key for changes and exec an executable",
          v2_exec_watch_options, v2_exec_watch },
        { "member", "list|add|remove|update", "member add, remove and list subcommands", none, v2_member },
        { "user", "", "user add, grant and revoke subcommands", none, NULL },
        { "role", "", "role add, grant and revoke subcommands", none, NULL },
        { "auth", "", "overall auth controls", none, NULL },
        {},
};

void v2_die(int code, const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        (void) fflush(stdout);
        fputs("Error:  ", stderr);
        (void) vfprintf(stderr, fmt, ap);
        fputc('\n', stderr);
        va_end(ap);
        exit(code);
}

char *const *v2_endpoints(void) {
        return etcd2_endpoints(the_client);
}

/* ---- one request ---- */

typedef struct Wait {
        bool done;
        V2Answer answer;
        int error;
        char *problem;
} Wait;

static void on_done(const Etcd2Result *r, void *user) {
        Wait *w = user;
        w->done = true;
        w->error = r->error;
        w->problem = xstrdup(r->message);
        w->answer = (V2Answer){ .status = r->status,
                                .code = r->code,
                                .index = r->index,
                                .body = r->body ? json_deep_copy(r->body) : NULL,
                                .text = xstrdup(r->text),
                                .endpoint = xstrdup(strempty(r->endpoint)) };
}

static void show_curl(const Etcd2Request *q) {
        if (!v2_debug)
                return;
        fprintf(stderr, "cURL Command: curl -X %s %s%s%s%s", q->method ?: "GET",
                q->endpoint ?: etcd2_endpoints(the_client)[0], q->path, q->query ? "?" : "",
                strempty(q->query));
        if (q->form)
                fprintf(stderr, " -d \"%s\"", q->form);
        fputc('\n', stderr);
}

bool v2_try(const Etcd2Request *q, V2Answer *ret, char **ret_problem) {
        Wait w = {};
        show_curl(q);
        (void) etcd2_request(the_client, q, on_done, &w);
        while (!w.done)
                if (sd_event_run(the_event, UINT64_MAX) < 0)
                        v2_die(V2_BAD_CONNECTION, "the event loop failed");
        *ret = w.answer;
        *ret_problem = w.problem;
        return w.error == 0;
}

V2Answer v2_ask(const Etcd2Request *q) {
        V2Answer a;
        char *problem;
        if (!v2_try(q, &a, &problem))
                v2_die(V2_SERVER_ERROR, "client: etcd cluster is unavailable or misconfigured\n%s", problem);
        free(problem);
        return a;
}

void v2_check(const V2Answer *a) {
        if (a->status < 400)
                return;
        if (a->code)
                v2_die(V2_SERVER_ERROR, "%3d: %s (%s) [%" PRId64 "]", a->code,
                       strempty(ji_str(a->body, "message")), strempty(ji_str(a->body, "cause")),
                       ji_int(a->body, "index", 0));
        const char *message = a->body ? ji_str(a->body, "message") : NULL;
        v2_die(V2_SERVER_ERROR, "%s", message ?: a->text);
}

/* ---- start ---- */

static void show_help(void) {
        _cleanup_free_ char *text = options_help(globals);
        printf("NAME:\n   etcdctl - A simple command line client for etcd.\n\nUSAGE:\n   etcdctl [global "
               "options] "
               "command [command options] [arguments...]\n\nCOMMANDS:\n");
        for (const V2Verb *v = verbs; v->name; v++)
                printf("   %-16s%s%s\n", v->name, v->help, v->run ? "" : " (not built yet)");
        printf("\nGLOBAL OPTIONS:\n%s", text);
}

static void connect_client(void) {
        _cleanup_(err_done) Err err = {};
        TlsContext *tls = NULL;
        if (arg_srv)
                v2_die(V2_BAD_ARGS,
                       "--discovery-srv: finding endpoints by DNS is not built yet; use --endpoints");
        if (arg_user)
                v2_die(V2_BAD_AUTH, "--username: authentication is not built yet");
        if (!arg_endpoints)
                (void) set_endpoints(NULL, "http://127.0.0.1:2379,http://127.0.0.1:4001", NULL);
        TlsClientConfig config = { .ca_file = arg_ca, .cert_file = arg_cert, .key_file = arg_key };
        if ((arg_ca || arg_cert || arg_key) && tls_client_context_new(&config, &tls, &err) < 0)
                v2_die(V2_BAD_ARGS, "%s", err_msg(&err));
        Etcd2Config client = { .endpoints = arg_endpoints,
                               .tls = tls,
                               .timeout = (Usec) arg_timeout,
                               .total_timeout = (Usec) arg_total_timeout };
        if (sd_event_new(&the_event) < 0)
                v2_die(V2_BAD_CONNECTION, "cannot make an event loop");
        client.event = the_event;
        if (etcd2_client_new(&client, &the_client, &err) < 0)
                v2_die(V2_BAD_ARGS, "%s", err_msg(&err));
}

/* As etcdctl 2: learn the members first, then talk to what they advertise. */
static void sync_members(void) {
        Wait w = {};
        if (!arg_no_sync) {
                (void) etcd2_sync(the_client, on_done, &w);
                while (!w.done)
                        (void) sd_event_run(the_event, UINT64_MAX);
                if (w.error < 0)
                        v2_die(V2_SERVER_ERROR, "client: etcd cluster is unavailable or misconfigured\n%s",
                               w.problem);
        }
        if (!v2_debug)
                return;
        _cleanup_free_ char *all = strv_join(etcd2_endpoints(the_client), ", ");
        fprintf(stderr, "Cluster-Endpoints: %s\n", all);
}

static int run(const V2Verb *v, int argc, char **argv) {
        _cleanup_(err_done) Err err = {};
        char **rest;
        /* What follows the key of exec-watch is the command with its own flags. */
        OptionsFlags flags = OPTIONS_SINGLE_DASH_LONG | (v->run == v2_exec_watch ? OPTIONS_STOP_AT_ARG : 0);
        if (options_parse(v->options, flags, argc, argv, &rest, &err) < 0) {
                fprintf(stderr, "Incorrect Usage.\n%s\n", err_msg(&err));
                return V2_BAD_ARGS;
        }
        if (!v->run)
                v2_die(V2_BAD_ARGS, "\"etcdctl %s\" is not built yet", v->name);
        int r = v->run((int) strv_len(rest), rest);
        (void) fflush(stdout);
        return r;
}

int v2_run_group(const V2Verb *group_verbs, const char *group, int argc, char **argv) {
        for (const V2Verb *v = group_verbs; argc > 0 && v->name; v++)
                if (streq(v->name, argv[0]))
                        return run(v, argc, argv);
        if (argc > 0)
                fprintf(stderr, "No help topic for '%s'\n", argv[0]);
        printf("NAME:\n   etcdctl %s - subcommands\n\nCOMMANDS:\n", group);
        for (const V2Verb *v = group_verbs; v->name; v++)
                printf("   %-10s%s\n", v->name, v->help);
        return argc > 0 ? V2_BAD_ARGS : 0;
}

static void check_output(void) {
        v2_output = arg_output ?: "simple";
        if (!streq(v2_output, "simple") && !streq(v2_output, "extended") && !streq(v2_output, "json"))
                v2_die(V2_BAD_ARGS, "unsupported output format \"%s\" (simple, extended or json)",
                       v2_output);
}

static void environment(void) {
        static const char *const names[] = { "ETCDCTL_ENDPOINTS", "ETCDCTL_ENDPOINT", "ETCDCTL_PEERS" };
        _cleanup_(err_done) Err err = {};
        extern char **environ;
        _cleanup_strv_ char **env = NULL;
        for (size_t i = ELEMENTSOF(names); i > 0; i--)
                if (!isempty(getenv(names[i - 1])))
                        (void) set_endpoints(NULL, getenv(names[i - 1]), NULL);
        STRV_FOREACH(e, environ)
                if (startswith(*e, "ETCDCTL_CA_FILE=") || startswith(*e, "ETCDCTL_CERT_FILE=") ||
                    startswith(*e, "ETCDCTL_KEY_FILE=") || startswith(*e, "ETCDCTL_DISCOVERY_SRV=") ||
                    startswith(*e, "ETCDCTL_USERNAME="))
                        strv_add(&env, *e);
        if (options_from_env(globals, "ETCDCTL_", env, &err) < 0)
                v2_die(V2_BAD_ARGS, "%s", err_msg(&err));
}

int v2_main(int argc, char **argv) {
        _cleanup_(err_done) Err err = {};
        char **rest;
        environment();
        if (options_parse(globals, OPTIONS_STOP_AT_ARG | OPTIONS_SINGLE_DASH_LONG, argc, argv, &rest, &err) <
            0) {
                fprintf(stderr, "Incorrect Usage.\n%s\n", err_msg(&err));
                return V2_BAD_ARGS;
        }
        if (arg_version) {
                printf("etcdctl version %s (Coracle)\n", CORACLE_VERSION);
                return 0;
        }
        if (arg_help || !rest[0] || streq(rest[0], "help")) {
                show_help();
                return 0;
        }
        check_output();
        for (const V2Verb *v = verbs; v->name; v++)
                if (streq(v->name, rest[0])) {
                        connect_client();
                        if (v->run && v->run != v2_cluster_health && v->run != v2_member)
                                sync_members();
                        return run(v, (int) strv_len(rest), rest);
                }
        fprintf(stderr, "No help topic for '%s'\n", rest[0]);
        return 3;
}

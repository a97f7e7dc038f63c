/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonout.h"
#include "ctl.h"

static bool arg_interactive, arg_prefix, arg_prev_kv, arg_progress;
static int64_t arg_rev;

const Option watch_options[] = {
        { "interactive", 'i', OPT_BOOL, &arg_interactive, "[=false]", "Interactive mode" },
        { "prefix", 0, OPT_BOOL, &arg_prefix, "[=false]", "Watch on a prefix if prefix is set" },
        { "prev-kv", 0, OPT_BOOL, &arg_prev_kv, "[=false]",
          "get the previous key-value pair before the event happens" },
        { "progress-notify", 0, OPT_BOOL, &arg_progress, "[=false]",
          "get periodic watch progress notification from server" },
        { "rev", 0, OPT_INT, &arg_rev, "=0", "Revision to start watching" },
        {},
};

typedef struct Watch {
        char **command; /* weak; run for each event */
        bool interactive;
} Watch;

static void run_command(Watch *w, const Etcdserverpb__Event *e, int64_t revision) {
        _cleanup_strv_ char **env = NULL;
        _cleanup_free_ char *key = go_quote(e->kv->key.data, e->kv->key.len);
        _cleanup_free_ char *value = go_quote(e->kv->value.data, e->kv->value.len);
        strv_addf(&env, "ETCD_WATCH_REVISION=%" PRId64, revision);
        strv_addf(&env, "ETCD_WATCH_EVENT_TYPE=\"%s\"",
                  e->type == ETCDSERVERPB__EVENT__TYPE__PUT ? "PUT" : "DELETE");
        strv_addf(&env, "ETCD_WATCH_KEY=%s", key);
        strv_addf(&env, "ETCD_WATCH_VALUE=%s", value);
        int r = ctl_exec(w->command, env);
        if (r != 0)
                fprintf(stderr, "command %s error (exit status %d)\n", w->command[0], r);
        if (r == 127)
                exit(CTL_ERROR);
}

static void show_json(const Etcdserverpb__WatchResponse *m, Etcdserverpb__Event *const *events, size_t n) {
        _cleanup_(buf_done) Buf b = {}, part = {};
        JsonOut j = { .buf = &b };
        static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
        jo_obj(&j);
        json_message(&part, &(m && m->header ? m->header : &none)->base);
        jo_key(&j, "Header");
        jo_raw(&j, part.data, part.len);
        jo_key(&j, "Events");
        jo_arr(&j);
        for (size_t i = 0; i < n; i++) {
                buf_clear(&part);
                json_message(&part, &events[i]->base);
                jo_raw(&j, part.data, part.len);
        }
        jo_end(&j);
        jo_kint(&j, "CompactRevision", 0);
        jo_kbool(&j, "Canceled", false);
        jo_kbool(&j, "Created", false);
        jo_end(&j);
        puts(buf_str(&b));
}

static void show_event(const Etcdserverpb__Event *e) {
        const char *type = e->type == ETCDSERVERPB__EVENT__TYPE__PUT ? "PUT" : "DELETE";
        if (ctl_format == CTL_SIMPLE) {
                puts(type);
                if (e->prev_kv)
                        print_kv(e->prev_kv, false, false);
                print_kv(e->kv, false, false);
        } else {
                printf("\"Type\" : %s\n", type);
                if (e->prev_kv)
                        print_kv_fields("Prev", e->prev_kv);
                print_kv_fields("", e->kv);
        }
}

static void on_events(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision,
                      void *user) {
        Watch *k = user;
        const Etcdserverpb__WatchResponse *m = etcd_watch_response(w);
        if (n == 0) {
                fprintf(stdout, "progress notify: %" PRId64 "\n", revision);
                (void) fflush(stdout);
                return;
        }
        if (ctl_format == CTL_JSON)
                show_json(m, events, n);
        else if (ctl_format == CTL_FIELDS)
                print_header_fields(m ? m->header : NULL);
        for (size_t i = 0; ctl_format != CTL_JSON && i < n; i++)
                show_event(events[i]);
        (void) fflush(stdout);
        for (size_t i = 0; k->command && i < n; i++)
                run_command(k, events[i], revision);
}

static void on_failed(EtcdWatch *w, GrpcCode code, const char *message, void *user) {
        Watch *k = user;
        fprintf(stderr, "watch was canceled (%s)\n", message);
        if (!k->interactive)
                ctl_die(CTL_INTERRUPTED, "watch is canceled by the server");
}

static void on_compacted(EtcdWatch *w, int64_t revision, void *user) {
        on_failed(w, GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", user);
}

static void begin(char **args, char **command, bool interactive) {
        size_t n = strv_len(args);
        const char *key = n > 0 ? args[0] : getenv("ETCDCTL_WATCH_KEY");
        const char *end = n > 1 ? args[1] : n > 0 ? NULL : getenv("ETCDCTL_WATCH_RANGE_END");
        if (!key || n > 2)
                ctl_die(CTL_BAD_ARGS, "bad number of arguments");
        if (end && arg_prefix)
                ctl_die(CTL_BAD_ARGS, "`range_end` and `--prefix` are mutually exclusive");
        Watch *k = xnew(Watch, 1);
        k->command = command && *command ? command : NULL;
        k->interactive = interactive;
        EtcdWatchConfig config = { .key = key,
                                   .key_len = strlen(key),
                                   .range_end = end,
                                   .range_end_len = end ? strlen(end) : 0,
                                   .prefix = arg_prefix,
                                   .start_revision = arg_rev,
                                   .prev_kv = arg_prev_kv,
                                   .progress_notify = arg_progress,
                                   .on_events = on_events,
                                   .on_compacted = on_compacted,
                                   .on_failed = on_failed,
                                   .user = k };
        (void) etcd_watch(ctl_client(), &config);
}

/* ---- interactive: "watch ..." lines from standard input ---- */

static void interactive_line(const char *line) {
        char **words = ctl_split_words(line);
        if (!words)
                return;
        if (streq(words[0], "progress")) {
                fprintf(stderr, "the progress command is not built yet; use --progress-notify\n");
                return;
        }
        if (!streq(words[0], "watch")) {
                fprintf(stderr, "Invalid command %s (only support watch)\n", line);
                return;
        }
        char **command = NULL;
        for (char **w = words; *w; w++)
                if (streq(*w, "--")) {
                        *w = NULL;
                        command = w + 1;
                        break;
                }
        arg_prefix = arg_prev_kv = arg_progress = false;
        arg_rev = 0;
        begin(ctl_parse_words(watch_options, words, line), command, true);
}

static int on_stdin(sd_event_source *s, int fd, uint32_t revents, void *user) {
        char *line = NULL;
        size_t cap = 0;
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0)
                ctl_die(CTL_ERROR, "Error reading watch request line: EOF");
        if (n > 0 && line[n - 1] == '\n')
                line[n - 1] = 0;
        interactive_line(line);
        free(line);
        return 0;
}

int verb_watch(int argc, char **argv) {
        if (ctl_format == CTL_TABLE)
                die_no_table();
        if (arg_interactive) {
                if (argc > 0)
                        ctl_die(CTL_BAD_ARGS, "watch -i takes its keys from standard input");
                (void) setvbuf(stdin, NULL, _IONBF, 0); /* what stdio holds back the loop would not see */
                if (sd_event_add_io(ctl_event(), NULL, 0, 1 /* EPOLLIN */, on_stdin, NULL) < 0)
                        ctl_die(CTL_ERROR, "watch -i: standard input is a file; give a terminal or a pipe");
        } else {
                begin(argv, ctl_exec_args, false);
        }
        ctl_run_loop();
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */

/* API 2: keys and watches. */

#include "codec/jsonout.h"
#include "codec/url.h"
#include "v2.h"

#include <stdio.h>

static int64_t arg_ttl, arg_swap_index, arg_with_index, arg_after_index;
static char *arg_swap_value, *arg_with_value;
static bool arg_sort, arg_quorum, arg_in_order, arg_dir, arg_recursive, arg_slash, arg_forever;

const Option v2_set_options[] = {
        { "ttl", 0, OPT_INT, &arg_ttl, "SECONDS", "key time-to-live in seconds" },
        { "swap-with-value", 0, OPT_STR, &arg_swap_value, "VALUE", "previous value" },
        { "swap-with-index", 0, OPT_INT, &arg_swap_index, "INDEX", "previous index" },
        {},
};
const Option v2_get_options[] = {
        { "sort", 0, OPT_BOOL, &arg_sort, NULL, "returns result in sorted order" },
        { "quorum", 'q', OPT_BOOL, &arg_quorum, NULL, "require quorum for get request" },
        {},
};
const Option v2_mk_options[] = {
        { "in-order", 0, OPT_BOOL, &arg_in_order, NULL, "create in-order key under directory <key>" },
        { "ttl", 0, OPT_INT, &arg_ttl, "SECONDS", "key time-to-live in seconds" },
        {},
};
const Option v2_ttl_options[] = {
        { "ttl", 0, OPT_INT, &arg_ttl, "SECONDS", "key time-to-live in seconds" },
        {},
};
const Option v2_rm_options[] = {
        { "dir", 0, OPT_BOOL, &arg_dir, NULL,
          "removes the key if it is an empty directory or a key-value pair" },
        { "recursive", 'r', OPT_BOOL, &arg_recursive, NULL,
          "removes the key and all child keys (if it is a directory)" },
        { "with-value", 0, OPT_STR, &arg_with_value, "VALUE", "previous value" },
        { "with-index", 0, OPT_INT, &arg_with_index, "INDEX", "previous index" },
        {},
};
const Option v2_ls_options[] = {
        { "sort", 0, OPT_BOOL, &arg_sort, NULL, "returns result in sorted order" },
        { "recursive", 'r', OPT_BOOL, &arg_recursive, NULL,
          "returns all key names recursively for the given path" },
        { "p", 'p', OPT_BOOL, &arg_slash, NULL, "append slash (/) to directories" },
        { "quorum", 'q', OPT_BOOL, &arg_quorum, NULL, "require quorum for get request" },
        {},
};
const Option v2_watch_options[] = {
        { "forever", 'f', OPT_BOOL, &arg_forever, NULL, "forever watch a key until CTRL+C" },
        { "after-index", 0, OPT_INT, &arg_after_index, "INDEX", "watch after the given index" },
        { "recursive", 'r', OPT_BOOL, &arg_recursive, NULL, "returns all values for key and child keys" },
        {},
};
const Option v2_exec_watch_options[] = {
        { "after-index", 0, OPT_INT, &arg_after_index, "INDEX", "watch after the given index" },
        { "recursive", 'r', OPT_BOOL, &arg_recursive, NULL, "watch all values for key and child keys" },
        {},
};

static const char *need_key(int argc, char **argv) {
        if (argc < 1)
                v2_die(V2_BAD_ARGS, "key required");
        return argv[0];
}

/* The value: the second argument, or standard input. */
static const char *need_value(int argc, char **argv) {
        size_t n;
        if (argc > 1)
                return argv[1];
        char *value = ctl_read_stdin(&n);
        if (n == 0)
                v2_die(V2_BAD_ARGS, "value required");
        return value;
}

static V2Answer key_request(const char *method, const char *key, const char *query, const char *form) {
        _cleanup_free_ char *path = etcd2_key_path(key);
        Etcd2Request q = { .method = method, .path = path, .query = query, .form = form };
        V2Answer a = v2_ask(&q);
        v2_check(&a);
        return a;
}

/* ---- showing ---- */

static void node_json(JsonOut *j, const json_t *n) {
        size_t i;
        json_t *child;
        if (!n) {
                jo_null(j);
                return;
        }
        jo_obj(j);
        jo_kstr(j, "key", strempty(ji_str(n, "key")));
        if (ji_bool(n, "dir", false))
                jo_kbool(j, "dir", true);
        jo_kstr(j, "value", strempty(ji_str(n, "value")));
        jo_key(j, "nodes");
        if (!ji_arr(n, "nodes")) {
                jo_null(j);
        } else {
                jo_arr(j);
                json_array_foreach(ji_arr(n, "nodes"), i, child) node_json(j, child);
                jo_end(j);
        }
        jo_kint(j, "createdIndex", ji_int(n, "createdIndex", 0));
        jo_kint(j, "modifiedIndex", ji_int(n, "modifiedIndex", 0));
        if (ji_str(n, "expiration"))
                jo_kstr(j, "expiration", ji_str(n, "expiration"));
        if (ji_int(n, "ttl", 0))
                jo_kint(j, "ttl", ji_int(n, "ttl", 0));
        jo_end(j);
}

static void show_json(const V2Answer *a) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kstr(&j, "action", strempty(ji_str(a->body, "action")));
        jo_key(&j, "node");
        node_json(&j, ji_obj(a->body, "node"));
        jo_key(&j, "prevNode");
        node_json(&j, ji_obj(a->body, "prevNode"));
        jo_end(&j);
        puts(buf_str(&b));
}

void v2_print_node(const V2Answer *a) {
        const json_t *node = ji_obj(a->body, "node"), *prev = ji_obj(a->body, "prevNode");
        bool deleted = streq(strempty(ji_str(a->body, "action")), "delete");
        const char *value = strempty(ji_str(node, "value")),
                   *old = prev ? strempty(ji_str(prev, "value")) : "";
        if (streq(v2_output, "json")) {
                show_json(a);
        } else if (streq(v2_output, "simple")) {
                if (deleted)
                        printf("PrevNode.Value: %s\n", old);
                else
                        printf("%s\n", value);
        } else {
                printf("Key: %s\nCreated-Index: %" PRId64 "\nModified-Index: %" PRId64 "\n",
                       strempty(ji_str(node, "key")), ji_int(node, "createdIndex", 0),
                       ji_int(node, "modifiedIndex", 0));
                if (prev)
                        printf("PrevNode.Value: %s\n", old);
                printf("TTL: %" PRId64 "\nIndex: %" PRIu64 "\n", ji_int(node, "ttl", 0), a->index);
                if (!deleted)
                        printf("\n%s\n", value);
        }
        (void) fflush(stdout);
}

static bool is_dir(const V2Answer *a) {
        return ji_bool(ji_obj(a->body, "node"), "dir", false);
}

/* ---- writing ---- */

static char *form_value(const char *value, const char *more) {
        Buf b = {};
        if (value)
                url_form_add(&b, "value", value);
        if (more)
                buf_addf(&b, "%s%s", b.len > 0 ? "&" : "", more);
        if (arg_ttl > 0)
                buf_addf(&b, "%sttl=%" PRId64, b.len > 0 ? "&" : "", arg_ttl);
        return buf_take(&b);
}

static int put_value(int argc, char **argv, const char *method, const char *query) {
        const char *key = need_key(argc, argv), *value = need_value(argc, argv);
        _cleanup_free_ char *form = form_value(value, NULL);
        V2Answer a = key_request(method, key, query, form);
        v2_print_node(&a);
        return 0;
}

int v2_set(int argc, char **argv) {
        _cleanup_(buf_done) Buf query = {};
        if (arg_swap_value)
                url_form_add(&query, "prevValue", arg_swap_value);
        if (arg_swap_index > 0)
                buf_addf(&query, "%sprevIndex=%" PRId64, query.len > 0 ? "&" : "", arg_swap_index);
        return put_value(argc, argv, "PUT", buf_str(&query));
}

int v2_mk(int argc, char **argv) {
        if (arg_in_order)
                return put_value(argc, argv, "POST", NULL);
        return put_value(argc, argv, "PUT", "prevExist=false");
}

int v2_update(int argc, char **argv) {
        return put_value(argc, argv, "PUT", "prevExist=true");
}

static int put_dir(int argc, char **argv, const char *query) {
        _cleanup_free_ char *form = form_value(NULL, "dir=true");
        V2Answer a = key_request("PUT", need_key(argc, argv), query, form);
        if (!streq(v2_output, "simple"))
                v2_print_node(&a);
        return 0;
}

int v2_mkdir(int argc, char **argv) {
        return put_dir(argc, argv, "prevExist=false");
}

int v2_setdir(int argc, char **argv) {
        return put_dir(argc, argv, NULL);
}

int v2_updatedir(int argc, char **argv) {
        return put_dir(argc, argv, "prevExist=true");
}

int v2_rm(int argc, char **argv) {
        _cleanup_(buf_done) Buf query = {};
        const char *key = need_key(argc, argv);
        buf_addf(&query, "dir=%s&recursive=%s", arg_dir ? "true" : "false",
                 arg_recursive ? "true" : "false");
        if (arg_with_value)
                url_form_add(&query, "prevValue", arg_with_value);
        if (arg_with_index > 0)
                buf_addf(&query, "&prevIndex=%" PRId64, arg_with_index);
        V2Answer a = key_request("DELETE", key, buf_str(&query), NULL);
        if (!is_dir(&a) || !streq(v2_output, "simple"))
                v2_print_node(&a);
        return 0;
}

int v2_rmdir(int argc, char **argv) {
        V2Answer a = key_request("DELETE", need_key(argc, argv), "dir=true&recursive=false", NULL);
        if (!is_dir(&a))
                v2_print_node(&a);
        return 0;
}

/* ---- reading ---- */

static V2Answer read_key(const char *key) {
        _cleanup_free_ char *query =
                        xasprintf("quorum=%s&recursive=%s&sorted=%s", arg_quorum ? "true" : "false",
                                  arg_recursive ? "true" : "false", arg_sort ? "true" : "false");
        return key_request("GET", key, query, NULL);
}

int v2_get(int argc, char **argv) {
        V2Answer a = read_key(need_key(argc, argv));
        if (is_dir(&a)) {
                fprintf(stderr, "%s: is a directory\n", strempty(ji_str(ji_obj(a.body, "node"), "key")));
                return V2_BAD_ARGS;
        }
        v2_print_node(&a);
        return 0;
}

static void list_nodes(const json_t *node, unsigned depth) {
        size_t i;
        json_t *child;
        if (depth > JSON_IN_DEPTH_MAX)
                return;
        json_array_foreach(ji_arr(node, "nodes"), i, child) {
                bool dir = ji_bool(child, "dir", false);
                printf("%s%s\n", strempty(ji_str(child, "key")), dir && arg_slash ? "/" : "");
                if (dir)
                        list_nodes(child, depth + 1);
        }
}

int v2_ls(int argc, char **argv) {
        V2Answer a = read_key(argc > 0 ? argv[0] : "/");
        const json_t *node = ji_obj(a.body, "node");
        if (!is_dir(&a))
                printf("%s\n", strempty(ji_str(node, "key")));
        list_nodes(node, 0);
        return 0;
}

/* ---- watching ---- */

/* The next event at or after *index (0 = the next one at all); moves *index behind it. */
static V2Answer next_event(const char *key, uint64_t *index) {
        _cleanup_free_ char *path = etcd2_key_path(key);
        for (;;) {
                _cleanup_(buf_done) Buf query = {};
                buf_addf(&query, "wait=true&recursive=%s", arg_recursive ? "true" : "false");
                if (*index > 0)
                        buf_addf(&query, "&waitIndex=%" PRIu64, *index);
                Etcd2Request q = { .path = path, .query = buf_str(&query), .wait = true };
                V2Answer a = v2_ask(&q);
                if (a.status == 200 && !a.body)
                        continue; /* the server was tired of waiting (spec a.3) */
                v2_check(&a);
                *index = (uint64_t) ji_int(ji_obj(a.body, "node"), "modifiedIndex", 0) + 1;
                return a;
        }
}

static const char *event_key(const V2Answer *a) {
        return strempty(ji_str(ji_obj(a->body, "node"), "key"));
}

static const char *event_action(const V2Answer *a) {
        return strempty(ji_str(a->body, "action"));
}

int v2_watch(int argc, char **argv) {
        const char *key = need_key(argc, argv);
        uint64_t index = arg_after_index > 0 ? (uint64_t) arg_after_index + 1 : 0;
        do {
                V2Answer a = next_event(key, &index);
                if (arg_recursive && streq(v2_output, "simple"))
                        printf("[%s] %s\n", event_action(&a), event_key(&a));
                v2_print_node(&a);
        } while (arg_forever);
        return 0;
}

int v2_exec_watch(int argc, char **argv) {
        if (argc < 2)
                v2_die(V2_BAD_ARGS, "key and command to exec required");
        /* "exec-watch KEY -- CMD": the dashes are not part of the command. */
        char **command = argv + 1 + (streq(argv[1], "--") ? 1 : 0);
        uint64_t index = arg_after_index > 0 ? (uint64_t) arg_after_index + 1 : 0;
        for (;;) {
                V2Answer a = next_event(argv[0], &index);
                _cleanup_strv_ char **env = NULL;
                strv_addf(&env, "ETCD_WATCH_ACTION=%s", event_action(&a));
                strv_addf(&env, "ETCD_WATCH_MODIFIED_INDEX=%" PRIu64, index - 1);
                strv_addf(&env, "ETCD_WATCH_KEY=%s", event_key(&a));
                strv_addf(&env, "ETCD_WATCH_VALUE=%s", strempty(ji_str(ji_obj(a.body, "node"), "value")));
                int r = ctl_exec(command, env);
                if (r == 127)
                        return V2_BAD_ARGS;
        }
}

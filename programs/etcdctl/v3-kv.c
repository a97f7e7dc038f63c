/* SPDX-License-Identifier: Apache-2.0 */

/* put, get, del, txn, compaction */

#include "ctl.h"

#include <strings.h>

static bool arg_prev_kv, arg_ignore_value, arg_ignore_lease, arg_prefix, arg_from_key, arg_keys_only,
                arg_value_only;
static bool arg_interactive, arg_physical;
static char *arg_lease, *arg_order, *arg_sort_by, *arg_consistency;
static int64_t arg_limit, arg_rev;

const Option put_options[] = {
        { "ignore-lease", 0, OPT_BOOL, &arg_ignore_lease, "[=false]",
          "updates the key using its current lease" },
        { "ignore-value", 0, OPT_BOOL, &arg_ignore_value, "[=false]",
          "updates the key using its current value" },
        { "lease", 0, OPT_STR, &arg_lease, "=\"0\"", "lease ID (in hexadecimal) to attach to the key" },
        { "prev-kv", 0, OPT_BOOL, &arg_prev_kv, "[=false]",
          "return the previous key-value pair before modification" },
        {},
};
const Option get_options[] = {
        { "consistency", 0, OPT_STR, &arg_consistency, "=\"l\"", "Linearizable(l) or Serializable(s)" },
        { "from-key", 0, OPT_BOOL, &arg_from_key, "[=false]",
          "Get keys that are greater than or equal to the given key using byte compare" },
        { "keys-only", 0, OPT_BOOL, &arg_keys_only, "[=false]", "Get only the keys" },
        { "limit", 0, OPT_INT, &arg_limit, "=0", "Maximum number of results" },
        { "order", 0, OPT_STR, &arg_order, "=\"\"",
          "Order of results; ASCEND or DESCEND (ASCEND by default)" },
        { "prefix", 0, OPT_BOOL, &arg_prefix, "[=false]", "Get keys with matching prefix" },
        { "print-value-only", 0, OPT_BOOL, &arg_value_only, "[=false]",
          "Only write values when using the \"simple\" output format" },
        { "rev", 0, OPT_INT, &arg_rev, "=0", "Specify the kv revision" },
        { "sort-by", 0, OPT_STR, &arg_sort_by, "=\"\"",
          "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION" },
        {},
};
const Option del_options[] = {
        { "from-key", 0, OPT_BOOL, &arg_from_key, "[=false]",
          "delete keys that are greater than or equal to the given key using byte compare" },
        { "prefix", 0, OPT_BOOL, &arg_prefix, "[=false]", "delete keys with matching prefix" },
        { "prev-kv", 0, OPT_BOOL, &arg_prev_kv, "[=false]", "return deleted key-value pairs" },
        {},
};
const Option txn_options[] = {
        { "interactive", 'i', OPT_BOOL, &arg_interactive, "[=false]",
          "Input transaction in interactive mode" },
        {},
};
const Option compaction_options[] = {
        { "physical", 0, OPT_BOOL, &arg_physical, "[=false]",
          "'true' to wait for compaction to physically remove all old revisions" },
        {},
};

void reset_kv_flags(void) {
        arg_prev_kv = arg_ignore_value = arg_ignore_lease = arg_prefix = arg_from_key = false;
        arg_keys_only = arg_value_only = false;
        arg_lease = xfree(arg_lease);
        arg_order = xfree(arg_order);
        arg_sort_by = xfree(arg_sort_by);
        arg_consistency = xfree(arg_consistency);
        arg_limit = arg_rev = 0;
}

/* Key and end of the range that `key [range_end]`, --prefix and --from-key mean. */
static void make_range(const char *what, int argc, char **argv, ProtobufCBinaryData *ret_key,
                       ProtobufCBinaryData *ret_end) {
        size_t n;
        if (arg_prefix && arg_from_key)
                ctl_die(CTL_BAD_ARGS,
                        "`--prefix` and `--from-key` cannot be set at the same time, choose one");
        if (argc < 1 || (argc > 2 && !streq(what, "get"))) /* get takes no notice of more */
                ctl_die(CTL_BAD_ARGS,
                        "%s command needs one argument as key and an optional argument as range_end", what);
        if (argc >= 2 && (arg_prefix || arg_from_key))
                ctl_die(CTL_BAD_ARGS, "too many arguments, only accept one argument when `--prefix` or "
                                      "`--from-key` is set");
        *ret_key = ctl_bytes(argv[0]);
        if (argc >= 2)
                *ret_end = ctl_bytes(argv[1]);
        if (!arg_prefix && !arg_from_key)
                return;
        if (ret_key->len == 0)
                *ret_key = (ProtobufCBinaryData){ 1, (uint8_t *) "" };
        ret_end->data = arg_prefix ? (uint8_t *) etcd_prefix_end(argv[0], strlen(argv[0]), &n)
                                   : (uint8_t *) xstrdup("");
        ret_end->len = arg_prefix ? n : 1;
}

static void make_sort(Etcdserverpb__RangeRequest *q) {
        static const char *const targets[] = { "KEY", "VERSION", "CREATE", "MODIFY", "VALUE" };
        bool found = isempty(arg_sort_by);
        for (size_t i = 0; !found && i < ELEMENTSOF(targets); i++)
                if (strcasecmp(arg_sort_by, targets[i]) == 0) {
                        q->sort_target = (Etcdserverpb__RangeRequest__SortTarget) i;
                        found = true;
                }
        if (!isempty(arg_order) && strcasecmp(arg_order, "ASCEND") == 0)
                q->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
        else if (!isempty(arg_order) && strcasecmp(arg_order, "DESCEND") == 0)
                q->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
        else if (!isempty(arg_order))
                ctl_die(CTL_BAD_FEATURE, "bad sort order %s", arg_order);
        if (!found)
                ctl_die(CTL_BAD_FEATURE, "bad sort target %s", arg_sort_by);
}

Etcdserverpb__RangeRequest *make_get(int argc, char **argv) {
        Etcdserverpb__RangeRequest *q = xnew(Etcdserverpb__RangeRequest, 1);
        etcdserverpb__range_request__init(q);
        make_range("get", argc, argv, &q->key, &q->range_end);
        if (arg_consistency && streq(arg_consistency, "s"))
                q->serializable = true;
        else if (arg_consistency && !streq(arg_consistency, "l"))
                ctl_die(CTL_BAD_FEATURE, "unknown consistency flag \"%s\"", arg_consistency);
        q->limit = arg_limit;
        q->revision = MAX(arg_rev, (int64_t) 0);
        q->keys_only = arg_keys_only;
        make_sort(q);
        return q;
}

Etcdserverpb__PutRequest *make_put(int argc, char **argv) {
        Etcdserverpb__PutRequest *q = xnew(Etcdserverpb__PutRequest, 1);
        etcdserverpb__put_request__init(q);
        if (argc == 0)
                ctl_die(CTL_BAD_ARGS, "put command needs 1 argument and input from stdin or 2 arguments");
        q->key = ctl_bytes(argv[0]);
        if (arg_ignore_value && argc > 1)
                ctl_die(CTL_BAD_ARGS, "put command needs only 1 argument when 'ignore-value' is set");
        if (!arg_ignore_value && argc > 1) {
                q->value = ctl_bytes(argv[1]);
        } else if (!arg_ignore_value) {
                q->value.data = (uint8_t *) ctl_read_stdin(&q->value.len);
                if (q->value.len == 0)
                        ctl_die(CTL_BAD_ARGS,
                                "put command needs 1 argument and input from stdin or 2 arguments");
        }
        _cleanup_free_ char *error = NULL;
        if (arg_lease && ctl_parse_i64(arg_lease, &q->lease, 16, &error) < 0)
                ctl_die(CTL_BAD_ARGS, "bad lease ID (%s), expecting ID in Hex", error);
        q->prev_kv = arg_prev_kv;
        q->ignore_value = arg_ignore_value;
        q->ignore_lease = arg_ignore_lease;
        return q;
}

Etcdserverpb__DeleteRangeRequest *make_del(int argc, char **argv) {
        Etcdserverpb__DeleteRangeRequest *q = xnew(Etcdserverpb__DeleteRangeRequest, 1);
        etcdserverpb__delete_range_request__init(q);
        make_range("del", argc, argv, &q->key, &q->range_end);
        q->prev_kv = arg_prev_kv;
        return q;
}

/* ---- showing ---- */

void show_put(const Etcdserverpb__PutResponse *r) {
        switch (ctl_format) {
        case CTL_SIMPLE:
                puts("OK");
                if (r->prev_kv)
                        print_kv(r->prev_kv, false, false);
                break;
        case CTL_JSON:
                print_json(&r->base);
                break;
        case CTL_FIELDS:
                print_header_fields(r->header);
                if (r->prev_kv)
                        print_kv_fields("Prev", r->prev_kv);
                break;
        case CTL_TABLE:
                die_no_table();
        }
}

void show_get(const Etcdserverpb__RangeResponse *r) {
        switch (ctl_format) {
        case CTL_SIMPLE:
                for (size_t i = 0; i < r->n_kvs; i++)
                        print_kv(r->kvs[i], arg_value_only, arg_keys_only);
                break;
        case CTL_JSON:
                print_json(&r->base);
                break;
        case CTL_FIELDS:
                print_header_fields(r->header);
                for (size_t i = 0; i < r->n_kvs; i++)
                        print_kv_fields("", r->kvs[i]);
                printf("\"More\" : %s\n\"Count\" : %" PRId64 "\n", r->more ? "true" : "false", r->count);
                break;
        case CTL_TABLE:
                die_no_table();
        }
}

void show_del(const Etcdserverpb__DeleteRangeResponse *r) {
        switch (ctl_format) {
        case CTL_SIMPLE:
                printf("%" PRId64 "\n", r->deleted);
                for (size_t i = 0; i < r->n_prev_kvs; i++)
                        print_kv(r->prev_kvs[i], false, false);
                break;
        case CTL_JSON:
                print_json(&r->base);
                break;
        case CTL_FIELDS:
                print_header_fields(r->header);
                printf("\"Deleted\" : %" PRId64 "\n", r->deleted);
                for (size_t i = 0; i < r->n_prev_kvs; i++)
                        print_kv_fields("Prev", r->prev_kvs[i]);
                break;
        case CTL_TABLE:
                die_no_table();
        }
}

/* ---- verbs ---- */

int verb_put(int argc, char **argv) {
        show_put(ctl_call("/etcdserverpb.KV/Put", ETCD_CALL_WRITE, make_put(argc, argv),
                          &etcdserverpb__put_response__descriptor, NULL));
        return 0;
}

int verb_get(int argc, char **argv) {
        if (arg_keys_only && arg_value_only)
                ctl_die(CTL_BAD_ARGS,
                        "`--keys-only` and `--print-value-only` cannot be set at the same time, choose one");
        if (arg_value_only && ctl_format != CTL_SIMPLE)
                ctl_die(CTL_BAD_ARGS, "print-value-only is only for `--write-out=simple`");
        show_get(ctl_call("/etcdserverpb.KV/Range", ETCD_CALL_READ, make_get(argc, argv),
                          &etcdserverpb__range_response__descriptor, NULL));
        return 0;
}

int verb_del(int argc, char **argv) {
        show_del(ctl_call("/etcdserverpb.KV/DeleteRange", ETCD_CALL_WRITE, make_del(argc, argv),
                          &etcdserverpb__delete_range_response__descriptor, NULL));
        return 0;
}

int verb_compaction(int argc, char **argv) {
        Etcdserverpb__CompactionRequest q = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
        char *error;
        if (argc != 1)
                ctl_die(CTL_BAD_ARGS, "compaction command needs 1 argument");
        if (ctl_parse_i64(argv[0], &q.revision, 10, &error) < 0)
                ctl_die(CTL_ERROR, "%s", error);
        q.physical = arg_physical;
        (void) ctl_call("/etcdserverpb.KV/Compact", ETCD_CALL_WRITE, &q,
                        &etcdserverpb__compaction_response__descriptor, NULL);
        printf("compacted revision %" PRId64 "\n", q.revision);
        return 0;
}

/* ---- transactions from standard input ---- */

/* A line without its end, owned; NULL at the end of input. */
static char *read_line(void) {
        char *line = NULL;
        size_t cap = 0;
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0) {
                free(line);
                return NULL;
        }
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
                line[--n] = 0;
        return line;
}

static int64_t compare_number(const char *value, const char *line) {
        int64_t v;
        char *error;
        if (ctl_parse_i64(value, &v, 10, &error) < 0)
                ctl_die(CTL_INVALID_INPUT, "malformed comparison: %s (%s)", line, error);
        return v;
}

static void set_target(Etcdserverpb__Compare *c, const char *target, const char *value, const char *line) {
        if (streq(target, "ver") || streq(target, "version")) {
                c->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
                c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
                c->version = compare_number(value, line);
        } else if (streq(target, "c") || streq(target, "create")) {
                c->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
                c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
                c->create_revision = compare_number(value, line);
        } else if (streq(target, "m") || streq(target, "mod")) {
                c->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
                c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
                c->mod_revision = compare_number(value, line);
        } else if (streq(target, "val") || streq(target, "value")) {
                c->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
                c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
                c->value = ctl_bytes(value);
        } else if (streq(target, "lease")) {
                c->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE;
                c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
                c->lease = ctl_lease_id(value);
        } else {
                ctl_die(CTL_INVALID_INPUT, "malformed comparison: %s (unknown target %s)", line, target);
        }
}

/* target("key") op "value" */
static Etcdserverpb__Compare *parse_compare(const char *line) {
        static const struct {
                const char *op;
                Etcdserverpb__Compare__CompareResult result;
        } ops[] = {
                { "=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL },
                { "!=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL },
                { ">", ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER },
                { "<", ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS },
        };
        const char *open = strchr(line, '('), *key_end = open && open[1] == '"' ? open + 2 : NULL;
        while (key_end && *key_end && *key_end != '"')
                key_end += *key_end == '\\' && key_end[1] ? 2 : 1;
        if (!key_end || key_end[0] != '"' || key_end[1] != ')')
                ctl_die(CTL_INVALID_INPUT, "malformed comparison: %s", line);
        _cleanup_free_ char *target = xstrndup(line, (size_t) (open - line));
        _cleanup_free_ char *quoted = xstrndup(open + 1, (size_t) (key_end - open));
        char **key = ctl_split_words(quoted);
        char **rest = ctl_split_words(key_end + 2); /* kept: the request points into them */
        if (strv_len(rest) != 2)
                ctl_die(CTL_INVALID_INPUT, "malformed comparison: %s", line);
        Etcdserverpb__Compare *c = xnew(Etcdserverpb__Compare, 1);
        etcdserverpb__compare__init(c);
        c->key = ctl_bytes(key[0]);
        bool found = false;
        for (size_t i = 0; i < ELEMENTSOF(ops); i++)
                if (streq(ops[i].op, rest[0])) {
                        c->result = ops[i].result;
                        found = true;
                }
        if (!found)
                ctl_die(CTL_INVALID_INPUT, "malformed comparison: %s; unknown operator %s", line, rest[0]);
        set_target(c, target, rest[1], line);
        return c;
}

static Etcdserverpb__RequestOp *parse_op(const char *line) {
        Etcdserverpb__RequestOp *op = xnew(Etcdserverpb__RequestOp, 1);
        etcdserverpb__request_op__init(op);
        char **words = ctl_split_words(line);
        const char *verb = words ? words[0] : "";
        reset_kv_flags();
        if (streq(verb, "put")) {
                char **rest = ctl_parse_words(put_options, words, line);
                op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
                if (strv_len(rest) < 2 && !arg_ignore_value)
                        ctl_die(CTL_BAD_ARGS,
                                "put command needs 1 argument and input from stdin or 2 arguments");
                op->request_put = make_put((int) strv_len(rest), rest);
        } else if (streq(verb, "get")) {
                char **rest = ctl_parse_words(get_options, words, line);
                op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
                op->request_range = make_get((int) strv_len(rest), rest);
        } else if (streq(verb, "del")) {
                char **rest = ctl_parse_words(del_options, words, line);
                op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
                op->request_delete_range = make_del((int) strv_len(rest), rest);
        } else {
                ctl_die(CTL_INVALID_INPUT, "invalid txn request: %s", line);
        }
        return op;
}

static void prompt(const char *text) {
        if (arg_interactive)
                printf("%s\n", text);
        (void) fflush(stdout);
}

/* Lines up to an empty one or the end. */
static char **read_block(void) {
        char **lines = NULL;
        for (char *line; (line = read_line());) {
                if (!*line) {
                        free(line);
                        break;
                }
                strv_push(&lines, line);
        }
        return lines;
}

static Etcdserverpb__RequestOp **parse_ops(char **lines, size_t *ret_n) {
        Etcdserverpb__RequestOp **ops = xnew(Etcdserverpb__RequestOp *, strv_len(lines) + 1);
        *ret_n = 0;
        STRV_FOREACH(l, lines)
                ops[(*ret_n)++] = parse_op(*l);
        return ops;
}

static void show_txn(const Etcdserverpb__TxnResponse *r) {
        if (ctl_format == CTL_TABLE)
                die_no_table();
        if (ctl_format == CTL_JSON) {
                print_json(&r->base);
                return;
        }
        if (ctl_format == CTL_SIMPLE) {
                puts(r->succeeded ? "SUCCESS" : "FAILURE");
        } else {
                print_header_fields(r->header);
                printf("\"Succeeded\" : %s\n", r->succeeded ? "true" : "false");
        }
        for (size_t i = 0; i < r->n_responses; i++) {
                const Etcdserverpb__ResponseOp *op = r->responses[i];
                if (ctl_format == CTL_SIMPLE)
                        putchar('\n');
                if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
                        show_put(op->response_put);
                else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
                        show_get(op->response_range);
                else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
                        show_del(op->response_delete_range);
        }
}

int verb_txn(int argc, char **argv) {
        Etcdserverpb__TxnRequest q = ETCDSERVERPB__TXN_REQUEST__INIT;
        if (argc != 0)
                ctl_die(CTL_BAD_ARGS, "txn command does not accept argument");
        prompt("compares:");
        char **lines = read_block();
        q.compare = xnew(Etcdserverpb__Compare *, strv_len(lines) + 1);
        STRV_FOREACH(l, lines)
                q.compare[q.n_compare++] = parse_compare(*l);
        prompt("success requests (get, put, del):");
        q.success = parse_ops(read_block(), &q.n_success);
        prompt("failure requests (get, put, del):");
        q.failure = parse_ops(read_block(), &q.n_failure);
        reset_kv_flags();
        show_txn(ctl_call("/etcdserverpb.KV/Txn", ETCD_CALL_WRITE, &q,
                          &etcdserverpb__txn_response__descriptor, NULL));
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "container/docker/template-internal.h"

#include <ctype.h>
#include <stdio.h>

/* Execution. Values are jansson's, with a reference each; NULL stands for Go's nil. */

#define ARGS_MAX 16
#define VARS_MAX 64

typedef struct Run {
        json_t *root;
        Buf *out;
        struct {
                const char *name;
                json_t *value;
        } vars[VARS_MAX];
        size_t n_vars;
        unsigned steps;
        Err *err;
} Run;

static int fail(Run *r, const char *fmt, const char *what) {
        _cleanup_free_ char *text = str_replace(fmt, "%", what);
        return err_set(r->err, -EINVAL, "template: %s", text);
}

static int eval(Run *r, const Expr *e, json_t *dot, json_t **ret);

static bool is_true(const json_t *v) {
        if (!v || json_is_null(v) || json_is_false(v))
                return false;
        if (json_is_string(v))
                return json_string_length(v) > 0;
        if (json_is_array(v))
                return json_array_size(v) > 0;
        if (json_is_object(v))
                return json_object_size(v) > 0;
        return !json_is_number(v) || json_number_value(v) < 0 || json_number_value(v) > 0;
}

/* ---- printing as fmt.Fprint does ---- */

static int by_text(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static const char **sorted_keys(const json_t *object, size_t *ret_n) {
        const char **keys = xnew(const char *, MAX(json_object_size(object), (size_t) 1));
        size_t n = 0;
        const char *key;
        json_t *v;
        json_object_foreach((json_t *) object, key, v)
                keys[n++] = key;
        if (n > 0)
                qsort(keys, n, sizeof(*keys), by_text);
        *ret_n = n;
        return keys;
}

static void print_value(const json_t *v, Buf *b) {
        if (!v || json_is_null(v))
                buf_adds(b, "<nil>");
        else if (json_is_string(v))
                buf_add(b, json_string_value(v), json_string_length(v));
        else if (json_is_integer(v))
                buf_addf(b, "%lld", (long long) json_integer_value(v));
        else if (json_is_real(v))
                buf_addf(b, "%g", json_real_value(v));
        else if (json_is_boolean(v))
                buf_adds(b, json_is_true(v) ? "true" : "false");
        else if (json_is_array(v)) {
                buf_addc(b, '[');
                for (size_t i = 0; i < json_array_size(v); i++) {
                        if (i > 0)
                                buf_addc(b, ' ');
                        print_value(json_array_get(v, i), b);
                }
                buf_addc(b, ']');
        } else {
                size_t n;
                _cleanup_free_ const char **keys = sorted_keys(v, &n);
                buf_adds(b, "map[");
                for (size_t i = 0; i < n; i++) {
                        buf_addf(b, "%s%s:", i ? " " : "", keys[i]);
                        print_value(json_object_get(v, keys[i]), b);
                }
                buf_addc(b, ']');
        }
}

static json_t *string_of(const Buf *b) {
        return json_stringn_nocheck(buf_str(b), b->len);
}

/* ---- functions ---- */

static int get_field(Run *r, const char *name, json_t **value) {
        json_t *v = *value, *found = json_object_get(v, name);
        if (!found)
                return json_is_object(v) ? fail(r, "map has no entry for key \"%\"", name)
                                         : fail(r, "can't evaluate field % in a value without fields", name);
        *value = json_incref(found);
        json_decref(v);
        return 0;
}

static int fn_index(Run *r, json_t **args, size_t n, json_t **ret) {
        json_t *v = args[0];
        for (size_t i = 1; i < n; i++) {
                if (json_is_object(v) && json_is_string(args[i])) {
                        v = json_object_get(v, json_string_value(args[i]));
                } else if (json_is_array(v) && json_is_integer(args[i])) {
                        long long k = json_integer_value(args[i]);
                        if (k < 0 || (size_t) k >= json_array_size(v))
                                return fail(r, "error calling index: % out of range", "index");
                        v = json_array_get(v, (size_t) k);
                } else
                        return fail(r, "error calling index: can't index item of this %", "type");
        }
        *ret = json_incref(v);
        return 0;
}

static int fn_join(Run *r, json_t **args, size_t n, json_t **ret) {
        if (n != 2 || !json_is_string(args[1]))
                return fail(r, "% wants a list and a separator", "join");
        _cleanup_(buf_done) Buf b = {};
        for (size_t i = 0; i < json_array_size(args[0]); i++) {
                if (i > 0)
                        buf_adds(&b, json_string_value(args[1]));
                print_value(json_array_get(args[0], i), &b);
        }
        *ret = string_of(&b);
        return 0;
}

static int fn_split(Run *r, json_t **args, size_t n, json_t **ret) {
        if (n != 2 || !json_is_string(args[0]) || !json_is_string(args[1]) || !json_string_length(args[1]))
                return fail(r, "% wants a text and a separator", "split");
        json_t *list = json_array();
        const char *s = json_string_value(args[0]), *sep = json_string_value(args[1]);
        for (const char *next; (next = strstr(s, sep)); s = next + strlen(sep))
                (void) json_array_append_new(list, json_stringn_nocheck(s, (size_t) (next - s)));
        (void) json_array_append_new(list, json_string_nocheck(s));
        *ret = list;
        return 0;
}

static int fn_len(Run *r, json_t **args, size_t n, json_t **ret) {
        const json_t *v = args[0];
        size_t len = json_is_string(v)  ? json_string_length(v)
                     : json_is_array(v) ? json_array_size(v)
                                        : json_object_size(v);
        *ret = json_integer((json_int_t) len);
        return 0;
}

static int fn_json(Run *r, json_t **args, size_t n, json_t **ret) {
        char *text = args[0] ? json_dumps(args[0], JSON_COMPACT | JSON_ENCODE_ANY) : strdup("null");
        *ret = json_string_nocheck(strempty(text));
        free(text);
        return 0;
}

static int fn_case(Run *r, json_t **args, const char *name, json_t **ret) {
        _cleanup_(buf_done) Buf b = {};
        print_value(args[0], &b);
        bool first = true;
        for (size_t i = 0; i < b.len; i++) {
                unsigned char c = (unsigned char) b.data[i];
                bool up = streq(name, "upper") || (streq(name, "title") && first);
                if (up || streq(name, "lower"))
                        b.data[i] = (char) (up ? toupper(c) : tolower(c));
                first = c == ' ';
        }
        *ret = string_of(&b);
        return 0;
}

/* %s %v %d %q %t %x and %%, with width and '-' flag as C has them. */
static int fn_printf(Run *r, json_t **args, size_t n, json_t **ret) {
        if (!json_is_string(args[0]))
                return fail(r, "% wants a format", "printf");
        _cleanup_(buf_done) Buf b = {};
        size_t next = 1;
        for (const char *f = json_string_value(args[0]); *f; f++) {
                if (*f != '%' || f[1] == '%') {
                        buf_addc(&b, *f);
                        f += *f == '%';
                        continue;
                }
                size_t flags = strspn(f + 1, "-0123456789.");
                const char *spec = f + 1;
                f += flags + 1;
                if (!*f || flags > 8)
                        return fail(r, "bad % format", "printf");
                if (next >= n) {
                        buf_addf(&b, "%%!%c(MISSING)", *f);
                        continue;
                }
                _cleanup_(buf_done) Buf one = {};
                print_value(args[next++], &one);
                int width = 0;
                char number[16] = "";
                memcpy(number, spec, flags);
                if (parse_int(number, &width) < 0)
                        width = 0;
                if (*f == 'q')
                        buf_addf(&b, "\"%s\"", buf_str(&one));
                else if (*f == 'x' && json_is_integer(args[next - 1]))
                        buf_addf(&b, "%llx", (unsigned long long) json_integer_value(args[next - 1]));
                else
                        buf_addf(&b, "%*s", MIN(MAX(width, -1000), 1000), buf_str(&one));
        }
        *ret = string_of(&b);
        return 0;
}

static int fn_print(json_t **args, size_t n, bool newline, json_t **ret) {
        _cleanup_(buf_done) Buf b = {};
        for (size_t i = 0; i < n; i++) {
                if (i > 0 && (newline || (!json_is_string(args[i]) && !json_is_string(args[i - 1]))))
                        buf_addc(&b, ' ');
                print_value(args[i], &b);
        }
        if (newline)
                buf_addc(&b, '\n');
        *ret = string_of(&b);
        return 0;
}

static int compare(Run *r, const char *name, json_t **args, size_t n, json_t **ret) {
        if (n < 2)
                return fail(r, "missing argument for comparison %", name);
        bool equal = false;
        for (size_t i = 1; i < n; i++)
                equal |= json_equal(args[0], args[i]) || (!args[0] && !args[i]) ||
                         (json_is_null(args[0]) && !args[i]) || (!args[0] && json_is_null(args[i]));
        bool v;
        if (streq(name, "eq"))
                v = equal;
        else if (streq(name, "ne"))
                v = !equal;
        else {
                int c = 0;
                if (json_is_number(args[0]) && json_is_number(args[1])) {
                        double a = json_number_value(args[0]), b = json_number_value(args[1]);
                        c = a < b ? -1 : a > b;
                } else if (json_is_string(args[0]) && json_is_string(args[1]))
                        c = strcmp(json_string_value(args[0]), json_string_value(args[1]));
                else
                        return fail(r, "incompatible types for comparison %", name);
                v = streq(name, "lt") ? c < 0 : streq(name, "le") ? c <= 0 : streq(name, "gt") ? c > 0 : c >= 0;
        }
        *ret = json_boolean(v);
        return 0;
}

static int fn_logic(const char *name, json_t **args, size_t n, json_t **ret) {
        if (streq(name, "not")) {
                *ret = json_boolean(!is_true(args[0]));
                return 0;
        }
        bool stop_at = streq(name, "or");
        size_t i = 0;
        while (i + 1 < n && is_true(args[i]) != stop_at)
                i++;
        *ret = json_incref(args[i]);
        return 0;
}

static int call(Run *r, const char *name, json_t **args, size_t n, json_t **ret) {
        static const char *const comparisons[] = { "eq", "ne", "lt", "le", "gt", "ge" };
        if (n == 0)
                return fail(r, "wrong number of arguments for %, or no such function", name);
        for (size_t i = 0; i < ELEMENTSOF(comparisons); i++)
                if (streq(name, comparisons[i]))
                        return compare(r, name, args, n, ret);
        if (streq(name, "index"))
                return fn_index(r, args, n, ret);
        if (streq(name, "json"))
                return fn_json(r, args, n, ret);
        if (streq(name, "join"))
                return fn_join(r, args, n, ret);
        if (streq(name, "split"))
                return fn_split(r, args, n, ret);
        if (streq(name, "len"))
                return fn_len(r, args, n, ret);
        if (streq(name, "printf"))
                return fn_printf(r, args, n, ret);
        if (streq(name, "print") || streq(name, "println"))
                return fn_print(args, n, streq(name, "println"), ret);
        if (streq(name, "and") || streq(name, "or") || streq(name, "not"))
                return fn_logic(name, args, n, ret);
        if (streq(name, "upper") || streq(name, "lower") || streq(name, "title"))
                return fn_case(r, args, name, ret);
        return fail(r, "function \"%\" not defined", name);
}

/* ---- expressions ---- */

static int eval_call(Run *r, const Expr *e, json_t *dot, json_t **ret) {
        json_t *args[ARGS_MAX] = {};
        size_t n = 0;
        int k = 0;
        for (const Expr *a = e->args; a && k >= 0; a = a->next) {
                if (n >= ARGS_MAX) {
                        k = fail(r, "too many arguments for %", e->text);
                        break;
                }
                k = eval(r, a, dot, &args[n]);
                n += k >= 0;
        }
        if (k >= 0)
                k = call(r, e->text, args, n, ret);
        for (size_t i = 0; i < n; i++)
                json_decref(args[i]);
        return k;
}

static int variable(Run *r, const char *name, json_t **ret) {
        if (!*name) {
                *ret = json_incref(r->root);
                return 0;
        }
        for (size_t i = r->n_vars; i-- > 0;)
                if (streq(r->vars[i].name, name)) {
                        *ret = json_incref(r->vars[i].value);
                        return 0;
                }
        return fail(r, "undefined variable \"$%\"", name);
}

static int eval(Run *r, const Expr *e, json_t *dot, json_t **ret) {
        if (++r->steps > TEMPLATE_STEPS_MAX)
                return fail(r, "the template takes too many %", "steps");
        json_t *v = NULL;
        int k = 0;
        switch (e->kind) {
        case EXPR_DOT:
                v = json_incref(dot);
                break;
        case EXPR_VARIABLE:
                k = variable(r, e->text, &v);
                break;
        case EXPR_STRING:
                v = json_string_nocheck(e->text);
                break;
        case EXPR_NUMBER:
                v = json_integer(e->number);
                break;
        case EXPR_BOOL:
                v = json_boolean(e->number);
                break;
        case EXPR_NIL:
                break;
        case EXPR_CALL:
                k = eval_call(r, e, dot, &v);
                break;
        case EXPR_PIPE:
                k = eval(r, e->inner, dot, &v);
                break;
        }
        for (const Field1 *f = e->fields; k >= 0 && f; f = f->next)
                k = get_field(r, f->name, &v);
        if (k < 0) {
                json_decref(v);
                return k;
        }
        *ret = v;
        return 0;
}

/* ---- nodes ---- */

static int run_list(Run *r, const Node *n, json_t *dot);

static int declare(Run *r, const char *name, json_t *value) {
        if (!name)
                return 0;
        if (r->n_vars >= VARS_MAX)
                return fail(r, "too many %", "variables");
        r->vars[r->n_vars].name = name;
        r->vars[r->n_vars++].value = json_incref(value);
        return 0;
}

static void drop_variables(Run *r, size_t keep) {
        while (r->n_vars > keep)
                json_decref(r->vars[--r->n_vars].value);
}

static int run_element(Run *r, const Node *n, json_t *key, json_t *value) {
        size_t keep = r->n_vars;
        int k = n->vars[1] ? declare(r, n->vars[0], key) : 0;
        if (k >= 0)
                k = declare(r, n->vars[1] ? n->vars[1] : n->vars[0], value);
        if (k >= 0)
                k = run_list(r, n->body, value);
        drop_variables(r, keep);
        return k;
}

static int run_range(Run *r, const Node *n, json_t *v, json_t *dot) {
        if (!is_true(v))
                return run_list(r, n->otherwise, dot);
        int k = 0;
        if (json_is_array(v)) {
                for (size_t i = 0; k >= 0 && i < json_array_size(v); i++) {
                        _cleanup_json_ json_t *key = json_integer((json_int_t) i);
                        k = run_element(r, n, key, json_array_get(v, i));
                }
                return k;
        }
        if (!json_is_object(v))
                return fail(r, "range can't iterate over this %", "value");
        size_t count;
        _cleanup_free_ const char **keys = sorted_keys(v, &count);
        for (size_t i = 0; k >= 0 && i < count; i++) {
                _cleanup_json_ json_t *key = json_string_nocheck(keys[i]);
                k = run_element(r, n, key, json_object_get(v, keys[i]));
        }
        return k;
}

static int run_node(Run *r, const Node *n, json_t *dot) {
        if (n->kind == NODE_TEXT) {
                buf_adds(r->out, n->text);
                return 0;
        }
        _cleanup_json_ json_t *v = NULL;
        int k = eval(r, n->expr, dot, &v);
        if (k < 0)
                return k;
        size_t keep = r->n_vars;
        switch (n->kind) {
        case NODE_ACTION:
                if (n->vars[0])
                        return declare(r, n->vars[0], v);
                if (!v || json_is_null(v))
                        buf_adds(r->out, "<no value>");
                else
                        print_value(v, r->out);
                return r->out->len > TEMPLATE_OUTPUT_MAX ? fail(r, "too much %", "output") : 0;
        case NODE_RANGE:
                return run_range(r, n, v, dot);
        default:
                k = declare(r, n->vars[0], v);
                if (k >= 0)
                        k = run_list(r, is_true(v) ? n->body : n->otherwise,
                                     n->kind == NODE_WITH && is_true(v) ? v : dot);
                drop_variables(r, keep);
                return k;
        }
}

static int run_list(Run *r, const Node *n, json_t *dot) {
        for (; n; n = n->next) {
                int k = run_node(r, n, dot);
                if (k < 0)
                        return k;
        }
        return 0;
}

int template_run(const Template *t, const json_t *value, Buf *out, Err *err) {
        Run r = { .root = (json_t *) value, .out = out, .err = err };
        int k = run_list(&r, t->root, r.root);
        drop_variables(&r, 0);
        return k;
}

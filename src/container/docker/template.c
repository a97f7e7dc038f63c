/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/template-internal.h"
#include "base/alloc.h"
#include "base/str.h"

#include <ctype.h>
#include <stdio.h>

/* Parsing: text to a tree of nodes, each action to a tree of expressions. */

typedef struct Parser {
        Template *t;
        const char *p;     /* in the template's text */
        const char *a;     /* inside an action, NULL outside */
        char *action;      /* the action's text, in the arena */
        bool trim_next;    /* the last action ended in -}} */
        unsigned depth;
        char end_word[16]; /* what ended the last node list: "end", "else", "" */
        Err *err;
} Parser;

Template *template_free(Template *t) {
        if (t)
                arena_done(&t->arena);
        free(t);
        return NULL;
}

static int bad(Parser *p, const char *what) {
        return err_set(p->err, -EINVAL, "template parsing error: %s", what);
}

static void *node_new(Parser *p, NodeKind kind) {
        Node *n = arena_new(&p->t->arena, Node, 1);
        n->kind = kind;
        return n;
}

static void skip_space(Parser *p) {
        while (isspace((unsigned char) *p->a))
                p->a++;
}

static bool is_word(char c) {
        return isalnum((unsigned char) c) || c == '_';
}

/* ---- expressions ---- */

static int parse_pipeline(Parser *p, Expr **ret);

static Expr *expr_new(Parser *p, ExprKind kind) {
        Expr *e = arena_new(&p->t->arena, Expr, 1);
        e->kind = kind;
        return e;
}

/* ".A.B" behind an operand */
static void parse_fields(Parser *p, Expr *e) {
        Field1 **tail = &e->fields;
        while (*p->a == '.' && is_word(p->a[1])) {
                const char *start = ++p->a;
                while (is_word(*p->a))
                        p->a++;
                Field1 *f = arena_new(&p->t->arena, Field1, 1);
                f->name = arena_strndup(&p->t->arena, start, (size_t) (p->a - start));
                *tail = f;
                tail = &f->next;
        }
}

static int parse_string(Parser *p, Expr *e) {
        char quote = *p->a++;
        _cleanup_(buf_done) Buf b = {};
        for (; *p->a && *p->a != quote; p->a++) {
                char c = *p->a;
                if (c == '\\' && quote == '"' && p->a[1]) {
                        static const char from[] = "nrt\\\"'", to[] = "\n\r\t\\\"'";
                        const char *k = strchr(from, *++p->a);
                        if (!k)
                                return bad(p, "unknown escape in a string");
                        c = to[k - from];
                }
                buf_addc(&b, c);
        }
        if (*p->a++ != quote)
                return bad(p, "unterminated quoted string");
        e->text = arena_strndup(&p->t->arena, buf_str(&b), b.len);
        return 0;
}

static int parse_number(Parser *p, Expr *e) {
        char *end = NULL;
        errno = 0;
        e->number = strtoll(p->a, &end, 10);
        if (errno || end == p->a || is_word(*end) || *end == '.')
                return bad(p, "bad number");
        p->a = end;
        return 0;
}

static char *take_word(Parser *p) {
        const char *start = p->a;
        while (is_word(*p->a))
                p->a++;
        return arena_strndup(&p->t->arena, start, (size_t) (p->a - start));
}

static int parse_parenthesis(Parser *p, Expr **ret) {
        Expr *e = expr_new(p, EXPR_PIPE);
        p->a++;
        if (++p->depth > TEMPLATE_DEPTH_MAX)
                return bad(p, "nested too deep");
        int r = parse_pipeline(p, &e->inner);
        p->depth--;
        if (r < 0)
                return r;
        if (*p->a++ != ')')
                return bad(p, "unclosed left parenthesis");
        parse_fields(p, e);
        *ret = e;
        return 0;
}

static int parse_operand(Parser *p, Expr **ret) {
        Expr *e;
        char c = *p->a;
        if (c == '(')
                return parse_parenthesis(p, ret);
        if (c == '"' || c == '`') {
                e = *ret = expr_new(p, EXPR_STRING);
                return parse_string(p, e);
        }
        if (isdigit((unsigned char) c) || (c == '-' && isdigit((unsigned char) p->a[1]))) {
                e = *ret = expr_new(p, EXPR_NUMBER);
                return parse_number(p, e);
        }
        if (c == '.') {
                e = *ret = expr_new(p, EXPR_DOT);
                parse_fields(p, e);
                if (!e->fields)
                        p->a++;
                return 0;
        }
        if (c == '$') {
                e = *ret = expr_new(p, EXPR_VARIABLE);
                p->a++;
                e->text = take_word(p);
                parse_fields(p, e);
                return 0;
        }
        if (!isalpha((unsigned char) c))
                return bad(p, "unexpected character in an action");
        e = *ret = expr_new(p, EXPR_CALL);
        e->text = take_word(p);
        if (streq(e->text, "true") || streq(e->text, "false") || streq(e->text, "nil")) {
                e->kind = streq(e->text, "nil") ? EXPR_NIL : EXPR_BOOL;
                e->number = streq(e->text, "true");
        }
        return 0;
}

/* One command: an operand, or a function with arguments. */
static int parse_command(Parser *p, Expr **ret) {
        skip_space(p);
        int r = parse_operand(p, ret);
        Expr **tail = r < 0 ? NULL : &(*ret)->args;
        while (r >= 0) {
                skip_space(p);
                if (!*p->a || *p->a == '|' || *p->a == ')')
                        return 0;
                if ((*ret)->kind != EXPR_CALL)
                        return bad(p, "can't give argument to non-function");
                r = parse_operand(p, tail);
                if (r >= 0)
                        tail = &(*tail)->next;
        }
        return r;
}

/* a | b | c: the result of each becomes the last argument of the next. */
static int parse_pipeline(Parser *p, Expr **ret) {
        Expr *e = NULL;
        int r = parse_command(p, &e);
        while (r >= 0 && *p->a == '|') {
                p->a++;
                Expr *next = NULL;
                r = parse_command(p, &next);
                if (r >= 0 && next->kind != EXPR_CALL)
                        return bad(p, "non executable command in a pipeline");
                if (r < 0)
                        return r;
                Expr **tail = &next->args;
                while (*tail)
                        tail = &(*tail)->next;
                *tail = e;
                e = next;
        }
        *ret = e;
        return r;
}

static int expect_end(Parser *p) {
        skip_space(p);
        return *p->a ? bad(p, "unexpected text at the end of an action") : 0;
}

/* "$x :=" or "$k, $v :=" before a pipeline. */
static int parse_declarations(Parser *p, Node *n) {
        const char *start = p->a;
        skip_space(p);
        for (unsigned i = 0; i < 2 && *p->a == '$'; i++) {
                p->a++;
                n->vars[i] = take_word(p);
                skip_space(p);
                if (i == 0 && *p->a == ',') {
                        p->a++;
                        skip_space(p);
                        continue;
                }
                break;
        }
        skip_space(p);
        if (n->vars[0] && ((p->a[0] == ':' && p->a[1] == '=') || p->a[0] == '=')) {
                p->a += p->a[0] == ':' ? 2 : 1;
                return 0;
        }
        if (n->vars[1])
                return bad(p, "expected := after variables");
        n->vars[0] = NULL;
        p->a = start;
        return 0;
}

/* ---- nodes ---- */

static int parse_list(Parser *p, Node **ret, bool inside);

static int parse_else(Parser *p, Node *n, NodeKind kind);

static int parse_block(Parser *p, NodeKind kind, Node **ret) {
        Node *n = *ret = node_new(p, kind);
        if (++p->depth > TEMPLATE_DEPTH_MAX)
                return bad(p, "nested too deep");
        int r = parse_declarations(p, n);
        if (r >= 0)
                r = parse_pipeline(p, &n->expr);
        if (r >= 0)
                r = expect_end(p);
        if (r >= 0)
                r = parse_list(p, &n->body, true);
        if (r >= 0 && streq(p->end_word, "else"))
                r = parse_else(p, n, kind);
        p->depth--;
        return r;
}

static int parse_else(Parser *p, Node *n, NodeKind kind) {
        skip_space(p);
        if (kind == NODE_IF && startswith(p->a, "if") && !is_word(p->a[2])) {
                p->a += 2;
                return parse_block(p, NODE_IF, &n->otherwise); /* its end is ours */
        }
        int r = expect_end(p);
        if (r >= 0)
                r = parse_list(p, &n->otherwise, true);
        return r >= 0 && !streq(p->end_word, "end") ? bad(p, "expected end; found {{else}}") : r;
}

static int parse_statement(Parser *p, Node **ret, bool *ended, bool inside) {
        skip_space(p);
        const char *start = p->a;
        static const struct {
                const char *word;
                NodeKind kind;
        } blocks[] = { { "if", NODE_IF }, { "range", NODE_RANGE }, { "with", NODE_WITH } };
        if (isalpha((unsigned char) *p->a)) {
                char *word = take_word(p);
                for (size_t i = 0; i < ELEMENTSOF(blocks); i++)
                        if (streq(word, blocks[i].word))
                                return parse_block(p, blocks[i].kind, ret);
                if (streq(word, "end") || streq(word, "else")) {
                        if (!inside)
                                return bad(p, "unexpected {{end}} or {{else}}");
                        (void) snprintf(p->end_word, sizeof(p->end_word), "%s", word);
                        *ended = true;
                        return streq(word, "end") ? expect_end(p) : 0;
                }
        }
        p->a = start;
        Node *n = *ret = node_new(p, NODE_ACTION);
        int r = parse_declarations(p, n);
        if (r >= 0)
                r = parse_pipeline(p, &n->expr);
        return r < 0 ? r : expect_end(p);
}

/* Cuts out the action at p->p ("{{…}}"); quotes may contain braces. */
static int take_action(Parser *p) {
        const char *s = p->p + 2;
        if (s[0] == '-' && isspace((unsigned char) s[1]))
                s++;
        const char *e = s;
        char quote = 0;
        for (; *e && (quote || !(e[0] == '}' && e[1] == '}')); e++) {
                if (quote == '"' && *e == '\\' && e[1])
                        e++;
                else if (quote && *e == quote)
                        quote = 0;
                else if (!quote && (*e == '"' || *e == '`'))
                        quote = *e;
        }
        if (!*e)
                return bad(p, "unclosed action");
        p->p = e + 2;
        p->trim_next = e > s && e[-1] == '-' && e - 1 > s && isspace((unsigned char) e[-2]);
        p->action = arena_strndup(&p->t->arena, s, (size_t) (e - s) - (p->trim_next ? 1 : 0));
        p->a = p->action;
        return 0;
}

static void take_text(Parser *p, Node ***tail) {
        const char *end = strstr(p->p, "{{");
        const char *stop = end ? end : p->p + strlen(p->p), *next = stop;
        if (p->trim_next)
                while (p->p < stop && isspace((unsigned char) *p->p))
                        p->p++;
        if (end && end[2] == '-' && isspace((unsigned char) end[3]))
                while (stop > p->p && isspace((unsigned char) stop[-1]))
                        stop--;
        p->trim_next = false;
        if (stop > p->p) {
                Node *n = node_new(p, NODE_TEXT);
                n->text = arena_strndup(&p->t->arena, p->p, (size_t) (stop - p->p));
                **tail = n;
                *tail = &n->next;
        }
        p->p = next;
}

static int parse_list(Parser *p, Node **ret, bool inside) {
        Node **tail = ret;
        while (*p->p) {
                take_text(p, &tail);
                if (!*p->p)
                        break;
                int r = take_action(p);
                if (r < 0)
                        return r;
                skip_space(p);
                if (startswith(p->a, "/*"))
                        continue;
                bool ended = false;
                r = parse_statement(p, tail, &ended, inside);
                if (r < 0 || ended)
                        return r;
                tail = &(*tail)->next;
        }
        return inside ? bad(p, "unexpected EOF: an {{end}} is missing") : 0;
}

int template_parse(const char *text, Template **ret, Err *err) {
        _cleanup_(template_freep) Template *t = xnew(Template, 1);
        Parser p = { .t = t, .p = text, .err = err };
        if (strlen(text) > TEMPLATE_BYTES_MAX)
                return err_set(err, -E2BIG, "the template is longer than %u bytes", TEMPLATE_BYTES_MAX);
        int r = parse_list(&p, &t->root, false);
        if (r >= 0)
                *ret = TAKE_PTR(t);
        return r;
}

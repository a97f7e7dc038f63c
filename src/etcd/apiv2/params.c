/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/url.h"
#include "etcd/apiv2/apiv2.h"

#include <ctype.h>

/* A form is the body and then the query: the first value of a name counts, hence the body wins (spec a.1). */
struct V2Form {
        UrlParams body, query;
};

enum { /* codes of spec a.4 that parsing can give */
       E_PREV_VALUE = 201,
       E_TTL = 202,
       E_INDEX = 203,
       E_FIELD = 209,
       E_FORM = 210,
       E_REFRESH_VALUE = 211,
       E_REFRESH_TTL = 212,
};

static int fail(Arena *arena, char **ret_cause, int code, const char *fmt, const char *arg) {
        _cleanup_free_ char *text = xasprintf("%s%s%s", fmt, arg ? arg : "", arg ? "\"" : "");
        *ret_cause = arena_strdup(arena, text);
        return code;
}

static int bad_value(Arena *arena, char **ret_cause, int code, const char *name) {
        return fail(arena, ret_cause, code, "invalid value for \"", name);
}

/* Go names the first bad escape; at most three characters of it. */
static const char *bad_escape(const char *s, size_t n, size_t *ret_n) {
        for (size_t i = 0; i < n; i++)
                if (s[i] == '%' && (i + 2 >= n || !isxdigit((unsigned char) s[i + 1]) ||
                                    !isxdigit((unsigned char) s[i + 2]))) {
                        *ret_n = MIN(n - i, (size_t) 3);
                        return s + i;
                }
        return NULL;
}

static int parse_pairs(const char *s, size_t n, UrlParams *ret, Arena *arena, char **ret_cause) {
        size_t bad_n = 0;
        if (memchr(s, ';', n))
                return fail(arena, ret_cause, E_FORM, "invalid semicolon separator in query", NULL);
        const char *bad = bad_escape(s, n, &bad_n);
        if (bad) {
                char *esc = arena_strndup(arena, bad, bad_n);
                return fail(arena, ret_cause, E_FORM, "invalid URL escape \"", esc);
        }
        if (url_params_parse(s, n, ret) < 0)
                return fail(arena, ret_cause, E_FORM, "the form cannot be read", NULL);
        return 0;
}

static const UrlParam *find(const UrlParams *p, const char *name) {
        for (size_t i = 0; i < p->n; i++)
                if (streq(p->params[i].name, name))
                        return &p->params[i];
        return NULL;
}

static const UrlParam *value_of(const V2Form *f, const char *name) {
        return find(&f->body, name) ?: find(&f->query, name);
}

static Bytes bytes_value(const V2Form *f, const char *name, Arena *arena) {
        const UrlParam *p = value_of(f, name);
        return p ? (Bytes){ arena_strndup(arena, p->value, p->value_len), p->value_len } : (Bytes){ "", 0 };
}

static int parse_indexes(const V2Form *f, V2Params *p, Arena *arena, char **ret_cause) {
        const UrlParam *v;
        if ((v = value_of(f, "prevIndex")) && parse_u64(v->value, &p->write.prev_index) < 0)
                return bad_value(arena, ret_cause, E_INDEX, "prevIndex");
        if ((v = value_of(f, "waitIndex")) && parse_u64(v->value, &p->wait_index) < 0)
                return bad_value(arena, ret_cause, E_INDEX, "waitIndex");
        return 0;
}

static int parse_flags(const V2Form *f, V2Params *p, Arena *arena, char **ret_cause) {
        const struct {
                const char *name;
                bool *to;
        } flags[] = { { "recursive", &p->recursive }, { "sorted", &p->sorted }, { "wait", &p->wait },
                      { "dir", &p->dir },             { "quorum", &p->quorum }, { "stream", &p->stream } };
        for (size_t i = 0; i < ELEMENTSOF(flags); i++) {
                const UrlParam *v = value_of(f, flags[i].name);
                if (v && parse_bool_go(v->value, flags[i].to) < 0)
                        return bad_value(arena, ret_cause, E_FIELD, flags[i].name);
        }
        if (p->wait && !p->get)
                return fail(arena, ret_cause, E_FIELD, "\"wait\" can only be used with GET requests", NULL);
        return 0;
}

static int parse_conditions(const V2Form *f, V2Params *p, Arena *arena, char **ret_cause) {
        const UrlParam *v = value_of(f, "prevValue");
        bool b;
        if (v && v->value_len == 0)
                return fail(arena, ret_cause, E_PREV_VALUE, "\"prevValue\" cannot be empty", NULL);
        p->write.prev_value = bytes_value(f, "prevValue", arena);
        if ((v = value_of(f, "noValueOnSuccess")) && parse_bool_go(v->value, &p->no_value) < 0)
                return bad_value(arena, ret_cause, E_FIELD, "noValueOnSuccess");
        v = value_of(f, "ttl");
        if (v && v->value_len > 0) {
                if (parse_u64(v->value, &p->ttl) < 0)
                        return bad_value(arena, ret_cause, E_TTL, "ttl");
                p->has_ttl = true;
        }
        if ((v = value_of(f, "prevExist"))) {
                if (parse_bool_go(v->value, &b) < 0)
                        return fail(arena, ret_cause, E_FIELD, "invalid value for prevExist", NULL);
                p->write.prev_exist = b ? V2_EXIST_TRUE : V2_EXIST_FALSE;
        }
        p->write.value = bytes_value(f, "value", arena);
        if ((v = value_of(f, "refresh"))) {
                if (parse_bool_go(v->value, &b) < 0)
                        return fail(arena, ret_cause, E_FIELD, "invalid value for refresh", NULL);
                p->write.refresh = b;
                if (b && p->write.value.n > 0)
                        return fail(arena, ret_cause, E_REFRESH_VALUE, "A value was provided on a refresh", NULL);
                if (b && !p->has_ttl)
                        return fail(arena, ret_cause, E_REFRESH_TTL, "No TTL value set", NULL);
        }
        return 0;
}

static int parse_all(const V2Form *f, V2Params *p, Arena *arena, char **ret_cause) {
        int code = parse_indexes(f, p, arena, ret_cause);
        if (code == 0)
                code = parse_flags(f, p, arena, ret_cause);
        if (code == 0)
                code = parse_conditions(f, p, arena, ret_cause);
        p->write.dir = p->dir;
        p->write.recursive = p->recursive;
        return code;
}

int v2_params_parse(const char *method, const char *path, const char *query, const char *body, size_t body_len,
                    Arena *arena, V2Params *ret, char **ret_cause) {
        V2Form f = {};
        *ret = (V2Params){ .get = streq(method, "GET"),
                           .write = { .method = streq(method, "POST")     ? V2_POST
                                                : streq(method, "DELETE") ? V2_DELETE
                                                                          : V2_PUT,
                                      .path = { path, strlen(path) } } };
        int code = parse_pairs(body, body_len, &f.body, arena, ret_cause);
        if (code == 0)
                code = parse_pairs(query, strlen(query), &f.query, arena, ret_cause);
        if (code == 0)
                code = parse_all(&f, ret, arena, ret_cause);
        url_params_done(&f.body);
        url_params_done(&f.query);
        return code;
}

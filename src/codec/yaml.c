/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/yaml.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/str.h"
#include "codec/base64.h"

#include <math.h>
#include <yaml.h>

typedef struct Level {
        YamlNode *node;
        YamlNode *key; /* of a mapping: read, its value not yet */
        size_t cap;
} Level;

typedef struct Builder {
        Arena *arena;
        yaml_parser_t parser;
        Map anchors; /* name -> YamlNode */
        Level level[YAML_DEPTH_MAX];
        unsigned depth;
        size_t n_nodes;
        YamlNode *root;
} Builder;

static int fail(unsigned line, unsigned *ret_line, Err *err, const char *msg) {
        *ret_line = line;
        return err_set(err, -EINVAL, "%s", msg);
}

static void grow(Arena *a, YamlNode ***list, size_t n, size_t cap, size_t new_cap) {
        assert(n <= cap && cap < new_cap);
        YamlNode **l = arena_new(a, YamlNode *, new_cap);
        if (n > 0)
                memcpy(l, *list, n * sizeof(YamlNode *));
        *list = l;
}

/* Hangs a complete or just-opened node into the innermost open one. */
static void attach(Builder *b, YamlNode *node) {
        if (b->depth == 0) {
                b->root = node;
                return;
        }
        Level *l = &b->level[b->depth - 1];
        if (l->node->kind == YAML_MAPPING && !l->key) {
                l->key = node;
                return;
        }
        if (l->node->n == l->cap) {
                size_t cap = l->cap ? l->cap * 2 : 4;
                grow(b->arena, &l->node->values, l->node->n, l->cap, cap);
                if (l->node->kind == YAML_MAPPING)
                        grow(b->arena, &l->node->keys, l->node->n, l->cap, cap);
                l->cap = cap;
        }
        if (l->node->kind == YAML_MAPPING)
                l->node->keys[l->node->n] = TAKE_PTR(l->key);
        l->node->values[l->node->n++] = node;
}

static YamlNode *new_node(Builder *b, YamlKind kind, const yaml_event_t *e, const yaml_char_t *anchor) {
        YamlNode *n = arena_new(b->arena, YamlNode, 1);
        n->kind = kind;
        n->line = (unsigned) e->start_mark.line + 1;
        n->weight = 1;
        if (anchor)
                (void) map_puts(&b->anchors, (const char *) anchor, n);
        b->n_nodes++;
        return n;
}

static int add_scalar(Builder *b, const yaml_event_t *e, unsigned *ret_line, Err *err) {
        YamlNode *n = new_node(b, YAML_SCALAR, e, e->data.scalar.anchor);
        const char *tag = (const char *) e->data.scalar.tag, *text = (const char *) e->data.scalar.value;
        n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        n->len = e->data.scalar.length;
        _cleanup_(buf_done) Buf binary = {};
        if (tag && streq(tag, "tag:yaml.org,2002:binary")) {
                _cleanup_free_ char *packed = xstrndup(text, n->len);
                size_t k = 0;
                for (char *p = packed; *p; p++)
                        if (*p != '\n' && *p != ' ')
                                packed[k++] = *p;
                if (base64_decode(&binary, packed, k) < 0)
                        return fail(n->line, ret_line, err, "!!binary value contains invalid base64 data");
                text = buf_str(&binary);
                n->len = binary.len;
                n->quoted = true;
        }
        n->text = arena_strndup(b->arena, text, n->len);
        attach(b, n);
        return 0;
}

static int add_alias(Builder *b, const yaml_event_t *e, unsigned *ret_line, Err *err) {
        YamlNode *n = map_gets(&b->anchors, (const char *) e->data.alias.anchor);
        unsigned line = (unsigned) e->start_mark.line + 1;
        if (!n)
                return fail(line, ret_line, err, "unknown anchor referenced");
        for (unsigned i = 0; i < b->depth; i++)
                if (b->level[i].node == n)
                        return fail(line, ret_line, err, "an anchor contains itself");
        b->n_nodes += n->weight;
        attach(b, n);
        return 0;
}

static int open_node(Builder *b, YamlKind kind, const yaml_event_t *e, unsigned *ret_line, Err *err) {
        const yaml_char_t *anchor =
                        kind == YAML_MAPPING ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
        YamlNode *n = new_node(b, kind, e, anchor);
        if (b->depth == YAML_DEPTH_MAX)
                return fail(n->line, ret_line, err, "nested too deeply");
        attach(b, n);
        b->level[b->depth++] = (Level){ .node = n };
        return 0;
}

static void close_node(Builder *b) {
        assert(b->depth > 0);
        YamlNode *n = b->level[--b->depth].node;
        for (size_t i = 0; i < n->n; i++)
                n->weight += n->values[i]->weight + (n->keys ? n->keys[i]->weight : 0);
}

static int handle(Builder *b, const yaml_event_t *e, unsigned *ret_line, Err *err) {
        int r = 0;
        switch (e->type) {
        case YAML_SCALAR_EVENT:
                r = add_scalar(b, e, ret_line, err);
                break;
        case YAML_ALIAS_EVENT:
                r = add_alias(b, e, ret_line, err);
                break;
        case YAML_SEQUENCE_START_EVENT:
                r = open_node(b, YAML_SEQUENCE, e, ret_line, err);
                break;
        case YAML_MAPPING_START_EVENT:
                r = open_node(b, YAML_MAPPING, e, ret_line, err);
                break;
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
                close_node(b);
                break;
        case YAML_NO_EVENT:
        case YAML_STREAM_START_EVENT:
        case YAML_STREAM_END_EVENT:
        case YAML_DOCUMENT_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
                break;
        }
        if (r >= 0 && b->n_nodes > YAML_NODES_MAX)
                r = fail((unsigned) e->start_mark.line + 1, ret_line, err, "too many nodes");
        return r;
}

static int run(Builder *b, unsigned *ret_line, Err *err) {
        for (bool done = false; !done;) {
                yaml_event_t e;
                if (!yaml_parser_parse(&b->parser, &e))
                        return fail((unsigned) b->parser.problem_mark.line + 1, ret_line, err,
                                    b->parser.problem ? b->parser.problem : "not YAML");
                done = e.type == YAML_STREAM_END_EVENT || e.type == YAML_DOCUMENT_END_EVENT;
                int r = handle(b, &e, ret_line, err);
                yaml_event_delete(&e);
                if (r < 0)
                        return r;
        }
        return 0;
}

int yaml_parse(Arena *a, const char *text, size_t n, YamlNode **ret, unsigned *ret_line, Err *err) {
        *ret_line = 0;
        if (n > YAML_BYTES_MAX)
                return err_set(err, -EFBIG, "YAML text of %zu bytes; at most %u", n, YAML_BYTES_MAX);
        Builder b = { .arena = a };
        if (!yaml_parser_initialize(&b.parser))
                abort();
        yaml_parser_set_input_string(&b.parser, (const unsigned char *) text, n);
        int r = run(&b, ret_line, err);
        yaml_parser_delete(&b.parser);
        map_done(&b.anchors);
        if (r >= 0)
                *ret = b.root;
        return r;
}

static bool same_key(const char *a, const char *b) {
        for (; *a && *b; a++, b++)
                if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
                        return false;
        return *a == *b;
}

YamlNode *yaml_get(const YamlNode *map, const char *key) {
        for (size_t i = 0; map && map->kind == YAML_MAPPING && i < map->n; i++)
                if (map->keys[i]->kind == YAML_SCALAR && same_key(map->keys[i]->text, key))
                        return map->values[i];
        return NULL;
}

bool yaml_is_null(const YamlNode *n) {
        return !n || (n->kind == YAML_SCALAR && !n->quoted &&
                      (!*n->text || streq(n->text, "~") || streq(n->text, "null") ||
                       streq(n->text, "Null") || streq(n->text, "NULL")));
}

const char *yaml_str(const YamlNode *n) {
        return n && n->kind == YAML_SCALAR && !yaml_is_null(n) ? n->text : NULL;
}

int yaml_bool(const YamlNode *n, bool *ret) {
        static const char *const words[] = { "n", "no", "false", "off", "y", "yes", "true", "on" };
        const char *s = yaml_str(n);
        if (!s || n->quoted)
                return -EINVAL;
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcasecmp(s, words[i]) == 0) {
                        *ret = i >= ELEMENTSOF(words) / 2;
                        return 0;
                }
        return -EINVAL;
}

int yaml_int(const YamlNode *n, int64_t *ret) {
        const char *s = yaml_str(n);
        return s && !n->quoted ? parse_i64(s, ret) : -EINVAL;
}

int yaml_float(const YamlNode *n, double *ret) {
        const char *s = yaml_str(n);
        if (!s || n->quoted || !*s || strspn(s, "+-.0123456789eE") != strlen(s))
                return -EINVAL;
        char *end;
        double v = strtod(s, &end);
        if (*end || !isfinite(v))
                return -EINVAL;
        *ret = v;
        return 0;
}

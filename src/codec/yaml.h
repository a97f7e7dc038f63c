/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* YAML 1.1 into a tree, by libyaml's events, behind limits: size, depth, nodes, and aliases (which are
 * copied by reference, but counted with all that they stand for, so that a "billion laughs" document is
 * refused). Scalars keep their source text: what a key means decides how it is read. */

#include "base/arena.h"
#include "base/err.h"

#define YAML_BYTES_MAX (4U << 20)
#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 200000

typedef enum YamlKind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING } YamlKind;

typedef struct YamlNode YamlNode;
struct YamlNode {
        YamlKind kind;
        unsigned line;    /* from 1 */
        const char *text; /* scalar; NUL-terminated; a binary one is already decoded */
        size_t len;
        bool quoted;       /* a quoted or block scalar: always a string */
        size_t n;          /* items, or pairs */
        YamlNode **keys;   /* mapping only */
        YamlNode **values; /* items, or the pairs' values */
        size_t weight;     /* nodes below and including this one */
};

/* One document. Everything lives in the arena. *ret is NULL for an empty text. On failure *ret_line says
 * where (0 = nowhere) and the message is libyaml's. */
int yaml_parse(Arena *a, const char *text, size_t n, YamlNode **ret, unsigned *ret_line, Err *err);

/* The value under a key; '-' and '_' are the same. NULL for no such key or no mapping. */
YamlNode *yaml_get(const YamlNode *map, const char *key);
/* The text of a scalar that is not null; NULL otherwise. */
const char *yaml_str(const YamlNode *n);
bool yaml_is_null(const YamlNode *n);
/* YAML 1.1 booleans; -EINVAL for anything else. */
int yaml_bool(const YamlNode *n, bool *ret);
int yaml_int(const YamlNode *n, int64_t *ret);
int yaml_float(const YamlNode *n, double *ret);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "container/docker/template.h"

#define TEMPLATE_BYTES_MAX (64U << 10)
#define TEMPLATE_STEPS_MAX 1000000U

typedef enum NodeKind { NODE_TEXT, NODE_ACTION, NODE_IF, NODE_RANGE, NODE_WITH } NodeKind;
typedef enum ExprKind {
        EXPR_DOT,
        EXPR_VARIABLE,
        EXPR_STRING,
        EXPR_NUMBER,
        EXPR_BOOL,
        EXPR_NIL,
        EXPR_CALL,
        EXPR_PIPE,
} ExprKind;

typedef struct Field1 Field1;
struct Field1 {
        Field1 *next;
        char *name;
};

/* All in the template's arena. */
typedef struct Expr Expr;
struct Expr {
        ExprKind kind;
        char *text;      /* string, variable or function name */
        long long number;
        Field1 *fields;  /* .A.B behind it */
        Expr *args;      /* of a call, linked by next */
        Expr *inner;     /* EXPR_PIPE */
        Expr *next;
};

typedef struct Node Node;
struct Node {
        NodeKind kind;
        Node *next;
        char *text;
        char *vars[2]; /* declared variables; range with one gets the element */
        Expr *expr;
        Node *body, *otherwise;
};

struct Template {
        Arena arena;
        Node *root;
};

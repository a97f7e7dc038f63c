/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What keys a cloud-config may have, and of which type: one table that validation and the plan share. */

#include "base/macro.h"

typedef enum KeyKind { KEY_STR, KEY_BOOL, KEY_INT, KEY_FLOAT, KEY_STRS, KEY_STRUCT, KEY_STRUCTS } KeyKind;

typedef struct Key Key;
struct Key {
        const char *name; /* with '_'; NULL ends a table */
        KeyKind kind;
        const Key *sub;      /* of structs */
        const char *allowed; /* "a|b|c" for strings of a fixed set */
        const char *deprecated;
        const char *env; /* the variable, when it is not the upper-cased key */
};

extern const Key schema_root[], schema_etcd[], schema_etcd2[], schema_fleet[], schema_locksmith[],
                schema_flannel[];
const Key *schema_find(const Key *table, const char *name);
const char *schema_kind_name(const Key *k); /* Go's name for it: "string", "[]struct" ... */

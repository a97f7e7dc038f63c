/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON objects from a table: one row per field gives its name, form and place in the C struct, and both the
 * writer and the reader walk it. Rows are in the order of the Engine API's answers. */

#include "codec/jsonin.h"
#include "codec/jsonout.h"

typedef enum FieldForm {
        FIELD_STR,      /* char *; "" when NULL */
        FIELD_BOOL,     /* bool */
        FIELD_INT,      /* int64_t */
        FIELD_INT_NULL, /* int64_t; null when 0 */
        FIELD_LIST,     /* char **; null when NULL */
        FIELD_LIST0,    /* char **; [] when NULL */
        FIELD_SET,      /* char ** as {"x":{}}; null when NULL */
        FIELD_MAP,      /* char ** of K=V as {"K":"V"}; {} when NULL */
        FIELD_RAW,      /* always the same text: fields of the API that mean nothing here */
        FIELD_CALL,     /* the functions in the row */
} FieldForm;

typedef struct Field {
        const char *name;
        FieldForm form;
        size_t offset;
        bool omit_empty; /* absent instead of "", false, 0, null */
        const char *raw;
        void (*write)(const void *object, JsonOut *j);
        void (*read)(void *object, const json_t *value);
} Field;

void fields_write(const Field *fields, const void *object, JsonOut *j); /* with the braces */
void fields_read(const Field *fields, void *object, const json_t *json);
void fields_free(const Field *fields, void *object); /* strings and lists of FIELD_STR … FIELD_MAP */

void json_list_write(JsonOut *j, char *const *list);
char **json_list_read(const json_t *array);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Rows of `docker images` and `docker history`: a default table, or what --format asks for. */

#include "container/image/format.h"

typedef struct Rows {
        const char *format;   /* --format, or NULL for `table` */
        const char *table;    /* the default: a template with tabs */
        Buf text;             /* rows so far */
        bool failed;
} Rows;

/* Adds one row; frees the fields' values. -EINVAL with a message for a template that is not understood. */
int rows_add(Rows *r, FormatField *fields, size_t n, Err *err);
/* Prints the header if there is one and the rows, aligned when it is a table. `fields` give the titles. */
int rows_print(Rows *r, const FormatField *fields, size_t n, Err *err);

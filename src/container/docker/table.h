/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* docker's tables: left-aligned columns, each as wide as its longest cell plus three spaces and at
 * least ten characters (spec A.4). Pure. */

#include "base/buf.h"

typedef struct DockerTable {
        size_t columns;
        char **cells; /* strv, row after row */
} DockerTable;

void docker_table_row(DockerTable *t, const char *const *cells, size_t n); /* the first row sets the number of columns */
/* Cells separated by tabs. */
void docker_table_row_text(DockerTable *t, const char *tabbed);
void docker_table_write(const DockerTable *t, Buf *out);
void docker_table_done(DockerTable *t);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tables as fleetctl prints them: cells separated by tabs at stops of eight, at least one blank between, the last
 * column not padded (spec/fleet.md 1.6). */

#include "base/buf.h"

typedef struct Table {
        size_t columns;
        char **cells; /* owned strv, row by row */
} Table;

void table_add(Table *t, char *cell); /* takes the string */
char *table_text(const Table *t);     /* owned */
void table_done(Table *t);

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/table.h"

#include "base/alloc.h"
#include "base/str.h"

#define STOP 8

void table_add(Table *t, char *cell) {
        strv_push(&t->cells, cell);
}

void table_done(Table *t) {
        t->cells = strv_free(t->cells);
}

static size_t characters(const char *s) {
        size_t n = 0;
        for (; *s; s++)
                n += ((unsigned char) *s & 0xc0) != 0x80;
        return n;
}

char *table_text(const Table *t) {
        assert(t->columns > 0);
        size_t n = strv_len(t->cells), *width = xnew(size_t, t->columns);
        Buf b = {};

        assert(n % t->columns == 0);
        for (size_t i = 0; i < n; i++) {
                size_t w = (characters(t->cells[i]) + 1 + STOP - 1) / STOP * STOP;
                width[i % t->columns] = MAX(width[i % t->columns], w);
        }
        for (size_t i = 0; i < n; i++) {
                bool last = i % t->columns == t->columns - 1;
                buf_adds(&b, t->cells[i]);
                for (size_t at = characters(t->cells[i]); !last && at < width[i % t->columns];
                     at = (at / STOP + 1) * STOP)
                        buf_addc(&b, '\t');
                if (last)
                        buf_addc(&b, '\n');
        }
        free(width);
        return buf_take(&b);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/table.h"
#include "base/alloc.h"
#include "base/str.h"

#define GAP 3
#define CELL_MIN 10 /* with its gap: "TAG       IMAGE ID" */

void docker_table_done(DockerTable *t) {
        strv_free(t->cells);
        *t = (DockerTable){};
}

void docker_table_row(DockerTable *t, const char *const *cells, size_t n) {
        if (t->columns == 0)
                t->columns = n;
        for (size_t i = 0; i < t->columns; i++)
                strv_add(&t->cells, i < n ? cells[i] : "");
}

void docker_table_row_text(DockerTable *t, const char *tabbed) {
        _cleanup_strv_ char **cells = strv_split(tabbed, "\t", true);
        docker_table_row(t, (const char *const *) cells, strv_len(cells));
}

static size_t runes(const char *s) {
        size_t n = 0;
        for (; *s; s++)
                n += ((unsigned char) *s & 0xC0) != 0x80;
        return n;
}

void docker_table_write(const DockerTable *t, Buf *out) {
        if (t->columns == 0)
                return;
        size_t n = strv_len(t->cells) / t->columns;
        _cleanup_free_ size_t *width = xnew(size_t, t->columns);
        for (size_t i = 0; i < n * t->columns; i++)
                width[i % t->columns] = MAX(width[i % t->columns], runes(t->cells[i]));
        for (size_t i = 0; i < n * t->columns; i++) {
                size_t c = i % t->columns;
                buf_adds(out, t->cells[i]);
                if (c + 1 == t->columns)
                        buf_addc(out, '\n');
                else
                        for (size_t k = runes(t->cells[i]); k < MAX(width[c] + GAP, (size_t) CELL_MIN); k++)
                                buf_addc(out, ' ');
        }
}

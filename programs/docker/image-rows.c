/* SPDX-License-Identifier: Apache-2.0 */
#include "image-rows.h"
#include "base/alloc.h"
#include "base/str.h"

#include <stdio.h>

/* The template without "table ", and whether it is a table. */
static const char *row_template(const Rows *r, bool *ret_table) {
        const char *t = !r->format || streq(r->format, "table") ? r->table : r->format;
        const char *rest = startswith(t, "table ");
        *ret_table = rest || t == r->table;
        return rest ? rest : t;
}

int rows_add(Rows *r, FormatField *fields, size_t n, Err *err) {
        bool table;
        int k = format_row(&r->text, row_template(r, &table), fields, n, false, err);
        buf_addc(&r->text, '\n');
        for (size_t i = 0; i < n; i++)
                fields[i].value = xfree(fields[i].value);
        return k;
}

int rows_print(Rows *r, const FormatField *fields, size_t n, Err *err) {
        bool table;
        const char *template = row_template(r, &table);
        _cleanup_(buf_done) Buf rows = {}, out = {};
        if (!table) {
                (void) fputs(buf_str(&r->text), stdout);
                return 0;
        }
        int k = format_row(&rows, template, fields, n, true, err);
        if (k < 0)
                return k;
        buf_addc(&rows, '\n');
        buf_adds(&rows, buf_str(&r->text));
        format_table(&out, buf_str(&rows));
        (void) fputs(buf_str(&out), stdout);
        return 0;
}

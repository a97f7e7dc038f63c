/* SPDX-License-Identifier: Apache-2.0 */
#include "format.h"
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "container/docker/table.h"
#include "container/docker/template.h"

#include <stdio.h>

/* "\t" and "\n" in a format mean the characters, as docker has it. */
static char *unescape(const char *s) {
        _cleanup_free_ char *tabs = str_replace(s, "\\t", "\t");
        return str_replace(tabs, "\\n", "\n");
}

static json_t *header_object(const char *const *headers) {
        json_t *o = json_object();
        for (; headers[0]; headers += 2)
                (void) json_object_set_new(o, headers[0], json_string(headers[1]));
        return o;
}

int format_rows(const char *format, const json_t *rows, const char *const *headers, Err *err) {
        const char *table_format = startswith(format, "table ");
        _cleanup_free_ char *text = unescape(streq(format, "json") ? "{{json .}}" : table_format ?: format);
        _cleanup_(template_freep) Template *t = NULL;
        int r = template_parse(text, &t, err);
        _cleanup_(docker_table_done) DockerTable table = {};
        _cleanup_(buf_done) Buf out = {};
        if (r >= 0 && table_format) {
                _cleanup_json_ json_t *h = header_object(headers);
                _cleanup_(buf_done) Buf line = {};
                r = template_run(t, h, &line, err);
                docker_table_row_text(&table, buf_str(&line));
        }
        for (size_t i = 0; r >= 0 && i < json_array_size(rows); i++) {
                _cleanup_(buf_done) Buf line = {};
                r = template_run(t, json_array_get(rows, i), &line, err);
                if (table_format)
                        docker_table_row_text(&table, buf_str(&line));
                else
                        buf_addf(&out, "%s\n", buf_str(&line));
        }
        if (r < 0)
                return r;
        docker_table_write(&table, &out);
        (void) fwrite(buf_str(&out), 1, out.len, stdout);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonin.h"
#include "container/image/format.h"
#include "container/image/image.h"
#include "docker.h"
#include "format.h"
#include "sys/clock.h"

#include <stdio.h>

#define CREATED_BY_MAX 45 /* characters, when not --no-trunc */

static bool arg_quiet, arg_no_trunc, arg_human = true;
static char *arg_format;

static const Option options[] = {
        { "human", 'H', OPT_BOOL, &arg_human, NULL, "Show sizes and dates for people (default; --human=false for programs)",
          NULL },
        { "no-trunc", 0, OPT_BOOL, &arg_no_trunc, NULL, "Do not shorten", NULL },
        { "quiet", 'q', OPT_BOOL, &arg_quiet, NULL, "Only show ids", NULL },
        { "format", 0, OPT_STR, &arg_format, "TEMPLATE", "Go template for every step, \"table …\", or \"json\"", NULL },
        {},
};

static const char *const headers[] = { "ID", "IMAGE", "CreatedSince", "CREATED", "CreatedAt", "CREATED AT", "CreatedBy",
                                       "CREATED BY", "Size", "SIZE", "Comment", "COMMENT", NULL };
#define FORMAT_HUMAN "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
#define FORMAT_MACHINE "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"

/* Tabs and newlines would break the table; a long command ends in an ellipsis that counts as one character. */
static char *one_line(const char *s, bool shorten) {
        char *out = xstrdup(strempty(s));
        for (char *p = out; *p; p++)
                if (*p == '\t' || *p == '\n' || *p == '\r')
                        *p = ' ';
        size_t chars = 0;
        for (char *p = out; *p; p++) {
                if (((unsigned char) *p & 0xc0) == 0x80)
                        continue;
                if (chars++ == CREATED_BY_MAX - 1 && shorten && strlen(p) > 1) {
                        char *cut = xasprintf("%.*s…", (int) (p - out), out);
                        free(out);
                        return cut;
                }
        }
        return out;
}

static void set(json_t *row, const char *key, char *value) {
        (void) json_object_set_new(row, key, json_string(value));
        free(value);
}

static json_t *step_row(const Image *i, size_t step) {
        const ImageHistory *h = &i->history[step];
        char buf[40];
        json_t *row = json_object();
        if (step + 1 < i->n_history)
                set(row, "ID", xstrdup("<missing>"));
        else
                set(row, "ID", arg_no_trunc ? xasprintf("sha256:%s", i->id) : xstrndup(i->id, 12));
        set(row, "CreatedSince", xstrdup(format_ago(buf, h->created_nsec, now_wall_nsec())));
        set(row, "CreatedAt", xstrdup(format_rfc3339(buf, h->created_nsec, 0, false)));
        set(row, "CreatedBy", one_line(h->created_by, !arg_no_trunc));
        set(row, "Size", arg_human ? xstrdup(format_size_short(buf, h->size)) : xasprintf("%" PRId64, h->size));
        set(row, "Comment", one_line(h->comment, false));
        return row;
}

static int show(ImageStore *store, const char *name, Err *err) {
        _cleanup_(image_freep) Image *i = NULL;
        int r = image_resolve(store, name, &i, err);
        if (r < 0)
                return r;
        _cleanup_json_ json_t *rows = json_array();
        for (size_t step = i->n_history; step-- > 0;)
                (void) json_array_append_new(rows, step_row(i, step));
        const char *standard = arg_human ? FORMAT_HUMAN : FORMAT_MACHINE;
        if (arg_format && !streq(arg_format, "table"))
                standard = arg_format;
        return format_rows(arg_quiet ? "{{.ID}}" : standard, rows, headers, err);
}

int cmd_history(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("history", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        r = image_store_open(docker_root(), &store, &err);
        if (r >= 0)
                r = show(store, rest[0], &err);
        return r < 0 ? docker_error(&err) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "docker.h"
#include "image-rows.h"
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
        { "format", 0, OPT_STR, &arg_format, "TEMPLATE", "Print {{.Field}}s of each step, \"table …\", or \"json\"", NULL },
        {},
};

enum { F_ID, F_CREATED_SINCE, F_CREATED_AT, F_CREATED_BY, F_SIZE, F_COMMENT, N_FIELDS };
static FormatField fields[N_FIELDS] = {
        [F_ID] = { "ID", "IMAGE", NULL },
        [F_CREATED_SINCE] = { "CreatedSince", "CREATED", NULL },
        [F_CREATED_AT] = { "CreatedAt", "CREATED AT", NULL },
        [F_CREATED_BY] = { "CreatedBy", "CREATED BY", NULL },
        [F_SIZE] = { "Size", "SIZE", NULL },
        [F_COMMENT] = { "Comment", "COMMENT", NULL },
};

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

static int add_step(Rows *rows, const Image *i, size_t step, Err *err) {
        const ImageHistory *h = &i->history[step];
        char buf[40];
        if (step + 1 < i->n_history)
                fields[F_ID].value = xstrdup("<missing>");
        else
                fields[F_ID].value = arg_no_trunc ? xasprintf("sha256:%s", i->id) : xstrndup(i->id, 12);
        fields[F_CREATED_SINCE].value = xstrdup(format_ago(buf, h->created_nsec, now_wall_nsec()));
        fields[F_CREATED_AT].value = xstrdup(format_rfc3339(buf, h->created_nsec, 0, false));
        fields[F_CREATED_BY].value = one_line(h->created_by, !arg_no_trunc);
        fields[F_SIZE].value = arg_human ? xstrdup(format_size_short(buf, h->size)) : xasprintf("%" PRId64, h->size);
        fields[F_COMMENT].value = one_line(h->comment, false);
        return rows_add(rows, fields, N_FIELDS, err);
}

static int show(ImageStore *store, const char *name, Err *err) {
        _cleanup_(image_freep) Image *i = NULL;
        int r = image_resolve(store, name, &i, err);
        if (r < 0)
                return r;
        Rows rows = {
                .format = arg_quiet ? "{{.ID}}" : arg_format,
                .table = arg_human ? "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
                                   : "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        };
        for (size_t step = i->n_history; step-- > 0 && r >= 0;)
                r = add_step(&rows, i, step, err);
        if (r >= 0)
                r = rows_print(&rows, fields, N_FIELDS, err);
        buf_done(&rows.text);
        return r;
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/format.h"
#include "base/alloc.h"
#include "base/str.h"
#include "base/time.h"
#include "codec/jsonout.h"

#include <stdio.h>

#define COLUMNS_MAX 16
#define GAP 3
#define CELL_MIN 10 /* with its gap, as docker's */

char *format_size_digits(char *buf, int64_t bytes, int digits) {
        static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
        double v = (double) bytes;
        size_t u = 0;
        for (; v >= 1000 && u + 1 < ELEMENTSOF(units); u++)
                v /= 1000;
        (void) snprintf(buf, 32, "%.*g%s", digits, v, units[u]);
        return buf;
}

char *format_duration(char *buf, int64_t s) {
        int64_t minutes = s / 60, hours = (s + 1800) / 3600;
        if (s < 1)
                (void) snprintf(buf, 32, "Less than a second");
        else if (s == 1)
                (void) snprintf(buf, 32, "1 second");
        else if (s < 60)
                (void) snprintf(buf, 32, "%d seconds", (int) s);
        else if (minutes == 1)
                (void) snprintf(buf, 32, "About a minute");
        else if (minutes < 60)
                (void) snprintf(buf, 32, "%d minutes", (int) minutes);
        else if (hours == 1)
                (void) snprintf(buf, 32, "About an hour");
        else if (hours < 48)
                (void) snprintf(buf, 32, "%d hours", (int) hours);
        else if (hours < 24 * 7 * 2)
                (void) snprintf(buf, 32, "%d days", (int) (hours / 24));
        else if (hours < 24 * 30 * 2)
                (void) snprintf(buf, 32, "%d weeks", (int) (hours / 24 / 7));
        else if (hours < 24 * 365 * 2)
                (void) snprintf(buf, 32, "%d months", (int) (hours / 24 / 30));
        else
                (void) snprintf(buf, 32, "%d years", (int) (s / 3600 / 24 / 365));
        return buf;
}

char *format_ago(char *buf, int64_t nsec, int64_t now_nsec) {
        if (nsec == 0) {
                (void) snprintf(buf, 40, "N/A");
                return buf;
        }
        format_duration(buf, (now_nsec - nsec) / 1000000000);
        size_t n = strlen(buf);
        (void) snprintf(buf + n, 40 - n, " ago");
        return buf;
}

/* Code points, so that an ellipsis counts once. */
static size_t width_of(const char *s, size_t n) {
        size_t w = 0;
        for (size_t i = 0; i < n; i++)
                w += ((unsigned char) s[i] & 0xc0) != 0x80;
        return w;
}

void format_table(Buf *out, const char *rows) {
        size_t widths[COLUMNS_MAX] = {};
        for (const char *p = rows; *p;) {
                for (size_t col = 0; *p && *p != '\n'; col++) {
                        size_t n = strcspn(p, "\t\n");
                        if (col < COLUMNS_MAX)
                                widths[col] = MAX(widths[col], width_of(p, n));
                        p += n + (p[n] == '\t');
                }
                p += *p == '\n';
        }
        for (const char *p = rows; *p;) {
                for (size_t col = 0; *p && *p != '\n'; col++) {
                        size_t n = strcspn(p, "\t\n");
                        buf_add(out, p, n);
                        /* The last column is not padded, even when it is empty. */
                        if (p[n] == '\t' && col < COLUMNS_MAX)
                                for (size_t w = width_of(p, n); w < MAX(widths[col] + GAP, (size_t) CELL_MIN); w++)
                                        buf_addc(out, ' ');
                        p += n + (p[n] == '\t');
                }
                p += *p == '\n';
                buf_addc(out, '\n');
        }
}

char *format_go_time(char *buf, int64_t nsec) {
        (void) format_rfc3339(buf, nsec, 0, false); /* 2026-11-22T19:00:00Z */
        buf[10] = ' ';
        memcpy(buf + 19, " +0000 UTC", 11);
        return buf;
}

static const FormatField *find_field(const FormatField *fields, size_t n, const char *name, size_t len) {
        for (size_t i = 0; i < n; i++)
                if (strlen(fields[i].name) == len && memcmp(fields[i].name, name, len) == 0)
                        return &fields[i];
        return NULL;
}

static void add_json_row(Buf *out, const FormatField *fields, size_t n) {
        JsonOut j = { .buf = out };
        jo_obj(&j);
        for (size_t i = 0; i < n; i++)
                jo_kstr(&j, fields[i].name, fields[i].value);
        jo_end(&j);
}

/* What stands between the braces, stripped of blanks. */
static int add_action(Buf *out, const char *s, size_t len, const FormatField *fields, size_t n, bool header, Err *err) {
        _cleanup_free_ char *text = xstrndup(s, len);
        char *action = strstrip(text);
        const char *name = startswith(action, "json ");
        bool json = name != NULL;
        if (!name)
                name = action;
        name += strspn(name, " ");
        if (json && streq(name, ".")) {
                add_json_row(out, fields, n);
                return 0;
        }
        const FormatField *f = *name == '.' ? find_field(fields, n, name + 1, strlen(name + 1)) : NULL;
        if (!f)
                return err_set(err, -EINVAL, "template: \"{{%s}}\" is not supported here; fields are written {{.Name}}", action);
        if (json && !header) {
                JsonOut j = { .buf = out };
                jo_str(&j, f->value);
        } else {
                buf_adds(out, header ? f->title : f->value);
        }
        return 0;
}

int format_row(Buf *out, const char *template, const FormatField *fields, size_t n, bool header, Err *err) {
        if (streq(template, "json")) {
                add_json_row(out, fields, n);
                return 0;
        }
        for (const char *p = template; *p;) {
                if (p[0] == '{' && p[1] == '{') {
                        const char *end = strstr(p + 2, "}}");
                        if (!end)
                                return err_set(err, -EINVAL, "template: \"{{\" without \"}}\"");
                        int r = add_action(out, p + 2, (size_t) (end - p - 2), fields, n, header, err);
                        if (r < 0)
                                return r;
                        p = end + 2;
                } else if (p[0] == '\\' && (p[1] == 'n' || p[1] == 't')) {
                        buf_addc(out, p[1] == 'n' ? '\n' : '\t');
                        p += 2;
                } else {
                        buf_addc(out, *p++);
                }
        }
        return 0;
}

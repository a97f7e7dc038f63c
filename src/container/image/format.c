/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/format.h"

#include <stdio.h>

#define COLUMNS_MAX 16
#define GAP 3

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
                                for (size_t w = width_of(p, n); w < widths[col] + GAP; w++)
                                        buf_addc(out, ' ');
                        p += n + (p[n] == '\t');
                }
                p += *p == '\n';
                buf_addc(out, '\n');
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/format.h"
#include "base/time.h"

#include <stdio.h>

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

char *format_go_time(char *buf, int64_t nsec) {
        (void) format_rfc3339(buf, nsec, 0, false); /* 2026-11-22T19:00:00Z */
        buf[10] = ' ';
        memcpy(buf + 19, " +0000 UTC", 11);
        return buf;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <stdio.h>

#define NSEC_PER_SEC INT64_C(1000000000)

/* Days since 1970-01-01 to a date and back: the era arithmetic of Howard Hinnant's "chrono-Compatible
 * Low-Level Date Algorithms". */
static void civil_from_days(int64_t z, int64_t *y, unsigned *m, unsigned *d) {
        z += 719468;
        int64_t era = (z >= 0 ? z : z - 146096) / 146097;
        unsigned doe = (unsigned) (z - era * 146097);
        unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
        unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        unsigned mp = (5 * doy + 2) / 153;
        *d = doy - (153 * mp + 2) / 5 + 1;
        *m = mp < 10 ? mp + 3 : mp - 9;
        *y = (int64_t) yoe + era * 400 + (*m <= 2);
}

static int64_t days_from_civil(int64_t y, unsigned m, unsigned d) {
        y -= m <= 2;
        int64_t era = (y >= 0 ? y : y - 399) / 400;
        unsigned yoe = (unsigned) (y - era * 400);
        unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
        unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        return era * 146097 + (int64_t) doe - 719468;
}

char *format_rfc3339(char *buf, int64_t nsec, int digits, bool trim) {
        assert(digits >= 0 && digits <= 9);
        int64_t sec = nsec / NSEC_PER_SEC, frac = nsec % NSEC_PER_SEC;
        if (frac < 0) {
                frac += NSEC_PER_SEC;
                sec--;
        }
        int64_t days = sec / 86400, rest = sec % 86400;
        if (rest < 0) {
                rest += 86400;
                days--;
        }
        int64_t y;
        unsigned m, d;
        civil_from_days(days, &y, &m, &d);
        int n = snprintf(buf, 24, "%04d-%02u-%02uT%02d:%02d:%02d", (int) y, m, d, (int) (rest / 3600),
                         (int) (rest / 60 % 60), (int) (rest % 60));
        char f[16];
        (void) snprintf(f, sizeof(f), ".%09d", (int) frac);
        size_t len = (size_t) digits + 1;
        while (trim && len > 1 && f[len - 1] == '0')
                len--;
        f[len > 1 ? len : 0] = 0;
        (void) snprintf(buf + n, 36 - (size_t) n, "%sZ", f);
        return buf;
}

static int zone_offset(const char *s, int64_t *ret_sec) {
        if ((*s == 'Z' || *s == 'z') && !s[1]) {
                *ret_sec = 0;
                return 0;
        }
        unsigned h, m;
        int n = 0;
        if ((*s != '+' && *s != '-') || sscanf(s + 1, "%2u:%2u%n", &h, &m, &n) != 2 || s[1 + n] || n != 5)
                return -EINVAL;
        *ret_sec = (*s == '-' ? -1 : 1) * (int64_t) (h * 3600 + m * 60);
        return 0;
}

int parse_rfc3339(const char *s, int64_t *ret_nsec) {
        unsigned y, mo, d, h, mi, sec;
        int n = 0;
        if (sscanf(s, "%4u-%2u-%2u%*1[Tt ]%2u:%2u:%2u%n", &y, &mo, &d, &h, &mi, &sec, &n) != 6 || n != 19)
                return -EINVAL;
        if (mo < 1 || mo > 12 || d < 1 || d > 31 || h > 24 || mi > 59 || sec > 60)
                return -EINVAL;
        s += n;
        int64_t frac = 0, scale = NSEC_PER_SEC / 10;
        if (*s == '.')
                for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10)
                        frac += (*s - '0') * scale;
        int64_t off;
        int r = zone_offset(s, &off);
        if (r < 0)
                return r;
        int64_t t = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - off, ns;
        if (__builtin_mul_overflow(t, NSEC_PER_SEC, &ns))
                return -EINVAL;
        *ret_nsec = ns + frac;
        return 0;
}

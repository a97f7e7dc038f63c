/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/units.h"
#include "base/str.h"

#include <ctype.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

int parse_bytes(const char *s, int64_t *ret) {
        if (!isdigit((unsigned char) s[0]) && s[0] != '.')
                return -EINVAL;
        size_t n = strspn(s, "0123456789.");
        if (n > 24)
                return -ERANGE;
        char number[32] = "";
        memcpy(number, s, n);
        char *end = NULL;
        double v = strtod(number, &end);
        if (*end)
                return -EINVAL;
        const char *unit = s + n;
        while (*unit == ' ')
                unit++;
        static const char letters[] = "kmgtp";
        if (*unit) {
                const char *l = strchr(letters, tolower((unsigned char) *unit));
                if (l) {
                        for (const char *p = letters; p <= l; p++)
                                v *= 1024;
                        unit++;
                        if (tolower((unsigned char) *unit) == 'i')
                                unit++;
                }
                if (tolower((unsigned char) *unit) == 'b')
                        unit++;
                if (*unit)
                        return -EINVAL;
        }
        if (v >= 9.2e18)
                return -ERANGE;
        *ret = (int64_t) v;
        return 0;
}

int parse_signal(const char *s) {
        static const struct {
                const char *name;
                int number;
        } table[] = { { "HUP", SIGHUP },   { "INT", SIGINT },       { "QUIT", SIGQUIT },   { "ILL", SIGILL },
                      { "TRAP", SIGTRAP }, { "ABRT", SIGABRT },     { "IOT", SIGABRT },    { "BUS", SIGBUS },
                      { "FPE", SIGFPE },   { "KILL", SIGKILL },     { "USR1", SIGUSR1 },   { "SEGV", SIGSEGV },
                      { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE },     { "ALRM", SIGALRM },   { "TERM", SIGTERM },
                      { "STKFLT", 16 },    { "CHLD", SIGCHLD },     { "CONT", SIGCONT },   { "STOP", SIGSTOP },
                      { "TSTP", SIGTSTP }, { "TTIN", SIGTTIN },     { "TTOU", SIGTTOU },   { "URG", SIGURG },
                      { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },     { "VTALRM", SIGVTALRM }, { "PROF", SIGPROF },
                      { "WINCH", SIGWINCH }, { "IO", SIGIO },       { "POLL", SIGIO },     { "PWR", SIGPWR },
                      { "SYS", SIGSYS } };
        uint32_t v;
        if (parse_u32(s, &v) >= 0)
                return v >= 1 && v <= 64 ? (int) v : -EINVAL;
        if (strncasecmp(s, "SIG", 3) == 0)
                s += 3;
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (strcasecmp(s, table[i].name) == 0)
                        return table[i].number;
        bool max = strncasecmp(s, "RTMAX", 5) == 0;
        if (!max && strncasecmp(s, "RTMIN", 5) != 0)
                return -EINVAL;
        int base = max ? 64 : 34;
        if (!s[5])
                return base;
        if (s[5] != (max ? '-' : '+') || parse_u32(s + 6, &v) < 0 || v > 30)
                return -EINVAL;
        return max ? base - (int) v : base + (int) v;
}

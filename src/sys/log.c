/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/log.h"
#include "base/alloc.h"
#include "base/time.h"
#include "sys/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int max_level = LOG_INFO;
static bool to_journal;
static const char *program_name = "";

void log_open(const char *program) {
        program_name = program;
        const char *js = getenv("JOURNAL_STREAM");
        struct stat st;
        unsigned long long dev, ino;
        to_journal = js && sscanf(js, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
                     st.st_dev == dev && st.st_ino == ino;
}

void log_set_level(int level) {
        max_level = level;
}

int log_level(void) {
        return max_level;
}

static void write_line(int level, const char *text) {
        char prefix[64];
        if (to_journal)
                (void) snprintf(prefix, sizeof(prefix), "<%d>", level);
        else {
                char when[36];
                (void) snprintf(prefix, sizeof(prefix),
                                "%s %c %s: ", format_rfc3339(when, now_wall_nsec(), 3, false),
                                "MACEWNID"[level & 7], program_name);
        }
        /* One write, so that lines of several processes on one pipe do not mix. */
        _cleanup_free_ char *line = xasprintf("%s%s\n", prefix, text);
        ssize_t n = write(STDERR_FILENO, line, strlen(line));
        (void) n;
}

static char *format(const char *fmt, va_list ap) {
        char *s = NULL;
        if (vasprintf(&s, fmt, ap) < 0)
                abort();
        return s;
}

void log_line(int level, const char *fmt, ...) {
        if (level > max_level)
                return;
        va_list ap;
        va_start(ap, fmt);
        _cleanup_free_ char *text = format(fmt, ap);
        va_end(ap);
        write_line(level, text);
}

int log_err(int r, const char *fmt, ...) {
        if (LOG_ERR > max_level)
                return r;
        va_list ap;
        va_start(ap, fmt);
        _cleanup_free_ char *text = format(fmt, ap);
        va_end(ap);
        _cleanup_free_ char *full = xasprintf("%s: %s", text, strerror(r < 0 ? -r : r));
        write_line(LOG_ERR, full);
        return r;
}

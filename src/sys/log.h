/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Logging of daemons: one line on stderr with a priority prefix ("<4>") that the journal understands when
 * stderr is the journal, a time stamp and a letter otherwise. Libraries log nothing above debug; main code
 * logs once, at the top:  `return log_err(r, "Failed to open %s", path);` */

#include "base/err.h"

#include <syslog.h>

void log_open(const char *program); /* looks at stderr once, to choose the form */
void log_set_level(int level);      /* LOG_ERR .. LOG_DEBUG; LOG_INFO at the start */
int log_level(void);
void log_line(int level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                      \
        do {                                                                                                \
                if (log_level() >= LOG_DEBUG)                                                               \
                        log_line(LOG_DEBUG, __VA_ARGS__);                                                   \
        } while (0)
/* Logs "<text>: <strerror>" at error level and returns r. */
int log_err(int r, const char *fmt, ...) _printf_(2, 3);

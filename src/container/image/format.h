/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Numbers and times as docker prints them in its tables (spec/containers.md A.4). */

#include "base/macro.h"

/* Decimal units, at most four significant digits: "1.98MB", "113MB", "36.45kB", "0B". buf holds 40 bytes. */
char *format_size_digits(char *buf, int64_t bytes, int digits);
/* 4 digits in progress lines, 3 in tables. */
static inline char *format_size(char *buf, int64_t bytes) {
        return format_size_digits(buf, bytes, 4);
}
static inline char *format_size_short(char *buf, int64_t bytes) {
        return format_size_digits(buf, bytes, 3);
}
/* "5 minutes", "About an hour", "2 weeks": go-units' HumanDuration. */
char *format_duration(char *buf, int64_t seconds);
/* "5 minutes ago"; "N/A" for a time that is unknown (0). */
char *format_ago(char *buf, int64_t nsec, int64_t now_nsec);

/* Go's time.String(): "2026-11-22 19:00:00 +0000 UTC", in UTC. buf holds 40 bytes. */
char *format_go_time(char *buf, int64_t nsec);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Time is a count of microseconds that somebody passes in. Pure code never reads a clock; sys/clock.h does.
 * Names say which clock: `now` monotonic, `wall` since 1970 in UTC. */

#include "base/macro.h"

typedef uint64_t Usec;
#define USEC_PER_MSEC ((Usec) 1000)
#define USEC_PER_SEC ((Usec) 1000000)
#define USEC_NEVER UINT64_MAX

static inline Usec usec_add(Usec a, Usec b) {
        return a > USEC_NEVER - b ? USEC_NEVER : a + b;
}
static inline Usec usec_sub(Usec a, Usec b) {
        return a > b ? a - b : 0;
}

/* RFC 3339 in UTC with `digits` fractional digits (0..9), trailing zeros of the fraction trimmed when
 * `trim` is set (Go's RFC3339Nano). `nsec` since 1970. buf must hold 36 bytes; returns buf. */
char *format_rfc3339(char *buf, int64_t nsec, int digits, bool trim);
/* Any RFC 3339 text to nanoseconds since 1970; -EINVAL. */
int parse_rfc3339(const char *s, int64_t *ret_nsec);

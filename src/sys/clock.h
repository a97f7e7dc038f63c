/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "base/time.h"

Usec now_monotonic(void);    /* CLOCK_MONOTONIC */
Usec now_boottime(void);     /* CLOCK_BOOTTIME: also counts suspend */
int64_t now_wall_nsec(void); /* CLOCK_REALTIME, nanoseconds since 1970 */
static inline Usec now_wall(void) {
        return (Usec) (now_wall_nsec() / 1000);
}
/* n random bytes from the kernel; never fails. */
void random_bytes(void *p, size_t n);
uint64_t random_u64(void);

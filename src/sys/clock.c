/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/clock.h"
#include "base/alloc.h"

#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t id) {
        struct timespec ts;
        if (clock_gettime(id, &ts) < 0)
                abort();
        return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

Usec now_monotonic(void) {
        return (Usec) (read_clock(CLOCK_MONOTONIC) / 1000);
}

Usec now_boottime(void) {
        return (Usec) (read_clock(CLOCK_BOOTTIME) / 1000);
}

int64_t now_wall_nsec(void) {
        return read_clock(CLOCK_REALTIME);
}

void random_bytes(void *p, size_t n) {
        uint8_t *b = p;
        while (n > 0) {
                ssize_t k = getrandom(b, n, 0);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        abort();
                b += k;
                n -= (size_t) k;
        }
}

uint64_t random_u64(void) {
        uint64_t v;
        random_bytes(&v, sizeof(v));
        return v;
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The only source of chance in the simulator: everything that happens follows from one seed. */

#include "base/macro.h"

typedef struct Rng {
        uint64_t s[4];
} Rng;

Rng rng_new(uint64_t seed);
uint64_t rng_next(Rng *r);
/* 0 .. n-1; n > 0 */
uint64_t rng_below(Rng *r, uint64_t n);
/* low .. high, both included */
uint64_t rng_range(Rng *r, uint64_t low, uint64_t high);
/* True p times in a million. */
bool rng_ppm(Rng *r, uint32_t p);
/* A generator of its own for one part of the world, so that its draws do not shift those of the others. */
Rng rng_fork(Rng *r);

/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/rng.h"

/* xoshiro256** seeded by splitmix64, after the public-domain description by Blackman and Vigna. */
static uint64_t splitmix(uint64_t *x) {
        uint64_t z = (*x += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, unsigned k) {
        return (x << k) | (x >> (64 - k));
}

Rng rng_new(uint64_t seed) {
        Rng r;
        for (unsigned i = 0; i < ELEMENTSOF(r.s); i++)
                r.s[i] = splitmix(&seed);
        return r;
}

uint64_t rng_next(Rng *r) {
        uint64_t result = rotl(r->s[1] * 5, 7) * 9, t = r->s[1] << 17;
        r->s[2] ^= r->s[0];
        r->s[3] ^= r->s[1];
        r->s[1] ^= r->s[2];
        r->s[0] ^= r->s[3];
        r->s[2] ^= t;
        r->s[3] = rotl(r->s[3], 45);
        return result;
}

uint64_t rng_below(Rng *r, uint64_t n) {
        assert(n > 0);
        return rng_next(r) % n;
}

uint64_t rng_range(Rng *r, uint64_t low, uint64_t high) {
        assert(low <= high);
        return low + rng_below(r, high - low + 1);
}

bool rng_ppm(Rng *r, uint32_t p) {
        return p > 0 && rng_below(r, 1000000) < p;
}

Rng rng_fork(Rng *r) {
        return rng_new(rng_next(r));
}

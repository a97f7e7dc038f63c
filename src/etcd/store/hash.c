/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/state.h"

/* A fast 64-bit hash for comparing replicas, not for tables: folded 64x64 multiplications over little-endian
 * words. Its result is part of the snapshot format, so it must never change without a new version there. */

#include <endian.h>

#define K0 UINT64_C(0xa0761d6478bd642f)
#define K1 UINT64_C(0xe7037ed1a0b428db)

static inline uint64_t fold(uint64_t a, uint64_t b) {
        unsigned __int128 m = (unsigned __int128) a * b;
        return (uint64_t) m ^ (uint64_t) (m >> 64);
}

static inline uint64_t load(const char *p, size_t n) {
        uint64_t v = 0;
        memcpy(&v, p, n);
        return le64toh(v);
}

uint64_t hash_mix(uint64_t a, uint64_t b) {
        return fold(a ^ K0, b ^ K1);
}

uint64_t hash_bytes(uint64_t seed, Bytes b) {
        uint64_t h = fold(seed ^ K0, b.n ^ K1);
        const char *p = b.p;
        size_t n = b.n;
        for (; n >= 16; p += 16, n -= 16)
                h = fold(load(p, 8) ^ K0 ^ h, load(p + 8, 8) ^ K1);
        if (n >= 8) {
                h = fold(load(p, 8) ^ K0, h ^ K1);
                p += 8;
                n -= 8;
        }
        return n > 0 ? fold(load(p, n) ^ K1, h ^ K0) : fold(h, K1);
}

uint64_t hash_ver(const Ver *v) {
        uint64_t h = hash_bytes((uint64_t) v->main, key_bytes(v->key));
        h = hash_mix(h ^ (uint64_t) v->create, (uint64_t) v->version ^ (uint64_t) v->sub << 32);
        h = hash_mix(h ^ (uint64_t) v->lease, v->tombstone);
        return hash_bytes(h, (Bytes){ v->value, v->n });
}

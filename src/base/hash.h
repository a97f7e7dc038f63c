/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Hash functions that are not cryptographic, and hash maps over them.
 *
 * Map: keys are byte strings (copied and owned) or 64-bit numbers; values are weak pointers. Open addressing
 * with linear probing. String keys go through SipHash-2-4 with a per-process key (hash_seed()), because keys
 * come from outside. Iteration order is unspecified: pure cores must not let it show. */

#include "base/macro.h"

uint64_t siphash24(const void *p, size_t n, const uint8_t key[16]);
/* CRC-32C (Castagnoli), as used in the WAL; `crc` is 0 at the start and the earlier result when continuing.
 */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* Sets the process-wide key of string maps. Programs call it once at start with random bytes; without it the
 * key is fixed, which is what the simulator wants. */
void hash_seed(const uint8_t key[16]);

typedef struct MapEntry MapEntry;
typedef struct Map {
        MapEntry *slots; /* owned */
        size_t n_slots;  /* power of two, or 0 */
        size_t used;     /* live entries */
        size_t filled;   /* live and deleted */
} Map;

void map_done(Map *m); /* frees the map and its key copies, not the values */
static inline size_t map_size(const Map *m) {
        return m->used;
}

void *map_get(const Map *m, const void *key, size_t n);
bool map_has(const Map *m, const void *key, size_t n);
/* Returns the value that was replaced, or NULL. */
void *map_put(Map *m, const void *key, size_t n, void *value);
void *map_del(Map *m, const void *key, size_t n); /* the removed value, or NULL */

static inline void *map_gets(const Map *m, const char *key) {
        return map_get(m, key, strlen(key));
}
static inline void *map_puts(Map *m, const char *key, void *value) {
        return map_put(m, key, strlen(key), value);
}
static inline void *map_dels(Map *m, const char *key) {
        return map_del(m, key, strlen(key));
}
static inline void *map_getu(const Map *m, uint64_t key) {
        return map_get(m, &key, sizeof(key));
}
static inline void *map_putu(Map *m, uint64_t key, void *value) {
        return map_put(m, &key, sizeof(key), value);
}
static inline void *map_delu(Map *m, uint64_t key) {
        return map_del(m, &key, sizeof(key));
}

/* for (MapIter i = {}; map_next(&m, &i);) use(i.key, i.key_len, i.value);
 * Deleting the current entry inside the loop is allowed, inserting is not. */
typedef struct MapIter {
        size_t at;
        const void *key; /* weak; NUL-terminated behind key_len */
        size_t key_len;
        void *value;
} MapIter;
bool map_next(const Map *m, MapIter *i);

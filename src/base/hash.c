/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"
#include "base/alloc.h"

#include <endian.h>

#if defined(__x86_64__)
#        include <nmmintrin.h>
#endif

/* SipHash-2-4 as described by Aumasson and Bernstein (2012). */
#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

typedef struct SipState {
        uint64_t v0, v1, v2, v3;
} SipState;

static inline void sip_round(SipState *s) {
        s->v0 += s->v1;
        s->v1 = ROTL(s->v1, 13) ^ s->v0;
        s->v0 = ROTL(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = ROTL(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = ROTL(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = ROTL(s->v1, 17) ^ s->v2;
        s->v2 = ROTL(s->v2, 32);
}

static inline uint64_t load64(const uint8_t *p) {
        uint64_t v;
        memcpy(&v, p, sizeof(v));
        return le64toh(v);
}

static inline void sip_word(SipState *s, uint64_t m) {
        s->v3 ^= m;
        sip_round(s);
        sip_round(s);
        s->v0 ^= m;
}

uint64_t siphash24(const void *p, size_t n, const uint8_t key[16]) {
        uint64_t k0 = load64(key), k1 = load64(key + 8);
        SipState s = { k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL, k0 ^ 0x6c7967656e657261ULL,
                       k1 ^ 0x7465646279746573ULL };
        const uint8_t *b = p;
        size_t left = n;
        for (; left >= 8; b += 8, left -= 8)
                sip_word(&s, load64(b));
        uint64_t last = (uint64_t) n << 56;
        for (size_t i = 0; i < left; i++)
                last |= (uint64_t) b[i] << (8 * i);
        sip_word(&s, last);
        s.v2 ^= 0xff;
        for (int i = 0; i < 4; i++)
                sip_round(&s);
        return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_hw(uint32_t crc, const uint8_t *p, size_t n) {
        uint64_t c = ~crc;
        for (; n >= 8; p += 8, n -= 8) {
                uint64_t v;
                memcpy(&v, p, sizeof(v));
                c = _mm_crc32_u64(c, v);
        }
        for (; n > 0; p++, n--)
                c = _mm_crc32_u8((uint32_t) c, *p);
        return ~(uint32_t) c;
}
#endif

static uint32_t crc32c_sw(uint32_t crc, const uint8_t *p, size_t n) {
        static uint32_t table[256];
        if (!table[1])
                for (uint32_t i = 0; i < 256; i++) {
                        uint32_t c = i;
                        for (int k = 0; k < 8; k++)
                                c = c & 1 ? (c >> 1) ^ 0x82f63b78U : c >> 1;
                        table[i] = c;
                }
        crc = ~crc;
        for (; n > 0; p++, n--)
                crc = table[(crc ^ *p) & 0xff] ^ (crc >> 8);
        return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n) {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("sse4.2"))
                return crc32c_hw(crc, p, n);
#endif
        return crc32c_sw(crc, p, n);
}

static uint8_t seed[16] = "coracle-fixedkey";

void hash_seed(const uint8_t key[16]) {
        memcpy(seed, key, sizeof(seed));
}

struct MapEntry {
        uint64_t hash;
        char *key; /* owned; NULL = never used */
        size_t key_len;
        void *value;
        bool deleted;
};

void map_done(Map *m) {
        for (size_t i = 0; i < m->n_slots; i++)
                free(m->slots[i].key);
        free(m->slots);
        *m = (Map){};
}

static MapEntry *find(const Map *m, const void *key, size_t n) {
        if (m->n_slots == 0)
                return NULL;
        uint64_t h = siphash24(key, n, seed);
        for (size_t i = h & (m->n_slots - 1);; i = (i + 1) & (m->n_slots - 1)) {
                MapEntry *e = &m->slots[i];
                if (!e->key)
                        return NULL;
                if (!e->deleted && e->hash == h && e->key_len == n && memcmp(e->key, key, n) == 0)
                        return e;
        }
}

static void insert_moved(Map *m, MapEntry e) {
        size_t i = e.hash & (m->n_slots - 1);
        while (m->slots[i].key)
                i = (i + 1) & (m->n_slots - 1);
        m->slots[i] = e;
        m->used++;
        m->filled++;
}

static void rehash(Map *m) {
        Map old = *m;
        size_t want = 8;
        while (want < old.used * 4)
                want *= 2;
        *m = (Map){ .slots = xnew(MapEntry, want), .n_slots = want };
        for (size_t i = 0; i < old.n_slots; i++)
                if (old.slots[i].key && !old.slots[i].deleted)
                        insert_moved(m, old.slots[i]);
                else
                        free(old.slots[i].key);
        free(old.slots);
}

void *map_get(const Map *m, const void *key, size_t n) {
        MapEntry *e = find(m, key, n);
        return e ? e->value : NULL;
}

bool map_has(const Map *m, const void *key, size_t n) {
        return find(m, key, n);
}

void *map_put(Map *m, const void *key, size_t n, void *value) {
        MapEntry *e = find(m, key, n);
        if (e) {
                void *old = e->value;
                e->value = value;
                return old;
        }
        if ((m->filled + 1) * 4 > m->n_slots * 3)
                rehash(m);
        insert_moved(m, (MapEntry){ .hash = siphash24(key, n, seed),
                                    .key = xstrndup(key, n),
                                    .key_len = n,
                                    .value = value });
        return NULL;
}

void *map_del(Map *m, const void *key, size_t n) {
        MapEntry *e = find(m, key, n);
        if (!e)
                return NULL;
        e->deleted = true;
        m->used--;
        return TAKE_PTR(e->value);
}

bool map_next(const Map *m, MapIter *i) {
        for (; i->at < m->n_slots; i->at++) {
                MapEntry *e = &m->slots[i->at];
                if (!e->key || e->deleted)
                        continue;
                i->key = e->key;
                i->key_len = e->key_len;
                i->value = e->value;
                i->at++;
                return true;
        }
        return false;
}

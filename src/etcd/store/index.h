/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Index: items found by (space, bytes), both by hash, in O(1), and in order, by a B+tree. It holds the v3
 * keys (one space) and the v2 nodes (a space per directory: the children of one lie side by side).
 *
 * Items are embedded: they begin with an IndexItem and carry their bytes at a fixed offset; the index owns
 * none. Invariant: tree and table hold the same items; leaves are linked; a branch keeps the least item
 * below each child, so a deleted item never stays behind as a separator. Sparse nodes are merged when they
 * drop under a quarter. Rejected: a skip list (twice the cache misses), hash only (ranges), tree only (point
 * reads are the common case). */

#include "etcd/store/types.h"

#define INDEX_FANOUT 64

typedef struct IndexItem {
        uint64_t space;
        uint32_t hash; /* set by index_add() */
        uint32_t n;    /* length of the bytes */
} IndexItem;

/* A place of the table: the hash beside the pointer, so that a probe costs one cache miss. */
typedef struct IndexSlot {
        IndexItem *it;
        uint32_t hash;
} IndexSlot;

typedef struct IndexNode IndexNode;
typedef struct Index {
        size_t offset; /* of the bytes in an item */
        uint8_t seed[16];
        IndexSlot *slots; /* owned */
        size_t n_slots, used;
        IndexNode *root;
        size_t n_nodes; /* for accounting */
} Index;

void index_init(Index *ix, size_t offset, const uint8_t seed[16]);
void index_done(Index *ix); /* not the items */

static inline Bytes index_bytes(const Index *ix, const IndexItem *it) {
        return (Bytes){ (const char *) it + ix->offset, it->n };
}
IndexItem *index_get(const Index *ix, uint64_t space, Bytes b);
void index_add(Index *ix, IndexItem *it); /* must not be there yet */
void index_del(Index *ix, IndexItem *it); /* must be there */
size_t index_memory(const Index *ix);

/* A place in the order; invalid after any change. */
typedef struct IndexCursor {
        const IndexNode *leaf;
        unsigned at;
} IndexCursor;
/* The first item at or after (space, b). */
void index_seek(const Index *ix, uint64_t space, Bytes b, IndexCursor *c);
IndexItem *index_next(IndexCursor *c); /* NULL at the end */
void index_check(const Index *ix);     /* asserts every invariant: for tests */

/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/index.h"
#include "base/alloc.h"
#include "base/hash.h"

struct IndexNode {
        uint16_t n;
        bool leaf;
        IndexNode *prev, *next;        /* of leaves */
        IndexItem *item[INDEX_FANOUT]; /* leaf: the items; branch: the least item of each child */
        IndexNode *child[];            /* branch only, INDEX_FANOUT of them */
};

#define INDEX_SLOTS_MIN 64

static uint32_t hash_of(const Index *ix, uint64_t space, Bytes b) {
        uint8_t key[16];
        memcpy(key, ix->seed, sizeof(key));
        uint64_t k;
        memcpy(&k, key, sizeof(k));
        k ^= space * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(key, &k, sizeof(k));
        uint64_t h = siphash24(b.p, b.n, key);
        return (uint32_t) (h ^ (h >> 32));
}

static int compare(const Index *ix, const IndexItem *it, uint64_t space, Bytes b) {
        if (it->space != space)
                return it->space < space ? -1 : 1;
        return bytes_cmp(index_bytes(ix, it), b);
}

void index_init(Index *ix, size_t offset, const uint8_t seed[16]) {
        *ix = (Index){ .offset = offset };
        memcpy(ix->seed, seed, sizeof(ix->seed));
}

static void node_free(IndexNode *x) {
        if (!x->leaf)
                for (unsigned i = 0; i < x->n; i++)
                        node_free(x->child[i]);
        free(x);
}

void index_done(Index *ix) {
        if (ix->root)
                node_free(ix->root);
        free(ix->slots);
        ix->root = NULL;
        ix->slots = NULL;
        ix->n_slots = ix->used = ix->n_nodes = 0;
}

/* ---- the table ---- */

static void table_put(Index *ix, IndexItem *it) {
        size_t mask = ix->n_slots - 1, i = it->hash & mask;
        while (ix->slots[i].it)
                i = (i + 1) & mask;
        ix->slots[i] = (IndexSlot){ it, it->hash };
}

static void table_resize(Index *ix, size_t n_slots) {
        IndexSlot *old = ix->slots;
        size_t n_old = ix->n_slots, mask = n_slots - 1;
        ix->slots = xnew0(IndexSlot, n_slots);
        ix->n_slots = n_slots;
        for (size_t j = 0; j < n_old; j++) {
                if (!old[j].it)
                        continue;
                size_t i = old[j].hash & mask;
                while (ix->slots[i].it)
                        i = (i + 1) & mask;
                ix->slots[i] = old[j];
        }
        free(old);
}

/* Linear probing without graves: what follows the hole moves up when it may. */
static void table_del(Index *ix, const IndexItem *it) {
        size_t mask = ix->n_slots - 1, i = it->hash & mask;
        while (ix->slots[i].it != it) {
                assert(ix->slots[i].it);
                i = (i + 1) & mask;
        }
        for (size_t j = (i + 1) & mask; ix->slots[j].it; j = (j + 1) & mask) {
                size_t home = ix->slots[j].hash & mask;
                if (((j - home) & mask) >= ((j - i) & mask)) {
                        ix->slots[i] = ix->slots[j];
                        i = j;
                }
        }
        ix->slots[i] = (IndexSlot){};
}

IndexItem *index_get(const Index *ix, uint64_t space, Bytes b) {
        if (ix->used == 0)
                return NULL;
        uint32_t h = hash_of(ix, space, b);
        size_t mask = ix->n_slots - 1;
        for (size_t i = h & mask; ix->slots[i].it; i = (i + 1) & mask) {
                if (ix->slots[i].hash != h)
                        continue;
                IndexItem *it = ix->slots[i].it;
                if (it->space == space && it->n == b.n &&
                    memcmp((const char *) it + ix->offset, b.p, b.n) == 0)
                        return it;
        }
        return NULL;
}

/* ---- the tree ---- */

static IndexNode *node_new(Index *ix, bool leaf) {
        IndexNode *x = xmalloc(sizeof(IndexNode) + (leaf ? 0 : sizeof(IndexNode *) * INDEX_FANOUT));
        x->n = 0;
        x->leaf = leaf;
        x->prev = x->next = NULL;
        ix->n_nodes++;
        return x;
}

/* How many items of the node are below (or, with `equal`, at or below) the key. */
static unsigned node_find(const Index *ix, const IndexNode *x, uint64_t space, Bytes b, bool equal) {
        unsigned lo = 0, hi = x->n;
        while (lo < hi) {
                unsigned mid = (lo + hi) / 2;
                int c = compare(ix, x->item[mid], space, b);
                if (c < 0 || (equal && c == 0))
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo;
}

static unsigned branch_find(const Index *ix, const IndexNode *x, uint64_t space, Bytes b) {
        unsigned i = node_find(ix, x, space, b, true);
        return i > 0 ? i - 1 : 0;
}

static void node_insert_at(IndexNode *x, unsigned at, IndexItem *it, IndexNode *child) {
        assert(x->n < INDEX_FANOUT && at <= x->n);
        memmove(x->item + at + 1, x->item + at, sizeof(x->item[0]) * (x->n - at));
        x->item[at] = it;
        if (!x->leaf) {
                memmove(x->child + at + 1, x->child + at, sizeof(x->child[0]) * (x->n - at));
                x->child[at] = child;
        }
        x->n++;
}

static void node_remove_at(IndexNode *x, unsigned at) {
        assert(at < x->n);
        x->n--;
        memmove(x->item + at, x->item + at + 1, sizeof(x->item[0]) * (x->n - at));
        if (!x->leaf)
                memmove(x->child + at, x->child + at + 1, sizeof(x->child[0]) * (x->n - at));
}

/* Splits a full node and returns the new right one. Keys that come in ascending order leave full nodes
 * behind. */
static IndexNode *node_split(Index *ix, IndexNode *x, unsigned at) {
        IndexNode *r = node_new(ix, x->leaf);
        unsigned keep = at == x->n ? x->n - 1U : x->n / 2U;
        r->n = (uint16_t) (x->n - keep);
        memcpy(r->item, x->item + keep, sizeof(x->item[0]) * r->n);
        if (x->leaf) {
                r->next = x->next;
                r->prev = x;
                if (r->next)
                        r->next->prev = r;
                x->next = r;
        } else
                memcpy(r->child, x->child + keep, sizeof(x->child[0]) * r->n);
        x->n = (uint16_t) keep;
        return r;
}

/* Puts the item below x; returns a new right sibling when x had to be split. */
static IndexNode *tree_insert(Index *ix, IndexNode *x, IndexItem *it, Bytes b) {
        IndexNode *more = NULL;
        unsigned at;
        if (x->leaf)
                at = node_find(ix, x, it->space, b, false);
        else {
                unsigned i = branch_find(ix, x, it->space, b);
                more = tree_insert(ix, x->child[i], it, b);
                x->item[i] = x->child[i]->item[0];
                if (!more)
                        return NULL;
                at = i + 1;
                it = more->item[0];
        }
        if (x->n < INDEX_FANOUT) {
                node_insert_at(x, at, it, more);
                return NULL;
        }
        IndexNode *r = node_split(ix, x, at);
        if (at <= x->n)
                node_insert_at(x, at, it, more);
        else
                node_insert_at(r, at - x->n, it, more);
        return r;
}

void index_add(Index *ix, IndexItem *it) {
        Bytes b = index_bytes(ix, it);
        if (ix->n_slots == 0 || ix->used * 4 >= ix->n_slots * 3)
                table_resize(ix, MAX((size_t) INDEX_SLOTS_MIN, ix->n_slots * 2));
        it->hash = hash_of(ix, it->space, b);
        table_put(ix, it);
        ix->used++;
        if (!ix->root)
                ix->root = node_new(ix, true);
        IndexNode *r = tree_insert(ix, ix->root, it, b);
        if (r) {
                IndexNode *top = node_new(ix, false);
                node_insert_at(top, 0, ix->root->item[0], ix->root);
                node_insert_at(top, 1, r->item[0], r);
                ix->root = top;
        }
}

static void node_drop(Index *ix, IndexNode *x) {
        if (x->leaf) {
                if (x->prev)
                        x->prev->next = x->next;
                if (x->next)
                        x->next->prev = x->prev;
        }
        free(x);
        ix->n_nodes--;
}

/* Merges child i + 1 of x into child i when both together leave a quarter free. */
static bool node_merge(Index *ix, IndexNode *x, unsigned i) {
        IndexNode *l = x->child[i], *r = x->child[i + 1];
        if (l->n + r->n > INDEX_FANOUT * 3 / 4)
                return false;
        memcpy(l->item + l->n, r->item, sizeof(l->item[0]) * r->n);
        if (!l->leaf)
                memcpy(l->child + l->n, r->child, sizeof(l->child[0]) * r->n);
        l->n = (uint16_t) (l->n + r->n);
        if (l->n > 0)
                x->item[i] = l->item[0];
        node_remove_at(x, i + 1);
        node_drop(ix, r);
        return true;
}

static void tree_delete(Index *ix, IndexNode *x, const IndexItem *it, Bytes b) {
        if (x->leaf) {
                unsigned at = node_find(ix, x, it->space, b, false);
                assert(at < x->n && x->item[at] == it);
                node_remove_at(x, at);
                return;
        }
        unsigned i = branch_find(ix, x, it->space, b);
        IndexNode *c = x->child[i];
        tree_delete(ix, c, it, b);
        if (c->n == 0) {
                node_remove_at(x, i);
                node_drop(ix, c);
                return;
        }
        x->item[i] = c->item[0];
        if (c->n < INDEX_FANOUT / 4 && !(i + 1U < x->n && node_merge(ix, x, i)) && i > 0)
                (void) node_merge(ix, x, i - 1);
}

void index_del(Index *ix, IndexItem *it) {
        assert(ix->root && ix->used > 0);
        table_del(ix, it);
        ix->used--;
        tree_delete(ix, ix->root, it, index_bytes(ix, it));
        while (!ix->root->leaf && ix->root->n == 1) {
                IndexNode *old = ix->root;
                ix->root = old->child[0];
                node_drop(ix, old);
        }
        if (ix->root->n == 0) {
                node_drop(ix, ix->root);
                ix->root = NULL;
        }
        if (ix->n_slots > INDEX_SLOTS_MIN && ix->used * 8 < ix->n_slots)
                table_resize(ix, ix->n_slots / 2);
}

size_t index_memory(const Index *ix) {
        return ix->n_slots * sizeof(IndexSlot) + ix->n_nodes * (sizeof(IndexNode) + 16);
}

void index_seek(const Index *ix, uint64_t space, Bytes b, IndexCursor *c) {
        const IndexNode *x = ix->root;
        while (x && !x->leaf)
                x = x->child[branch_find(ix, x, space, b)];
        *c = (IndexCursor){ x, x ? node_find(ix, x, space, b, false) : 0 };
}

IndexItem *index_next(IndexCursor *c) {
        while (c->leaf && c->at >= c->leaf->n)
                *c = (IndexCursor){ c->leaf->next, 0 };
        return c->leaf ? c->leaf->item[c->at++] : NULL;
}

static size_t node_check(const Index *ix, const IndexNode *x, bool root) {
        assert(x->n > 0 && (root || x->n <= INDEX_FANOUT));
        for (unsigned i = 1; i < x->n; i++)
                assert(compare(ix, x->item[i - 1], x->item[i]->space, index_bytes(ix, x->item[i])) < 0);
        if (x->leaf)
                return x->n;
        size_t n = 0;
        for (unsigned i = 0; i < x->n; i++) {
                assert(x->item[i] == x->child[i]->item[0] && x->child[i]->leaf == x->child[0]->leaf);
                n += node_check(ix, x->child[i], false);
        }
        return n;
}

void index_check(const Index *ix) {
        size_t n = ix->root ? node_check(ix, ix->root, true) : 0, walked = 0;
        assert(n == ix->used);
        IndexCursor c;
        index_seek(ix, 0, (Bytes){ "", 0 }, &c);
        for (IndexItem *it; (it = index_next(&c)); walked++)
                assert(index_get(ix, it->space, index_bytes(ix, it)) == it);
        assert(walked == n);
}

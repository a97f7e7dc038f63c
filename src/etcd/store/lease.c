/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/state.h"

/* Leases. Their ids, TTLs, checkpoints and keys are replicated; when they end is the leader's business
 * alone: a heap by expiry that exists only while promoted. A lease granted or renewed "now" must never end
 * early, and apply knows no clock, so a fresh lease waits in a list until the clock is next seen and counts
 * from there. */

#define FRESH UINT32_MAX /* heap_at of a lease that is not in the heap */

Lease *lease_get(const Store *s, int64_t id) {
        return map_getu(&s->leases, (uint64_t) id);
}

bool lease_exists(const Store *s, int64_t id) {
        return lease_get(s, id);
}

uint64_t lease_hash(const Lease *l) {
        return hash_mix((uint64_t) l->id, hash_mix((uint64_t) l->ttl, (uint64_t) l->remaining));
}

/* ---- the heap ---- */

static void heap_set(Store *s, uint32_t at, Lease *l) {
        s->heap[at] = l;
        l->heap_at = at;
}

static void heap_up(Store *s, uint32_t at) {
        Lease *l = s->heap[at];
        for (; at > 0 && s->heap[(at - 1) / 2]->expiry > l->expiry; at = (at - 1) / 2)
                heap_set(s, at, s->heap[(at - 1) / 2]);
        heap_set(s, at, l);
}

static void heap_down(Store *s, uint32_t at) {
        Lease *l = s->heap[at];
        for (;;) {
                size_t child = (size_t) at * 2 + 1;
                if (child >= s->n_heap)
                        break;
                if (child + 1 < s->n_heap && s->heap[child + 1]->expiry < s->heap[child]->expiry)
                        child++;
                if (s->heap[child]->expiry >= l->expiry)
                        break;
                heap_set(s, at, s->heap[child]);
                at = (uint32_t) child;
        }
        heap_set(s, at, l);
}

static void heap_add(Store *s, Lease *l, Usec expiry) {
        GROW(s->heap, s->cap_heap, s->n_heap + 1);
        l->expiry = expiry;
        heap_set(s, (uint32_t) s->n_heap++, l);
        heap_up(s, l->heap_at);
}

static void heap_move(Store *s, Lease *l, Usec expiry) {
        bool later = expiry > l->expiry;
        l->expiry = expiry;
        if (later)
                heap_down(s, l->heap_at);
        else
                heap_up(s, l->heap_at);
}

static void heap_del(Store *s, Lease *l) {
        uint32_t at = l->heap_at;
        Lease *last = s->heap[--s->n_heap];
        if (last != l) {
                heap_set(s, at, last);
                heap_up(s, at);
                heap_down(s, last->heap_at);
        }
        l->heap_at = FRESH;
}

static Usec seconds(int64_t ttl) {
        return ttl > 0 ? (Usec) ttl * USEC_PER_SEC : 0;
}

static void fresh_add(Store *s, Lease *l) {
        GROW(s->fresh, s->cap_fresh, s->n_fresh + 1);
        s->fresh[s->n_fresh++] = l;
}

static void fresh_start(Store *s, Usec now) {
        for (size_t i = 0; i < s->n_fresh; i++)
                heap_add(s, s->fresh[i], usec_add(now, seconds(s->fresh[i]->ttl)));
        s->n_fresh = 0;
}

/* ---- replicated ---- */

StoreError lease_grant(Store *s, int64_t id, int64_t ttl) {
        if (id == 0)
                return STORE_LEASE_NOT_FOUND;
        if (ttl > LEASE_TTL_MAX)
                return STORE_LEASE_TTL_TOO_LARGE;
        if (lease_get(s, id))
                return STORE_LEASE_EXISTS;
        Lease *l = xnew0(Lease, 1);
        *l = (Lease){ .id = id, .ttl = ttl, .heap_at = FRESH };
        map_putu(&s->leases, (uint64_t) id, l);
        s->lease_hash += lease_hash(l);
        s->bytes += sizeof(Lease);
        if (s->promoted)
                fresh_add(s, l);
        return STORE_OK;
}

void lease_attach(Store *s, Key *k, int64_t id) {
        Lease *l = lease_get(s, id);
        assert(l && l->n_keys < UINT32_MAX);
        if (l->n_keys == l->cap_keys) {
                l->cap_keys = MAX(l->cap_keys * 2, 4U);
                l->keys = xrealloc(l->keys, sizeof(Key *) * l->cap_keys);
        }
        k->lease_slot = l->n_keys;
        l->keys[l->n_keys++] = k;
}

void lease_detach(Store *s, Key *k, int64_t id) {
        Lease *l = lease_get(s, id);
        assert(l && k->lease_slot < l->n_keys && l->keys[k->lease_slot] == k);
        Key *last = l->keys[--l->n_keys];
        l->keys[k->lease_slot] = last;
        last->lease_slot = k->lease_slot;
}

static int compare_keys(const void *a, const void *b) {
        return bytes_cmp(key_bytes(*(Key *const *) a), key_bytes(*(Key *const *) b));
}

/* The keys sorted, in an array of the caller's; the lease's own order carries slots and must stay. */
static Key **sorted_keys(const Lease *l) {
        if (l->n_keys == 0)
                return NULL;
        Key **keys = xmemdup(l->keys, sizeof(Key *) * l->n_keys);
        qsort(keys, l->n_keys, sizeof(Key *), compare_keys);
        return keys;
}

StoreError lease_revoke(Store *s, int64_t id) {
        Lease *l = lease_get(s, id);
        if (!l)
                return STORE_LEASE_NOT_FOUND;
        size_t n = l->n_keys;
        _cleanup_free_ Key **keys = sorted_keys(l);
        Tx tx = tx_begin(s);
        for (size_t i = 0; i < n; i++)
                mvcc_delete_key(&tx, keys[i]); /* detaches it */
        assert(l->n_keys == 0);
        tx_commit(&tx);
        if (l->heap_at != FRESH)
                heap_del(s, l);
        for (size_t i = 0; i < s->n_fresh; i++)
                if (s->fresh[i] == l)
                        s->fresh[i--] = s->fresh[--s->n_fresh];
        s->lease_hash -= lease_hash(l);
        s->bytes -= sizeof(Lease);
        map_delu(&s->leases, (uint64_t) id);
        free(l->keys);
        free(l);
        return STORE_OK;
}

void lease_checkpoint(Store *s, int64_t id, int64_t remaining) {
        Lease *l = lease_get(s, id);
        if (!l || remaining < 0 || remaining > l->ttl)
                return;
        s->lease_hash -= lease_hash(l);
        l->remaining = remaining;
        s->lease_hash += lease_hash(l);
}

/* ---- on the leader ---- */

void lease_promote(Store *s, Usec now, Usec extend) {
        s->promoted = true;
        s->lease_extend = extend;
        s->n_heap = s->n_fresh = 0;
        for (MapIter i = {}; map_next(&s->leases, &i);) {
                Lease *l = i.value;
                l->due = false;
                heap_add(s, l,
                         usec_add(now, usec_add(extend, seconds(l->remaining > 0 ? l->remaining : l->ttl))));
        }
}

void lease_demote(Store *s) {
        s->promoted = false;
        s->n_heap = s->n_fresh = 0;
        for (MapIter i = {}; map_next(&s->leases, &i);)
                ((Lease *) i.value)->heap_at = FRESH;
}

bool lease_promoted(const Store *s) {
        return s->promoted;
}

static int compare_ids(const void *a, const void *b) {
        int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;
        return x < y ? -1 : x > y;
}

size_t lease_due(Store *s, Usec now, Usec retry, int64_t *ids, size_t max) {
        if (!s->promoted)
                return 0;
        fresh_start(s, now);
        size_t n = 0;
        while (n < max && s->n_heap > 0 && s->heap[0]->expiry <= now) {
                Lease *l = s->heap[0];
                l->due = true;
                ids[n++] = l->id;
                heap_move(s, l, usec_add(now, MAX(retry, (Usec) 1)));
        }
        if (n > 1)
                qsort(ids, n, sizeof(int64_t), compare_ids);
        return n;
}

Usec lease_next_due(const Store *s) {
        if (!s->promoted)
                return USEC_NEVER;
        return s->n_fresh > 0 ? 0 : s->n_heap > 0 ? s->heap[0]->expiry : USEC_NEVER;
}

StoreError lease_renew(Store *s, int64_t id, Usec now, int64_t *ret_ttl) {
        Lease *l = lease_get(s, id);
        if (!l || !s->promoted)
                return STORE_LEASE_NOT_FOUND;
        fresh_start(s, now);
        if (l->due || l->expiry <= now)
                return STORE_LEASE_NOT_FOUND; /* its end is on the way through the log */
        heap_move(s, l, usec_add(now, seconds(l->ttl)));
        *ret_ttl = l->ttl;
        return STORE_OK;
}

StoreError lease_info(Store *s, int64_t id, Usec now, bool keys, Arena *arena, LeaseInfo *ret) {
        Lease *l = lease_get(s, id);
        if (!l)
                return STORE_LEASE_NOT_FOUND;
        *ret = (LeaseInfo){ .granted = l->ttl, .remaining = -1 };
        if (s->promoted) {
                fresh_start(s, now);
                ret->remaining = l->due ? 0 : (int64_t) (usec_sub(l->expiry, now) / USEC_PER_SEC);
        }
        if (!keys || l->n_keys == 0)
                return STORE_OK;
        _cleanup_free_ Key **sorted = sorted_keys(l);
        ret->keys = arena_new(arena, Bytes, l->n_keys);
        ret->n_keys = l->n_keys;
        for (size_t i = 0; i < l->n_keys; i++)
                ret->keys[i] = key_bytes(sorted[i]);
        return STORE_OK;
}

size_t lease_list(const Store *s, Arena *arena, int64_t **ret_ids) {
        size_t n = 0;
        *ret_ids = arena_new(arena, int64_t, map_size(&s->leases) + 1);
        for (MapIter i = {}; map_next(&s->leases, &i);)
                (*ret_ids)[n++] = ((Lease *) i.value)->id;
        if (n > 1)
                qsort(*ret_ids, n, sizeof(int64_t), compare_ids);
        return n;
}

void lease_done(Store *s) {
        for (MapIter i = {}; map_next(&s->leases, &i);) {
                Lease *l = i.value;
                free(l->keys);
                free(l);
        }
        map_done(&s->leases);
        free(s->heap);
        free(s->fresh);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/state.h"

/* Versions: how they are made, found, ranged over and compacted. */

#define COMPACT_STEP 2000 /* log entries of one slice: well under a millisecond */
#define VER_OVERHEAD                                                                                        \
        (sizeof(Ver) + sizeof(Ver *) * 2 + 16) /* with its places in log and key, and malloc's */
#define KEY_OVERHEAD (sizeof(Key) + 16)

/* ---- the revision log ---- */

static void log_push(Log *l, Ver *v) {
        size_t i = l->first + l->n;
        if (i / LOG_BLOCK == l->n_blocks) {
                GROW(l->blocks, l->cap_blocks, l->n_blocks + 1);
                l->blocks[l->n_blocks++] = xmalloc(sizeof(Ver *) * LOG_BLOCK);
        }
        l->blocks[i / LOG_BLOCK][i % LOG_BLOCK] = v;
        l->n++;
}

static void log_pop(Log *l) {
        assert(l->n > 0);
        l->n--;
        if (++l->first < LOG_BLOCK)
                return;
        free(l->blocks[0]);
        memmove(l->blocks, l->blocks + 1, sizeof(l->blocks[0]) * --l->n_blocks);
        l->first = 0;
}

static void log_done(Log *l) {
        for (size_t i = 0; i < l->n_blocks; i++)
                free(l->blocks[i]);
        free(l->blocks);
        *l = (Log){};
}

size_t log_find(const Log *l, int64_t main) {
        size_t lo = 0, hi = l->n;
        while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;
                if (log_at(l, mid)->main < main)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo;
}

/* ---- keys and versions ---- */

KeyVal ver_kv(const Ver *v) {
        if (v->tombstone)
                return (KeyVal){ .key = key_bytes(v->key), .value = { "", 0 }, .mod_revision = v->main };
        return (KeyVal){
                .key = key_bytes(v->key),
                .value = { v->value, v->n },
                .create_revision = v->create,
                .mod_revision = v->main,
                .version = v->version,
                .lease = v->lease,
        };
}

Ver *key_at(Key *k, int64_t rev) {
        if (key_newest(k)->main <= rev)
                return k->newest;
        Ver **v = key_vers(k);
        size_t lo = 0, hi = k->n - 1;
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (v[mid]->main <= rev)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo > 0 ? v[lo - 1] : NULL;
}

Key *mvcc_key(Store *s, Bytes b) {
        return (Key *) index_get(&s->keys, 0, b);
}

static Key *key_get_or_add(Store *s, Bytes b) {
        Key *k = mvcc_key(s, b);
        if (k)
                return k;
        k = xmalloc(sizeof(Key) + b.n);
        *k = (Key){ .it.n = (uint32_t) b.n };
        memcpy(k->bytes, b.p, b.n);
        index_add(&s->keys, &k->it);
        s->bytes += KEY_OVERHEAD + b.n;
        return k;
}

static void key_push(Key *k, Ver *v) {
        k->newest = v;
        if (k->n == 0 && k->cap == 0) {
                k->one = v;
                k->n = 1;
                return;
        }
        if (k->cap == 0) {
                Ver *one = k->one;
                k->cap = 4;
                k->many = xnew(Ver *, k->cap);
                k->many[0] = one;
        } else if (k->off + k->n == k->cap && k->off >= k->n) {
                memmove(k->many, k->many + k->off, sizeof(Ver *) * k->n);
                k->off = 0;
        } else if (k->off + k->n == k->cap) {
                k->cap *= 2;
                k->many = xrealloc(k->many, sizeof(Ver *) * k->cap);
        }
        k->many[k->off + k->n++] = v;
}

static Ver *ver_new(Store *s, Key *k, size_t n) {
        Ver *v = xmalloc(sizeof(Ver) + n);
        *v = (Ver){ .key = k, .refs = 1, .n = (uint32_t) n };
        k->refs++;
        s->bytes += VER_OVERHEAD + n;
        return v;
}

/* A key outlives its last version in the index only while a watcher still holds that version. */
Ver *ver_unref(Ver *v) {
        assert(v->refs > 0);
        if (--v->refs > 0)
                return NULL;
        Key *k = v->key;
        free(v);
        if (--k->refs == 0) {
                assert(k->n == 0);
                if (k->cap > 0)
                        free(k->many);
                free(k);
        }
        return NULL;
}

static void ver_drop(Store *s, Ver *v) {
        s->bytes -= VER_OVERHEAD + v->n;
        ver_unref(v);
}

static void add_version(Tx *tx, Key *k, Ver *v) {
        Store *s = tx->s;
        Ver *old = k->n > 0 ? key_newest(k) : NULL;
        bool was_live = old && !old->tombstone;
        v->main = tx->main;
        v->sub = tx->subs++;
        if (was_live) {
                s->live_hash -= hash_ver(old);
                if (old->lease != 0)
                        lease_detach(s, k, old->lease);
        }
        key_push(k, v);
        log_push(&s->log, v);
        uint64_t h = hash_ver(v);
        chain_add(s, h);
        if (!v->tombstone) {
                s->live_hash += h;
                if (v->lease != 0)
                        lease_attach(s, k, v->lease);
        }
        s->live_keys = s->live_keys - was_live + !v->tombstone;
}

void tx_commit(Tx *tx) {
        if (tx->subs == 0)
                return;
        Store *s = tx->s;
        assert(s->revision + 1 == tx->main);
        s->revision = tx->main;
        hub_notify(s, s->log.n - tx->subs);
}

/* ---- writing ---- */

StoreError mvcc_put_check(Store *s, const PutReq *r) {
        if (r->lease != 0 && !lease_get(s, r->lease))
                return STORE_LEASE_NOT_FOUND;
        if (r->ignore_value || r->ignore_lease) {
                Key *k = mvcc_key(s, r->key);
                if (!k || key_newest(k)->tombstone)
                        return STORE_KEY_NOT_FOUND;
        }
        return STORE_OK;
}

StoreError mvcc_put(Tx *tx, const PutReq *r, PutResult *ret) {
        StoreError e = mvcc_put_check(tx->s, r);
        if (e != STORE_OK)
                return e;
        Key *k = key_get_or_add(tx->s, r->key);
        Ver *old = k->n > 0 && !key_newest(k)->tombstone ? key_newest(k) : NULL;
        Bytes value = r->ignore_value ? (Bytes){ old->value, old->n } : r->value;
        Ver *v = ver_new(tx->s, k, value.n);
        if (value.n > 0)
                memcpy(v->value, value.p, value.n);
        v->create = old ? old->create : tx->main;
        v->version = old ? old->version + 1 : 1;
        v->lease = r->ignore_lease ? old->lease : r->lease;
        add_version(tx, k, v);
        *ret = (PutResult){};
        if (r->prev_kv && old)
                *ret = (PutResult){ .has_prev = true, .prev = ver_kv(old) };
        return STORE_OK;
}

void mvcc_delete_key(Tx *tx, Key *k) {
        Ver *v = ver_new(tx->s, k, 0);
        v->tombstone = true;
        add_version(tx, k, v);
}

Range range_of(Bytes key, Bytes end) {
        bool open = end.n == 1 && end.p[0] == '\0';
        return (Range){ .from = key, .to = end, .single = end.n == 0, .open = open };
}

/* The next live key of the range, or NULL. */
static Ver *next_live(IndexCursor *c, const Range *range, int64_t rev) {
        for (Key *k; (k = (Key *) index_next(c));) {
                if (!range->open && bytes_cmp(key_bytes(k), range->to) >= 0)
                        return NULL;
                Ver *v = key_at(k, rev);
                if (v && !v->tombstone)
                        return v;
        }
        return NULL;
}

void mvcc_delete(Tx *tx, const DeleteReq *r, Arena *arena, DeleteResult *ret) {
        *ret = (DeleteResult){};
        _cleanup_free_ Ver **found = NULL; /* first collected: the index does not change, but be plain */
        size_t n = 0, cap = 0;
        Range range = range_of(r->key, r->range_end);
        if (range.single) {
                Key *k = mvcc_key(tx->s, r->key);
                if (k && !key_newest(k)->tombstone) {
                        GROW(found, cap, 1);
                        found[n++] = key_newest(k);
                }
        } else {
                IndexCursor c;
                index_seek(&tx->s->keys, 0, r->key, &c);
                for (Ver *v; (v = next_live(&c, &range, INT64_MAX));) {
                        GROW(found, cap, n + 1);
                        found[n++] = v;
                }
        }
        if (r->prev_kv && n > 0) {
                ret->prevs = arena_new(arena, KeyVal, n);
                ret->n_prevs = n;
        }
        for (size_t i = 0; i < n; i++) {
                if (ret->prevs)
                        ret->prevs[i] = ver_kv(found[i]);
                mvcc_delete_key(tx, found[i]->key);
        }
        ret->deleted = (int64_t) n;
}

/* ---- reading ---- */

typedef struct SortBy {
        SortTarget target;
        bool descend;
} SortBy;

static int compare_int(int64_t a, int64_t b) {
        return a < b ? -1 : a > b;
}

static int compare_kv(const void *a, const void *b, void *arg) {
        const KeyVal *x = a, *y = b;
        const SortBy *by = arg;
        int c = 0;
        switch (by->target) {
        case SORT_VERSION:
                c = compare_int(x->version, y->version);
                break;
        case SORT_CREATE:
                c = compare_int(x->create_revision, y->create_revision);
                break;
        case SORT_MOD:
                c = compare_int(x->mod_revision, y->mod_revision);
                break;
        case SORT_VALUE:
                c = bytes_cmp(x->value, y->value);
                break;
        default:
                c = bytes_cmp(x->key, y->key);
        }
        if (by->descend)
                c = -c;
        return c != 0 ? c : bytes_cmp(x->key, y->key); /* so that all nodes agree about equals */
}

static bool passes(const RangeReq *r, const Ver *v) {
        return !(r->min_mod > 0 && v->main < r->min_mod) && !(r->max_mod > 0 && v->main > r->max_mod) &&
               !(r->min_create > 0 && v->create < r->min_create) &&
               !(r->max_create > 0 && v->create > r->max_create);
}

static StoreError range_single(Store *s, int64_t rev, const RangeReq *r, Arena *arena, RangeResult *ret) {
        Key *k = mvcc_key(s, r->key);
        Ver *v = k ? key_at(k, rev) : NULL;
        if (!v || v->tombstone)
                return STORE_OK;
        ret->count = 1;
        if (r->count_only || !passes(r, v))
                return STORE_OK;
        ret->kvs = arena_new(arena, KeyVal, 1);
        ret->kvs[0] = ver_kv(v);
        ret->n_kvs = 1;
        return STORE_OK;
}

/* With no order asked for, only the first `limit` keys are looked at even when a target then sorts them:
 * that is how 3.4 answers (golden transcript), and it keeps paged listings cheap. */
static void range_collect(Store *s, int64_t rev, const RangeReq *r, Arena *arena, RangeResult *ret) {
        Range range = range_of(r->key, r->range_end);
        bool filtered = r->min_mod > 0 || r->max_mod > 0 || r->min_create > 0 || r->max_create > 0;
        bool sorted = r->order == SORT_DESCEND || (r->order == SORT_ASCEND && r->target != SORT_KEY);
        size_t most = r->limit > 0 && !sorted && !filtered ? (size_t) r->limit + (r->target != SORT_KEY)
                                                           : SIZE_MAX;
        _cleanup_free_ KeyVal *kvs = NULL;
        size_t n = 0, cap = 0;
        IndexCursor c;
        index_seek(&s->keys, 0, r->key, &c);
        for (Ver *v; (v = next_live(&c, &range, rev)); ret->count++)
                if (!r->count_only && n < most && passes(r, v)) {
                        GROW(kvs, cap, n + 1);
                        kvs[n++] = ver_kv(v);
                }
        if (r->count_only)
                return;
        bool more = most != SIZE_MAX && ret->count > r->limit;
        if (n > 1 && (sorted || r->target != SORT_KEY))
                qsort_r(kvs, n, sizeof(KeyVal), compare_kv,
                        &(SortBy){ r->target, r->order == SORT_DESCEND });
        if (r->limit > 0 && n > (size_t) r->limit) {
                n = (size_t) r->limit;
                more = true;
        }
        ret->more = more;
        ret->n_kvs = n;
        if (n > 0) {
                ret->kvs = arena_alloc(arena, sizeof(KeyVal) * n);
                memcpy(ret->kvs, kvs, sizeof(KeyVal) * n);
        }
}

StoreError mvcc_range(Store *s, int64_t now, const RangeReq *r, Arena *arena, RangeResult *ret) {
        *ret = (RangeResult){};
        if (r->revision > now)
                return STORE_FUTURE_REV;
        if (r->revision > 0 && r->revision < s->compacted)
                return STORE_COMPACTED;
        int64_t rev = r->revision > 0 ? r->revision : now;
        if (r->range_end.n == 0)
                (void) range_single(s, rev, r, arena, ret);
        else
                range_collect(s, rev, r, arena, ret);
        if (r->keys_only)
                for (size_t i = 0; i < ret->n_kvs; i++)
                        ret->kvs[i].value = (Bytes){ "", 0 };
        return STORE_OK;
}

/* ---- compaction ---- */

StoreError mvcc_compact(Store *s, int64_t rev) {
        if (rev <= s->compacted)
                return STORE_COMPACTED;
        if (rev > s->revision)
                return STORE_FUTURE_REV;
        s->compacted = rev;
        chain_add(s, (uint64_t) rev);
        hub_compacted(s);
        return STORE_OK;
}

/* Drops the `n` oldest versions of a key; without any left it leaves the index. */
static void key_drop_front(Store *s, Key *k, uint32_t n) {
        assert(n <= k->n);
        Ver **v = key_vers(k);
        bool last = n == k->n;
        if (last) {
                s->bytes -= KEY_OVERHEAD + k->it.n;
                index_del(&s->keys, &k->it);
        }
        k->refs++; /* keeps the key while we count down */
        for (uint32_t i = 0; i < n; i++)
                ver_drop(s, v[i]);
        k->n -= n;
        if (k->cap > 0)
                k->off += n;
        if (!last && k->cap > 16 && k->n < k->cap / 4) {
                memmove(k->many, k->many + k->off, sizeof(Ver *) * k->n);
                k->off = 0;
                k->cap /= 2;
                k->many = xrealloc(k->many, sizeof(Ver *) * k->cap);
        }
        if (--k->refs == 0) {
                assert(last);
                if (k->cap > 0)
                        free(k->many);
                free(k);
        }
}

static uint32_t key_position(Key *k, const Ver *v) {
        Ver **all = key_vers(k);
        uint32_t lo = 0, hi = k->n;
        while (lo < hi) {
                uint32_t mid = (lo + hi) / 2;
                if (all[mid]->main < v->main || (all[mid]->main == v->main && all[mid]->sub < v->sub))
                        lo = mid + 1;
                else
                        hi = mid;
        }
        assert(lo < k->n && all[lo] == v);
        return lo;
}

/* Each log entry is looked at in order; it supersedes what came before it, which by then is in no log. A
 * tombstone goes as well, but one at the compacted revision itself stays until the next time: a watcher may
 * start there. */
bool store_compact_step(Store *s) {
        if (s->snapshot)
                return false; /* it walks over the versions that are here now */
        if (s->compact_at_rev != s->compacted) {
                s->compact_at_rev = s->compacted;
                s->compact_at = 0;
        }
        for (unsigned i = 0; i < COMPACT_STEP; i++) {
                if (s->compact_at >= s->log.n)
                        return false;
                Ver *v = log_at(&s->log, s->compact_at);
                if (v->main > s->compacted)
                        return false;
                Key *k = v->key;
                uint32_t at = key_position(k, v);
                if (at > 0)
                        key_drop_front(s, k, at);
                if (v->main == s->compacted) {
                        s->compact_at++;
                        continue;
                }
                log_pop(&s->log);
                if (v->tombstone)
                        key_drop_front(s, k, 1);
        }
        return store_compact_pending(s);
}

bool store_compact_pending(const Store *s) {
        size_t at = s->compact_at_rev == s->compacted ? s->compact_at : 0;
        return at < s->log.n && log_at(&s->log, at)->main <= s->compacted;
}

/* ---- restore and end ---- */

int mvcc_restore(Store *s, Bytes key, const Ver *head, Bytes value) {
        Key *k = key_get_or_add(s, key);
        Ver *last = k->n > 0 ? key_newest(k) : NULL;
        if (last && (head->main < last->main || (head->main == last->main && head->sub <= last->sub)))
                return -EBADMSG;
        Ver *v = ver_new(s, k, value.n);
        v->main = head->main;
        v->sub = head->sub;
        v->create = head->create;
        v->version = head->version;
        v->lease = head->lease;
        v->tombstone = head->tombstone;
        if (value.n > 0)
                memcpy(v->value, value.p, value.n);
        key_push(k, v);
        if (v->main >= s->compacted)
                log_push(&s->log, v);
        return 0;
}

/* What the log is sorted by, beside the pointer: millions of them, so no pointer is followed. */
typedef struct LogItem {
        int64_t main;
        uint32_t sub;
        Ver *v;
} LogItem;

static int compare_items(const void *a, const void *b) {
        const LogItem *x = a, *y = b;
        int c = compare_int(x->main, y->main);
        return c != 0 ? c : compare_int(x->sub, y->sub);
}

int mvcc_restore_end(Store *s) {
        size_t n = s->log.n;
        LogItem *all = n > 0 ? xmalloc(sizeof(LogItem) * n) : NULL;
        for (size_t i = 0; i < n; i++) {
                Ver *v = log_at(&s->log, i);
                all[i] = (LogItem){ v->main, v->sub, v };
        }
        if (n > 1)
                qsort(all, n, sizeof(LogItem), compare_items);
        log_done(&s->log);
        for (size_t i = 0; i < n; i++)
                log_push(&s->log, all[i].v);
        free(all);
        IndexCursor c;
        index_seek(&s->keys, 0, (Bytes){ "", 0 }, &c);
        for (Key *k; (k = (Key *) index_next(&c));) {
                Ver *v = key_newest(k);
                if (v->tombstone)
                        continue;
                s->live_hash += hash_ver(v);
                s->live_keys++;
                if (v->lease != 0 && !lease_get(s, v->lease))
                        return -EBADMSG;
                if (v->lease != 0)
                        lease_attach(s, k, v->lease);
        }
        return 0;
}

void mvcc_done(Store *s) {
        size_t n = s->keys.used;
        Key **all = n > 0 ? xmalloc(sizeof(Key *) * n) : NULL;
        IndexCursor c;
        index_seek(&s->keys, 0, (Bytes){ "", 0 }, &c);
        for (size_t i = 0; i < n; i++)
                all[i] = (Key *) index_next(&c);
        index_done(&s->keys);
        for (size_t i = 0; i < n; i++) {
                Key *k = all[i];
                Ver **v = key_vers(k);
                uint32_t m = k->n;
                k->n = 0;
                k->refs++;
                for (uint32_t j = 0; j < m; j++)
                        ver_unref(v[j]);
                if (--k->refs == 0) {
                        if (k->cap > 0)
                                free(k->many);
                        free(k);
                }
        }
        free(all);
        log_done(&s->log);
}

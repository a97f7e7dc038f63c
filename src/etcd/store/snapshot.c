/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/snapshot.h"
#include "etcd/store/v2-state.h"

/* Writing a snapshot while commands go on. The v3 keys need no copying: versions up to the revision of the
 * beginning stay where they are as long as compaction pauses. Of the v2 tree each node is written once: by
 * the walk, or set aside by the first change that would overwrite it (node_save()). History events are
 * immutable: references do. What is left is small and is written at the beginning. */

typedef enum Phase { PHASE_KEYS, PHASE_V2, PHASE_EVENTS, PHASE_END, PHASE_DONE } Phase;

struct StoreSnapshot {
        Store *s; /* weak */
        Phase phase;
        uint64_t index, term, hash;
        int64_t revision, compacted;
        size_t size_hint;

        Buf head;  /* what was written at the beginning */
        Buf aside; /* v2 nodes that changed before the walk came by */
        Buf key;   /* the key at which to go on, once there is one */
        bool started, mid_key;
        int64_t main; /* the last version written of that key */
        uint32_t sub;
        uint64_t space; /* the v2 node at which to go on */

        V2Event *events[V2_HISTORY]; /* owned references */
        size_t n_events, at_event;
        uint64_t n_records;
        uint32_t crc;
};

static void add_record(StoreSnapshot *snap, SnapshotRecord type, const Buf *payload, Buf *out) {
        buf_addc(out, (char) type);
        buf_add_bytes(out, payload->data ? payload->data : "", payload->len);
        snap->n_records++;
}

static void add_i64(Buf *b, int64_t v) {
        buf_add_le64(b, (uint64_t) v);
}

static void add_bytes(Buf *b, Bytes v) {
        buf_add_bytes(b, v.p, v.n);
}

static void write_meta(StoreSnapshot *snap, Buf *out) {
        const Store *s = snap->s;
        const V2 *v = s->v2;
        _cleanup_(buf_done) Buf p = {};
        buf_add_le64(&p, s->applied_index);
        buf_add_le64(&p, s->applied_term);
        add_i64(&p, s->revision);
        add_i64(&p, s->compacted);
        buf_add_le64(&p, s->chain);
        buf_add_le64(&p, v->index);
        const V2Stats *t = &v->stats;
        const uint64_t stats[] = { t->gets_success,   t->gets_fail,   t->sets_success,   t->sets_fail,
                                   t->delete_success, t->delete_fail, t->update_success, t->update_fail,
                                   t->create_success, t->create_fail, t->cas_success,    t->cas_fail,
                                   t->cad_success,    t->cad_fail,    t->expire_count };
        for (size_t i = 0; i < ELEMENTSOF(stats); i++)
                buf_add_varint(&p, stats[i]);
        add_record(snap, REC_META, &p, out);
}

static int compare_leases(const void *a, const void *b) {
        const Lease *x = *(Lease *const *) a, *y = *(Lease *const *) b;
        return x->id < y->id ? -1 : x->id > y->id;
}

static void write_leases(StoreSnapshot *snap, Buf *out) {
        const Store *s = snap->s;
        size_t n = 0;
        _cleanup_free_ Lease **all = xnew(Lease *, map_size(&s->leases) + 1);
        for (MapIter i = {}; map_next(&s->leases, &i);)
                all[n++] = i.value;
        qsort(all, n, sizeof(Lease *), compare_leases);
        _cleanup_(buf_done) Buf p = {};
        for (size_t i = 0; i < n; i++) {
                buf_clear(&p);
                add_i64(&p, all[i]->id);
                add_i64(&p, all[i]->ttl);
                add_i64(&p, all[i]->remaining);
                add_record(snap, REC_LEASE, &p, out);
        }
}

static void write_head(StoreSnapshot *snap, const void *extra, size_t n_extra) {
        const Store *s = snap->s;
        Buf *out = &snap->head;
        _cleanup_(buf_done) Buf p = {};
        buf_add(out, SNAPSHOT_MAGIC, SNAPSHOT_MAGIC_BYTES);
        buf_add_le32(out, SNAPSHOT_VERSION);
        write_meta(snap, out);
        buf_add(&p, extra, n_extra);
        add_record(snap, REC_EXTRA, &p, out);
        for (size_t i = 0; i < s->n_attrs; i++) {
                buf_clear(&p);
                add_bytes(&p, (Bytes){ s->attrs[i].key, s->attrs[i].n_key });
                add_bytes(&p, (Bytes){ s->attrs[i].value, s->attrs[i].n_value });
                add_record(snap, REC_ATTR, &p, out);
        }
        for (size_t i = 0; i < s->n_alarms; i++) {
                buf_clear(&p);
                buf_add_le64(&p, s->alarms[i].member);
                buf_add_le32(&p, s->alarms[i].alarm);
                add_record(snap, REC_ALARM, &p, out);
        }
        write_leases(snap, out);
}

int store_snapshot_begin(Store *s, const void *extra, size_t n_extra, StoreSnapshot **ret) {
        if (s->snapshot)
                return -EBUSY;
        if (n_extra > CMD_BYTES_MAX)
                return -E2BIG;
        V2 *v = s->v2;
        StoreSnapshot *snap = xnew0(StoreSnapshot, 1);
        snap->s = s;
        snap->index = s->applied_index;
        snap->term = s->applied_term;
        snap->hash = store_hash(s);
        snap->revision = s->revision;
        snap->compacted = s->compacted;
        snap->size_hint = store_bytes_in_use(s);
        write_head(snap, extra, n_extra);
        for (uint64_t i = v->first; v->first > 0 && i <= v->index; i++)
                snap->events[snap->n_events++] = v2_event_ref(history_get(v, i));
        v->epoch++;
        v->aside = &snap->aside;
        s->snapshot = snap;
        *ret = snap;
        return 0;
}

static void write_version(StoreSnapshot *snap, const Ver *v, Buf *p, Buf *out) {
        buf_clear(p);
        buf_addc(p, v->tombstone);
        add_i64(p, v->main);
        buf_add_varint(p, v->sub);
        buf_add_varint(p, (uint64_t) v->create);
        buf_add_varint(p, (uint64_t) v->version);
        add_i64(p, v->lease);
        buf_add(p, v->value, v->n);
        add_record(snap, REC_VERSION, p, out);
        snap->main = v->main;
        snap->sub = v->sub;
}

/* The first version that compaction would have left, had it been finished. */
static uint32_t first_kept(Key *k, int64_t compacted) {
        Ver **v = key_vers(k);
        uint32_t i = 0;
        while (i + 1 < k->n && v[i + 1]->main <= compacted)
                i++;
        return v[i]->main < compacted && v[i]->tombstone ? i + 1 : i;
}

/* Writes the rest of a key; false when the piece is full before its end. */
static bool write_key(StoreSnapshot *snap, Key *k, Buf *out, size_t limit) {
        Ver **v = key_vers(k);
        _cleanup_(buf_done) Buf p = {};
        for (uint32_t i = first_kept(k, snap->compacted); i < k->n && v[i]->main <= snap->revision; i++) {
                if (snap->mid_key &&
                    (v[i]->main < snap->main || (v[i]->main == snap->main && v[i]->sub <= snap->sub)))
                        continue;
                if (out->len >= limit)
                        return false;
                if (!snap->mid_key) {
                        buf_add(&p, k->bytes, k->it.n);
                        add_record(snap, REC_KEY, &p, out);
                        snap->mid_key = true;
                }
                write_version(snap, v[i], &p, out);
        }
        snap->mid_key = false;
        return true;
}

static void write_keys(StoreSnapshot *snap, Buf *out, size_t limit) {
        IndexCursor c;
        index_seek(&snap->s->keys, 0,
                   snap->started ? (Bytes){ snap->key.data, snap->key.len } : (Bytes){ "", 0 }, &c);
        for (Key *k; (k = (Key *) index_next(&c));) {
                Bytes b = key_bytes(k);
                bool same = snap->started && bytes_eq(b, (Bytes){ snap->key.data, snap->key.len });
                if (same && !snap->mid_key)
                        continue;
                if (!same) {
                        if (out->len >= limit)
                                return;
                        snap->mid_key = false;
                        snap->started = true;
                        buf_clear(&snap->key);
                        buf_add(&snap->key, b.p, b.n);
                }
                if (!write_key(snap, k, out, limit))
                        return;
        }
        snap->phase = PHASE_V2;
        snap->started = false;
}

static void write_v2(StoreSnapshot *snap, Buf *out, size_t limit) {
        V2 *v = snap->s->v2;
        _cleanup_(buf_done) Buf path = {}, p = {};
        IndexCursor c;
        index_seek(&v->nodes, snap->space,
                   snap->started ? (Bytes){ snap->key.data, snap->key.len } : (Bytes){ "", 0 }, &c);
        for (Node *n; (n = (Node *) index_next(&c));) {
                if (n->epoch == v->epoch)
                        continue;
                if (out->len >= limit) {
                        snap->started = true;
                        snap->space = n->it.space;
                        buf_clear(&snap->key);
                        buf_add(&snap->key, n->name, n->it.n);
                        return;
                }
                buf_clear(&path);
                buf_clear(&p);
                node_path(n, &path);
                node_write(n, (Bytes){ path.data, path.len }, &p);
                add_record(snap, REC_V2_NODE, &p, out);
                n->epoch = v->epoch;
        }
        v->aside = NULL;
        snap->phase = PHASE_EVENTS;
}

static void write_events(StoreSnapshot *snap, Buf *out, size_t limit) {
        _cleanup_(buf_done) Buf p = {};
        for (; snap->at_event < snap->n_events; snap->at_event++) {
                if (out->len >= limit)
                        return;
                buf_clear(&p);
                event_write(snap->events[snap->at_event], &p);
                add_record(snap, REC_V2_EVENT, &p, out);
        }
        snap->phase = PHASE_END;
}

/* The end record carries the checksum of everything before its own last four bytes. */
static void write_end(StoreSnapshot *snap, Buf *out, size_t start) {
        _cleanup_(buf_done) Buf p = {};
        buf_add_le64(&p, snap->hash);
        buf_add_le64(&p, snap->n_records);
        buf_add_le32(&p, 0);
        add_record(snap, REC_END, &p, out);
        buf_truncate(out, out->len - 4);
        snap->crc = crc32c(snap->crc, out->data + start, out->len - start);
        buf_add_le32(out, snap->crc);
        snap->phase = PHASE_DONE;
}

/* Nodes set aside were framed by node_save(); they only have to be counted, which it did in the buffer. */
static void drain_aside(StoreSnapshot *snap, Buf *out) {
        V2 *v = snap->s->v2;
        buf_add(out, snap->aside.data, snap->aside.len);
        buf_clear(&snap->aside);
        snap->n_records += v->n_aside;
        v->n_aside = 0;
}

int store_snapshot_next(StoreSnapshot *snap, Buf *out) {
        if (snap->phase == PHASE_DONE)
                return 0;
        size_t start = out->len, limit = start + SNAPSHOT_CHUNK;
        if (snap->head.len > 0) {
                size_t n = MIN(snap->head.len, SNAPSHOT_CHUNK);
                buf_add(out, snap->head.data, n);
                buf_consume(&snap->head, n);
        } else {
                drain_aside(snap, out);
                if (snap->phase == PHASE_KEYS)
                        write_keys(snap, out, limit);
                if (snap->phase == PHASE_V2)
                        write_v2(snap, out, limit);
                if (snap->phase == PHASE_EVENTS)
                        write_events(snap, out, limit);
                if (snap->phase == PHASE_END) {
                        write_end(snap, out, start);
                        return 0;
                }
        }
        snap->crc = crc32c(snap->crc, out->data + start, out->len - start);
        return 1;
}

StoreSnapshot *store_snapshot_end(StoreSnapshot *snap) {
        if (!snap)
                return NULL;
        snap->s->v2->aside = NULL;
        snap->s->v2->n_aside = 0;
        snap->s->snapshot = NULL;
        for (size_t i = 0; i < snap->n_events; i++)
                v2_event_unref(snap->events[i]);
        buf_done(&snap->head);
        buf_done(&snap->aside);
        buf_done(&snap->key);
        return xfree(snap);
}

uint64_t store_snapshot_index(const StoreSnapshot *snap) {
        return snap->index;
}

uint64_t store_snapshot_term(const StoreSnapshot *snap) {
        return snap->term;
}

size_t store_snapshot_size_hint(const StoreSnapshot *snap) {
        return snap->size_hint;
}

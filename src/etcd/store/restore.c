/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "etcd/store/snapshot.h"
#include "etcd/store/v2-state.h"

/* Reading a snapshot from pieces of any size. It builds a new store and trusts nothing: lengths, order,
 * references and, at the end, checksum and state hash. Only a store that passed all of it is given out. */

struct StoreRestore {
        Store *s; /* owned */
        Buf in;   /* bytes not yet understood */
        bool head, meta, done;
        Buf key, extra;
        uint64_t n_records, v2_index;
        uint64_t hash;
        uint32_t crc;
        int failed;
};

StoreRestore *store_restore_new(const StoreOptions *options) {
        StoreRestore *r = xnew0(StoreRestore, 1);
        r->s = store_new(options);
        return r;
}

StoreRestore *store_restore_free(StoreRestore *r) {
        if (!r)
                return NULL;
        store_free(r->s);
        buf_done(&r->in);
        buf_done(&r->key);
        buf_done(&r->extra);
        return xfree(r);
}

/* ---- records; -EBADMSG on anything odd ---- */

static int get_i64(Rd *rd, int64_t *ret) {
        uint64_t v;
        int r = rd_le64(rd, &v);
        if (r >= 0)
                *ret = (int64_t) v;
        return r;
}

static int read_meta(StoreRestore *x, Rd *rd) {
        Store *s = x->s;
        if (x->meta || rd_le64(rd, &s->applied_index) < 0 || rd_le64(rd, &s->applied_term) < 0 ||
            get_i64(rd, &s->revision) < 0 || get_i64(rd, &s->compacted) < 0 || rd_le64(rd, &s->chain) < 0 ||
            rd_le64(rd, &x->v2_index) < 0)
                return -EBADMSG;
        if (s->revision < 1 || s->compacted < -1 || s->compacted > s->revision)
                return -EBADMSG;
        V2Stats *t = &s->v2->stats;
        uint64_t *stats[] = { &t->gets_success,   &t->gets_fail,   &t->sets_success,   &t->sets_fail,
                              &t->delete_success, &t->delete_fail, &t->update_success, &t->update_fail,
                              &t->create_success, &t->create_fail, &t->cas_success,    &t->cas_fail,
                              &t->cad_success,    &t->cad_fail,    &t->expire_count };
        for (size_t i = 0; i < ELEMENTSOF(stats); i++)
                if (rd_varint(rd, stats[i]) < 0)
                        return -EBADMSG;
        x->meta = true;
        return 0;
}

static int read_attr(StoreRestore *x, Rd *rd) {
        Bytes key, value, old;
        const void *p, *q;
        if (rd_bytes(rd, &p, &key.n) < 0 || rd_bytes(rd, &q, &value.n) < 0)
                return -EBADMSG;
        key.p = p;
        value.p = q;
        if (store_attr_get(x->s, key, &old))
                return -EBADMSG;
        attr_set(x->s, key, value, false);
        return 0;
}

static int read_alarm(StoreRestore *x, Rd *rd) {
        uint64_t member;
        uint32_t alarm;
        if (rd_le64(rd, &member) < 0 || rd_le32(rd, &alarm) < 0)
                return -EBADMSG;
        alarm_set(x->s, member, alarm, true);
        return 0;
}

static int read_lease(StoreRestore *x, Rd *rd) {
        int64_t id, ttl, remaining;
        if (get_i64(rd, &id) < 0 || get_i64(rd, &ttl) < 0 || get_i64(rd, &remaining) < 0)
                return -EBADMSG;
        if (remaining < 0 || remaining > MAX(ttl, INT64_C(0)) || lease_grant(x->s, id, ttl) != STORE_OK)
                return -EBADMSG;
        if (remaining > 0)
                lease_checkpoint(x->s, id, remaining);
        return 0;
}

static int read_key(StoreRestore *x, Rd *rd) {
        buf_clear(&x->key);
        buf_add(&x->key, rd->p, rd->left);
        return rd_skip(rd, rd->left);
}

static int read_version(StoreRestore *x, Rd *rd) {
        uint8_t tombstone;
        uint64_t sub, create, version;
        Ver v = {};
        if (x->key.len == 0 || rd_u8(rd, &tombstone) < 0 || tombstone > 1 || get_i64(rd, &v.main) < 0 ||
            rd_varint(rd, &sub) < 0 || rd_varint(rd, &create) < 0 || rd_varint(rd, &version) < 0 ||
            get_i64(rd, &v.lease) < 0)
                return -EBADMSG;
        v.tombstone = tombstone;
        v.sub = (uint32_t) sub;
        v.create = (int64_t) create;
        v.version = (int64_t) version;
        if (v.main < 1 || v.main > x->s->revision || sub > UINT32_MAX || v.create < 0 || v.create > v.main ||
            v.version < 0)
                return -EBADMSG;
        if (v.tombstone &&
            (v.lease != 0 || v.create != 0 || v.version != 0 || rd->left > 0 || v.main < x->s->compacted))
                return -EBADMSG;
        Bytes value = { (const char *) rd->p, rd->left };
        (void) rd_skip(rd, rd->left);
        return mvcc_restore(x->s, (Bytes){ buf_str(&x->key), x->key.len }, &v, value);
}

static int read_v2_node(StoreRestore *x, Rd *rd) {
        const void *path, *value;
        size_t n_path, n_value;
        uint8_t dir;
        uint64_t modified, created;
        int64_t expire;
        if (rd_bytes(rd, &path, &n_path) < 0 || rd_u8(rd, &dir) < 0 || dir > 1 ||
            rd_varint(rd, &modified) < 0 || rd_varint(rd, &created) < 0 || get_i64(rd, &expire) < 0 ||
            rd_bytes(rd, &value, &n_value) < 0)
                return -EBADMSG;
        return v2_restore_node(x->s->v2, (Bytes){ path, n_path }, dir, (Bytes){ value, n_value }, modified,
                               created, expire);
}

static int read_v2_event(StoreRestore *x, Rd *rd) {
        V2 *v = x->s->v2;
        V2Event *e = NULL;
        int r = event_read(rd, &e);
        if (r < 0)
                return r;
        if (e->index == 0 || e->index > x->v2_index || (v->first > 0 && e->index != v->index + 1)) {
                v2_event_unref(e);
                return -EBADMSG;
        }
        v->index = e->index;
        history_add(v, e);
        return 0;
}

static int read_end(StoreRestore *x, Rd *rd) {
        uint64_t n;
        uint32_t crc;
        if (rd_le64(rd, &x->hash) < 0 || rd_le64(rd, &n) < 0 || rd_le32(rd, &crc) < 0)
                return -EBADMSG;
        if (n + 1 != x->n_records || crc != x->crc)
                return -EBADMSG;
        x->done = true;
        return 0;
}

static int read_record(StoreRestore *x, unsigned type, Rd *rd) {
        if ((type == REC_META) == x->meta)
                return -EBADMSG; /* first, and only once */
        switch (type) {
        case REC_META:
                return read_meta(x, rd);
        case REC_EXTRA:
                buf_clear(&x->extra);
                buf_add(&x->extra, rd->p, rd->left);
                return rd_skip(rd, rd->left);
        case REC_ATTR:
                return read_attr(x, rd);
        case REC_ALARM:
                return read_alarm(x, rd);
        case REC_LEASE:
                return read_lease(x, rd);
        case REC_KEY:
                return read_key(x, rd);
        case REC_VERSION:
                return read_version(x, rd);
        case REC_V2_NODE:
                return read_v2_node(x, rd);
        case REC_V2_EVENT:
                return read_v2_event(x, rd);
        case REC_END:
                return read_end(x, rd);
        default:
                return -EBADMSG;
        }
}

/* ---- the stream ---- */

/* Reads one record from the front of `rd`: 1, 0 when it is not complete yet, or an error. */
static int next_record(StoreRestore *x, Rd *rd) {
        Rd probe = *rd;
        uint8_t type;
        uint64_t n;
        if (rd_u8(&probe, &type) < 0 || rd_varint(&probe, &n) < 0)
                return rd->left > 11 ? -EBADMSG : 0; /* a length never takes more than ten bytes */
        if (n > SNAPSHOT_RECORD_MAX || x->done)
                return -EBADMSG;
        if (probe.left < n)
                return 0;
        size_t size = rd->left - probe.left + n;
        x->crc = crc32c(x->crc, rd->p, type == REC_END && n >= 4 ? size - 4 : size);
        x->n_records++;
        Rd payload = rd_new(probe.p, n);
        int r = read_record(x, type, &payload);
        if (r >= 0 && payload.left > 0)
                r = -EBADMSG;
        (void) rd_skip(rd, size);
        return r < 0 ? r : 1;
}

static int read_head(StoreRestore *x, Rd *rd, Err *err) {
        const void *magic;
        uint32_t version;
        Rd head = *rd;
        if (rd_mem(&head, SNAPSHOT_MAGIC_BYTES, &magic) < 0 || rd_le32(&head, &version) < 0)
                return 0;
        if (memcmp(magic, SNAPSHOT_MAGIC, SNAPSHOT_MAGIC_BYTES) != 0)
                return err_set(err, -EBADMSG, "this is not a store snapshot");
        if (version != SNAPSHOT_VERSION)
                return err_set(err, -EPROTONOSUPPORT,
                               "snapshot format %" PRIu32 " is not known here (this version reads %d)",
                               version, SNAPSHOT_VERSION);
        x->crc = crc32c(0, rd->p, SNAPSHOT_MAGIC_BYTES + 4);
        *rd = head;
        x->head = true;
        return 0;
}

int store_restore_add(StoreRestore *x, const void *p, size_t n, Err *err) {
        if (x->failed < 0)
                return err_set(err, x->failed, "the snapshot is damaged");
        bool direct = x->in.len == 0;
        if (!direct)
                buf_add(&x->in, p, n);
        Rd rd = direct ? rd_new(p, n) : rd_new(x->in.data, x->in.len);
        int r = x->head ? 0 : read_head(x, &rd, err);
        if (r < 0)
                return x->failed = r;
        while (x->head && rd.left > 0) {
                r = next_record(x, &rd);
                if (r < 0) {
                        x->failed = r;
                        return err_set(err, r, "the snapshot is damaged at record %" PRIu64, x->n_records);
                }
                if (r == 0)
                        break;
        }
        if (direct)
                buf_add(&x->in, rd.p, rd.left);
        else
                buf_consume(&x->in, x->in.len - rd.left);
        return 0;
}

int store_restore_finish(StoreRestore *x, Store **ret, Buf *ret_extra, Err *err) {
        if (x->failed < 0 || !x->done || x->in.len > 0)
                return err_set(err, -EBADMSG, "the snapshot is %s", x->failed < 0 ? "damaged" : "cut short");
        Store *s = x->s;
        if (s->v2->index != x->v2_index || v2_restore_end(s->v2) < 0 || mvcc_restore_end(s) < 0)
                return x->failed = err_set(err, -EBADMSG, "the snapshot contradicts itself");
        if (store_hash(s) != x->hash) /* its parts were all summed up from what was read */
                return x->failed = err_set(err, -EBADMSG,
                                           "the snapshot's content does not match its state hash");
        if (ret_extra) {
                buf_clear(ret_extra);
                buf_add(ret_extra, x->extra.data, x->extra.len);
        }
        *ret = TAKE_PTR(x->s);
        x->failed = -EALREADY;
        return 0;
}

void store_move_watchers(Store *from, Store *to) {
        hub_move(from, to);
        v2_move_watchers(from->v2, to->v2);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonout.h"
#include "etcd/store/v2-state.h"

#define NSEC_PER_SEC INT64_C(1000000000)
#define EVENT_KEY_MAX V2_PATH_MAX

/* What a V2Event really is: the strings behind its views. */
typedef struct Event {
        V2Event e;
        Blob *value, *prev_value; /* owned references */
        char key[];               /* node's key; prev's is the same */
} Event;

Blob *blob_new(Bytes b) {
        assert(b.n <= UINT32_MAX);
        Blob *blob = xmalloc(sizeof(Blob) + b.n);
        *blob = (Blob){ .refs = 1, .n = (uint32_t) b.n };
        if (b.n > 0)
                memcpy(blob->data, b.p, b.n);
        return blob;
}

Blob *blob_ref(Blob *b) {
        if (b)
                b->refs++;
        return b;
}

Blob *blob_unref(Blob *b) {
        if (b && --b->refs == 0)
                free(b);
        return NULL;
}

/* Seconds left, rounded up; Go's division, so a time long past shows as negative. */
int64_t v2_ttl(int64_t expire, int64_t wall) {
        if (expire == 0)
                return 0;
        int64_t left = (int64_t) ((uint64_t) expire - (uint64_t) wall);
        return left / NSEC_PER_SEC + (left % NSEC_PER_SEC > 0);
}

static Event *event_alloc(Bytes key) {
        Event *e = xmalloc(sizeof(Event) + key.n);
        *e = (Event){ .e.refs = 1 };
        if (key.n > 0)
                memcpy(e->key, key.p, key.n);
        e->e.node.key = e->e.prev.key = (Bytes){ e->key, key.n };
        return e;
}

static void set_value(V2View *v, Blob **slot, Blob *value) {
        *slot = blob_ref(value);
        v->has_value = value;
        v->value = value ? (Bytes){ value->data, value->n } : (Bytes){ "", 0 };
}

V2Event *event_new(const EventSpec *spec) {
        Event *e = event_alloc(spec->key);
        e->e.action = spec->action;
        e->e.index = spec->index;
        e->e.internal = spec->internal;
        e->e.refresh = spec->refresh;
        V2View *n = &e->e.node;
        set_value(n, &e->value, spec->value);
        n->dir = spec->dir;
        n->modified = spec->index;
        n->created = spec->created;
        n->expire_nsec = spec->expire;
        n->ttl = v2_ttl(spec->expire, spec->wall);
        if (!spec->prev)
                return &e->e;
        const Node *p = spec->prev;
        V2View *v = &e->e.prev;
        e->e.has_prev = true;
        set_value(v, &e->prev_value, p->value);
        v->dir = p->dir;
        v->modified = p->modified;
        v->created = p->created;
        v->expire_nsec = p->expire;
        v->ttl = v2_ttl(p->expire, spec->wall);
        return &e->e;
}

V2Event *v2_event_ref(V2Event *e) {
        if (e)
                e->refs++;
        return e;
}

V2Event *v2_event_unref(V2Event *e) {
        if (!e || --e->refs > 0)
                return NULL;
        Event *x = container_of(e, Event, e);
        blob_unref(x->value);
        blob_unref(x->prev_value);
        return xfree(x);
}

/* ---- history ---- */

void history_add(V2 *v, V2Event *e) {
        V2Event **slot = v->history + e->index % V2_HISTORY;
        assert(e->index == v->index);
        if (*slot) {
                assert((*slot)->index + V2_HISTORY == e->index);
                v->first = (*slot)->index + 1;
                v2_event_unref(*slot);
        } else if (v->first == 0)
                v->first = e->index;
        *slot = e;
}

V2Event *history_get(const V2 *v, uint64_t index) {
        V2Event *e = v->history[index % V2_HISTORY];
        return e && e->index == index ? e : NULL;
}

static uint64_t view_hash(uint64_t h, const V2View *v) {
        h = hash_bytes(h, v->value);
        h = hash_mix(h ^ v->modified, v->created);
        return hash_mix(h ^ (uint64_t) v->expire_nsec, (uint64_t) v->ttl ^ (uint64_t) v->dir << 63);
}

uint64_t event_hash(const V2Event *e) {
        uint64_t h = hash_mix(e->index, (uint64_t) e->action << 8 | e->refresh << 1 | e->internal);
        h = view_hash(hash_bytes(h, e->node.key), &e->node);
        return e->has_prev ? view_hash(h, &e->prev) : h;
}

/* ---- in snapshots ---- */

static void write_view(const V2View *v, Buf *out) {
        buf_addc(out, (char) (v->dir | v->has_value << 1));
        buf_add_bytes(out, v->value.p, v->value.n);
        buf_add_varint(out, v->modified);
        buf_add_varint(out, v->created);
        buf_add_le64(out, (uint64_t) v->expire_nsec);
        buf_add_le64(out, (uint64_t) v->ttl);
}

void event_write(const V2Event *e, Buf *out) {
        buf_addc(out, (char) e->action);
        buf_addc(out, (char) (e->has_prev | e->refresh << 1 | e->internal << 2));
        buf_add_varint(out, e->index);
        buf_add_bytes(out, e->node.key.p, e->node.key.n);
        write_view(&e->node, out);
        if (e->has_prev)
                write_view(&e->prev, out);
}

static int read_view(Rd *rd, V2View *v, Blob **slot) {
        uint8_t flags;
        const void *p;
        size_t n;
        uint64_t expire, ttl;
        int r = rd_u8(rd, &flags);
        if (r >= 0 && flags > 3)
                r = -EBADMSG;
        if (r >= 0)
                r = rd_bytes(rd, &p, &n);
        if (r >= 0)
                r = rd_varint(rd, &v->modified);
        if (r >= 0)
                r = rd_varint(rd, &v->created);
        if (r >= 0)
                r = rd_le64(rd, &expire);
        if (r >= 0)
                r = rd_le64(rd, &ttl);
        if (r < 0)
                return r;
        if (!(flags & 2) && n > 0)
                return -EBADMSG;
        v->dir = flags & 1;
        v->expire_nsec = (int64_t) expire;
        v->ttl = (int64_t) ttl;
        Blob *b = flags & 2 ? blob_new((Bytes){ p, n }) : NULL;
        set_value(v, slot, b);
        blob_unref(b);
        return 0;
}

int event_read(Rd *rd, V2Event **ret) {
        uint8_t action, flags;
        uint64_t index;
        const void *key;
        size_t n;
        if (rd_u8(rd, &action) < 0 || rd_u8(rd, &flags) < 0 || rd_varint(rd, &index) < 0 ||
            rd_bytes(rd, &key, &n) < 0)
                return -EBADMSG;
        if (action >= _V2_ACTION_MAX || flags > 7 || n > EVENT_KEY_MAX)
                return -EBADMSG;
        Event *e = event_alloc((Bytes){ key, n });
        e->e.action = action;
        e->e.has_prev = flags & 1;
        e->e.refresh = flags & 2;
        e->e.internal = flags & 4;
        e->e.index = index;
        if (read_view(rd, &e->e.node, &e->value) < 0 ||
            (e->e.has_prev && read_view(rd, &e->e.prev, &e->prev_value) < 0)) {
                v2_event_unref(&e->e);
                return -EBADMSG;
        }
        *ret = &e->e;
        return 0;
}

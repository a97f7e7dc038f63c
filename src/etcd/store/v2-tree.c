/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/snapshot.h"
#include "etcd/store/v2-state.h"

/* The tree itself: nodes, paths, expiry heap, listings. */

#define NODE_OVERHEAD (sizeof(Node) + 32) /* with its share of the index and malloc's */

/* ---- paths ---- */

/* The next component of a clean path; *at begins at 0. */
static bool next_part(Bytes path, size_t *at, Bytes *ret) {
        if (*at + 1 >= path.n)
                return false;
        const char *from = path.p + *at + 1;
        size_t left = path.n - *at - 1;
        const char *slash = memchr(from, '/', left);
        size_t n = slash ? (size_t) (slash - from) : left;
        *ret = (Bytes){ from, n };
        *at += n + 1;
        return true;
}

bool v2_path_ok(Bytes path) {
        if (path.n == 0 || path.p[0] != '/' || path.n > V2_PATH_MAX ||
            (path.n > 1 && path.p[path.n - 1] == '/'))
                return false;
        size_t depth = 0, at = 0;
        for (Bytes part; next_part(path, &at, &part);)
                if (part.n == 0 || bytes_eq(part, bytes_of(".")) || bytes_eq(part, bytes_of("..")) ||
                    ++depth > V2_DEPTH_MAX)
                        return false;
        return true;
}

void v2_path_clean(Bytes p, Buf *out) {
        size_t start = out->len;
        for (size_t i = 0; i < p.n;) {
                const char *from = p.p + i;
                const char *slash = memchr(from, '/', p.n - i);
                size_t n = slash ? (size_t) (slash - from) : p.n - i;
                Bytes part = { from, n };
                i += n + 1;
                if (n == 0 || bytes_eq(part, bytes_of(".")))
                        continue;
                if (bytes_eq(part, bytes_of(".."))) {
                        while (out->len > start && out->data[out->len - 1] != '/')
                                buf_truncate(out, out->len - 1);
                        if (out->len > start)
                                buf_truncate(out, out->len - 1);
                        continue;
                }
                buf_addc(out, '/');
                buf_add(out, part.p, part.n);
        }
        if (out->len == start)
                buf_addc(out, '/');
}

void node_path(const Node *n, Buf *out) {
        if (!n->parent) {
                buf_addc(out, '/');
                return;
        }
        if (n->parent->parent)
                node_path(n->parent, out);
        buf_addc(out, '/');
        buf_add(out, n->name, n->it.n);
}

/* ---- the expiry heap: by time, then by what differs for sure, so that all nodes expire in one order ----
 */

static bool sooner(const Node *a, const Node *b) {
        if (a->expire != b->expire)
                return a->expire < b->expire;
        return a->created != b->created ? a->created < b->created : a->path_hash < b->path_hash;
}

static void heap_set(V2 *v, size_t at, Node *n) {
        v->heap[at] = n;
        n->heap_at = (uint32_t) at;
}

static void heap_up(V2 *v, size_t at) {
        Node *n = v->heap[at];
        for (; at > 0 && sooner(n, v->heap[(at - 1) / 2]); at = (at - 1) / 2)
                heap_set(v, at, v->heap[(at - 1) / 2]);
        heap_set(v, at, n);
}

static void heap_down(V2 *v, size_t at) {
        Node *n = v->heap[at];
        for (size_t child; (child = at * 2 + 1) < v->n_heap; at = child) {
                if (child + 1 < v->n_heap && sooner(v->heap[child + 1], v->heap[child]))
                        child++;
                if (!sooner(v->heap[child], n))
                        break;
                heap_set(v, at, v->heap[child]);
        }
        heap_set(v, at, n);
}

static void heap_remove(V2 *v, Node *n) {
        size_t at = n->heap_at;
        Node *last = v->heap[--v->n_heap];
        if (last == n)
                return;
        heap_set(v, at, last);
        heap_up(v, at);
        heap_down(v, last->heap_at);
}

void node_set_expire(V2 *v, Node *n, int64_t expire) {
        if (n->expire != 0)
                heap_remove(v, n);
        n->expire = expire;
        if (expire == 0)
                return;
        GROW(v->heap, v->cap_heap, v->n_heap + 1);
        heap_set(v, v->n_heap++, n);
        heap_up(v, n->heap_at);
}

/* ---- nodes ---- */

uint64_t node_hash(const Node *n) {
        uint64_t h = hash_mix(n->path_hash ^ n->modified, n->created);
        h = hash_mix(h ^ (uint64_t) n->expire, n->dir);
        return n->value ? hash_bytes(h, (Bytes){ n->value->data, n->value->n }) : h;
}

void node_write(const Node *n, Bytes path, Buf *out) {
        buf_add_bytes(out, path.p, path.n);
        buf_addc(out, (char) n->dir);
        buf_add_varint(out, n->modified);
        buf_add_varint(out, n->created);
        buf_add_le64(out, (uint64_t) n->expire);
        buf_add_bytes(out, n->value ? n->value->data : "", n->value ? n->value->n : 0);
}

void node_save(V2 *v, Node *n) {
        if (!v->aside || n->epoch == v->epoch || !n->parent)
                return;
        _cleanup_(buf_done) Buf path = {}, record = {};
        node_path(n, &path);
        node_write(n, (Bytes){ path.data, path.len }, &record);
        buf_addc(v->aside, REC_V2_NODE);
        buf_add_bytes(v->aside, record.data, record.len);
        v->n_aside++;
        n->epoch = v->epoch;
}

Node *node_child(const V2 *v, const Node *dir, Bytes name) {
        return (Node *) index_get(&v->nodes, dir->id, name);
}

/* A new, still empty child; the caller fills it. */
Node *node_add(V2 *v, Node *parent, Bytes name, bool dir) {
        assert(parent->dir && name.n > 0);
        Node *n = xcalloc(1, sizeof(Node) + name.n);
        n->it = (IndexItem){ .space = parent->id, .n = (uint32_t) name.n };
        memcpy(n->name, name.p, name.n);
        n->parent = parent;
        n->dir = dir;
        n->id = dir ? v->next_id++ : 0;
        n->path_hash = hash_bytes(parent->path_hash, name);
        n->depth = parent->depth + 1;
        n->epoch = v->epoch;
        parent->n_children++;
        index_add(&v->nodes, &n->it);
        v->bytes += NODE_OVERHEAD + name.n;
        return n;
}

void node_set_value(V2 *v, Node *n, Blob *value) {
        if (n->value)
                v->bytes -= n->value->n + sizeof(Blob);
        blob_unref(n->value);
        n->value = blob_ref(value);
        if (value)
                v->bytes += value->n + sizeof(Blob);
}

static void node_free(V2 *v, Node *n) {
        node_set_value(v, n, NULL);
        v->bytes -= NODE_OVERHEAD + n->it.n;
        free(n);
}

static Node *first_child(const V2 *v, const Node *dir) {
        IndexCursor c;
        index_seek(&v->nodes, dir->id, (Bytes){ "", 0 }, &c);
        Node *n = (Node *) index_next(&c);
        return n && n->it.space == dir->id ? n : NULL;
}

/* Removes the node and all below it, children first; tells the watchers of every one of them. */
void node_remove(V2 *v, Node *n, V2Event *e, Buf *path) {
        if (n->dir)
                for (Node *c; (c = first_child(v, n));) {
                        size_t len = path->len;
                        buf_addc(path, '/');
                        buf_add(path, c->name, c->it.n);
                        node_remove(v, c, e, path);
                        buf_truncate(path, len);
                }
        if (e)
                v2_notify_path(v, e, (Bytes){ path->data, path->len }, true);
        node_save(v, n);
        v->hash -= node_hash(n);
        if (n->expire != 0)
                heap_remove(v, n);
        n->parent->n_children--;
        index_del(&v->nodes, &n->it);
        node_free(v, n);
}

int v2_find(const V2 *v, Bytes path, Node **ret, Bytes *ret_cause) {
        Node *n = v->root;
        size_t at = 0, before = 1;
        for (Bytes part; next_part(path, &at, &part); before = at) {
                if (!n->dir) {
                        *ret_cause = (Bytes){ path.p, before };
                        return 104;
                }
                n = node_child(v, n, part);
                if (!n) {
                        *ret_cause = (Bytes){ path.p, at };
                        return 100;
                }
        }
        *ret = n;
        return 0;
}

/* ---- the view as a whole ---- */

V2 *v2_new(const uint8_t seed[16]) {
        V2 *v = xnew0(V2, 1);
        index_init(&v->nodes, offsetof(Node, name), seed);
        v->next_id = 1;
        v->root = xcalloc(1, sizeof(Node));
        v->root->dir = true;
        v->root->id = v->next_id++;
        return v;
}

V2 *v2_free(V2 *v) {
        if (!v)
                return NULL;
        v2_watch_done(v);
        size_t n = v->nodes.used;
        Node **all = xmalloc(sizeof(Node *) * (n + 1));
        IndexCursor c;
        index_seek(&v->nodes, 0, (Bytes){ "", 0 }, &c);
        for (size_t i = 0; i < n; i++)
                all[i] = (Node *) index_next(&c);
        index_done(&v->nodes);
        for (size_t i = 0; i < n; i++)
                node_free(v, all[i]);
        free(all);
        free(v->root);
        free(v->heap);
        for (size_t i = 0; i < V2_HISTORY; i++)
                v2_event_unref(v->history[i]);
        return xfree(v);
}

uint64_t v2_index(const Store *s) {
        return s->v2->index;
}

uint64_t v2_hash(const Store *s) {
        return hash_mix(s->v2->hash ^ s->v2->first, s->v2->index);
}

uint64_t v2_hash_slow(const Store *s) {
        const V2 *v = s->v2;
        uint64_t h = 0;
        IndexCursor c;
        index_seek(&v->nodes, 0, (Bytes){ "", 0 }, &c);
        for (Node *n; (n = (Node *) index_next(&c));)
                h += node_hash(n);
        return hash_mix(h ^ v->first, v->index);
}

size_t v2_bytes(const Store *s) {
        return s->v2->bytes + index_memory(&s->v2->nodes);
}

void v2_stats(const Store *s, V2Stats *ret) {
        *ret = s->v2->stats;
        ret->watchers = s->v2->n_watchers;
}

bool v2_has_expired(const Store *s, int64_t wall_nsec) {
        return s->v2->n_heap > 0 && s->v2->heap[0]->expire <= wall_nsec;
}

int64_t v2_next_expiry(const Store *s) {
        return s->v2->n_heap > 0 ? s->v2->heap[0]->expire : INT64_MAX;
}

/* ---- reading ---- */

static void fill_view(const Node *n, Bytes path, int64_t wall, V2View *ret) {
        *ret = (V2View){
                .key = path,
                .dir = n->dir,
                .has_value = !n->dir,
                .value = n->value ? (Bytes){ n->value->data, n->value->n } : (Bytes){ "", 0 },
                .expire_nsec = n->expire,
                .ttl = v2_ttl(n->expire, wall),
                .modified = n->modified,
                .created = n->created,
        };
}

static void list(const V2 *v, const Node *dir, const V2GetReq *req, Arena *arena, V2View *view) {
        if (dir->n_children == 0)
                return;
        view->nodes = arena_new(arena, V2View, dir->n_children);
        IndexCursor c;
        index_seek(&v->nodes, dir->id, (Bytes){ "", 0 }, &c);
        for (Node *n; (n = (Node *) index_next(&c)) && n->it.space == dir->id;) {
                if (n->name[0] == '_')
                        continue;
                size_t base = view->key.n == 1 ? 0 : view->key.n;
                char *path = arena_alloc(arena, base + 1 + n->it.n);
                memcpy(path, view->key.p, base);
                path[base] = '/';
                memcpy(path + base + 1, n->name, n->it.n);
                V2View *child = view->nodes + view->n_nodes++;
                fill_view(n, (Bytes){ path, base + 1 + n->it.n }, req->wall_nsec, child);
                if (n->dir && req->recursive)
                        list(v, n, req, arena, child);
        }
}

int v2_get(Store *s, const V2GetReq *req, Arena *arena, V2View *ret, V2Error *ret_error) {
        V2 *v = s->v2;
        Node *n = NULL;
        Bytes cause = req->path;
        int code = v2_path_ok(req->path) ? v2_find(v, req->path, &n, &cause) : 100;
        if (code != 0) {
                v->stats.gets_fail++;
                *ret_error = (V2Error){ .code = code, .index = v->index };
                ret_error->cause = (Bytes){ arena_strndup(arena, cause.p, cause.n), cause.n };
                return code == 104 ? -ENOTDIR : -ENOENT;
        }
        v->stats.gets_success++;
        fill_view(n, (Bytes){ arena_strndup(arena, req->path.p, req->path.n), req->path.n }, req->wall_nsec,
                  ret);
        if (n->dir)
                list(v, n, req, arena, ret);
        return 0;
}

/* ---- restore ---- */

#define PLACEHOLDER UINT64_MAX /* epoch of a parent whose own record has not come yet */

int v2_restore_node(V2 *v, Bytes path, bool dir, Bytes value, uint64_t modified, uint64_t created,
                    int64_t expire) {
        if (!v2_path_ok(path) || path.n == 1 || (dir && value.n > 0))
                return -EBADMSG;
        Node *n = v->root;
        size_t at = 0;
        for (Bytes part; next_part(path, &at, &part);) {
                bool last = at == path.n;
                Node *c = node_child(v, n, part);
                if (c && (!c->dir || (last && (c->epoch != PLACEHOLDER || !dir))))
                        return -EBADMSG;
                if (!c) {
                        c = node_add(v, n, part, !last || dir);
                        c->epoch = PLACEHOLDER;
                }
                n = c;
        }
        n->epoch = 0;
        n->modified = modified;
        n->created = created;
        if (!dir) {
                Blob *b = blob_new(value);
                node_set_value(v, n, b);
                blob_unref(b);
        }
        node_set_expire(v, n, expire);
        v->hash += node_hash(n);
        return 0;
}

int v2_restore_end(V2 *v) {
        IndexCursor c;
        index_seek(&v->nodes, 0, (Bytes){ "", 0 }, &c);
        for (Node *n; (n = (Node *) index_next(&c));)
                if (n->epoch == PLACEHOLDER)
                        return -EBADMSG;
        return 0;
}

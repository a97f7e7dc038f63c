/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/v2-state.h"

#include <stdio.h>

/* The v2 verbs (spec/etcd.md a.2), one function each. A verb either fails and changes nothing, or takes
 * exactly one index and makes exactly one event. */

#define V2_SYNC_MAX 10000 /* nodes that one CMD_V2_SYNC expires; the leader proposes again */

typedef struct Verb {
        Store *s;
        V2 *v;
        const V2Req *r;
        ApplyResult *ret;
} Verb;

static int fail(Verb *o, int code, Bytes cause) {
        o->ret->v2_error = (V2Error){ .code = code, .index = o->v->index };
        o->ret->v2_error.cause = (Bytes){ arena_strndup(&o->ret->arena, cause.p, cause.n), cause.n };
        return -code;
}

static bool is_root(Bytes path) {
        return path.n == 1;
}

/* Takes the event into the history and, unless it is silent, to the watchers. Consumes the reference. */
static void publish(Store *s, V2Event *e) {
        V2 *v = s->v2;
        v->index = e->index;
        chain_add(s, event_hash(e));
        history_add(v, v2_event_ref(e));
        if (!e->refresh)
                v2_notify(v, e);
}

static int finish(Verb *o, V2Event *e) {
        publish(o->s, e);
        o->ret->v2_event = e;
        return 0;
}

static V2Event *new_event(const Verb *o, V2Action action, const Node *n, Bytes path, const Node *prev,
                          Blob *value) {
        return event_new(&(EventSpec){
                        .action = action,
                        .index = o->v->index + 1,
                        .key = path,
                        .dir = n->dir,
                        .value = value,
                        .created = n->created,
                        .expire = n->expire,
                        .wall = o->r->wall_nsec,
                        .refresh = o->r->refresh && prev && value,
                        .prev = prev,
        });
}

/* Finds or makes the directory that holds the last component. Makes nothing when it fails: a file in the way
 * can only stand before the first missing directory. */
static int make_parents(Verb *o, Bytes path, Node **ret, Bytes *ret_name) {
        V2 *v = o->v;
        Node *n = v->root;
        size_t start = 0;
        for (;;) {
                const char *slash = memchr(path.p + start + 1, '/', path.n - start - 1);
                size_t end = slash ? (size_t) (slash - path.p) : path.n;
                Bytes part = { path.p + start + 1, end - start - 1 };
                if (!n->dir)
                        return fail(o, 104, (Bytes){ path.p, start });
                if (!slash) {
                        *ret = n;
                        *ret_name = part;
                        return 0;
                }
                Node *c = node_child(v, n, part);
                if (!c) {
                        c = node_add(v, n, part, true);
                        c->modified = c->created = v->index + 1;
                        v->hash += node_hash(c);
                }
                n = c;
                start = end;
        }
}

/* Puts a new node at the path, over an old file if `replace`. */
static int create_at(Verb *o, Bytes path, V2Action action, bool replace, Blob *value) {
        V2 *v = o->v;
        Node *parent = NULL;
        Bytes name = {};
        int r = make_parents(o, path, &parent, &name);
        if (r < 0)
                return r;
        Node *old = node_child(v, parent, name);
        if (old && !replace)
                return fail(o, 105, path);
        if (old && old->dir)
                return fail(o, 102, path);
        Node after = { .dir = o->r->dir, .created = v->index + 1, .expire = o->r->expire_nsec };
        V2Event *e = new_event(o, action, &after, path, old, after.dir ? NULL : value);
        if (old && o->r->refresh)
                e->refresh = true;
        if (old) {
                _cleanup_(buf_done) Buf at = {};
                node_remove(v, old, NULL, &at);
        }
        Node *n = node_add(v, parent, name, after.dir);
        n->modified = n->created = v->index + 1;
        if (!after.dir)
                node_set_value(v, n, value);
        node_set_expire(v, n, o->r->expire_nsec);
        v->hash += node_hash(n);
        return finish(o, e);
}

static int set(Verb *o) {
        Node *old = NULL;
        Bytes cause = {};
        if (is_root(o->r->path))
                return fail(o, 107, o->r->path);
        int code = v2_find(o->v, o->r->path, &old, &cause);
        if (code != 0 && (code != 100 || o->r->refresh))
                return fail(o, code, cause);
        Blob *value = o->r->refresh && old->value ? blob_ref(old->value) : blob_new(o->r->value);
        int r = create_at(o, o->r->path, V2_ACTION_SET, true, value);
        blob_unref(value);
        return r;
}

static int create(Verb *o) {
        if (is_root(o->r->path))
                return fail(o, 107, o->r->path);
        Blob *value = blob_new(o->r->value);
        int r = create_at(o, o->r->path, V2_ACTION_CREATE, false, value);
        blob_unref(value);
        return r;
}

/* POST: the name is the index the event is about to get. */
static int create_in_order(Verb *o) {
        char name[32];
        int n = snprintf(name, sizeof(name), "/%020" PRIu64, o->v->index + 1);
        _cleanup_(buf_done) Buf path = {};
        if (!is_root(o->r->path))
                buf_add(&path, o->r->path.p, o->r->path.n);
        buf_add(&path, name, (size_t) n);
        if (!v2_path_ok((Bytes){ path.data, path.len }))
                return fail(o, 209, bytes_of("invalid key path"));
        Blob *value = blob_new(o->r->value);
        int r = create_at(o, (Bytes){ path.data, path.len }, V2_ACTION_CREATE, false, value);
        blob_unref(value);
        return r;
}

/* Gives an existing node a new value and expiry. A directory keeps its modified index (as observed). */
static int write_over(Verb *o, Node *n, V2Action action) {
        V2 *v = o->v;
        Node after = { .dir = n->dir, .created = n->created, .expire = o->r->expire_nsec };
        Blob *value = n->dir ? NULL : o->r->refresh ? blob_ref(n->value) : blob_new(o->r->value);
        V2Event *e = new_event(o, action, &after, o->r->path, n, value);
        e->refresh = o->r->refresh;
        node_save(v, n);
        v->hash -= node_hash(n);
        if (!n->dir) {
                node_set_value(v, n, value);
                n->modified = v->index + 1;
        }
        blob_unref(value);
        node_set_expire(v, n, o->r->expire_nsec);
        v->hash += node_hash(n);
        return finish(o, e);
}

static int update(Verb *o) {
        Node *n = NULL;
        Bytes cause = {};
        if (is_root(o->r->path))
                return fail(o, 107, o->r->path);
        int code = v2_find(o->v, o->r->path, &n, &cause);
        if (code != 0)
                return fail(o, code, cause);
        if (n->dir && o->r->value.n > 0)
                return fail(o, 102, o->r->path);
        return write_over(o, n, V2_ACTION_UPDATE);
}

/* 0, or the failure of the conditions, all that do not hold in one cause. */
static int conditions(Verb *o, const Node *n) {
        Bytes want = o->r->prev_value;
        bool value_ok = want.n == 0 || bytes_eq(want, (Bytes){ n->value->data, n->value->n });
        bool index_ok = o->r->prev_index == 0 || o->r->prev_index == n->modified;
        if (value_ok && index_ok)
                return 0;
        _cleanup_(buf_done) Buf cause = {};
        if (!value_ok) {
                buf_addc(&cause, '[');
                buf_add(&cause, want.p, want.n);
                buf_adds(&cause, " != ");
                buf_add(&cause, n->value->data, n->value->n);
                buf_addc(&cause, ']');
        }
        if (!index_ok)
                buf_addf(&cause, "%s[%" PRIu64 " != %" PRIu64 "]", value_ok ? "" : " ", o->r->prev_index,
                         n->modified);
        return fail(o, 101, (Bytes){ cause.data, cause.len });
}

static int compare_and_swap(Verb *o) {
        Node *n = NULL;
        Bytes cause = {};
        if (is_root(o->r->path))
                return fail(o, 107, o->r->path);
        int code = v2_find(o->v, o->r->path, &n, &cause);
        if (code != 0)
                return fail(o, code, cause);
        if (n->dir)
                return fail(o, 102, o->r->path);
        int r = conditions(o, n);
        return r < 0 ? r : write_over(o, n, V2_ACTION_CAS);
}

static int remove_node(Verb *o, Node *n, V2Action action) {
        V2Event *e = new_event(o, action, &(Node){ .dir = n->dir, .created = n->created }, o->r->path, n,
                               NULL);
        e->refresh = false;
        _cleanup_(buf_done) Buf path = {};
        buf_add(&path, o->r->path.p, o->r->path.n);
        node_remove(o->v, n, e, &path);
        return finish(o, e);
}

static int delete (Verb *o) {
        Node *n = NULL;
        Bytes cause = {};
        if (is_root(o->r->path))
                return fail(o, 107, o->r->path);
        int code = v2_find(o->v, o->r->path, &n, &cause);
        if (code != 0)
                return fail(o, code, cause);
        if (n->dir && !o->r->dir && !o->r->recursive)
                return fail(o, 102, o->r->path);
        if (n->dir && n->n_children > 0 && !o->r->recursive)
                return fail(o, 108, o->r->path);
        return remove_node(o, n, V2_ACTION_DELETE);
}

static int compare_and_delete(Verb *o) {
        Node *n = NULL;
        Bytes cause = {};
        int code = v2_find(o->v, o->r->path, &n, &cause);
        if (code != 0)
                return fail(o, code, cause);
        if (n->dir)
                return fail(o, 102, is_root(o->r->path) ? (Bytes){ "", 0 } : o->r->path);
        int r = conditions(o, n);
        return r < 0 ? r : remove_node(o, n, V2_ACTION_CAD);
}

static void count(int r, uint64_t *success, uint64_t *failure) {
        (*(r < 0 ? failure : success))++;
}

void v2_apply(Store *s, const V2Req *r, ApplyResult *ret) {
        Verb o = { .s = s, .v = s->v2, .r = r, .ret = ret };
        V2Stats *t = &s->v2->stats;
        bool conditional = r->prev_index > 0 || r->prev_value.n > 0;
        if (!v2_path_ok(r->path))
                (void) fail(&o, 209, bytes_of("invalid key path"));
        else if (r->method == V2_POST)
                count(create_in_order(&o), &t->create_success, &t->create_fail);
        else if (r->method == V2_DELETE && conditional)
                count(compare_and_delete(&o), &t->cad_success, &t->cad_fail);
        else if (r->method == V2_DELETE)
                count(delete (&o), &t->delete_success, &t->delete_fail);
        else if (r->prev_exist == V2_EXIST_FALSE)
                count(create(&o), &t->create_success, &t->create_fail);
        else if (conditional)
                count(compare_and_swap(&o), &t->cas_success, &t->cas_fail);
        else if (r->prev_exist == V2_EXIST_TRUE)
                count(update(&o), &t->update_success, &t->update_fail);
        else
                count(set(&o), &t->sets_success, &t->sets_fail);
}

size_t v2_sync(Store *s, int64_t wall_nsec) {
        V2 *v = s->v2;
        size_t n = 0;
        for (; n < V2_SYNC_MAX && v2_has_expired(s, wall_nsec); n++) {
                Node *node = v->heap[0];
                _cleanup_(buf_done) Buf path = {};
                node_path(node, &path);
                V2Event *e = event_new(&(EventSpec){
                                .action = V2_ACTION_EXPIRE,
                                .index = v->index + 1,
                                .key = { path.data, path.len },
                                .dir = node->dir,
                                .created = node->created,
                                .wall = wall_nsec,
                                .prev = node,
                });
                node_remove(v, node, e, &path);
                publish(s, e);
                v2_event_unref(e);
                v->stats.expire_count++;
        }
        return n;
}

void v2_internal(Store *s) {
        V2Event *e = event_new(&(EventSpec){
                        .action = V2_ACTION_SET, .index = s->v2->index + 1, .internal = true });
        publish(s, e);
        v2_event_unref(e);
}

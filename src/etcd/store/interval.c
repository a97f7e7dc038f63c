/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/interval.h"
#include "base/alloc.h"
#include "etcd/store/state.h"

static int compare_group(const Group *a, const Group *b) {
        int c = bytes_cmp(a->from, b->from);
        if (c != 0)
                return c;
        if (a->open != b->open)
                return a->open ? 1 : -1;
        return a->open ? 0 : bytes_cmp(a->to, b->to);
}

static bool ends_later(const Group *a, const Group *b) {
        if (a->open || b->open)
                return a->open && !b->open;
        return bytes_cmp(a->to, b->to) > 0;
}

static void update(Group *g) {
        const Group *f = g;
        if (g->left && ends_later(g->left->furthest, f))
                f = g->left->furthest;
        if (g->right && ends_later(g->right->furthest, f))
                f = g->right->furthest;
        g->furthest = f;
}

static Group *rotate_right(Group *g) {
        Group *l = g->left;
        g->left = l->right;
        l->right = g;
        update(g);
        update(l);
        return l;
}

static Group *rotate_left(Group *g) {
        Group *r = g->right;
        g->right = r->left;
        r->left = g;
        update(g);
        update(r);
        return r;
}

static Group *treap_insert(Group *at, Group *g) {
        if (!at) {
                update(g);
                return g;
        }
        if (compare_group(g, at) < 0) {
                at->left = treap_insert(at->left, g);
                if (at->left->priority > at->priority)
                        return rotate_right(at);
        } else {
                at->right = treap_insert(at->right, g);
                if (at->right->priority > at->priority)
                        return rotate_left(at);
        }
        update(at);
        return at;
}

static Group *treap_join(Group *l, Group *r) {
        if (!l || !r)
                return l ? l : r;
        if (l->priority > r->priority) {
                l->right = treap_join(l->right, r);
                update(l);
                return l;
        }
        r->left = treap_join(l, r->left);
        update(r);
        return r;
}

static Group *treap_remove(Group *at, const Group *g) {
        assert(at);
        if (at == g)
                return treap_join(at->left, at->right);
        if (compare_group(g, at) < 0)
                at->left = treap_remove(at->left, g);
        else
                at->right = treap_remove(at->right, g);
        update(at);
        return at;
}

Group *intervals_get(Intervals *iv, Bytes from, Bytes to, bool single, bool open) {
        Group probe = { .from = from, .to = to, .single = single, .open = open };
        Group *g = NULL;
        if (single)
                g = map_get(&iv->singles, from.p, from.n);
        else
                for (g = iv->root; g;) {
                        int c = compare_group(&probe, g);
                        if (c == 0)
                                break;
                        g = c < 0 ? g->left : g->right;
                }
        if (g)
                return g;
        g = xnew0(Group, 1);
        *g = probe;
        g->from.p = xmemdup(from.p, from.n);
        g->to.p = xmemdup(to.p, to.n);
        g->priority = hash_mix(++iv->counter, UINT64_C(0x8ebc6af09c88c6e3));
        if (single)
                (void) map_put(&iv->singles, from.p, from.n, g);
        else
                iv->root = treap_insert(iv->root, g);
        return g;
}

void intervals_drop(Intervals *iv, Group *g) {
        assert(g->n_watchers == 0);
        if (g->single)
                (void) map_del(&iv->singles, g->from.p, g->from.n);
        else
                iv->root = treap_remove(iv->root, g);
        free((char *) g->from.p);
        free((char *) g->to.p);
        free(g);
}

static void stab(Group *g, Bytes key, GroupFunc func, void *arg) {
        while (g && (g->furthest->open || bytes_cmp(g->furthest->to, key) > 0)) {
                stab(g->left, key, func, arg);
                if (bytes_cmp(g->from, key) > 0)
                        return;
                if (g->open || bytes_cmp(g->to, key) > 0)
                        func(g, arg);
                g = g->right;
        }
}

void intervals_find(const Intervals *iv, Bytes key, GroupFunc func, void *arg) {
        if (map_size(&iv->singles) > 0) {
                Group *g = map_get(&iv->singles, key.p, key.n);
                if (g)
                        func(g, arg);
        }
        stab(iv->root, key, func, arg);
}

static void each(Group *g, GroupFunc func, void *arg) {
        for (; g; g = g->right) {
                each(g->left, func, arg);
                func(g, arg);
        }
}

void intervals_each(const Intervals *iv, GroupFunc func, void *arg) {
        for (MapIter i = {}; map_next(&iv->singles, &i);)
                func(i.value, arg);
        each(iv->root, func, arg);
}

void intervals_done(Intervals *iv) {
        assert(!iv->root && map_size(&iv->singles) == 0);
        map_done(&iv->singles);
}

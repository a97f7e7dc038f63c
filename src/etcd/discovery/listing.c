/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "etcd/cluster/urls.h"
#include "etcd/discovery/discovery.h"

#include <stdlib.h>

#define LISTING_NODES_MAX 1000U

void discovery_nodes_done(DiscoveryNodes *l) {
        for (size_t i = 0; i < l->n; i++) {
                free(l->list[i].key);
                free(l->list[i].value);
        }
        free(l->list);
        *l = (DiscoveryNodes){};
}

static int by_created(const void *a, const void *b) {
        const DiscoveryNode *x = a, *y = b;
        return x->created < y->created ? -1 : x->created > y->created;
}

int discovery_parse_listing(const void *p, size_t n, DiscoveryNodes *ret, Err *err) {
        _cleanup_json_ json_t *root = NULL;
        int r = ji_parse(p, n, 0, &root, err);
        if (r < 0)
                return err_wrap(err, -EBADMSG, "discovery: the listing is not valid");
        json_t *node = ji_obj(root, "node");
        if (!node)
                return err_set(err, -EBADMSG, "discovery: the listing has no node");
        _cleanup_(discovery_nodes_done) DiscoveryNodes l = {};
        json_t *child;
        size_t i;
        json_array_foreach (ji_arr(node, "nodes"), i, child) {
                const char *key = ji_str(child, "key"), *value = ji_str(child, "value");
                const char *base = key ? strrchr(key, '/') : NULL;
                if (!base || !value || base[1] == '_' || ji_bool(child, "dir", false))
                        continue;
                if (l.n >= LISTING_NODES_MAX)
                        return err_set(err, -EBADMSG, "discovery: more than %u members are registered",
                                       LISTING_NODES_MAX);
                GROW(l.list, l.cap, l.n + 1);
                l.list[l.n++] = (DiscoveryNode){ .key = xstrdup(base + 1),
                                                 .value = xstrdup(value),
                                                 .created = (uint64_t) ji_int(child, "createdIndex", 0) };
        }
        if (l.n > 1)
                qsort(l.list, l.n, sizeof(*l.list), by_created);
        *ret = l;
        l = (DiscoveryNodes){};
        return 0;
}

int discovery_position(const DiscoveryNodes *l, uint64_t id) {
        _cleanup_free_ char *key = xasprintf("%" PRIx64, id);
        for (size_t i = 0; i < l->n; i++)
                if (streq(l->list[i].key, key))
                        return (int) i;
        return -ENOENT;
}

int discovery_cluster(const DiscoveryNodes *l, size_t size, char **ret, Err *err) {
        _cleanup_strv_ char **values = NULL;
        for (size_t i = 0; i < MIN(size, l->n); i++)
                strv_add(&values, l->list[i].value);
        _cleanup_free_ char *all = strv_join(values, ",");
        _cleanup_(etcd_initial_cluster_done) EtcdInitialCluster c = {};
        int r = etcd_initial_cluster_parse(all, &c, err);
        if (r < 0)
                return err_wrap(err, r, "discovery: a registered member is not valid");
        if (c.n != strv_len(values))
                return err_set(err, -EEXIST, "discovery: found duplicate name");
        *ret = etcd_initial_cluster_text(&c);
        return 0;
}

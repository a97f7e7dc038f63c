/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/engine-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/log.h"

/* Removes unit contents that no job refers to any more: shortly after the leadership began, then every ten
 * minutes. A content that is written again at the same moment keeps, because its revision has changed then. */

#define COLLECT_FIRST_USEC (30 * USEC_PER_SEC)
#define COLLECT_USEC (600 * USEC_PER_SEC)
#define COLLECT_BATCH 500

static void schedule(Engine *e, Usec after);

static bool referred_to(const Engine *e, const char *hash) {
        for (MapIter i = {}; map_next(&e->jobs, &i);)
                if (streq(((const JobRecord *) i.value)->hash, hash))
                        return true;
        return false;
}

static void on_deleted(const EtcdResult *r, void *user) {
}

static void on_listed(const EtcdResult *r, void *user) {
        Engine *e = user;
        size_t n = 0;

        e->garbage = NULL;
        for (size_t i = 0; r->error >= 0 && i < r->range->n_kvs && n < COLLECT_BATCH; i++) {
                const Etcdserverpb__KeyValue *kv = r->range->kvs[i];
                _cleanup_free_ char *hash = registry_strip(e->registry, &kv->key, "unit/");
                if (!hash || referred_to(e, hash))
                        continue;
                _cleanup_free_ char *key = registry_key(e->registry, "unit/%s", hash),
                                    *leader = registry_key(e->registry, "lease/engine-leader");
                EtcdTxn *t = etcd_txn_new();
                etcd_txn_if_create_revision(t, leader, e->leader_revision);
                etcd_txn_if_mod_revision(t, key, kv->mod_revision);
                etcd_txn_delete(t, key);
                (void) etcd_txn_commit(registry_etcd(e->registry), t, on_deleted, NULL);
                n++;
        }
        if (n > 0)
                log_info("removed %zu unit contents that nothing refers to", n);
        schedule(e, COLLECT_USEC);
}

static int on_collect(sd_event_source *s, uint64_t usec, void *user) {
        Engine *e = user;
        _cleanup_free_ char *prefix = registry_key(e->registry, "unit/");
        size_t end_n;
        _cleanup_free_ char *end = etcd_prefix_end(prefix, strlen(prefix), &end_n);
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;

        if (e->garbage || !e->loaded) {
                schedule(e, COLLECT_FIRST_USEC);
                return 0;
        }
        q.key = (ProtobufCBinaryData){ strlen(prefix), (uint8_t *) prefix };
        q.range_end = (ProtobufCBinaryData){ end_n, (uint8_t *) end };
        q.keys_only = true;
        e->garbage = etcd_range(registry_etcd(e->registry), &q, NULL, on_listed, e);
        return 0;
}

static void schedule(Engine *e, Usec after) {
        e->collect = sd_event_source_disable_unref(e->collect);
        (void) sd_event_add_time_relative(e->event, &e->collect, CLOCK_MONOTONIC, after, USEC_PER_SEC, on_collect, e);
}

void collect_begin(Engine *e) {
        schedule(e, COLLECT_FIRST_USEC);
}

void collect_end(Engine *e) {
        e->collect = sd_event_source_disable_unref(e->collect);
        e->garbage = etcd_call_cancel(e->garbage);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/release.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/log.h"

typedef struct Slot {
        Release *r; /* weak */
        EtcdCall *call;
} Slot;

struct Release {
        Registry *registry;
        char *machine_id;
        Slot *slots; /* owned array */
        size_t n, open;
        EtcdCall *list;
        void (*done)(void *user);
        void *user;
};

static void on_released(const EtcdResult *result, void *user) {
        Slot *slot = user;
        Release *r = slot->r;

        slot->call = NULL;
        if (result->error < 0)
                log_warning("cannot give a unit back: %s", result->message);
        assert(r->open > 0);
        if (--r->open == 0)
                r->done(r->user);
}

static void release_one(Release *r, Slot *slot, const JobRecord *j) {
        JobRecord now = *j;
        EtcdTxn *t = etcd_txn_new();
        _cleanup_free_ char *key = registry_key(r->registry, "job/%s", j->name);

        now.machine = NULL;
        etcd_txn_if_mod_revision(t, key, j->mod_revision);
        registry_txn_job(r->registry, t, j, &now);
        slot->r = r;
        r->open++;
        slot->call = etcd_txn_commit(registry_etcd(r->registry), t, on_released, slot);
}

static void on_listed(const EtcdResult *result, void *user) {
        Release *r = user;
        size_t n = result->error >= 0 ? result->range->n_kvs : 0;

        r->list = NULL;
        r->slots = xnew(Slot, n + 1);
        r->n = n;
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *name = registry_strip(r->registry, &result->range->kvs[i]->key, "job/");
                _cleanup_(job_done) JobRecord j = {};
                if (name && job_decode(name, result->range->kvs[i], &j) >= 0 && streq_ptr(j.machine, r->machine_id))
                        release_one(r, &r->slots[i], &j);
        }
        if (r->open == 0)
                r->done(r->user);
}

Release *release_begin(Registry *registry, const char *machine_id, void (*done)(void *user), void *user) {
        Release *r = xnew(Release, 1);
        _cleanup_free_ char *prefix = registry_key(registry, "job/");

        *r = (Release){ .registry = registry, .machine_id = xstrdup(machine_id), .done = done, .user = user };
        r->list = etcd_get_prefix(registry_etcd(registry), prefix, on_listed, r);
        return r;
}

Release *release_free(Release *r) {
        if (!r)
                return NULL;
        etcd_call_cancel(r->list);
        for (size_t i = 0; i < r->n; i++)
                etcd_call_cancel(r->slots[i].call);
        free(r->slots);
        free(r->machine_id);
        free(r);
        return NULL;
}

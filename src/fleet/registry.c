/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/registry.h"

#include "base/alloc.h"
#include "base/list.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "sys/log.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct CachedUnit {
        bool missing;
        UnitFile file;
} CachedUnit;

struct Registry {
        EtcdClient *etcd; /* weak */
        char *prefix;
        Usec ttl, contact_at, healthy_since;
        Map units; /* hash to CachedUnit, owned */
        LIST_HEAD(RegistryFetch) fetches;
};

struct RegistryFetch {
        Registry *r;
        char **hashes; /* owned; what is left to be read */
        size_t at, batch;
        EtcdCall *call;
        void (*done)(int error, const char *message, void *user);
        void *user;
        LIST_LINK(RegistryFetch) all;
};

Registry *registry_new(EtcdClient *etcd, const char *prefix, Usec ttl) {
        Registry *r = xnew(Registry, 1);
        r->etcd = etcd;
        r->prefix = xstrdup(prefix);
        r->ttl = ttl;
        return r;
}

static void clear_units(Registry *r) {
        for (MapIter i = {}; map_next(&r->units, &i);) {
                CachedUnit *u = i.value;
                unitfile_done(&u->file);
                free(u);
        }
        map_done(&r->units);
}

Registry *registry_free(Registry *r) {
        if (!r)
                return NULL;
        while (r->fetches.first)
                registry_fetch_cancel(r->fetches.first);
        clear_units(r);
        free(r->prefix);
        free(r);
        return NULL;
}

EtcdClient *registry_etcd(Registry *r) {
        return r->etcd;
}

/* ---- keys ---- */

char *registry_key(const Registry *r, const char *fmt, ...) {
        _cleanup_free_ char *tail = NULL;
        va_list ap;

        va_start(ap, fmt);
        int n = vasprintf(&tail, fmt, ap);
        va_end(ap);
        assert(n >= 0);
        return xasprintf("%s/%s", r->prefix, tail);
}

char *registry_strip(const Registry *r, const ProtobufCBinaryData *key, const char *folder) {
        size_t n = strlen(r->prefix), m = strlen(folder);

        if (key->len <= n + 1 + m || memcmp(key->data, r->prefix, n) != 0 || key->data[n] != '/' ||
            memcmp(key->data + n + 1, folder, m) != 0)
                return NULL;
        if (memchr(key->data, 0, key->len))
                return NULL;
        return xstrndup((const char *) key->data + n + 1 + m, key->len - n - 1 - m);
}

bool registry_split(const char *s, char **ret_a, char **ret_b) {
        const char *slash = strchr(s, '/');
        if (!slash || slash == s || !slash[1] || strchr(slash + 1, '/'))
                return false;
        *ret_a = xstrndup(s, (size_t) (slash - s));
        *ret_b = xstrdup(slash + 1);
        return true;
}

/* ---- a job and its copies ---- */

static void put_text(EtcdTxn *t, char *key, char *value) {
        etcd_txn_put(t, key, value, strlen(value), 0);
        free(key);
        free(value);
}

static char *copy_key(const Registry *r, const JobRecord *j) {
        if (j->global)
                return registry_key(r, "global/%s", j->name);
        return j->machine ? registry_key(r, "schedule/%s/%s", j->machine, j->name) : NULL;
}

void registry_txn_job(const Registry *r, EtcdTxn *t, const JobRecord *old, const JobRecord *now) {
        _cleanup_free_ char *before = old ? copy_key(r, old) : NULL;
        char *after = copy_key(r, now);

        if (before && !streq_ptr(before, after))
                etcd_txn_delete(t, before);
        put_text(t, registry_key(r, "job/%s", now->name), job_encode(now));
        if (after)
                put_text(t, after, assignment_encode(now->hash, now->target));
}

void registry_txn_job_delete(const Registry *r, EtcdTxn *t, const JobRecord *old) {
        _cleanup_free_ char *copy = copy_key(r, old), *job = registry_key(r, "job/%s", old->name);
        etcd_txn_delete(t, job);
        if (copy)
                etcd_txn_delete(t, copy);
}

/* ---- unit contents ---- */

const UnitFile *registry_unit(const Registry *r, const char *hash) {
        const CachedUnit *u = map_gets(&r->units, hash);
        return u && !u->missing ? &u->file : NULL;
}

bool registry_unit_known(const Registry *r, const char *hash) {
        return map_gets(&r->units, hash) != NULL;
}

static CachedUnit *cache_obtain(Registry *r, const char *hash) {
        CachedUnit *u = map_gets(&r->units, hash);
        if (!u) {
                u = xnew(CachedUnit, 1);
                (void) map_puts(&r->units, hash, u);
        }
        unitfile_done(&u->file);
        u->missing = false;
        return u;
}

void registry_add_unit(Registry *r, const char *hash, const UnitFile *file) {
        unitfile_copy(file, &cache_obtain(r, hash)->file);
}

static void cache_value(Registry *r, const char *hash, const Etcdserverpb__KeyValue *kv) {
        _cleanup_json_ json_t *v = NULL;
        CachedUnit *u = cache_obtain(r, hash);

        u->missing = true;
        if (!kv) {
                log_warning("the registry has no content for unit hash %s", hash);
                return;
        }
        if (ji_parse(kv->value.data, kv->value.len, 0, &v, NULL) < 0)
                return;
        const char *raw = ji_str(v, "Raw");
        if (raw && unitfile_parse(raw, strlen(raw), 0, &u->file, NULL) >= 0)
                u->missing = false;
        else
                log_warning("the content of unit hash %s in the registry is broken", hash);
}

static void fetch_free(RegistryFetch *f) {
        LIST_REMOVE(&f->r->fetches, f, all);
        etcd_call_cancel(f->call);
        strv_free(f->hashes);
        free(f);
}

static void fetch_next(RegistryFetch *f);

static void on_fetched(const EtcdResult *result, void *user) {
        RegistryFetch *f = user;

        f->call = NULL;
        if (result->error >= 0) {
                size_t n = MIN(result->txn->n_responses, f->batch);
                for (size_t i = 0; i < n; i++) {
                        const Etcdserverpb__RangeResponse *range = result->txn->responses[i]->response_range;
                        cache_value(f->r, f->hashes[f->at + i], range && range->n_kvs > 0 ? range->kvs[0] : NULL);
                }
                f->at += f->batch;
                if (f->hashes[f->at]) {
                        fetch_next(f);
                        return;
                }
        }
        void (*done)(int, const char *, void *) = f->done;
        void *u = f->user;
        fetch_free(f);
        done(result->error, result->message, u);
}

static void fetch_next(RegistryFetch *f) {
        EtcdTxn *t = etcd_txn_new();

        f->batch = 0;
        for (size_t i = f->at; f->hashes[i] && f->batch < REGISTRY_FETCH_BATCH; i++, f->batch++) {
                _cleanup_free_ char *key = registry_key(f->r, "unit/%s", f->hashes[i]);
                etcd_txn_get(t, key);
        }
        f->call = etcd_txn_commit(f->r->etcd, t, on_fetched, f);
}

RegistryFetch *registry_fetch(Registry *r, char *const *hashes, void (*done)(int, const char *, void *), void *user) {
        char **missing = NULL;
        _cleanup_(map_done) Map seen = {};

        if (map_size(&r->units) > REGISTRY_UNITS_CACHED_MAX)
                clear_units(r);
        STRV_FOREACH(h, hashes)
                if (!map_gets(&r->units, *h) && !map_puts(&seen, *h, r))
                        strv_add(&missing, *h);
        if (!missing)
                return NULL;
        RegistryFetch *f = xnew(RegistryFetch, 1);
        *f = (RegistryFetch){ .r = r, .hashes = missing, .done = done, .user = user };
        LIST_APPEND(&r->fetches, f, all);
        fetch_next(f);
        return f;
}

RegistryFetch *registry_fetch_cancel(RegistryFetch *f) {
        if (f)
                fetch_free(f);
        return NULL;
}

/* ---- within reach? ---- */

void registry_contact(Registry *r, Usec now) {
        if (r->contact_at == 0 || usec_sub(now, r->contact_at) > r->ttl)
                r->healthy_since = now;
        r->contact_at = now;
}

Usec registry_settled_at(const Registry *r) {
        if (r->contact_at == 0)
                return USEC_NEVER;
        return usec_add(r->healthy_since, r->ttl + FLEET_SETTLE_EXTRA);
}

Usec registry_contact_at(const Registry *r) {
        return r->contact_at;
}

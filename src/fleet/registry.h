/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Keys and values of fleet in etcd v3 (layout: fleet/fleet.h), a cache of unit contents, and the answer to the
 * question whether the registry has been within reach for long enough to believe what is missing from it. */

#include "codec/unitfile.h"
#include "etcdclient/etcdclient.h"
#include "fleet/fleet.h"
#include "fleet/plan/plan.h"

#include "base/hash.h"

#define REGISTRY_UNITS_CACHED_MAX 8192U
#define REGISTRY_FETCH_BATCH 100U /* etcd allows 128 operations in a transaction */

typedef struct Registry Registry;

typedef struct JobRecord {
        char *name, *hash, *machine; /* machine NULL = unscheduled */
        UnitState target;
        bool global;
        int64_t mod_revision;
} JobRecord;

typedef struct StateRecord {
        char *name, *machine, *hash, *load, *active, *sub, *error; /* error NULL = none */
        UnitState current;
} StateRecord;

typedef struct MachineRecord {
        char *id, *ip, *version, *boot;
        Metadata metadata;
        int64_t lease;
        bool engine_disabled;
} MachineRecord;

Registry *registry_new(EtcdClient *etcd, const char *prefix, Usec ttl);
Registry *registry_free(Registry *r);
DEFINE_CLEANUP(Registry *, registry_free)
EtcdClient *registry_etcd(Registry *r);

/* ---- keys ---- */
char *registry_key(const Registry *r, const char *fmt, ...) _printf_(2, 3); /* owned; <prefix>/<fmt> */
/* What stands behind <prefix>/<folder> (folder with its slash), owned, or NULL. */
char *registry_strip(const Registry *r, const ProtobufCBinaryData *key, const char *folder);
/* "a/b" to a and b, both owned; false unless there is exactly one slash with something on both sides. */
bool registry_split(const char *s, char **ret_a, char **ret_b);

/* ---- values; decode leaves *ret empty and returns -EBADMSG for nonsense ---- */
char *job_encode(const JobRecord *j);
int job_decode(const char *name, const Etcdserverpb__KeyValue *kv, JobRecord *ret);
void job_done(JobRecord *j);
void job_copy(const JobRecord *from, JobRecord *ret);
char *assignment_encode(const char *hash, UnitState target);
int assignment_decode(const ProtobufCBinaryData *value, char **ret_hash, UnitState *ret_target);
char *state_encode(const StateRecord *s);
int state_decode(const char *machine, const char *name, const ProtobufCBinaryData *value, StateRecord *ret);
void state_done(StateRecord *s);
bool state_equal(const StateRecord *a, const StateRecord *b);
char *machine_encode(const MachineRecord *m);
int machine_decode(const char *id, const Etcdserverpb__KeyValue *kv, MachineRecord *ret);
void machine_done(MachineRecord *m);
char *unit_encode(const UnitFile *u);

/* Puts the three copies of a job into a transaction. `old` is what the registry has now, or NULL. */
void registry_txn_job(const Registry *r, EtcdTxn *t, const JobRecord *old, const JobRecord *now);
void registry_txn_job_delete(const Registry *r, EtcdTxn *t, const JobRecord *old);

/* ---- unit contents ---- */
/* NULL when it is not in the cache (or the registry does not have it). Valid until the next fetch begins. */
const UnitFile *registry_unit(const Registry *r, const char *hash);
bool registry_unit_known(const Registry *r, const char *hash); /* fetched once, even if it was not there */
void registry_add_unit(Registry *r, const char *hash, const UnitFile *u);
typedef struct RegistryFetch RegistryFetch;
/* Reads those of `hashes` that are not in the cache; NULL when that is none, and then done() is not called.
 * error 0 or negative. */
RegistryFetch *registry_fetch(Registry *r, char *const *hashes, void (*done)(int error, const char *message, void *user),
                              void *user);
RegistryFetch *registry_fetch_cancel(RegistryFetch *f);

/* ---- within reach? ---- */
/* Something came from the registry just now. A silence of more than the lease's TTL before it begins a settle
 * period of TTL + FLEET_SETTLE_EXTRA, as does the very first contact. */
void registry_contact(Registry *r, Usec now);
/* When machines that are missing may be taken for dead: a time, which may have passed. */
Usec registry_settled_at(const Registry *r);
Usec registry_contact_at(const Registry *r); /* 0 = never */

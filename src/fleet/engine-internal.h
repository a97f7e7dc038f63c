/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "fleet/engine.h"

#include "base/hash.h"
#include "base/list.h"

typedef struct Write Write;

struct Engine {
        sd_event *event;
        Registry *registry; /* weak */
        char *machine_id;
        int64_t lease;
        EtcdCall *claim;
        EtcdWatch *leader_watch;
        sd_event_source *retry;
        int64_t leader_revision; /* create revision of our leader key; 0 = not the leader */
        bool leaving;
        void (*left)(void *user);
        void *left_user;
        EngineStats stats;

        /* only while leading */
        Plan plan;
        Map jobs;     /* name to JobRecord, owned: what the registry has */
        Map machines; /* id to MachineRecord, owned */
        Map overlays; /* id to Metadata, owned: set through the API; "" = removed, kept under a null value */
        bool loaded, again, jobs_changed;
        EtcdCall *load;
        RegistryFetch *fetch;
        EtcdWatch *watch;
        sd_event_source *due, *settle, *reload, *collect;
        LIST_HEAD(Write) writes;
        EtcdCall *garbage;
};

/* engine-lead.c */
void lead_begin(Engine *e);
void lead_end(Engine *e);
void lead_soon(Engine *e);
void lead_reload(Engine *e, Usec after);
/* engine-write.c */
void write_decisions(Engine *e, const PlanDecisions *d);
void write_cancel_all(Engine *e);
/* Takes a job as the registry has it (kv NULL = gone) into the plan; false when its content must be read first. */
bool lead_set_job(Engine *e, const char *name, const Etcdserverpb__KeyValue *kv);
void lead_fetch(Engine *e);
/* engine-collect.c */
void collect_begin(Engine *e);
void collect_end(Engine *e);

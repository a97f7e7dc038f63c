/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "fleet/agent.h"
#include "fleet/systemd/systemd.h"

#include "base/hash.h"

/* Publishing: this many changes of one unit in a second go out at once, then one per second. */
#define PUBLISH_BURST 8U
#define PUBLISH_WINDOW USEC_PER_SEC
#define PUBLISH_RETRY USEC_PER_SEC

enum { WANT_SCHEDULED, WANT_GLOBAL, _WANT_MAX };

/* Everything about one unit that the plan does not need to know. */
typedef struct Local {
        Agent *agent; /* weak */
        char *name;
        struct {
                char *hash; /* owned; NULL = not wanted that way */
                UnitState target;
        } want[_WANT_MAX];
        bool changed; /* the plan does not know yet */
        /* the task under way */
        AgentTaskKind doing;
        int step;
        char *hash;  /* owned; of the content being loaded */
        char *error; /* owned; a failure to be told once its traces are removed */
        SystemdOp *op;
        bool reload; /* the file that was removed had an [Install] section */
        /* systemd's word; NULL while unknown */
        char *load, *active, *sub;
        /* what the registry has on our lease */
        bool published;
        StateRecord record;
        EtcdCall *call;
        StateRecord sending; /* what `call` writes; name NULL = a deletion */
        bool dirty;
        unsigned burst;
        Usec window;
} Local;

struct Agent {
        sd_event *event;
        Registry *registry;
        Systemd *systemd;
        char *machine_id, *units_dir, *marks_dir;
        Metadata configured, overlay; /* overlay: set through the API */
        char **removed;               /* owned strv: keys that the API has removed */
        AgentPlan plan;
        Map locals; /* name to Local, owned */
        bool discovered, synced, leaving, only_wait;
        int64_t lease;
        EtcdCall *sync_call;
        RegistryFetch *fetch;
        EtcdWatch *watches[3];
        sd_event_source *run_due, *wakeup, *publish_timer, *sync_timer, *patience;
        SystemdOp *query;
        void (*left)(void *user);
        void *left_user;
};

Local *local_obtain(Agent *a, const char *name);
Local *local_get(const Agent *a, const char *name);
void local_forget_if_idle(Agent *a, const char *name);
void agent_run_soon(Agent *a);
/* agent-sync.c */
void sync_begin(Agent *a);
void sync_end(Agent *a);
void sync_apply(Agent *a); /* hands over to the plan what is wanted and whose content is known */
/* agent-task.c */
void task_begin(Local *l, AgentTaskKind kind, const char *hash);
char *unit_path(const Agent *a, const char *name);
char *mark_path(const Agent *a, const char *name);
/* agent-publish.c */
void publish(Local *l);
void publish_all(Agent *a);
void publish_done(Local *l);
/* agent-discover.c */
void discover(Agent *a);

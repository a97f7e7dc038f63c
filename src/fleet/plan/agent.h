/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The agent's half: what this machine's systemd should do next. Pure: the caller says what the registry wants
 * and what is found on the machine, asks for tasks, carries them out in any order and reports each result.
 *
 * Invariants:
 *  - every unit is a small state machine of its own; a failure delays that unit only (back-off 1 s, 2 s .. 60 s);
 *  - at most one task per unit is under way, at most AGENT_TASKS_MAX in all;
 *  - a unit found running with the wanted hash is adopted as it is: no task;
 *  - one that was launched is never launched again by itself: what happens after the start is systemd's affair;
 *  - nothing is started while something is being loaded, for the one may need the other;
 *  - a unit is not loaded while one that it conflicts with is still here (being stopped). */

#include "base/time.h"
#include "fleet/plan/plan.h"

#define AGENT_TASKS_MAX 64
#define AGENT_RETRY_MAX_USEC (60 * USEC_PER_SEC)

typedef enum AgentTaskKind {
        AGENT_NONE,
        AGENT_LOAD,   /* write the file, make systemd know it */
        AGENT_START,
        AGENT_STOP,   /* stop and wait for it */
        AGENT_UNLOAD, /* stop, wait for it, then remove the file */
} AgentTaskKind;

typedef struct AgentUnit {
        char *name;
        /* what the registry wants */
        bool wanted, global;
        char *want_hash;
        UnitState want;
        XFleet req;
        char *refused; /* owned; why it is not accepted on this machine, NULL = accepted */
        /* what is here */
        bool present;
        char *hash;
        UnitState current;
        XFleet here_req;
        /* what is being done */
        AgentTaskKind doing;
        char *doing_hash;
        unsigned failures;
        Usec retry_at;
        char *error; /* owned; the last failure, NULL after a success */
        bool start_called;
} AgentUnit;

typedef struct AgentPlan {
        AgentUnit **units; /* by name */
        size_t n, cap;
        Metadata metadata; /* of this machine, for Global units */
        size_t doing;
} AgentPlan;

typedef struct AgentTask {
        AgentTaskKind kind;
        const char *name, *hash; /* weak, valid until the unit is finished */
} AgentTask;

typedef struct AgentTasks {
        AgentTask *list; /* owned */
        size_t n, cap;
} AgentTasks;

const char *agent_task_to_string(AgentTaskKind k);
void agent_plan_done(AgentPlan *a);
AgentUnit *agent_unit(const AgentPlan *a, const char *name);
/* `req` is taken over and emptied; req->global says whether the unit is Global. */
void agent_want(AgentPlan *a, const char *name, const char *hash, UnitState want, XFleet *req);
void agent_unwant(AgentPlan *a, const char *name);
/* At start: a unit file that is on the machine and known to systemd. */
void agent_found(AgentPlan *a, const char *name, const char *hash, bool launched, XFleet *req);
void agent_set_metadata(AgentPlan *a, const Metadata *m);
/* Appends the tasks to be begun now; they count as under way from here on. A stop or unload may come for a unit
 * whose start is still under way: it takes the start's place, whose own result must then not be reported. */
void agent_next(AgentPlan *a, Usec now, AgentTasks *ret);
/* error NULL = success. A unit that is neither wanted nor here any more is forgotten. */
void agent_finished(AgentPlan *a, const char *name, const char *error, Usec now);
/* When agent_next() should be called again by itself; USEC_NEVER = only after an event. */
Usec agent_wakeup(const AgentPlan *a);
/* The state to be told to the cluster: launched from the first attempt to start on. */
UnitState agent_reported(const AgentUnit *u);

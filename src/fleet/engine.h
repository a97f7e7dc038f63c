/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The engine: one of the daemons is the leader and places units (decisions: plan/plan.h).
 *
 * Leadership is the key lease/engine-leader on the leader's own machine lease: when the leader dies, its machine
 * and its leadership end in the same revision. Every write of the leader is a transaction that holds only while
 * that key is the one it created, and while the job is the one it decided about; so an old leader can do no harm
 * and a decision never overwrites what a user has just changed.
 *
 * Only the leader reads and watches the whole cluster. Nobody polls. */

#include "fleet/registry.h"

typedef struct Engine Engine;

typedef struct EngineStats {
        Usec leader_since; /* wall clock; 0 = not the leader */
        uint64_t reconciles, schedules, unschedules, schedule_failures, unschedule_failures, machine_away;
} EngineStats;

Engine *engine_new(sd_event *event, Registry *registry, const char *machine_id);
Engine *engine_free(Engine *e);
DEFINE_CLEANUP(Engine *, engine_free)
void engine_session(Engine *e, int64_t lease);
void engine_session_lost(Engine *e);
/* Gives the leadership up, so that another daemon takes it at once; done() also when that failed. */
void engine_leave(Engine *e, void (*done)(void *user), void *user);
bool engine_is_leader(const Engine *e);
const EngineStats *engine_stats(const Engine *e);

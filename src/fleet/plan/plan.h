/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The engine's half of fleet: which machine runs which unit. Pure: the caller feeds it what the registry says,
 * asks for decisions, and writes them back; it knows no clock and no network.
 *
 * Invariants:
 *  - a unit that is not Global is scheduled on at most one machine, and is never placed while another machine
 *    that is present still reports a state for it (a move waits until the old copy has stopped);
 *  - nothing moves without a cause: a unit stays where it is as long as that machine may run it;
 *  - while the cluster is not settled (`settled` false: the registry has just come back), machines that are
 *    missing are given time to come back: their units stay with them;
 *  - the result depends on the inputs only: units are walked by name, machines by (load, id).
 *
 * Differences from fleet 1.0, on purpose: peers and conflicts that change are followed to a fixed point in one
 * round; a unit with Replaces= prefers the machine that holds what it replaces; two units that replace each
 * other exclude each other; a unit that was replaced moves only to a machine that it accepts. */

#include "base/time.h"
#include "fleet/plan/xfleet.h"

typedef enum UnitState {
        UNIT_INACTIVE, /* known to the cluster, on no machine */
        UNIT_LOADED,   /* file on the machine, known to systemd, not started */
        UNIT_LAUNCHED, /* start was called */
        _UNIT_STATE_MAX,
        _UNIT_STATE_INVALID = -EINVAL,
} UnitState;

const char *unit_state_to_string(UnitState s);
UnitState unit_state_from_string(const char *s); /* _UNIT_STATE_INVALID for anything else, and for NULL */

typedef struct PlanUnit {
        char *name;
        char *hash;
        XFleet req;
        UnitState target;
        char *machine;   /* owned; NULL = unscheduled, always NULL for Global */
        char **holders;  /* owned strv: machines that report a state for it */
        char *why;       /* owned; of the change of machine in this round */
} PlanUnit;

typedef struct PlanMachine {
        char *id;
        Metadata metadata;
        PlanUnit **here; /* owned array of weak: what counts as being there; only valid inside plan.c */
        size_t n_here, cap_here;
} PlanMachine;

typedef struct Plan {
        PlanUnit **units; /* by name */
        size_t n_units, cap_units;
        PlanMachine **machines; /* by id */
        size_t n_machines, cap_machines;
} Plan;

typedef struct PlanDecision {
        char *unit;
        char *from; /* NULL = it was unscheduled */
        char *to;   /* NULL = unschedule */
        char *why;
} PlanDecision;

typedef struct PlanDecisions {
        PlanDecision *list;
        size_t n, cap;
} PlanDecisions;

void plan_done(Plan *p);
void plan_decisions_done(PlanDecisions *d);

/* Adds or replaces; `req` is taken over and emptied. machine may be NULL. */
void plan_set_unit(Plan *p, const char *name, const char *hash, UnitState target, XFleet *req, const char *machine);
void plan_drop_unit(Plan *p, const char *name);
PlanUnit *plan_unit(const Plan *p, const char *name);
void plan_set_machine(Plan *p, const char *id, const Metadata *metadata);
void plan_drop_machine(Plan *p, const char *id); /* and its holders' entries */
PlanMachine *plan_machine(const Plan *p, const char *id);
/* True when this may change what plan_decide() finds: a unit that waits for its old copy has lost it. */
bool plan_set_holder(Plan *p, const char *unit, const char *machine, bool holds);

/* One round: decisions are appended to *ret in the order they are to be carried out, and already applied to the
 * plan itself. A decision that the registry refuses is put right by a later plan_set_unit(). */
void plan_decide(Plan *p, bool settled, PlanDecisions *ret);
/* Why a unit is not on any machine: one line, or several with one machine each; owned. NULL when it is placed,
 * or wants no machine. *ret_waiting: it will move on without anybody's help (a settle period, a stop). */
char *plan_explain(Plan *p, const char *name, bool *ret_waiting);

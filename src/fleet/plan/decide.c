/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "fleet/plan/glob.h"
#include "fleet/plan/plan.h"

#include <stdlib.h>

/* ---- what is on a machine ---- */

static void here_add(PlanMachine *m, PlanUnit *u) {
        GROW(m->here, m->cap_here, m->n_here + 1);
        m->here[m->n_here++] = u;
}

static void here_drop(PlanMachine *m, const PlanUnit *u) {
        for (size_t i = 0; i < m->n_here; i++)
                if (m->here[i] == u) {
                        memmove(m->here + i, m->here + i + 1, (m->n_here - i - 1) * sizeof(*m->here));
                        m->n_here--;
                        return;
                }
}

static bool is_here(const PlanMachine *m, const char *name) {
        for (size_t i = 0; i < m->n_here; i++)
                if (streq(m->here[i]->name, name))
                        return true;
        return false;
}

static bool wants_machine(const PlanUnit *u) {
        return u->hash && u->target != UNIT_INACTIVE;
}

static const PlanUnit *conflicting(const PlanMachine *m, const PlanUnit *u) {
        for (size_t i = 0; i < m->n_here; i++)
                if (xfleet_conflict(u->name, &u->req, m->here[i]->name, &m->here[i]->req))
                        return m->here[i];
        return NULL;
}

/* What every agent works out for itself: the Global units that this machine runs. */
static void add_globals(Plan *p, PlanMachine *m) {
        for (size_t i = 0; i < p->n_units; i++) {
                PlanUnit *u = p->units[i];
                if (wants_machine(u) && u->req.global && xfleet_metadata_ok(&u->req, &m->metadata, NULL) &&
                    !conflicting(m, u))
                        here_add(m, u);
        }
}

static void fill_machines(Plan *p) {
        for (size_t i = 0; i < p->n_machines; i++)
                p->machines[i]->n_here = 0;
        for (size_t i = 0; i < p->n_units; i++) {
                PlanUnit *u = p->units[i];
                PlanMachine *m = u->machine && wants_machine(u) ? plan_machine(p, u->machine) : NULL;
                if (m)
                        here_add(m, u);
        }
        for (size_t i = 0; i < p->n_machines; i++)
                add_globals(p, p->machines[i]);
}

/* ---- may this unit run there ---- */

static bool names(char **globs, const char *name) {
        STRV_FOREACH(g, globs)
                if (glob_matches(*g, name))
                        return true;
        return false;
}

static bool replaces(const PlanUnit *a, const PlanUnit *b) {
        return a != b && names(a->req.replaces, b->name);
}

/* Exactly one of the two replaces the other: a takes b's place. */
static bool supersedes(const PlanUnit *a, const PlanUnit *b) {
        return replaces(a, b) && !replaces(b, a);
}

/* NULL = yes, else the reason, owned. */
static char *refusal(const PlanMachine *m, const PlanUnit *u) {
        _cleanup_free_ char *lacks = NULL;

        if (!xfleet_machine_id_ok(&u->req, m->id))
                return xasprintf("it is bound to machine %s", u->req.machine_id);
        if (!xfleet_metadata_ok(&u->req, &m->metadata, &lacks))
                return xasprintf("metadata %s is missing", lacks);
        STRV_FOREACH(peer, u->req.peers)
                if (!is_here(m, *peer))
                        return xasprintf("peer %s is not there", *peer);
        const PlanUnit *other = conflicting(m, u);
        if (other)
                return xasprintf("conflict with %s", other->name);
        for (size_t i = 0; i < m->n_here; i++)
                if (replaces(m->here[i], u))
                        return xasprintf("%s replaces it there", m->here[i]->name);
        return NULL;
}

/* ---- decisions ---- */

static void assign(PlanUnit *u, const char *to, const char *why) {
        free(u->machine);
        u->machine = to ? xstrdup(to) : NULL;
        if (to && u->why)
                return; /* a move is told by what made it leave */
        free(u->why);
        u->why = xstrdup(why);
}

static void unschedule(Plan *p, PlanUnit *u, const char *why) {
        PlanMachine *m = plan_machine(p, u->machine);
        if (m)
                here_drop(m, u);
        assign(u, NULL, why);
}

/* Takes every unit off a machine where it may not (or no longer wants to) be. One that is taken off may be the
 * peer of another, hence again until nothing changes. */
static bool release_round(Plan *p, bool settled) {
        bool changed = false;

        for (size_t i = 0; i < p->n_units; i++) {
                PlanUnit *u = p->units[i];
                if (!u->machine)
                        continue;
                PlanMachine *m = plan_machine(p, u->machine);
                _cleanup_free_ char *why = NULL;
                if (!wants_machine(u))
                        why = xstrdup("its target state is inactive");
                else if (!m && settled)
                        why = xstrdup("its machine went away");
                else if (m) {
                        here_drop(m, u);
                        why = refusal(m, u);
                        here_add(m, u);
                }
                if (!why)
                        continue;
                unschedule(p, u, why);
                changed = true;
        }
        return changed;
}

static int by_load(const void *a, const void *b) {
        const PlanMachine *x = *(PlanMachine *const *) a, *y = *(PlanMachine *const *) b;
        if (x->n_here != y->n_here)
                return x->n_here < y->n_here ? -1 : 1;
        return strcmp(x->id, y->id);
}

/* A present machine, other than `there`, that still reports a state for the unit. */
static const char *held_elsewhere(const Plan *p, const PlanUnit *u, const char *there) {
        STRV_FOREACH(h, u->holders)
                if (!streq(*h, there) && plan_machine(p, *h))
                        return *h;
        return NULL;
}

static bool holds_superseded(const PlanMachine *m, const PlanUnit *u) {
        for (size_t i = 0; u->req.replaces && i < m->n_here; i++)
                if (supersedes(u, m->here[i]))
                        return true;
        return false;
}

/* Better candidates first: where a copy still is, then where something waits to be replaced, then least loaded
 * (the array is sorted by load already). */
static PlanMachine *choose(Plan *p, PlanMachine **sorted, const PlanUnit *u) {
        PlanMachine *best = NULL;
        int best_rank = -1;

        for (size_t i = 0; i < p->n_machines; i++) {
                PlanMachine *m = sorted[i];
                if (held_elsewhere(p, u, m->id))
                        continue;
                _cleanup_free_ char *no = refusal(m, u);
                if (no)
                        continue;
                int rank = strv_contains(u->holders, m->id) ? 2 : holds_superseded(m, u) ? 1 : 0;
                if (rank > best_rank) {
                        best = m;
                        best_rank = rank;
                }
        }
        return best;
}

static void place(Plan *p, PlanMachine *m, PlanUnit *u) {
        for (size_t i = m->n_here; i-- > 0;) {
                PlanUnit *b = m->here[i];
                if (!b->req.global && supersedes(u, b)) {
                        _cleanup_free_ char *why = xasprintf("%s replaces it", u->name);
                        unschedule(p, b, why);
                }
        }
        here_add(m, u);
        assign(u, m->id, "least loaded of the machines that may run it");
}

static bool place_round(Plan *p) {
        bool changed = false;
        PlanMachine **sorted = xnew(PlanMachine *, p->n_machines + 1);

        for (size_t i = 0; i < p->n_machines; i++)
                sorted[i] = p->machines[i];
        for (size_t i = 0; i < p->n_units; i++) {
                PlanUnit *u = p->units[i];
                if (u->machine || !wants_machine(u) || u->req.global)
                        continue;
                qsort(sorted, p->n_machines, sizeof(*sorted), by_load);
                PlanMachine *m = choose(p, sorted, u);
                if (!m)
                        continue;
                place(p, m, u);
                changed = true;
        }
        free(sorted);
        return changed;
}

/* Bounds the fixed point: units that replace in a circle of three could chase each other for ever. */
#define ROUNDS_MAX 16

/* One decision for each unit that is elsewhere than before, whatever way it took to get there. */
static void tell(Plan *p, char **before, PlanDecisions *d) {
        for (size_t i = 0; i < p->n_units; i++) {
                PlanUnit *u = p->units[i];
                if (streq_ptr(u->machine, before[i]))
                        continue;
                GROW(d->list, d->cap, d->n + 1);
                d->list[d->n++] = (PlanDecision){ .unit = xstrdup(u->name),
                                                  .from = TAKE_PTR(before[i]),
                                                  .to = u->machine ? xstrdup(u->machine) : NULL,
                                                  .why = xstrdup(u->why) };
        }
}

void plan_decide(Plan *p, bool settled, PlanDecisions *ret) {
        assert(p && ret);
        _cleanup_free_ char **before = xnew(char *, p->n_units + 1);
        bool changed = true;

        for (size_t i = 0; i < p->n_units; i++) {
                before[i] = p->units[i]->machine ? xstrdup(p->units[i]->machine) : NULL;
                p->units[i]->why = xfree(p->units[i]->why);
        }
        fill_machines(p);
        for (int i = 0; changed && i < ROUNDS_MAX; i++) {
                while (release_round(p, settled))
                        ;
                changed = place_round(p);
        }
        tell(p, before, ret);
        for (size_t i = 0; i < p->n_units; i++)
                free(before[i]);
}

char *plan_explain(Plan *p, const char *name, bool *ret_waiting) {
        PlanUnit *u = plan_unit(p, name);
        char **lines = NULL;

        *ret_waiting = false;
        if (!u || !wants_machine(u) || u->req.global)
                return NULL;
        if (u->machine) {
                if (plan_machine(p, u->machine))
                        return NULL;
                *ret_waiting = true;
                return xasprintf("machine %s, which it is scheduled on, is away", u->machine);
        }
        if (p->n_machines == 0)
                return xstrdup("there are no machines in the cluster");
        fill_machines(p);
        for (size_t i = 0; i < p->n_machines; i++) {
                PlanMachine *m = p->machines[i];
                const char *holder = held_elsewhere(p, u, m->id);
                _cleanup_free_ char *no = refusal(m, u);
                if (!no && !holder)
                        *ret_waiting = true;
                if (!no && holder) {
                        *ret_waiting = true;
                        no = xasprintf("it has not yet stopped on %s", holder);
                }
                strv_addf(&lines, "%.8s...: %s", m->id, no ? no : "it may run there, the engine has not placed it yet");
        }
        char *text = strv_join(lines, "\n");
        strv_free(lines);
        return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "fleet/plan/plan.h"

static const char *const state_names[_UNIT_STATE_MAX] = { "inactive", "loaded", "launched" };

const char *unit_state_to_string(UnitState s) {
        assert(s >= 0 && s < _UNIT_STATE_MAX);
        return state_names[s];
}

UnitState unit_state_from_string(const char *s) {
        for (int i = 0; s && i < _UNIT_STATE_MAX; i++)
                if (streq(s, state_names[i]))
                        return (UnitState) i;
        return _UNIT_STATE_INVALID;
}

static void unit_free(PlanUnit *u) {
        free(u->name);
        free(u->hash);
        free(u->machine);
        free(u->why);
        strv_free(u->holders);
        xfleet_done(&u->req);
        free(u);
}

static void machine_free(PlanMachine *m) {
        free(m->id);
        metadata_done(&m->metadata);
        free(m->here);
        free(m);
}

void plan_done(Plan *p) {
        for (size_t i = 0; i < p->n_units; i++)
                unit_free(p->units[i]);
        for (size_t i = 0; i < p->n_machines; i++)
                machine_free(p->machines[i]);
        free(p->units);
        free(p->machines);
        *p = (Plan){};
}

void plan_decisions_done(PlanDecisions *d) {
        for (size_t i = 0; i < d->n; i++) {
                free(d->list[i].unit);
                free(d->list[i].from);
                free(d->list[i].to);
                free(d->list[i].why);
        }
        free(d->list);
        *d = (PlanDecisions){};
}

/* Where the unit is, or where it would have to be put in. */
static size_t unit_index(const Plan *p, const char *name, bool *ret_found) {
        size_t lo = 0, hi = p->n_units;
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (strcmp(p->units[mid]->name, name) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        *ret_found = lo < p->n_units && streq(p->units[lo]->name, name);
        return lo;
}

static size_t machine_index(const Plan *p, const char *id, bool *ret_found) {
        size_t lo = 0, hi = p->n_machines;
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (strcmp(p->machines[mid]->id, id) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        *ret_found = lo < p->n_machines && streq(p->machines[lo]->id, id);
        return lo;
}

PlanUnit *plan_unit(const Plan *p, const char *name) {
        bool found;
        size_t at = unit_index(p, name, &found);
        return found ? p->units[at] : NULL;
}

PlanMachine *plan_machine(const Plan *p, const char *id) {
        bool found;
        size_t at = machine_index(p, id, &found);
        return found ? p->machines[at] : NULL;
}

static PlanUnit *unit_obtain(Plan *p, const char *name) {
        bool found;
        size_t at = unit_index(p, name, &found);
        if (found)
                return p->units[at];
        GROW(p->units, p->cap_units, p->n_units + 1);
        memmove(p->units + at + 1, p->units + at, (p->n_units - at) * sizeof(*p->units));
        p->n_units++;
        p->units[at] = xnew(PlanUnit, 1);
        p->units[at]->name = xstrdup(name);
        return p->units[at];
}

/* A name whose job is gone stays as long as some machine reports a state for it: hash is NULL then. */
static void unit_forget(Plan *p, const char *name) {
        bool found;
        size_t at = unit_index(p, name, &found);
        if (!found)
                return;
        PlanUnit *u = p->units[at];
        if (u->hash || (u->holders && u->holders[0]))
                return;
        unit_free(u);
        p->n_units--;
        memmove(p->units + at, p->units + at + 1, (p->n_units - at) * sizeof(*p->units));
}

void plan_set_unit(Plan *p, const char *name, const char *hash, UnitState target, XFleet *req, const char *machine) {
        assert(name && hash && req);
        assert(target >= 0 && target < _UNIT_STATE_MAX);
        PlanUnit *u = unit_obtain(p, name);

        free(u->hash);
        u->hash = xstrdup(hash);
        u->target = target;
        xfleet_done(&u->req);
        u->req = *req;
        *req = (XFleet){};
        free(u->machine);
        u->machine = machine && !u->req.global ? xstrdup(machine) : NULL;
}

void plan_drop_unit(Plan *p, const char *name) {
        PlanUnit *u = plan_unit(p, name);
        if (!u)
                return;
        u->hash = xfree(u->hash);
        u->machine = xfree(u->machine);
        u->target = UNIT_INACTIVE;
        xfleet_done(&u->req);
        unit_forget(p, name);
}

bool plan_set_holder(Plan *p, const char *name, const char *machine, bool holds) {
        PlanUnit *u = holds ? unit_obtain(p, name) : plan_unit(p, name);
        char **keep = NULL;

        if (!u || strv_contains(u->holders, machine) == holds)
                return false;
        STRV_FOREACH(h, u->holders)
                if (!streq(*h, machine))
                        strv_add(&keep, *h);
        if (holds)
                strv_add(&keep, machine);
        strv_free(u->holders);
        u->holders = keep;
        bool waits = !holds && u->hash && !u->machine && u->target != UNIT_INACTIVE;
        unit_forget(p, name);
        return waits;
}

void plan_set_machine(Plan *p, const char *id, const Metadata *metadata) {
        bool found;
        size_t at = machine_index(p, id, &found);

        if (!found) {
                GROW(p->machines, p->cap_machines, p->n_machines + 1);
                memmove(p->machines + at + 1, p->machines + at, (p->n_machines - at) * sizeof(*p->machines));
                p->n_machines++;
                p->machines[at] = xnew(PlanMachine, 1);
                p->machines[at]->id = xstrdup(id);
        }
        metadata_done(&p->machines[at]->metadata);
        metadata_copy(metadata, &p->machines[at]->metadata);
}

void plan_drop_machine(Plan *p, const char *id) {
        bool found;
        size_t at = machine_index(p, id, &found);

        if (!found)
                return;
        _cleanup_free_ char *copy = xstrdup(id);
        machine_free(p->machines[at]);
        p->n_machines--;
        memmove(p->machines + at, p->machines + at + 1, (p->n_machines - at) * sizeof(*p->machines));
        for (size_t i = p->n_units; i-- > 0;)
                if (strv_contains(p->units[i]->holders, copy))
                        (void) plan_set_holder(p, p->units[i]->name, copy, false);
}

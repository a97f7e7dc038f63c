/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "fleet/plan/glob.h"
#include "fleet/plan/plan.h"

#include <stdio.h>

/* Random clusters by seed: whatever happens, the engine's rules hold after every round, a second round finds nothing
 * to do, and a unit that stayed where it may be was not moved. A failure prints its seed. */

#define SEEDS 1500
#define STEPS 25
#define MACHINES 5
#define UNITS 10

static uint64_t state;

static unsigned draw(unsigned n) {
        state += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = state;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return (unsigned) ((z ^ (z >> 31)) % n);
}

static char *unit_name(unsigned i) {
        return xasprintf("u%u.service", i);
}

static void random_requirements(const char *name, XFleet *ret) {
        _cleanup_(unitfile_done) UnitFile f = {};
        char text[64];

        switch (draw(9)) {
        case 0:
                unitfile_add(&f, "X-Fleet", "Global", "true");
                break;
        case 1:
                (void) snprintf(text, sizeof(text), "u%u.service", draw(UNITS));
                unitfile_add(&f, "X-Fleet", "MachineOf", text);
                break;
        case 2:
                (void) snprintf(text, sizeof(text), "u%u.*", draw(UNITS));
                unitfile_add(&f, "X-Fleet", "Conflicts", text);
                break;
        case 3:
                unitfile_add(&f, "X-Fleet", "Conflicts", draw(2) ? "u[0-4].service" : "*");
                break;
        case 4:
                (void) snprintf(text, sizeof(text), "zone=%c", 'a' + (char) draw(3));
                unitfile_add(&f, "X-Fleet", "MachineMetadata", text);
                break;
        case 5:
                (void) snprintf(text, sizeof(text), "u%u.service", draw(UNITS));
                unitfile_add(&f, "X-Fleet", "Replaces", text);
                break;
        case 6:
                (void) snprintf(text, sizeof(text), "m%u", draw(MACHINES));
                unitfile_add(&f, "X-Fleet", "MachineID", text);
                break;
        }
        xfleet_read(&f, name, ret);
}

static void random_step(Plan *p) {
        _cleanup_free_ char *name = unit_name(draw(UNITS));
        _cleanup_(xfleet_done) XFleet req = {};
        _cleanup_(metadata_done) Metadata m = {};
        char id[8], zone[2] = { (char) ('a' + (char) draw(3)), 0 };
        PlanUnit *u = plan_unit(p, name);

        (void) snprintf(id, sizeof(id), "m%u", draw(MACHINES));
        switch (draw(6)) {
        case 0:
        case 1:
                random_requirements(name, &req);
                if (xfleet_validate(&req, NULL) >= 0) {
                        _cleanup_free_ char *machine = u && u->machine ? xstrdup(u->machine) : NULL;
                        plan_set_unit(p, name, "h", UNIT_LAUNCHED, &req, machine);
                }
                break;
        case 2:
                if (draw(2))
                        plan_drop_unit(p, name);
                else if (u)
                        u->target = (UnitState) draw(3);
                break;
        case 3:
        case 4:
                metadata_set(&m, "zone", zone);
                plan_set_machine(p, id, &m);
                break;
        case 5:
                plan_drop_machine(p, id);
                break;
        }
}

static const char *name_or_dash(const char *s) {
        return s ? s : "-";
}

/* As the agents would see it. */
static void check_pair(uint64_t seed, const PlanUnit *a, const PlanUnit *b) {
        if (!a->machine || !streq_ptr(a->machine, b->machine))
                return;
        if (xfleet_conflict(a->name, &a->req, b->name, &b->req))
                test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": %s and %s conflict on %s", seed, a->name, b->name,
                          a->machine);
        STRV_FOREACH(g, a->req.replaces)
                if (glob_matches(*g, b->name))
                        test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": %s and what it replaces are both on %s", seed,
                                  a->name, a->machine);
}

static bool peer_there(const Plan *p, const PlanUnit *u, const char *peer) {
        const PlanUnit *o = plan_unit(p, peer);
        return o && o->hash && o->target != UNIT_INACTIVE && (o->req.global || streq_ptr(o->machine, u->machine));
}

static void check_unit(uint64_t seed, const Plan *p, const PlanUnit *u) {
        if (!u->machine)
                return;
        const PlanMachine *m = plan_machine(p, u->machine);
        bool good = m && u->hash && u->target != UNIT_INACTIVE && !u->req.global &&
                    xfleet_metadata_ok(&u->req, &m->metadata, NULL) && xfleet_machine_id_ok(&u->req, m->id);
        STRV_FOREACH(peer, u->req.peers)
                good = good && peer_there(p, u, *peer);
        if (!good)
                test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": %s may not be on %s", seed, u->name, u->machine);
        for (size_t i = 0; i < p->n_units; i++)
                if (p->units[i] != u)
                        check_pair(seed, u, p->units[i]);
}

static void check(uint64_t seed, Plan *p) {
        PlanDecisions again = {};

        for (size_t i = 0; i < p->n_units; i++)
                check_unit(seed, p, p->units[i]);
        plan_decide(p, true, &again);
        if (again.n > 0)
                test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": a second round moves %s from %s to %s (%s)", seed,
                          again.list[0].unit, name_or_dash(again.list[0].from), name_or_dash(again.list[0].to),
                          again.list[0].why);
        plan_decisions_done(&again);
}

/* What is decided names the unit once, and says truly where it was. */
static void check_decisions(uint64_t seed, const Plan *p, const PlanDecisions *d) {
        for (size_t i = 0; i < d->n; i++) {
                const PlanUnit *u = plan_unit(p, d->list[i].unit);
                ASSERT_NOT_NULL(u);
                bool last = true;
                for (size_t k = i + 1; k < d->n; k++)
                        last = last && !streq(d->list[k].unit, u->name);
                if (!last)
                        test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": two decisions about %s in one round", seed,
                                  u->name);
                if (!streq_ptr(d->list[i].to, u->machine))
                        test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": %s is not where it was decided", seed, u->name);
        }
}

TEST(random_clusters) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                Plan p = {};
                state = seed * 7919;
                for (int step = 0; step < STEPS; step++) {
                        PlanDecisions d = {};
                        for (unsigned n = draw(3) + 1; n > 0; n--)
                                random_step(&p);
                        plan_decide(&p, true, &d);
                        check_decisions(seed, &p, &d);
                        plan_decisions_done(&d);
                        check(seed, &p);
                }
                plan_done(&p);
        }
}

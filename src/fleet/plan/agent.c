/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/plan/agent.h"

#include "base/alloc.h"
#include "base/str.h"

const char *agent_task_to_string(AgentTaskKind k) {
        static const char *const names[] = { "none", "load", "start", "stop", "unload" };
        assert((size_t) k < ELEMENTSOF(names));
        return names[k];
}

static void unit_free(AgentUnit *u) {
        free(u->name);
        free(u->want_hash);
        free(u->refused);
        free(u->hash);
        free(u->doing_hash);
        free(u->error);
        xfleet_done(&u->req);
        xfleet_done(&u->here_req);
        free(u);
}

void agent_plan_done(AgentPlan *a) {
        for (size_t i = 0; i < a->n; i++)
                unit_free(a->units[i]);
        free(a->units);
        metadata_done(&a->metadata);
        *a = (AgentPlan){};
}

static size_t unit_index(const AgentPlan *a, const char *name, bool *ret_found) {
        size_t lo = 0, hi = a->n;
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (strcmp(a->units[mid]->name, name) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        *ret_found = lo < a->n && streq(a->units[lo]->name, name);
        return lo;
}

AgentUnit *agent_unit(const AgentPlan *a, const char *name) {
        bool found;
        size_t at = unit_index(a, name, &found);
        return found ? a->units[at] : NULL;
}

static AgentUnit *unit_obtain(AgentPlan *a, const char *name) {
        bool found;
        size_t at = unit_index(a, name, &found);
        if (found)
                return a->units[at];
        GROW(a->units, a->cap, a->n + 1);
        memmove(a->units + at + 1, a->units + at, (a->n - at) * sizeof(*a->units));
        a->n++;
        a->units[at] = xnew(AgentUnit, 1);
        a->units[at]->name = xstrdup(name);
        return a->units[at];
}

static void forget_if_idle(AgentPlan *a, const char *name) {
        bool found;
        size_t at = unit_index(a, name, &found);
        if (!found || a->units[at]->wanted || a->units[at]->present || a->units[at]->doing != AGENT_NONE)
                return;
        unit_free(a->units[at]);
        a->n--;
        memmove(a->units + at, a->units + at + 1, (a->n - at) * sizeof(*a->units));
}

static void reset_failures(AgentUnit *u) {
        u->failures = 0;
        u->retry_at = 0;
        u->error = xfree(u->error);
}

void agent_want(AgentPlan *a, const char *name, const char *hash, UnitState want, XFleet *req) {
        assert(name && hash && req);
        AgentUnit *u = unit_obtain(a, name);

        if (!u->wanted || !streq_ptr(u->want_hash, hash) || u->want != want)
                reset_failures(u); /* somebody changed it: try at once */
        u->wanted = true;
        u->want = want;
        u->global = req->global;
        free(u->want_hash);
        u->want_hash = xstrdup(hash);
        xfleet_done(&u->req);
        u->req = *req;
        *req = (XFleet){};
}

void agent_unwant(AgentPlan *a, const char *name) {
        AgentUnit *u = agent_unit(a, name);
        if (!u)
                return;
        if (u->wanted)
                reset_failures(u);
        u->wanted = false;
        forget_if_idle(a, name);
}

void agent_found(AgentPlan *a, const char *name, const char *hash, bool launched, XFleet *req) {
        AgentUnit *u = unit_obtain(a, name);

        assert(!u->present);
        u->present = true;
        u->hash = xstrdup(hash);
        u->current = launched ? UNIT_LAUNCHED : UNIT_LOADED;
        u->start_called = launched;
        u->here_req = *req;
        *req = (XFleet){};
}

void agent_set_metadata(AgentPlan *a, const Metadata *m) {
        metadata_done(&a->metadata);
        metadata_copy(m, &a->metadata);
}

static bool wants_here(const AgentUnit *u) {
        return u->wanted && u->want != UNIT_INACTIVE;
}

static void accept_one(AgentPlan *a, AgentUnit *u, AgentUnit **accepted, size_t *n) {
        char *no = NULL, *lacks = NULL;

        if (u->global && !xfleet_metadata_ok(&u->req, &a->metadata, &lacks))
                no = xasprintf("metadata %s is missing", lacks);
        free(lacks);
        for (size_t i = 0; i < *n && !no; i++)
                if (xfleet_conflict(u->name, &u->req, accepted[i]->name, &accepted[i]->req))
                        no = xasprintf("conflict with %s", accepted[i]->name);
        free_and_replace(u->refused, no);
        if (!u->refused)
                accepted[(*n)++] = u;
}

/* Scheduled units come first, for the engine has looked at them; Global ones take what room is left. */
static void accept_all(AgentPlan *a) {
        _cleanup_free_ AgentUnit **accepted = xnew(AgentUnit *, a->n + 1);
        size_t n = 0;

        for (size_t i = 0; i < a->n; i++)
                if (wants_here(a->units[i]) && !a->units[i]->global)
                        accept_one(a, a->units[i], accepted, &n);
        for (size_t i = 0; i < a->n; i++)
                if (wants_here(a->units[i]) && a->units[i]->global)
                        accept_one(a, a->units[i], accepted, &n);
}

/* Something that conflicts with it is here, or on its way: it has to go first. */
static bool blocked(const AgentPlan *a, const AgentUnit *u) {
        for (size_t i = 0; i < a->n; i++) {
                const AgentUnit *o = a->units[i];
                if (o != u && o->present && xfleet_conflict(u->name, &u->req, o->name, &o->here_req))
                        return true;
                if (o != u && o->doing == AGENT_LOAD && xfleet_conflict(u->name, &u->req, o->name, &o->req))
                        return true;
        }
        return false;
}

static AgentTaskKind next_task(const AgentPlan *a, const AgentUnit *u) {
        bool want = wants_here(u) && !u->refused;

        if (u->present && (!want || !streq(u->hash, u->want_hash)))
                return AGENT_UNLOAD;
        if (!want)
                return AGENT_NONE;
        if (!u->present)
                return blocked(a, u) ? AGENT_NONE : AGENT_LOAD;
        if (u->want == UNIT_LAUNCHED && u->current == UNIT_LOADED)
                return AGENT_START;
        if (u->want == UNIT_LOADED && (u->current == UNIT_LAUNCHED || u->start_called))
                return AGENT_STOP;
        return AGENT_NONE;
}

static void begin(AgentPlan *a, AgentUnit *u, AgentTaskKind k, AgentTasks *ret) {
        a->doing += u->doing == AGENT_NONE;
        u->doing = k;
        if (k == AGENT_LOAD) {
                free(u->doing_hash);
                u->doing_hash = xstrdup(u->want_hash);
                xfleet_done(&u->here_req);
                xfleet_copy(&u->req, &u->here_req);
        }
        if (k == AGENT_START)
                u->start_called = true;
        GROW(ret->list, ret->cap, ret->n + 1);
        ret->list[ret->n++] = (AgentTask){ .kind = k, .name = u->name,
                                           .hash = k == AGENT_LOAD ? u->doing_hash : u->hash };
}

static bool any_loading(const AgentPlan *a) {
        for (size_t i = 0; i < a->n; i++)
                if (a->units[i]->doing == AGENT_LOAD)
                        return true;
        return false;
}

/* Units are started when no other is being loaded: one may require the other (a sidekick that binds itself to its
 * main unit), and systemd has to know both by then. */
static void begin_all(AgentPlan *a, Usec now, bool starts, AgentTasks *ret) {
        for (size_t i = 0; i < a->n && a->doing < AGENT_TASKS_MAX; i++) {
                AgentUnit *u = a->units[i];
                if ((u->doing != AGENT_NONE && u->doing != AGENT_START) || u->retry_at > now)
                        continue;
                AgentTaskKind k = next_task(a, u);
                if (k == AGENT_NONE || (k == AGENT_START) != starts)
                        continue;
                if (u->doing == AGENT_NONE || k == AGENT_STOP || k == AGENT_UNLOAD)
                        begin(a, u, k, ret);
        }
}

void agent_next(AgentPlan *a, Usec now, AgentTasks *ret) {
        accept_all(a);
        begin_all(a, now, false, ret);
        if (!any_loading(a))
                begin_all(a, now, true, ret);
}

static void succeeded(AgentUnit *u, AgentTaskKind k) {
        reset_failures(u);
        if (k == AGENT_LOAD) {
                u->present = true;
                free_and_replace(u->hash, u->doing_hash);
                u->current = UNIT_LOADED;
        } else if (k == AGENT_START)
                u->current = UNIT_LAUNCHED;
        else if (k == AGENT_STOP)
                u->current = UNIT_LOADED;
        else {
                u->present = false;
                u->hash = xfree(u->hash);
                u->current = UNIT_INACTIVE;
        }
        u->start_called = u->current == UNIT_LAUNCHED;
}

void agent_finished(AgentPlan *a, const char *name, const char *error, Usec now) {
        AgentUnit *u = agent_unit(a, name);
        assert(u && u->doing != AGENT_NONE);
        assert(a->doing > 0);
        AgentTaskKind k = u->doing;

        u->doing = AGENT_NONE;
        a->doing--;
        if (!error)
                succeeded(u, k);
        else {
                Usec wait = USEC_PER_SEC << MIN(u->failures, 6U);
                u->failures++;
                u->retry_at = usec_add(now, MIN(wait, AGENT_RETRY_MAX_USEC));
                free(u->error);
                u->error = xstrdup(error);
        }
        forget_if_idle(a, u->name);
}

Usec agent_wakeup(const AgentPlan *a) {
        Usec at = USEC_NEVER;
        for (size_t i = 0; i < a->n; i++)
                if (a->units[i]->failures > 0 && a->units[i]->doing == AGENT_NONE)
                        at = MIN(at, a->units[i]->retry_at);
        return at;
}

UnitState agent_reported(const AgentUnit *u) {
        return u->present && u->start_called && u->doing != AGENT_START ? UNIT_LAUNCHED : u->current;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/agent-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/log.h"

#include <stdlib.h>

/* ---- locals ---- */

Local *local_get(const Agent *a, const char *name) {
        return map_gets(&a->locals, name);
}

Local *local_obtain(Agent *a, const char *name) {
        Local *l = local_get(a, name);
        if (!l) {
                l = xnew(Local, 1);
                l->agent = a;
                l->name = xstrdup(name);
                (void) map_puts(&a->locals, name, l);
        }
        return l;
}

static void local_free(Local *l) {
        publish_done(l);
        systemd_cancel(l->op);
        for (int k = 0; k < _WANT_MAX; k++)
                free(l->want[k].hash);
        free(l->name);
        free(l->hash);
        free(l->error);
        free(l->load);
        free(l->active);
        free(l->sub);
        free(l);
}

void local_forget_if_idle(Agent *a, const char *name) {
        Local *l = local_get(a, name);
        if (!l || l->published || l->call || l->op || l->doing != AGENT_NONE || agent_unit(&a->plan, name) ||
            l->want[WANT_SCHEDULED].hash || l->want[WANT_GLOBAL].hash)
                return;
        systemd_unwatch(a->systemd, name);
        (void) map_dels(&a->locals, name);
        local_free(l);
}

/* ---- leaving ---- */

static bool all_quiet(const Agent *a) {
        if (!a->only_wait)
                return a->plan.n == 0;
        for (MapIter i = {}; map_next(&a->locals, &i);) {
                const Local *l = i.value;
                if (l->active && !streq(l->active, "inactive") && !streq(l->active, "failed"))
                        return false;
        }
        return true;
}

static void check_left(Agent *a) {
        if (!a->leaving || !a->left || !all_quiet(a))
                return;
        void (*left)(void *) = a->left;
        a->left = NULL;
        left(a->left_user);
}

static int on_patience(sd_event_source *s, uint64_t usec, void *user) {
        Agent *a = user;
        void (*left)(void *) = a->left;
        a->left = NULL;
        if (left) {
                log_warning("units are still here after all the patience there was");
                left(a->left_user);
        }
        return 0;
}

void agent_leave(Agent *a, bool only_wait, Usec patience, void (*done)(void *user), void *user) {
        sync_end(a);
        a->leaving = true;
        a->only_wait = only_wait;
        a->left = done;
        a->left_user = user;
        if (!only_wait)
                for (size_t i = a->plan.n; i-- > 0;)
                        agent_unwant(&a->plan, a->plan.units[i]->name);
        (void) sd_event_add_time_relative(a->event, &a->patience, CLOCK_MONOTONIC, patience, 1, on_patience, a);
        agent_run_soon(a);
}

/* ---- running ---- */

static int on_wakeup(sd_event_source *s, uint64_t usec, void *user) {
        agent_run_soon(user);
        return 0;
}

static int on_run(sd_event_source *s, uint64_t usec, void *user) {
        Agent *a = user;
        AgentTasks tasks = {};

        a->run_due = sd_event_source_disable_unref(a->run_due);
        if (a->discovered && (a->leaving ? !a->only_wait : a->synced))
                agent_next(&a->plan, now_monotonic(), &tasks);
        for (size_t i = 0; i < tasks.n; i++)
                task_begin(local_obtain(a, tasks.list[i].name), tasks.list[i].kind, tasks.list[i].hash);
        free(tasks.list);

        Usec at = agent_wakeup(&a->plan);
        a->wakeup = sd_event_source_disable_unref(a->wakeup);
        if (at != USEC_NEVER)
                (void) sd_event_add_time(a->event, &a->wakeup, CLOCK_MONOTONIC, at, 1, on_wakeup, a);
        check_left(a);
        return 0;
}

/* At the end of this turn of the loop, once however many events there were. */
void agent_run_soon(Agent *a) {
        if (!a->run_due)
                (void) sd_event_add_time_relative(a->event, &a->run_due, CLOCK_MONOTONIC, 0, 1, on_run, a);
}

/* ---- systemd's word ---- */

static void on_systemd(void *user) {
        discover(user);
}

static void on_state(const char *name, const SystemdState *state, void *user) {
        Agent *a = user;
        Local *l = local_get(a, name);

        if (!l)
                return;
        log_debug("%s is %s/%s/%s", name, state->load, state->active, state->sub);
        free(l->load);
        free(l->active);
        free(l->sub);
        l->load = xstrdup(state->load);
        l->active = xstrdup(state->active);
        l->sub = xstrdup(state->sub);
        publish(l);
        if (a->leaving)
                agent_run_soon(a);
}

typedef struct Question {
        void (*answer)(bool stopping, void *user);
        void *user;
} Question;

static void on_system_state(const char *state, void *user) {
        _cleanup_free_ Question *q = user;
        q->answer(streq_ptr(state, "stopping"), q->user);
}

void agent_machine_stopping(Agent *a, void (*answer)(bool stopping, void *user), void *user) {
        Question *q = xnew(Question, 1);
        *q = (Question){ answer, user };
        systemd_system_state(a->systemd, on_system_state, q);
}

/* ---- sessions ---- */

void agent_session(Agent *a, int64_t lease) {
        if (a->leaving)
                return;
        a->lease = lease;
        sync_begin(a);
}

void agent_session_lost(Agent *a) {
        a->lease = 0;
        a->synced = false;
        sync_end(a);
        for (MapIter i = {}; map_next(&a->locals, &i);)
                publish_done(i.value);
}

size_t agent_count(const Agent *a) {
        return a->plan.n;
}

/* "/run/fleet/units/" gives "/run/fleet/launched". */
static char *marks_beside(const char *units_dir) {
        size_t n = strlen(units_dir);
        while (n > 1 && units_dir[n - 1] == '/')
                n--;
        while (n > 0 && units_dir[n - 1] != '/')
                n--;
        return xasprintf("%.*slaunched", (int) n, units_dir);
}

Agent *agent_new(const AgentConfig *config) {
        Agent *a = xnew(Agent, 1);
        SystemdHandlers handlers = { .on_connected = on_systemd, .on_state = on_state, .user = a };

        a->event = sd_event_ref(config->event);
        a->registry = config->registry;
        a->machine_id = xstrdup(config->machine_id);
        a->units_dir = xstrdup(config->units_directory);
        a->marks_dir = marks_beside(config->units_directory);
        metadata_copy(config->metadata, &a->configured);
        metadata_copy(config->metadata, &a->plan.metadata);
        a->systemd = systemd_new(config->event, config->systemd_user, &handlers);
        if (!systemd_connected(a->systemd))
                log_error("%s; trying again every second", systemd_problem(a->systemd));
        return a;
}

Agent *agent_free(Agent *a) {
        if (!a)
                return NULL;
        sync_end(a);
        for (MapIter i = {}; map_next(&a->locals, &i);)
                local_free(i.value);
        map_done(&a->locals);
        systemd_cancel(a->query);
        a->systemd = systemd_free(a->systemd);
        sd_event_source *const sources[] = { a->run_due, a->wakeup, a->publish_timer, a->patience };
        for (size_t i = 0; i < ELEMENTSOF(sources); i++)
                sd_event_source_disable_unref(sources[i]);
        agent_plan_done(&a->plan);
        metadata_done(&a->configured);
        metadata_done(&a->overlay);
        strv_free(a->removed);
        free(a->machine_id);
        free(a->units_dir);
        free(a->marks_dir);
        sd_event_unref(a->event);
        free(a);
        return NULL;
}

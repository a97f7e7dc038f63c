/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/agent-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/log.h"

/* Each task is a list of steps; a step is begun, and its end begins the next one. */

typedef void (*Step)(Local *l);

static void next_step(Local *l);
static void task_end(Local *l, const char *error);

char *unit_path(const Agent *a, const char *name) {
        return path_join(a->units_dir, name);
}

char *mark_path(const Agent *a, const char *name) {
        return path_join(a->marks_dir, name);
}

static void on_step(const char *error, void *user) {
        Local *l = user;
        l->op = NULL;
        if (error)
                task_end(l, error);
        else
                next_step(l);
}

/* ---- load ---- */

static void step_write(Local *l) {
        Agent *a = l->agent;
        const UnitFile *u = registry_unit(a->registry, l->hash);
        _cleanup_free_ char *path = unit_path(a, l->name);

        if (!u) {
                l->changed = true; /* it has to be read once more */
                task_end(l, "the unit's content is not at hand");
                sync_apply(a);
                return;
        }
        _cleanup_free_ char *text = unitfile_text(u);
        int r = mkdir_p(a->units_dir, 0755);
        if (r >= 0)
                r = write_file_atomic(path, text, strlen(text), 0644);
        if (r < 0) {
                _cleanup_free_ char *error = xasprintf("cannot write %s: %s", path, strerror(-r));
                task_end(l, error);
                return;
        }
        next_step(l);
}

static void step_link(Local *l) {
        _cleanup_free_ char *path = unit_path(l->agent, l->name);
        l->op = systemd_link(l->agent->systemd, path, on_step, l);
}

static void on_cleaned(const char *error, void *user) {
        Local *l = user;
        _cleanup_free_ char *path = unit_path(l->agent, l->name), *why = TAKE_PTR(l->error);
        l->op = NULL;
        (void) unlink(path);
        task_end(l, why);
}

/* A unit that cannot be enabled leaves no trace, so that it is tried again from the start. */
static void on_enabled(const char *error, void *user) {
        Local *l = user;
        l->op = NULL;
        if (!error) {
                next_step(l);
                return;
        }
        l->error = xasprintf("cannot enable it: %s", error);
        l->op = systemd_disable(l->agent->systemd, l->name, on_cleaned, l);
}

static void step_enable(Local *l) {
        const UnitFile *u = registry_unit(l->agent->registry, l->hash);
        _cleanup_free_ char *path = unit_path(l->agent, l->name);

        if (u && unitfile_has_section(u, "Install"))
                l->op = systemd_enable(l->agent->systemd, path, on_enabled, l);
        else
                next_step(l);
}

/* What [Install] links in changes other units too, and those are only read again by a reload. */
static void step_refresh(Local *l) {
        const UnitFile *u = registry_unit(l->agent->registry, l->hash);
        bool installs = !u || unitfile_has_section(u, "Install");
        l->op = systemd_refresh(l->agent->systemd, l->name, installs, on_step, l);
}

static void step_query(Local *l) {
        char *names[] = { l->name, NULL };
        systemd_watch(l->agent->systemd, l->name);
        l->op = systemd_query(l->agent->systemd, names, on_step, l);
}

/* ---- start and stop ---- */

static void step_mark(Local *l) {
        _cleanup_free_ char *path = mark_path(l->agent, l->name);
        const AgentUnit *u = agent_unit(&l->agent->plan, l->name);

        (void) mkdir_p(l->agent->marks_dir, 0755);
        int r = write_file_atomic(path, u->hash, strlen(u->hash), 0644);
        if (r < 0)
                log_warning("cannot write %s: %s", path, strerror(-r));
        next_step(l);
}

static void step_start(Local *l) {
        l->op = systemd_start(l->agent->systemd, l->name, on_step, l);
}

static void step_stop(Local *l) {
        l->op = systemd_stop(l->agent->systemd, l->name, on_step, l);
}

static void step_unmark(Local *l) {
        _cleanup_free_ char *path = mark_path(l->agent, l->name);
        (void) unlink(path);
        next_step(l);
}

/* ---- unload ---- */

static void step_disable(Local *l) {
        l->op = systemd_disable(l->agent->systemd, l->name, on_step, l);
}

static void step_reset(Local *l) {
        l->op = systemd_reset_failed(l->agent->systemd, l->name, on_step, l);
}

static bool file_installs(const char *path) {
        _cleanup_(buf_done) Buf text = {};
        _cleanup_(unitfile_done) UnitFile u = {};
        if (read_file(path, UNITFILE_BYTES_MAX, &text) < 0 ||
            unitfile_parse(buf_str(&text), text.len, 0, &u, NULL) < 0)
                return true;
        return unitfile_has_section(&u, "Install");
}

static void step_unlink(Local *l) {
        _cleanup_free_ char *path = unit_path(l->agent, l->name);
        l->reload = file_installs(path);
        (void) unlink(path);
        next_step(l);
}

/* A unit without links in others is forgotten by systemd of its own accord once it is inactive. */
static void step_reload(Local *l) {
        if (l->reload)
                l->op = systemd_reload(l->agent->systemd, on_step, l);
        else
                next_step(l);
}

static void step_unwatch(Local *l) {
        systemd_unwatch(l->agent->systemd, l->name);
        l->load = xfree(l->load);
        l->active = xfree(l->active);
        l->sub = xfree(l->sub);
        next_step(l);
}

static const Step load_steps[] = { step_write, step_link, step_enable, step_refresh, step_query, NULL };
static const Step start_steps[] = { step_mark, step_start, step_query, NULL };
static const Step stop_steps[] = { step_stop, step_unmark, step_query, NULL };
static const Step unload_steps[] = { step_stop,   step_disable, step_reset,   step_unlink,
                                     step_unmark, step_reload,  step_unwatch, NULL };

static const Step *steps_of(AgentTaskKind k) {
        switch (k) {
        case AGENT_LOAD:
                return load_steps;
        case AGENT_START:
                return start_steps;
        case AGENT_STOP:
                return stop_steps;
        case AGENT_UNLOAD:
                return unload_steps;
        case AGENT_NONE:
                break;
        }
        assert(false);
        return NULL;
}

static void next_step(Local *l) {
        Step step = steps_of(l->doing)[l->step++];
        if (step)
                step(l);
        else
                task_end(l, NULL);
}

static void task_end(Local *l, const char *error) {
        Agent *a = l->agent;
        _cleanup_free_ char *name = xstrdup(l->name), *why = error ? xstrdup(error) : NULL;
        const char *what = agent_task_to_string(l->doing);

        if (why)
                log_error("cannot %s %s: %s", what, name, why);
        else
                log_debug("%s: %s done", name, what);
        l->doing = AGENT_NONE;
        if (why)
                why = ({ char *old = why; char *s = xasprintf("cannot %s: %s", what, old); free(old); s; });
        agent_finished(&a->plan, name, why, now_monotonic());
        publish(l);
        agent_run_soon(a);
}

void task_begin(Local *l, AgentTaskKind kind, const char *hash) {
        l->op = systemd_cancel(l->op); /* a start that a stop takes the place of */
        log_info("%s: %s", l->name, agent_task_to_string(kind));
        l->doing = kind;
        l->step = 0;
        free(l->hash);
        l->hash = hash ? xstrdup(hash) : NULL;
        l->error = xfree(l->error);
        next_step(l);
}

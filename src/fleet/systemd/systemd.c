/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/systemd/systemd-internal.h"

#include "base/alloc.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdlib.h>

/* ---- operations ---- */

static void op_free(SystemdOp *op) {
        LIST_REMOVE(&op->s->ops, op, all);
        if (op->job)
                (void) map_dels(&op->s->jobs, op->job);
        sd_bus_slot_unref(op->slot);
        sd_event_source_disable_unref(op->later);
        free(op->job);
        free(op->error);
        free(op);
}

static SystemdOp *op_new(Systemd *s, OpKind kind, SystemdDone done, void *user) {
        SystemdOp *op = xnew(SystemdOp, 1);
        op->s = s;
        op->kind = kind;
        op->done = done;
        op->user = user;
        LIST_APPEND(&s->ops, op, all);
        return op;
}

static void op_finish(SystemdOp *op, const char *error) {
        SystemdDone done = op->done;
        void *user = op->user;
        _cleanup_free_ char *text = error ? xstrdup(error) : NULL;

        op_free(op);
        if (done)
                done(text, user);
}

static int on_later(sd_event_source *source, uint64_t usec, void *user) {
        SystemdOp *op = user;
        _cleanup_free_ char *error = TAKE_PTR(op->error);
        op_finish(op, error);
        return 0;
}

/* From the next turn of the loop, because nobody is called back from inside the call that began it. */
static void op_finish_later(SystemdOp *op, const char *error) {
        free(op->error);
        op->error = error ? xstrdup(error) : NULL;
        (void) sd_event_add_time_relative(op->s->event, &op->later, CLOCK_MONOTONIC, 0, 1, on_later, op);
}

SystemdOp *systemd_cancel(SystemdOp *op) {
        if (op)
                op_free(op);
        return NULL;
}

static bool unit_unknown(const sd_bus_error *e) {
        return sd_bus_error_has_name(e, "org.freedesktop.systemd1.NoSuchUnit") ||
               sd_bus_error_has_name(e, "org.freedesktop.DBus.Error.FileNotFound") ||
               sd_bus_error_has_name(e, "org.freedesktop.systemd1.LoadFailed");
}

static char *error_text(const sd_bus_error *e) {
        if (!isempty(e->message))
                return xstrdup(e->message);
        return xstrdup(e->name ? e->name : "unknown D-Bus error");
}

static void op_reply_error(SystemdOp *op, const sd_bus_error *e) {
        _cleanup_free_ char *text = NULL;
        if (!op->forgive_all && !(op->forgiving && unit_unknown(e)))
                text = error_text(e);
        op_finish(op, text);
}

static int on_reply(sd_bus_message *m, void *user, sd_bus_error *ret) {
        SystemdOp *op = user;
        const char *job;

        if (sd_bus_message_is_method_error(m, NULL)) {
                op_reply_error(op, sd_bus_message_get_error(m));
                return 0;
        }
        if (op->kind != OP_JOB) {
                op_finish(op, NULL);
                return 0;
        }
        if (sd_bus_message_read(m, "o", &job) < 0) {
                op_finish(op, "systemd's answer has no job");
                return 0;
        }
        op->job = xstrdup(job);
        (void) map_puts(&op->s->jobs, op->job, op);
        return 0;
}

static SystemdOp *op_call(Systemd *s, SystemdOp *op, const char *method, const char *types, ...) {
        va_list ap;
        sd_bus_message *m = NULL;
        int r;

        if (!s->bus) {
                op_finish_later(op, isempty(s->problem) ? "no connection to systemd" : s->problem);
                return op;
        }
        r = sd_bus_message_new_method_call(s->bus, &m, DESTINATION, MANAGER_PATH, MANAGER, method);
        if (r >= 0 && types) {
                va_start(ap, types);
                r = sd_bus_message_appendv(m, types, ap);
                va_end(ap);
        }
        if (r >= 0)
                r = sd_bus_call_async(s->bus, &op->slot, m, on_reply, op, CALL_TIMEOUT_USEC);
        sd_bus_message_unref(m);
        if (r < 0)
                op_finish_later(op, strerror(-r));
        return op;
}

SystemdOp *systemd_link(Systemd *s, const char *path, SystemdDone done, void *user) {
        return op_call(s, op_new(s, OP_CALL, done, user), "LinkUnitFiles", "asbb", 1, path, true, true);
}

SystemdOp *systemd_enable(Systemd *s, const char *path, SystemdDone done, void *user) {
        return op_call(s, op_new(s, OP_CALL, done, user), "EnableUnitFiles", "asbb", 1, path, true, true);
}

SystemdOp *systemd_disable(Systemd *s, const char *name, SystemdDone done, void *user) {
        SystemdOp *op = op_new(s, OP_CALL, done, user);
        op->forgiving = true;
        return op_call(s, op, "DisableUnitFiles", "asb", 1, name, true);
}

SystemdOp *systemd_start(Systemd *s, const char *name, SystemdDone done, void *user) {
        return op_call(s, op_new(s, OP_JOB, done, user), "StartUnit", "ss", name, "replace");
}

SystemdOp *systemd_stop(Systemd *s, const char *name, SystemdDone done, void *user) {
        SystemdOp *op = op_new(s, OP_JOB, done, user);
        op->forgiving = true;
        return op_call(s, op, "StopUnit", "ss", name, "replace");
}

SystemdOp *systemd_reset_failed(Systemd *s, const char *name, SystemdDone done, void *user) {
        SystemdOp *op = op_new(s, OP_CALL, done, user);
        op->forgive_all = true;
        return op_call(s, op, "ResetFailedUnit", "s", name);
}

/* ---- reload, shared by all who ask while one is under way ---- */

static void reload_begin(Systemd *s);

static int on_reload_reply(sd_bus_message *m, void *user, sd_bus_error *ret) {
        Systemd *s = user;
        _cleanup_free_ char *error =
                        sd_bus_message_is_method_error(m, NULL) ? error_text(sd_bus_message_get_error(m)) : NULL;
        bool more = false;

        s->reload_slot = sd_bus_slot_unref(s->reload_slot);
        LIST_FOREACH(o, &s->ops, all) {
                if (o->kind != OP_RELOAD || o->later)
                        continue;
                if (o->covered)
                        op_finish_later(o, error);
                else
                        more = true;
        }
        if (more)
                reload_begin(s);
        return 0;
}

static void reload_begin(Systemd *s) {
        sd_bus_message *m = NULL;
        int r = -ENOTCONN;

        assert(!s->reload_slot);
        if (s->bus)
                r = sd_bus_message_new_method_call(s->bus, &m, DESTINATION, MANAGER_PATH, MANAGER, "Reload");
        if (r >= 0)
                r = sd_bus_call_async(s->bus, &s->reload_slot, m, on_reload_reply, s, RELOAD_TIMEOUT_USEC);
        sd_bus_message_unref(m);
        LIST_FOREACH(o, &s->ops, all) {
                if (o->kind != OP_RELOAD || o->later)
                        continue;
                o->covered = true;
                if (r < 0)
                        op_finish_later(o, strerror(-r));
        }
}

static int on_reload_due(sd_event_source *source, uint64_t usec, void *user) {
        Systemd *s = user;
        if (!s->reload_slot)
                reload_begin(s);
        return 0;
}

/* ---- refresh: load, look whether that is outdated, reload if so ---- */

static void become_reload(SystemdOp *op) {
        Systemd *s = op->s;

        op->slot = sd_bus_slot_unref(op->slot);
        op->kind = OP_RELOAD;
        if (!s->reload_slot) {
                s->reload_due = sd_event_source_disable_unref(s->reload_due);
                (void) sd_event_add_time_relative(s->event, &s->reload_due, CLOCK_MONOTONIC, RELOAD_GATHER_USEC, 1,
                                                  on_reload_due, s);
        }
}

static int on_outdated(sd_bus_message *m, void *user, sd_bus_error *ret) {
        SystemdOp *op = user;
        int outdated = true;

        if (sd_bus_message_is_method_error(m, NULL) || sd_bus_message_read(m, "v", "b", &outdated) < 0 || outdated)
                become_reload(op);
        else
                op_finish(op, NULL);
        return 0;
}

static int on_loaded(sd_bus_message *m, void *user, sd_bus_error *ret) {
        SystemdOp *op = user;
        sd_bus_slot *slot = NULL;
        const char *path;

        int r = sd_bus_message_is_method_error(m, NULL) ? -EIO : sd_bus_message_read(m, "o", &path);
        if (r >= 0)
                r = sd_bus_call_method_async(op->s->bus, &slot, DESTINATION, path, "org.freedesktop.DBus.Properties",
                                             "Get", on_outdated, op, "ss", UNIT_INTERFACE, "NeedDaemonReload");
        if (r < 0) {
                become_reload(op);
                return 0;
        }
        sd_bus_slot_unref(op->slot);
        op->slot = slot;
        return 0;
}

SystemdOp *systemd_reload(Systemd *s, SystemdDone done, void *user) {
        SystemdOp *op = op_new(s, OP_RELOAD, done, user);
        become_reload(op);
        return op;
}

SystemdOp *systemd_refresh(Systemd *s, const char *name, bool always, SystemdDone done, void *user) {
        SystemdOp *op = op_new(s, OP_REFRESH, done, user);

        if (!s->bus)
                op_finish_later(op, isempty(s->problem) ? "no connection to systemd" : s->problem);
        else if (always || sd_bus_call_method_async(s->bus, &op->slot, DESTINATION, MANAGER_PATH, MANAGER, "LoadUnit",
                                                    on_loaded, op, "s", name) < 0)
                become_reload(op);
        return op;
}

/* ---- jobs and queries ---- */

void systemd_job_removed(Systemd *s, const char *job) {
        SystemdOp *op = map_gets(&s->jobs, job);
        if (op)
                op_finish(op, NULL);
}

/* The connection is gone: whoever waits for an answer will not get it. */
void systemd_fail_all(Systemd *s, const char *why) {
        s->reload_slot = sd_bus_slot_unref(s->reload_slot);
        LIST_FOREACH(o, &s->ops, all) {
                if (o->later)
                        continue;
                o->slot = sd_bus_slot_unref(o->slot);
                op_finish_later(o, why);
        }
}

void systemd_free_all(Systemd *s) {
        while (s->ops.first)
                op_free(s->ops.first);
}

static int on_query_reply(sd_bus_message *m, void *user, sd_bus_error *ret) {
        SystemdOp *op = user;

        if (sd_bus_message_is_method_error(m, NULL)) {
                op_reply_error(op, sd_bus_message_get_error(m));
                return 0;
        }
        int r = sd_bus_message_enter_container(m, 'a', "(ssssssouso)");
        while (r >= 0) {
                const char *name, *description, *load, *active, *sub, *following, *path, *job_type, *job;
                uint32_t id;
                r = sd_bus_message_read(m, "(ssssssouso)", &name, &description, &load, &active, &sub, &following,
                                        &path, &id, &job_type, &job);
                if (r <= 0)
                        break;
                systemd_unit_changed(op->s, name, load, active, sub);
        }
        op_finish(op, r < 0 ? strerror(-r) : NULL);
        return 0;
}

SystemdOp *systemd_query(Systemd *s, char *const *names, SystemdDone done, void *user) {
        SystemdOp *op = op_new(s, OP_QUERY, done, user);
        sd_bus_message *m = NULL;
        int r = -ENOTCONN;

        if (s->bus)
                r = sd_bus_message_new_method_call(s->bus, &m, DESTINATION, MANAGER_PATH, MANAGER,
                                                   "ListUnitsByNames");
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) names);
        if (r >= 0)
                r = sd_bus_call_async(s->bus, &op->slot, m, on_query_reply, op, CALL_TIMEOUT_USEC);
        sd_bus_message_unref(m);
        if (r < 0)
                op_finish_later(op, strerror(-r));
        return op;
}

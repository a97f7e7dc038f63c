/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/systemd/systemd-internal.h"

#include "base/alloc.h"
#include "base/str.h"

#include <stdlib.h>
#include <unistd.h>

#define PRIVATE_SOCKET "unix:path=/run/systemd/private"

static void schedule_reconnect(Systemd *s);

/* ---- states ---- */

static void unit_free(SystemdUnit *u) {
        free(u->name);
        free(u->load);
        free(u->active);
        free(u->sub);
        free(u);
}

static bool update(char **field, const char *value) {
        if (!value || streq_ptr(*field, value))
                return false;
        free(*field);
        *field = xstrdup(value);
        return true;
}

void systemd_unit_changed(Systemd *s, const char *name, const char *load, const char *active, const char *sub) {
        SystemdUnit *u = map_gets(&s->units, name);
        if (!u)
                return;
        bool changed = update(&u->load, load);
        changed = update(&u->active, active) || changed;
        changed = update(&u->sub, sub) || changed;
        if (!changed || !u->load || !u->active || !u->sub)
                return;
        SystemdState state = { u->load, u->active, u->sub };
        s->handlers.on_state(u->name, &state, s->handlers.user);
}

void systemd_watch(Systemd *s, const char *name) {
        if (map_gets(&s->units, name))
                return;
        SystemdUnit *u = xnew(SystemdUnit, 1);
        u->name = xstrdup(name);
        (void) map_puts(&s->units, name, u);
}

void systemd_unwatch(Systemd *s, const char *name) {
        SystemdUnit *u = map_dels(&s->units, name);
        if (u)
                unit_free(u);
}

/* ---- signals ---- */

static int read_states(sd_bus_message *m, const char **load, const char **active, const char **sub) {
        int r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                const char *key;
                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        return r;
                const char **to = streq(key, "LoadState")     ? load
                                  : streq(key, "ActiveState") ? active
                                  : streq(key, "SubState")    ? sub
                                                              : NULL;
                r = to ? sd_bus_message_read(m, "v", "s", to) : sd_bus_message_skip(m, "v");
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
        }
        return r;
}

static int on_properties(sd_bus_message *m, void *user, sd_bus_error *ret) {
        Systemd *s = user;
        const char *interface, *load = NULL, *active = NULL, *sub = NULL;
        _cleanup_free_ char *name = NULL;

        if (sd_bus_message_read(m, "s", &interface) < 0 || !streq(interface, UNIT_INTERFACE))
                return 0;
        if (sd_bus_path_decode(sd_bus_message_get_path(m), UNIT_PATH, &name) <= 0)
                return 0;
        if (!map_gets(&s->units, name))
                return 0;
        if (read_states(m, &load, &active, &sub) >= 0)
                systemd_unit_changed(s, name, load, active, sub);
        return 0;
}

static int on_job_removed(sd_bus_message *m, void *user, sd_bus_error *ret) {
        const char *job, *unit, *result;
        uint32_t id;

        if (sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) >= 0)
                systemd_job_removed(user, job);
        return 0;
}

/* ---- the connection ---- */

static void disconnect(Systemd *s, const char *why) {
        free(s->problem);
        s->problem = xstrdup(why);
        systemd_fail_all(s, why);
        if (s->bus) {
                sd_bus_detach_event(s->bus);
                s->bus = sd_bus_close_unref(s->bus);
        }
        schedule_reconnect(s);
}

static int on_disconnect_later(sd_event_source *source, uint64_t usec, void *user) {
        disconnect(user, "the connection to systemd broke");
        return 0;
}

/* Not from inside the bus's own dispatching, which still uses the bus after the callback. */
static int on_disconnected(sd_bus_message *m, void *user, sd_bus_error *ret) {
        Systemd *s = user;
        s->reconnect = sd_event_source_disable_unref(s->reconnect);
        (void) sd_event_add_time_relative(s->event, &s->reconnect, CLOCK_MONOTONIC, 0, 1, on_disconnect_later, s);
        return 0;
}

static int open_address(const char *address, sd_bus **ret) {
        sd_bus *bus = NULL;
        int r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0) {
                sd_bus_unref(bus);
                return r;
        }
        *ret = bus;
        return 0;
}

static int open_bus(Systemd *s, sd_bus **ret) {
        if (s->user_manager) {
                const char *dir = secure_getenv("XDG_RUNTIME_DIR");
                if (dir) {
                        _cleanup_free_ char *path = xasprintf("%s/systemd/private", dir);
                        _cleanup_free_ char *address = xasprintf("unix:path=%s", path);
                        if (access(path, W_OK) >= 0 && open_address(address, ret) >= 0)
                                return 0;
                }
                return sd_bus_open_user(ret);
        }
        if (geteuid() == 0 && access("/run/systemd/private", W_OK) >= 0 && open_address(PRIVATE_SOCKET, ret) >= 0)
                return 0;
        return sd_bus_open_system(ret);
}

static int on_subscribed(sd_bus_message *m, void *user, sd_bus_error *ret) {
        Systemd *s = user;
        /* "already subscribed" is an error that does not matter; a broken connection comes as Disconnected. */
        s->handlers.on_connected(s->handlers.user);
        return 0;
}

static int set_up(Systemd *s, sd_bus *bus) {
        int r = sd_bus_set_exit_on_disconnect(bus, false);
        if (r >= 0)
                r = sd_bus_attach_event(bus, s->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, NULL, MANAGER_PATH, MANAGER, "JobRemoved", on_job_removed,
                                              NULL, s);
        if (r >= 0)
                r = sd_bus_add_match_async(bus, NULL,
                                           "type='signal',interface='org.freedesktop.DBus.Properties',"
                                           "member='PropertiesChanged',path_namespace='" UNIT_PATH "'",
                                           on_properties, NULL, s);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local", NULL,
                                              "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, NULL, s);
        if (r >= 0)
                r = sd_bus_call_method_async(bus, NULL, DESTINATION, MANAGER_PATH, MANAGER, "Subscribe",
                                             on_subscribed, s, NULL);
        return r;
}

static void connect_now(Systemd *s) {
        sd_bus *bus = NULL;
        int r = open_bus(s, &bus);

        if (r >= 0)
                r = set_up(s, bus);
        if (r < 0) {
                if (bus) {
                        sd_bus_detach_event(bus);
                        sd_bus_close_unref(bus);
                }
                free(s->problem);
                s->problem = xasprintf("cannot connect to systemd: %s", strerror(-r));
                schedule_reconnect(s);
                return;
        }
        s->bus = bus;
        s->problem = xfree(s->problem);
}

static int on_reconnect(sd_event_source *source, uint64_t usec, void *user) {
        connect_now(user);
        return 0;
}

static void schedule_reconnect(Systemd *s) {
        s->reconnect = sd_event_source_disable_unref(s->reconnect);
        (void) sd_event_add_time_relative(s->event, &s->reconnect, CLOCK_MONOTONIC, RECONNECT_USEC, 1, on_reconnect,
                                          s);
}

Systemd *systemd_new(sd_event *event, bool user, const SystemdHandlers *handlers) {
        assert(event && handlers && handlers->on_connected && handlers->on_state);
        Systemd *s = xnew(Systemd, 1);
        s->event = sd_event_ref(event);
        s->user_manager = user;
        s->handlers = *handlers;
        connect_now(s);
        return s;
}

Systemd *systemd_free(Systemd *s) {
        if (!s)
                return NULL;
        s->reload_slot = sd_bus_slot_unref(s->reload_slot);
        systemd_free_all(s);
        sd_event_source_disable_unref(s->reconnect);
        sd_event_source_disable_unref(s->reload_due);
        if (s->bus) {
                sd_bus_detach_event(s->bus);
                sd_bus_flush_close_unref(s->bus);
        }
        for (MapIter i = {}; map_next(&s->units, &i);)
                unit_free(i.value);
        map_done(&s->units);
        map_done(&s->jobs);
        free(s->problem);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

bool systemd_connected(const Systemd *s) {
        return s->bus != NULL;
}

const char *systemd_problem(const Systemd *s) {
        return strempty(s->problem);
}

/* ---- is the machine going down? ---- */

typedef struct StateQuestion {
        SystemdAnswer answer;
        void *user;
} StateQuestion;

static int on_system_state(sd_bus_message *m, void *user, sd_bus_error *ret) {
        _cleanup_free_ StateQuestion *q = user;
        const char *state = NULL;

        if (sd_bus_message_is_method_error(m, NULL) || sd_bus_message_read(m, "v", "s", &state) < 0)
                state = NULL;
        q->answer(state, q->user);
        return 0;
}

void systemd_system_state(Systemd *s, SystemdAnswer answer, void *user) {
        StateQuestion *q = xnew(StateQuestion, 1);
        *q = (StateQuestion){ answer, user };
        int r = -ENOTCONN;
        if (s->bus)
                r = sd_bus_call_method_async(s->bus, NULL, DESTINATION, MANAGER_PATH,
                                             "org.freedesktop.DBus.Properties", "Get", on_system_state, q, "ss",
                                             MANAGER, "SystemState");
        if (r < 0) {
                free(q);
                answer(NULL, user);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/run/engine.h"

#include <stdio.h>
#include <systemd/sd-bus.h>

/* A detached container must leave the unit that started it, or systemd kills it with that unit's other processes
 * (spec F.5): it gets a transient scope docker-<id>.scope. */

#define SCOPE_TIMEOUT_USEC UINT64_C(10000000)

static void unrefp(sd_bus **b) {
        sd_bus_flush_close_unref(*b);
}

static int append_properties(sd_bus_message *m, const char *id, pid_t pid) {
        _cleanup_free_ char *what = xasprintf("container %.12s", id);
        int r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)", "Description", "s", what, "PIDs", "au", 1,
                                          (uint32_t) pid, "Delegate", "b", 1, "CollectMode", "s",
                                          "inactive-or-failed", "DefaultDependencies", "b", 0);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

typedef struct Job {
        const char *path;
        bool done;
        char result[16]; /* "done", "failed", "timeout", … */
} Job;

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        Job *job = userdata;
        const char *path, *unit, *result;
        uint32_t id;
        if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0 || !job->path || !streq(path, job->path))
                return 0;
        job->done = true;
        (void) snprintf(job->result, sizeof(job->result), "%s", result);
        return 0;
}

static int call_and_wait(sd_bus *bus, sd_bus_message *m, Err *err) {
        Job job = {};
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        int r = sd_bus_match_signal(bus, NULL, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                    "org.freedesktop.systemd1.Manager", "JobRemoved", on_job_removed, &job);
        if (r >= 0)
                r = sd_bus_call(bus, m, SCOPE_TIMEOUT_USEC, &e, &reply);
        if (r < 0)
                (void) err_set(err, r, "systemd refuses a scope for the container: %s",
                               e.message ? e.message : strerror(-r));
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &job.path);
        for (unsigned i = 0; r >= 0 && !job.done && i < 1000; i++) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, SCOPE_TIMEOUT_USEC) == 0 ? -ETIMEDOUT : 0;
        }
        if (r >= 0 && !streq(job.result, "done"))
                r = err_set(err, -EIO, "systemd could not start a scope for the container: %s",
                            job.result);
        sd_bus_message_unref(reply);
        sd_bus_error_free(&e);
        return r < 0 ? err_errno(err, r, "no answer from systemd about the container's scope") : 0;
}

int scope_start(const char *id, pid_t pid, Err *err) {
        _cleanup_(unrefp) sd_bus *bus = NULL;
        int r = sd_bus_open_system(&bus);
        if (r < 0)
                return err_errno(err, r, "cannot reach systemd to give the container a scope of its own");
        _cleanup_free_ char *name = xasprintf("docker-%s.scope", id);
        sd_bus_message *m = NULL;
        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager", "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", name, "fail");
        if (r >= 0)
                r = append_properties(m, id, pid);
        if (r >= 0)
                r = sd_bus_message_append(m, "a(sa(sv))", 0);
        if (r < 0)
                (void) err_errno(err, r, "cannot ask systemd for a scope");
        else
                r = call_and_wait(bus, m, err);
        sd_bus_message_unref(m);
        return r < 0 ? r : 1;
}

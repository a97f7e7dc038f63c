/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The local systemd over sd-bus, asynchronous. What the agent needs and no more: make a unit file known, start and
 * stop with the result of the job, and hear of every change of state without asking.
 *
 *  - Every operation ends in exactly one done(error) (NULL = success) unless it is cancelled; never from inside
 *    the call that began it.
 *  - Reloads are shared: all callers that wait while one is under way get the next one.
 *  - When the bus goes away operations fail, and the connection is made anew by itself; on_connected tells when
 *    (states have then to be read again).
 *  - As root it speaks to PID 1's own socket, so that neither dbus-daemon's load nor its absence matters; the
 *    system bus is the fallback, and `user` selects the user's manager. */

#include "base/err.h"

#include <systemd/sd-event.h>

typedef struct Systemd Systemd;
typedef struct SystemdOp SystemdOp;

typedef struct SystemdState {
        const char *load, *active, *sub; /* weak, never NULL */
} SystemdState;

typedef struct SystemdHandlers {
        void (*on_connected)(void *user);
        /* A unit changed, or was asked for by systemd_query(). */
        void (*on_state)(const char *name, const SystemdState *state, void *user);
        void *user;
} SystemdHandlers;

typedef void (*SystemdDone)(const char *error, void *user);

/* Connects at once and, when that fails, again every second. */
Systemd *systemd_new(sd_event *event, bool user, const SystemdHandlers *handlers);
Systemd *systemd_free(Systemd *s); /* cancels everything without callbacks */
DEFINE_CLEANUP(Systemd *, systemd_free)
bool systemd_connected(const Systemd *s);
const char *systemd_problem(const Systemd *s); /* why there is no connection, or "" */

/* The unit is told about in on_state(): only units that were added are. */
void systemd_watch(Systemd *s, const char *name);
void systemd_unwatch(Systemd *s, const char *name);

SystemdOp *systemd_link(Systemd *s, const char *path, SystemdDone done, void *user);   /* runtime, force */
SystemdOp *systemd_enable(Systemd *s, const char *path, SystemdDone done, void *user); /* runtime, force */
SystemdOp *systemd_disable(Systemd *s, const char *name, SystemdDone done, void *user);
SystemdOp *systemd_reload(Systemd *s, SystemdDone done, void *user);
/* Done when the job has ended, however; `error` only when it could not be begun. */
SystemdOp *systemd_start(Systemd *s, const char *name, SystemdDone done, void *user);
SystemdOp *systemd_stop(Systemd *s, const char *name, SystemdDone done, void *user); /* unknown unit = stopped */
SystemdOp *systemd_reset_failed(Systemd *s, const char *name, SystemdDone done, void *user); /* never fails */
/* Reads the states of these units: on_state() for each, then done(). */
SystemdOp *systemd_query(Systemd *s, char *const *names, SystemdDone done, void *user);
/* Makes systemd read the unit from its file, reloading (which takes a second where there are many generators) only if
 * it has an older idea of it or, with `always`, in any case. */
SystemdOp *systemd_refresh(Systemd *s, const char *name, bool always, SystemdDone done, void *user);
/* Asks for "running", "stopping" and so on; `error` NULL and *state valid during the call. */
typedef void (*SystemdAnswer)(const char *value, void *user);
void systemd_system_state(Systemd *s, SystemdAnswer answer, void *user); /* NULL when it cannot be had */
SystemdOp *systemd_cancel(SystemdOp *op); /* no done() follows; the job itself goes on; NULL is allowed */

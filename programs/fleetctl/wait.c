/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetctl.h"

#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <time.h>

#define POLL_FIRST (15 * USEC_PER_MSEC)
#define POLL_LATER (250 * USEC_PER_MSEC)
#define ATTEMPT (2 * USEC_PER_SEC)      /* what one of --block-attempts stands for */
#define EXPLAIN_AFTER (400 * USEC_PER_MSEC)
#define EXPLAIN_EVERY USEC_PER_SEC
#define FAILED_FOR (300 * USEC_PER_MSEC) /* systemd may be about to restart it */
#define STUCK_FOR (1500 * USEC_PER_MSEC) /* "nothing can take it" must hold this long before it is believed */

void pause_usec(Usec t) {
        struct timespec ts = { .tv_sec = (time_t) (t / USEC_PER_SEC), .tv_nsec = (long) (t % USEC_PER_SEC) * 1000 };
        (void) nanosleep(&ts, NULL);
}

/* ---- why does it take so long? ---- */

/* The reason why the unit will not get there by waiting, owned, or NULL. A fleetd that cannot explain says 404. */
static char *hopeless(const char *name, bool *ret_failed) {
        _cleanup_json_ json_t *answer = NULL;
        _cleanup_free_ char *path = api_unit_path("explain", name);
        int status = 0;

        *ret_failed = false;
        if (api_call("GET", path, NULL, &status, &answer, NULL) < 0 || status != 200 || !answer)
                return NULL;
        const char *error = ji_str(answer, "error"), *reason = ji_str(answer, "reason");
        if (!isempty(error)) {
                *ret_failed = true;
                return xstrdup(error);
        }
        if (!isempty(reason) && !ji_bool(answer, "waiting", true))
                return xstrdup(reason);
        return NULL;
}

typedef struct Waiting {
        char **left;      /* owned strv: not there yet */
        Usec begun, explained, stuck_since;
        UnitState state;
} Waiting;

/* ---- reporting ---- */

static void report(const Unit *u, UnitState state) {
        Machines machines = {};
        _cleanup_free_ char *label = NULL;

        if (u->machine && machines_get(&machines, NULL) >= 0)
                label = machine_label(&machines, u->machine, false);
        const char *shown = u->has_current ? unit_state_to_string(state) : "";
        say("Unit %s %s%s%s", u->name, shown, label ? " on " : "", strempty(label));
        machines_done(&machines);
}

/* 1 = there, 0 = not yet. */
static int look(const char *name, UnitState state, Err *err) {
        _cleanup_(unit_done) Unit u = {};

        int r = unit_get(name, &u, err);
        if (r < 0)
                return r;
        if (r == 0)
                return err_set(err, -ENOENT, "unit %s no longer exists", name);
        UnitState now = u.has_current ? u.current : u.desired;
        if (now != state || (state != UNIT_INACTIVE && u.desired != state && u.has_current))
                return 0;
        report(&u, state);
        return 1;
}

static Usec poll_interval(Usec waited) {
        if (waited < USEC_PER_SEC)
                return POLL_FIRST;
        return waited < 5 * USEC_PER_SEC ? 5 * POLL_FIRST : POLL_LATER;
}

static int check_hope(Waiting *w, Usec now, Err *err) {
        if (w->state == UNIT_INACTIVE || now - w->begun < EXPLAIN_AFTER || now - w->explained < EXPLAIN_EVERY)
                return 0;
        w->explained = now;
        STRV_FOREACH(n, w->left) {
                bool failed;
                _cleanup_free_ char *why = hopeless(*n, &failed);
                if (!why)
                        continue;
                if (w->stuck_since == 0)
                        w->stuck_since = now;
                if (!failed && now - w->stuck_since < STUCK_FOR)
                        return 0;
                if (failed)
                        return err_set(err, -ECANCELED, "unit %s: %s", *n, why);
                return err_set(err, -ECANCELED,
                               "no machine can take unit %s now:\n%s\n(it stays in the cluster and will be placed as "
                               "soon as a machine can)", *n, why);
        }
        w->stuck_since = 0;
        return 0;
}

static int wait_round(Waiting *w, Err *err) {
        char **left = NULL;
        int r = 0;

        STRV_FOREACH(n, w->left) {
                int got = r < 0 ? 0 : look(*n, w->state, err);
                if (got < 0)
                        r = got;
                if (got <= 0)
                        strv_add(&left, *n);
        }
        strv_free(w->left);
        w->left = left;
        return r;
}

static int wait_all(Waiting *w, Err *err) {
        w->begun = now_monotonic();
        for (;;) {
                int r = wait_round(w, err);
                if (r < 0 || !w->left)
                        return r;
                Usec now = now_monotonic(), waited = now - w->begun;
                r = check_hope(w, now, err);
                if (r < 0)
                        return r;
                if (arg_block_attempts > 0 && waited >= (Usec) arg_block_attempts * ATTEMPT)
                        return err_set(err, -ETIMEDOUT, "timed out waiting for unit %s to report state %s", w->left[0],
                                       unit_state_to_string(w->state));
                pause_usec(poll_interval(waited));
        }
}

int wait_units(char **names, UnitState state, const char *verb, Err *err) {
        Waiting w = { .state = state };

        if (arg_no_block) {
                STRV_FOREACH(n, names)
                        if (verb)
                                say("Triggered unit %s %s", *n, verb);
                return 0;
        }
        w.left = strv_copy(names);
        int r = wait_all(&w, err);
        strv_free(w.left);
        return r;
}

/* ---- is it running? ---- */

static bool is_oneshot(const Unit *u) {
        const char *type = unitfile_get(&u->options, "Service", "Type");
        return type && streq(type, "oneshot");
}

/* 1 = yes, 0 = not (yet). *ret_failed: systemd calls it failed. */
static int look_active(const char *name, bool *ret_failed, Err *err) {
        _cleanup_json_ json_t *s = NULL;
        _cleanup_(unit_done) Unit u = {};
        _cleanup_free_ char *path = api_unit_path("state", name);

        int r = api_request("GET", path, NULL, &s, err);
        if (r < 0)
                return r;
        const char *active = strempty(ji_str(s, "systemdActiveState")), *load = strempty(ji_str(s, "systemdLoadState"));
        *ret_failed = streq(active, "failed");
        if (streq(active, "active") && streq(load, "loaded"))
                return 1;
        r = unit_get(name, &u, err);
        if (r <= 0)
                return r;
        /* A oneshot that ran to its end is inactive again, and all is well; a template of work, not a failure. */
        return streq(active, "inactive") && streq(load, "loaded") && is_oneshot(&u) && u.current == UNIT_LAUNCHED;
}

static int not_active(const char *name, bool failed, Err *err) {
        bool refused;
        _cleanup_free_ char *why = hopeless(name, &refused);

        return err_set(err, -ETIMEDOUT, "Failed to find an active unit %s within 2s, err: %s%s", name,
                       why ? why : failed ? "it has failed; see: fleetctl journal " : "Failed to fetch states within 2s",
                       !why && failed ? name : "");
}

int wait_active(char **names, Err *err) {
        STRV_FOREACH(n, names) {
                Usec begun = now_monotonic(), failed_since = 0;
                bool failed = false;
                int r;
                while ((r = look_active(*n, &failed, err)) == 0) {
                        Usec now = now_monotonic();
                        failed_since = !failed ? 0 : failed_since ? failed_since : now;
                        if (now - begun >= ATTEMPT || (failed && now - failed_since > FAILED_FOR))
                                return not_active(*n, failed, err);
                        pause_usec(POLL_FIRST);
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

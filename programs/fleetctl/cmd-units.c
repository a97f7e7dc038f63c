/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetctl.h"

#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "fleet/plan/name.h"
#include "sys/clock.h"

#include <stdio.h>

/* submit, load, start, stop, unload, restart, destroy, cat, explain */

#define BIT(s) (1U << (s))

static bool any_units(char **args) {
        if (args[0])
                return true;
        say_error("No units given");
        return false;
}

static int create_all(char **args, unsigned replaceable, char ***ret) {
        _cleanup_(err_done) Err err = {};

        if (arg_sign)
                say_error("WARNING: --sign does nothing: signing units was taken out of fleet long ago");
        if (lazy_create(args, replaceable, ret, &err) >= 0)
                return 0;
        say_error("Error creating units: %s", err_msg(&err));
        return -1;
}

int cmd_submit(char **args) {
        _cleanup_strv_ char **names = NULL;
        if (!any_units(args))
                return 0;
        return create_all(args, BIT(UNIT_INACTIVE), &names) < 0 ? 1 : 0;
}

/* Sets the state of all and sorts out the Global ones, which are not waited for. */
static int set_all(char **names, UnitState state, const char *verb, char ***ret_waited, Err *err) {
        STRV_FOREACH(n, names) {
                _cleanup_(unit_done) Unit u = {};
                int r = unit_get(*n, &u, err);
                if (r == 0)
                        r = err_set(err, -ENOENT, "unit %s does not exist", *n);
                if (r >= 0 && u.desired != state)
                        r = unit_set_state(*n, state, err);
                if (r < 0)
                        return r;
                if (u.req.global)
                        say("Triggered global unit %s %s", *n, verb);
                else
                        strv_add(ret_waited, *n);
        }
        return 0;
}

static int wait_reported(char **names, UnitState state, const char *verb) {
        _cleanup_(err_done) Err err = {};

        if (wait_units(names, state, verb, &err) >= 0)
                return 0;
        say_error("Error waiting for units: %s", err_msg(&err));
        say_error("Error waiting for unit states, exit status: %s", err_msg(&err));
        return 1;
}

int cmd_load(char **args) {
        _cleanup_strv_ char **names = NULL, **waited = NULL;
        _cleanup_(err_done) Err err = {};

        if (!any_units(args))
                return 0;
        if (create_all(args, BIT(UNIT_INACTIVE) | BIT(UNIT_LOADED), &names) < 0)
                return 1;
        if (set_all(names, UNIT_LOADED, "load", &waited, &err) < 0) {
                say_error("Error loading units: %s", err_msg(&err));
                return 1;
        }
        return waited ? wait_reported(waited, UNIT_LOADED, "load") : 0;
}

int cmd_start(char **args) {
        _cleanup_strv_ char **names = NULL, **waited = NULL;
        _cleanup_(err_done) Err err = {};

        if (!any_units(args))
                return 0;
        if (create_all(args, BIT(UNIT_INACTIVE) | BIT(UNIT_LOADED) | BIT(UNIT_LAUNCHED), &names) < 0)
                return 1;
        if (set_all(names, UNIT_LAUNCHED, "start", &waited, &err) < 0) {
                say_error("Error starting units: %s", err_msg(&err));
                return 1;
        }
        if (!waited || wait_reported(waited, UNIT_LAUNCHED, "start") > 0)
                return waited ? 1 : 0;
        if (arg_no_block || wait_active(waited, &err) >= 0)
                return 0;
        say_error("Error waiting for units: %s", err_msg(&err));
        say_error("Error waiting for systemd unit states, err: %s", err_msg(&err));
        return 1;
}

/* ---- stop and unload ---- */

/* Those of the arguments that exist; *ret empty when none does. */
static int find_units(char **args, Unit **ret, size_t *ret_n, Err *err) {
        Unit *list = xnew(Unit, strv_len(args) + 1);
        size_t n = 0;
        int r = 0;

        STRV_FOREACH(a, args) {
                _cleanup_free_ char *name = unit_name_mangle(*a);
                r = unit_get(name, &list[n], err);
                if (r < 0)
                        break;
                n += r > 0;
        }
        *ret = list;
        *ret_n = n;
        return r < 0 ? r : 0;
}

static void free_units(Unit *list, size_t n) {
        for (size_t i = 0; i < n; i++)
                unit_done(&list[i]);
        free(list);
}

static int lower_one(const Unit *u, UnitState to, const char *verb, char ***waited, Err *err) {
        if (!u->req.global && to == UNIT_LOADED && u->current == UNIT_INACTIVE && u->desired != UNIT_LAUNCHED)
                return err_set(err, -EINVAL, "Unable to stop unit %s in state inactive", u->name);
        if (!u->req.global && u->current == to && u->desired == to)
                return 0;
        int r = unit_set_state(u->name, to, err);
        if (r < 0)
                return err_wrap(err, r, "Error %s units", to == UNIT_LOADED ? "stopping" : "unloading");
        if (u->req.global)
                say("Triggered global unit %s %s", u->name, verb);
        else
                strv_add(waited, u->name);
        return 0;
}

static int lower(char **args, UnitState to, const char *verb, const char *past) {
        _cleanup_strv_ char **waited = NULL;
        _cleanup_(err_done) Err err = {};
        Unit *list = NULL;
        size_t n = 0;

        if (!any_units(args))
                return 0;
        int r = find_units(args, &list, &n, &err);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = lower_one(&list[i], to, verb, &waited, &err);
        free_units(list, n);
        if (r < 0) {
                say_error("%s", err_msg(&err));
                return 1;
        }
        if (n == 0) {
                say_error("Units not found in registry");
                return 0;
        }
        if (waited && wait_reported(waited, to, verb) > 0)
                return 1;
        _cleanup_free_ char *all = strv_join(waited, " ");
        say_error("Successfully %s units [%s].", past, all);
        return 0;
}

int cmd_stop(char **args) {
        return lower(args, UNIT_LOADED, "stop", "stopped");
}

int cmd_unload(char **args) {
        return lower(args, UNIT_INACTIVE, "unload", "unloaded");
}

/* ---- restart ---- */

/* Global units have no current state: every machine must have told that it is not active any more. */
static int wait_global_stopped(const char *name, Err *err) {
        Usec begun = now_monotonic();

        for (;;) {
                _cleanup_json_ json_t *all = NULL;
                size_t i;
                json_t *s;
                bool active = false;
                int r = api_list("state", "states", &all, err);
                if (r < 0)
                        return r;
                json_array_foreach(all, i, s) {
                        const char *a = strempty(ji_str(s, "systemdActiveState"));
                        if (streq_ptr(ji_str(s, "name"), name) && !streq(a, "inactive") && !streq(a, "failed"))
                                active = true;
                }
                if (!active)
                        return 0;
                if (arg_block_attempts > 0 && now_monotonic() - begun > (Usec) arg_block_attempts * 2 * USEC_PER_SEC)
                        return err_set(err, -ETIMEDOUT, "timed out waiting for global unit %s to stop", name);
                pause_usec(50 * USEC_PER_MSEC);
        }
}

static int restart_one(const Unit *u, Err *err) {
        char *names[] = { u->name, NULL };
        int r;

        if (u->req.global || u->current == UNIT_LAUNCHED) {
                r = unit_set_state(u->name, UNIT_LOADED, err);
                if (r >= 0)
                        r = u->req.global ? wait_global_stopped(u->name, err) :
                                            wait_units(names, UNIT_LOADED, NULL, err);
                if (r < 0)
                        return r;
        }
        r = unit_set_state(u->name, UNIT_LAUNCHED, err);
        if (r < 0)
                return r;
        if (u->req.global) {
                say("Triggered global unit %s restart", u->name);
                return 0;
        }
        r = wait_units(names, UNIT_LAUNCHED, NULL, err);
        return r < 0 ? r : wait_active(names, err);
}

int cmd_restart(char **args) {
        _cleanup_(err_done) Err err = {};
        Unit *list = NULL;
        size_t n = 0;
        int failed = 0;

        if (!any_units(args))
                return 0;
        int r = find_units(args, &list, &n, &err);
        if (r >= 0 && n == 0)
                say_error("Units not found in registry");
        for (size_t i = 0; i < n && r >= 0; i++) {
                if (!list[i].req.global && list[i].current == UNIT_INACTIVE) {
                        say_error("Unable to restart unit %s in state inactive", list[i].name);
                        failed = 1;
                } else
                        r = restart_one(&list[i], &err);
        }
        free_units(list, n);
        if (r < 0)
                say_error("Error restarting units: %s", err_msg(&err));
        return r < 0 ? 1 : failed;
}

/* ---- destroy ---- */

/* Until no machine reports a state for it any more: it has been stopped everywhere. */
static int wait_gone(char **names, Err *err) {
        Usec begun = now_monotonic();

        while (arg_block_attempts > 0) {
                _cleanup_json_ json_t *all = NULL;
                size_t i;
                json_t *s;
                const char *left = NULL;
                int r = api_list("state", "states", &all, err);
                if (r < 0)
                        return r;
                json_array_foreach(all, i, s)
                        if (strv_contains(names, strempty(ji_str(s, "name"))))
                                left = ji_str(s, "name");
                if (!left)
                        return 0;
                if (now_monotonic() - begun > (Usec) arg_block_attempts * 2 * USEC_PER_SEC)
                        return err_set(err, -ETIMEDOUT, "timed out waiting for unit %s to be stopped everywhere", left);
                pause_usec(50 * USEC_PER_MSEC);
        }
        return 0;
}

int cmd_destroy(char **args) {
        _cleanup_strv_ char **gone = NULL;
        _cleanup_(err_done) Err wait_err = {};
        int failed = 0;

        if (!any_units(args))
                return 0;
        STRV_FOREACH(a, args) {
                _cleanup_free_ char *name = unit_name_mangle(*a);
                _cleanup_(err_done) Err err = {};
                int r = unit_destroy(name, &err);
                if (r < 0) {
                        say_error("Error destroying units: %s", err_msg(&err));
                        failed = 1;
                } else if (r > 0) {
                        strv_add(&gone, name);
                        say("Destroyed %s", name);
                }
        }
        if (!gone && !failed)
                say_error("Units not found in registry");
        if (gone && !arg_no_block && wait_gone(gone, &wait_err) < 0) {
                say_error("Error waiting for units: %s", err_msg(&wait_err));
                failed = 1;
        }
        return failed;
}

/* ---- cat and explain ---- */

int cmd_cat(char **args) {
        _cleanup_(unit_done) Unit u = {};
        _cleanup_(err_done) Err err = {};

        if (!args[0] || args[1]) {
                say_error("One unit file must be provided");
                return 1;
        }
        _cleanup_free_ char *name = unit_name_mangle(args[0]);
        int r = unit_get(name, &u, &err);
        if (r <= 0) {
                say_error(r < 0 ? "Error retrieving Unit %s: %s" : "Unit %s not found%s", name, r < 0 ? err_msg(&err) : "");
                return 1;
        }
        _cleanup_free_ char *text = unitfile_text(&u.options);
        (void) fputs(text, stdout);
        return 0;
}

int cmd_explain(char **args) {
        if (!any_units(args))
                return 1;
        STRV_FOREACH(a, args) {
                _cleanup_free_ char *name = unit_name_mangle(*a), *path = api_unit_path("explain", name);
                _cleanup_json_ json_t *o = NULL;
                _cleanup_(err_done) Err err = {};
                if (api_request("GET", path, NULL, &o, &err) < 0) {
                        say_error("Error explaining %s: %s", name, err_msg(&err));
                        return 1;
                }
                const char *reason = ji_str(o, "reason"), *error = ji_str(o, "error"), *machine = ji_str(o, "machineID");
                if (machine)
                        say("%s: scheduled on %s", name, machine);
                else
                        say("%s: %s", name, ji_bool(o, "placed", false) ? "runs on every machine that qualifies" :
                                           reason                       ? "not placed" :
                                                                          "wants no machine");
                if (reason)
                        say("%s", reason);
                if (error)
                        say("%s", error);
        }
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/units.h"
#include "each.h"
#include "follow.h"
#include "sys/fs.h"

#include <signal.h>
#include <stdio.h>

/* stop, restart, kill, rm, pause, unpause, rename, wait: one small thing for every name. */

static int64_t arg_time = -1;
static char *arg_signal;
static bool arg_force, arg_volumes, arg_link;

static int stop_one(Store *s, const char *name, void *userdata, Err *err) {
        _cleanup_(container_freep) Container *c = NULL;
        int r = container_get(s, name, &c, err);
        if (r < 0)
                return r;
        if (arg_signal) {
                if (parse_signal(arg_signal) < 0)
                        return err_set(err, -EINVAL, "Invalid signal: %s", arg_signal);
                free(c->spec->config.stop_signal);
                c->spec->config.stop_signal = xstrdup(arg_signal);
        }
        return engine_stop(s, c, arg_time, err);
}

static const Option stop_options[] = {
        { "signal", 's', OPT_STR, &arg_signal, "SIGNAL", "Signal to send instead of the container's own", NULL },
        { "time", 't', OPT_INT, &arg_time, "SEC", "Seconds until SIGKILL (default 10)", NULL },
        { "timeout", 0, OPT_INT, &arg_time, "SEC", NULL, NULL },
        {},
};

int cmd_stop(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("stop", stop_options, 0, argc, argv, &rest);
        return r != 0 ? docker_exit(r) : for_each_name(rest, stop_one, NULL);
}

static int restart_one(Store *s, const char *name, void *userdata, Err *err) {
        int r = stop_one(s, name, NULL, err);
        _cleanup_free_ char *id = NULL;
        if (r >= 0)
                r = container_find(s, name, &id, err);
        if (r < 0)
                return r;
        _cleanup_close_ int lock = container_lock(s, id, 5000);
        if (lock < 0)
                return err_set(err, lock, "Cannot restart container %s: it is busy", name);
        StartOptions o = { .warn = follow_warn, .leave = leave_unit };
        _cleanup_(shim_client_done) ShimClient client = { .fd = -EBADF };
        int code;
        r = engine_start(s, id, &lock, &o, &client, &code, err);
        return r < 0 ? err_wrap(err, r, "Cannot restart container %s", name) : 0;
}

int cmd_restart(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("restart", stop_options, 0, argc, argv, &rest);
        return r != 0 ? docker_exit(r) : for_each_name(rest, restart_one, NULL);
}

static int kill_one(Store *s, const char *name, void *userdata, Err *err) {
        int sig = arg_signal ? parse_signal(arg_signal) : SIGKILL;
        if (sig < 0)
                return err_set(err, -EINVAL, "Invalid signal: %s", arg_signal);
        _cleanup_(container_freep) Container *c = NULL;
        int r = container_get(s, name, &c, err);
        if (r < 0)
                return err_wrap(err, r, "Cannot kill container: %s", name);
        r = engine_kill(s, c, sig, err);
        if (r < 0)
                return err_wrap(err, r, "Cannot kill container: %s", name);
        int code;
        /* SIGKILL is over when the next command may count on it (ExecStartPre=docker kill, then docker rm). */
        if (sig == SIGKILL)
                (void) engine_wait(s, c->id, 10000, &code, NULL);
        return 0;
}

int cmd_kill(int argc, char **argv) {
        static const Option options[] = {
                { "signal", 's', OPT_STR, &arg_signal, "SIGNAL", "Signal to send (default KILL)", NULL },
                {},
        };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("kill", options, OPTIONS_SINGLE_DASH_LONG, argc, argv, &rest);
        return r != 0 ? docker_exit(r) : for_each_name(rest, kill_one, NULL);
}

static int rm_one(Store *s, const char *name, void *userdata, Err *err) {
        return engine_remove(s, name, arg_force, arg_volumes, err);
}

int cmd_rm(int argc, char **argv) {
        static const Option options[] = {
                { "force", 'f', OPT_BOOL, &arg_force, NULL, "Kill it first when it runs", NULL },
                { "link", 'l', OPT_BOOL, &arg_link, NULL, NULL, NULL },
                { "volumes", 'v', OPT_BOOL, &arg_volumes, NULL, "Remove its anonymous volumes too", NULL },
                {},
        };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("rm", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        if (arg_link) {
                fprintf(stderr, "docker: rm --link is not supported by this engine\n");
                return 1;
        }
        /* A forced removal of what is not there is what the caller wants, but the message stays (docker 20.10). */
        return for_each_name(rest, rm_one, NULL);
}

static int freeze_one(Store *s, const char *name, void *userdata, Err *err) {
        const char *op = userdata;
        _cleanup_(container_freep) Container *c = NULL;
        int r = container_get(s, name, &c, err);
        if (r < 0)
                return r;
        if (!container_running(c))
                return err_set(err, -ESRCH, "Container %s is not running", c->id);
        _cleanup_(shim_client_done) ShimClient k = { .fd = -EBADF };
        r = shim_connect(s, c->id, &k, err);
        if (r >= 0)
                r = shim_sendf(&k, "{\"op\":\"%s\"}", op);
        if (r >= 0)
                r = shim_answer(&k, NULL, NULL, err);
        return r < 0 ? err_wrap(err, r, "Container %s", c->id) : 0;
}

static int freeze(const char *verb, int argc, char **argv) {
        static const Option options[] = { {} };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options(verb, options, 0, argc, argv, &rest);
        return r != 0 ? docker_exit(r) : for_each_name(rest, freeze_one, (void *) verb);
}

int cmd_pause(int argc, char **argv) {
        return freeze("pause", argc, argv);
}

int cmd_unpause(int argc, char **argv) {
        return freeze("unpause", argc, argv);
}

int cmd_rename(int argc, char **argv) {
        static const Option options[] = { {} };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("rename", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        _cleanup_(container_freep) Container *c = NULL;
        if (!s)
                return 1;
        r = container_get(s, rest[0], &c, &err);
        if (r >= 0)
                r = container_rename(s, c, rest[1], &err);
        return r < 0 ? docker_error(&err) : 0;
}

int cmd_wait(int argc, char **argv) {
        static const Option options[] = { {} };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("wait", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(container_store_closep) Store *s = open_store();
        if (!s)
                return 1;
        int status = 0;
        for (char **n = rest; *n; n++) {
                _cleanup_(err_done) Err err = {};
                _cleanup_free_ char *id = NULL;
                int code = 0;
                r = container_find(s, *n, &id, &err);
                if (r >= 0)
                        r = engine_wait(s, id, -1, &code, &err);
                if (r < 0)
                        status = docker_error(&err);
                else
                        printf("%d\n", code);
                (void) fflush(stdout);
        }
        return status;
}

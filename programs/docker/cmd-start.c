/* SPDX-License-Identifier: Apache-2.0 */
#include "each.h"
#include "follow.h"
#include "sys/fs.h"

#include <stdio.h>

static bool arg_attach, arg_interactive;

static int start_one(Store *s, const char *name, void *userdata, Err *err) {
        _cleanup_free_ char *id = NULL;
        int r = container_find(s, name, &id, err);
        if (r < 0)
                return r;
        _cleanup_close_ int lock = container_lock(s, id, 200);
        if (lock == -EBUSY) {
                _cleanup_(container_freep) Container *c = NULL;
                r = container_load(s, id, &c, err);
                if (r < 0 || container_running(c))
                        return r; /* starting what runs is a success */
                lock = container_lock(s, id, 5000);
        }
        if (lock < 0)
                return err_set(err, lock, "container %s is busy", name);
        StartOptions o = { .warn = follow_warn, .leave = leave_unit };
        _cleanup_(shim_client_done) ShimClient client = { .fd = -EBADF };
        int code;
        return engine_start(s, id, &lock, &o, &client, &code, err);
}

/* start -a: the container is ours like with a foreground `run`, and its exit code is the command's. */
static int start_attached(Store *s, const char *name) {
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_freep) Container *c = NULL;
        if (container_get(s, name, &c, &err) < 0)
                return docker_error(&err);
        if (container_running(c)) {
                (void) err_set(&err, -EINVAL, "container %s is already running: use 'docker attach'", name);
                return docker_error(&err);
        }
        _cleanup_close_ int lock = container_lock(s, c->id, 5000);
        if (lock < 0) {
                (void) err_set(&err, lock, "container %s is busy", name);
                return docker_error(&err);
        }
        bool in = arg_interactive && c->spec->config.open_stdin;
        follow_block_signals();
        StartOptions o = { .foreground = true, .attach = !arg_attach ? "i" : in ? "ioe" : "oe", .warn = follow_warn };
        _cleanup_(shim_client_done) ShimClient client = { .fd = -EBADF };
        int code = 1;
        if (engine_start(s, c->id, &lock, &o, &client, &code, &err) < 0) {
                (void) docker_error(&err);
                return 1;
        }
        FollowOptions f = { .in = in, .tty = c->spec->config.tty, .sig_proxy = true, .store = s, .id = c->id };
        code = follow(&client, &f);
        return code < 0 ? 137 : code;
}

int cmd_start(int argc, char **argv) {
        static const Option options[] = {
                { "attach", 'a', OPT_BOOL, &arg_attach, NULL, "Show its output and pass signals on", NULL },
                { "interactive", 'i', OPT_BOOL, &arg_interactive, NULL, "Pass stdin on", NULL },
                {},
        };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("start", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        if (!arg_attach && !arg_interactive)
                return for_each_name(rest, start_one, NULL);
        if (rest[1]) {
                fprintf(stderr, "you cannot start and attach multiple containers at once\n");
                return 1;
        }
        _cleanup_(container_store_closep) Store *s = open_store();
        return s ? start_attached(s, rest[0]) : 1;
}

int cmd_attach(int argc, char **argv) {
        static bool no_stdin, sig_proxy = true;
        static const Option options[] = {
                { "no-stdin", 0, OPT_BOOL, &no_stdin, NULL, "Do not pass stdin on", NULL },
                { "sig-proxy", 0, OPT_BOOL, &sig_proxy, NULL, "Pass signals on", NULL },
                {},
        };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("attach", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        _cleanup_(container_freep) Container *c = NULL;
        _cleanup_(shim_client_done) ShimClient k = { .fd = -EBADF };
        if (!s)
                return 1;
        r = container_get(s, rest[0], &c, &err);
        if (r >= 0 && !container_running(c)) {
                fprintf(stderr, "You cannot attach to a stopped container, start it first\n");
                return 1;
        }
        if (r >= 0)
                r = shim_connect(s, c->id, &k, &err);
        if (r < 0)
                return docker_error(&err);
        bool in = !no_stdin && c->spec->config.open_stdin;
        follow_block_signals();
        if (shim_sendf(&k, "{\"op\":\"attach\",\"stdin\":%s,\"stdout\":true,\"stderr\":true}", in ? "true" : "false") < 0 ||
            shim_answer(&k, NULL, NULL, &err) < 0)
                return docker_error(&err);
        FollowOptions f = { .in = in, .tty = c->spec->config.tty, .sig_proxy = sig_proxy, .store = s, .id = c->id };
        int code = follow(&k, &f);
        return code < 0 ? 1 : code;
}

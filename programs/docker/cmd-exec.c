/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/parse.h"
#include "container/run/fields.h"
#include "each.h"
#include "follow.h"
#include "sys/fs.h"

#include <stdio.h>
#include <unistd.h>

static bool arg_detach, arg_interactive, arg_tty, arg_privileged;
static char **arg_env, **arg_env_file, *arg_user, *arg_workdir;

static const Option options[] = {
        { "detach", 'd', OPT_BOOL, &arg_detach, NULL, "Do not wait for the command", NULL },
        { "env", 'e', OPT_LIST, &arg_env, "K=V", "Set an environment variable", NULL },
        { "env-file", 0, OPT_LIST, &arg_env_file, "FILE", "Read environment variables from a file", NULL },
        { "interactive", 'i', OPT_BOOL, &arg_interactive, NULL, "Pass stdin on", NULL },
        { "privileged", 0, OPT_BOOL, &arg_privileged, NULL, "Without confinement", NULL },
        { "tty", 't', OPT_BOOL, &arg_tty, NULL, "Allocate a terminal", NULL },
        { "user", 'u', OPT_STR, &arg_user, "USER[:GROUP]", "User to run as", NULL },
        { "workdir", 'w', OPT_STR, &arg_workdir, "DIR", "Working directory", NULL },
        {},
};

static int make_request(char **args, Buf *b, Err *err) {
        _cleanup_strv_ char **env = NULL;
        int r = 0;
        for (char **f = arg_env_file; r >= 0 && f && *f; f++) {
                _cleanup_(buf_done) Buf text = {};
                r = read_file(*f, 1 << 20, &text);
                if (r < 0)
                        return err_errno(err, r, "cannot read %s", *f);
                r = parse_env_file(buf_str(&text), environ, &env, err);
        }
        for (char **e = arg_env; r >= 0 && e && *e; e++)
                r = add_env(*e, environ, &env, err);
        if (r < 0)
                return r;
        if (arg_tty)
                (void) add_env("TERM=xterm", NULL, &env, NULL);
        JsonOut j = { .buf = b };
        jo_obj(&j);
        jo_kstr(&j, "op", "exec");
        jo_key(&j, "args");
        json_list_write(&j, args);
        jo_key(&j, "env");
        json_list_write(&j, env);
        jo_kstr(&j, "user", strempty(arg_user));
        jo_kstr(&j, "cwd", strempty(arg_workdir));
        jo_kbool(&j, "tty", arg_tty);
        jo_kbool(&j, "stdin", arg_interactive && !arg_detach);
        jo_kbool(&j, "privileged", arg_privileged);
        jo_end(&j);
        return 0;
}

static int exec(Store *s, char **rest, Err *err) {
        _cleanup_(container_freep) Container *c = NULL;
        _cleanup_(buf_done) Buf request = {};
        _cleanup_(shim_client_done) ShimClient k = { .fd = -EBADF };
        int code = 1, r = container_get(s, rest[0], &c, err);
        if (r >= 0 && !container_running(c))
                r = err_set(err, -ESRCH, "Container %s is not running", c->id);
        if (r >= 0)
                r = make_request(rest + 1, &request, err);
        if (r >= 0)
                r = shim_connect(s, c->id, &k, err);
        if (r < 0)
                return docker_error(err);
        if (!arg_detach)
                follow_block_signals();
        if (shim_send(&k, FRAME_CONTROL, request.data, request.len) < 0 ||
            shim_answer(&k, &code, follow_warn, err) < 0) {
                (void) docker_error(err);
                return code;
        }
        if (arg_detach)
                return 0;
        FollowOptions f = { .in = arg_interactive, .tty = arg_tty };
        code = follow(&k, &f);
        return code < 0 ? 137 : code; /* the container has ended under it */
}

int cmd_exec(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("exec", options, OPTIONS_STOP_AT_ARG, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        if (arg_tty && arg_interactive && !isatty(STDIN_FILENO)) {
                fprintf(stderr, "the input device is not a TTY\n");
                return 1;
        }
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        return s ? exec(s, rest, &err) : 1;
}

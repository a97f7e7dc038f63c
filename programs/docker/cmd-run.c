/* SPDX-License-Identifier: Apache-2.0 */
#include "each.h"
#include "follow.h"
#include "run-options.h"
#include "sys/fs.h"

#include <stdio.h>
#include <unistd.h>

/* The streams that the caller gets, as the shim's --attach word. */
static const char *attach_word(const ContainerConfig *c) {
        static char word[4];
        char *p = word;
        if (c->attach_stdin)
                *p++ = 'i';
        if (c->attach_stdout)
                *p++ = 'o';
        if (c->attach_stderr)
                *p++ = 'e';
        *p = 0;
        return word;
}

static int run_foreground(Store *s, const RunOptions *o, ShimClient *client) {
        const ContainerConfig *c = &o->request.spec->config;
        FollowOptions f = { .in = c->attach_stdin, .tty = c->tty, .sig_proxy = o->sig_proxy, .store = s,
                            .id = o->request.spec->id };
        int code = follow(client, &f);
        if (code < 0)
                fprintf(stderr, "docker: the container's shim was killed\n");
        return code < 0 ? 137 : code;
}

static int run(RunOptions *o) {
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = NULL;
        if (container_store_open(docker_root(), &s, &err) < 0)
                return docker_run_error("run", &err);
        ContainerConfig *c = &o->request.spec->config;
        if (c->tty && !o->detach && c->attach_stdin && !isatty(STDIN_FILENO)) {
                fprintf(stderr, "the input device is not a TTY\n");
                return 1;
        }
        int status = 125;
        _cleanup_close_ int lock = -EBADF;
        if (run_create(s, o, "run", &lock, &status) < 0)
                return status;
        if (!o->detach)
                follow_block_signals();
        StartOptions start = { .foreground = !o->detach, .attach = o->detach ? NULL : attach_word(c),
                               .warn = follow_warn, .leave = leave_unit };
        _cleanup_(shim_client_done) ShimClient client = { .fd = -EBADF };
        int r = engine_start(s, o->request.spec->id, &lock, &start, &client, &status, &err);
        if (r < 0) {
                (void) docker_run_error("run", &err);
                return status;
        }
        if (!o->detach)
                return run_foreground(s, o, &client);
        printf("%s\n", o->request.spec->id);
        return 0;
}

int cmd_run(int argc, char **argv) {
        RunOptions o;
        int r = run_options_parse("run", argc, argv, &o);
        if (r != 0)
                return docker_exit(r);
        int status = run(&o);
        run_options_done(&o);
        return status;
}

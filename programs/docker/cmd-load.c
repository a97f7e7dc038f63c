/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "docker.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>

static char *arg_input;
static bool arg_quiet;

static const Option options[] = {
        { "input", 'i', OPT_STR, &arg_input, "FILE", "Read from a tar file instead of standard input", NULL },
        { "quiet", 'q', OPT_BOOL, &arg_quiet, NULL, "Do not show progress", NULL },
        {},
};

static int load(ImageStore *store, int fd, Err *err) {
        _cleanup_(image_progress_freep) ImageProgress *progress = NULL;
        if (!arg_quiet && isatty(STDOUT_FILENO))
                progress = image_progress_new(STDOUT_FILENO);
        _cleanup_strv_ char **lines = NULL;
        int r = image_load_archive(store, fd, progress ? image_progress_event : NULL, progress, &lines, err);
        STRV_FOREACH(i, lines)
                printf("%s\n", *i);
        return r;
}

int cmd_load(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("load", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_close_ int fd = -EBADF;
        if (arg_input) {
                fd = open(arg_input, O_RDONLY | O_CLOEXEC);
                if (fd < 0) {
                        fprintf(stderr, "open %s: %s\n", arg_input, strerror(errno));
                        return 1;
                }
        } else if (isatty(STDIN_FILENO)) {
                fprintf(stderr, "requested load from stdin, but stdin is empty\n");
                return 1;
        }
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        r = image_store_open(docker_root(), &store, &err);
        if (r >= 0)
                r = load(store, arg_input ? fd : STDIN_FILENO, &err);
        return r < 0 ? docker_error(&err) : 0;
}

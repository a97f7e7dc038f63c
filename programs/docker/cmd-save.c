/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "docker.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>

static char *arg_output;

static const Option options[] = {
        { "output", 'o', OPT_STR, &arg_output, "FILE", "Write to a file instead of standard output", NULL },
        {},
};

/* Under a temporary name first: a failed save leaves no half archive. */
static int save_to_file(ImageStore *store, char *const *names, const char *path, Err *err) {
        _cleanup_free_ char *tmp = xasprintf("%s.tmp-%016" PRIx64, path, random_u64());
        _cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(err, -errno, "%s", tmp);
        int r = image_save_archive(store, names, fd, err);
        if (r >= 0 && rename(tmp, path) < 0)
                r = err_errno(err, -errno, "%s", path);
        if (r < 0)
                (void) unlink(tmp);
        return r;
}

int cmd_save(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("save", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        if (!arg_output && isatty(STDOUT_FILENO)) {
                fprintf(stderr, "cowardly refusing to save to a terminal. Use the -o flag or redirect\n");
                return 1;
        }
        _cleanup_(err_done) Err err = {};
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        r = image_store_open(docker_root(), &store, &err);
        if (r >= 0)
                r = arg_output ? save_to_file(store, rest, arg_output, &err)
                               : image_save_archive(store, rest, STDOUT_FILENO, &err);
        return r < 0 ? docker_error(&err) : 0;
}

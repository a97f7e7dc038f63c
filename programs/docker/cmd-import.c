/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "docker.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>

static char **arg_changes;
static char *arg_message;

static const Option options[] = {
        { "change", 'c', OPT_LIST, &arg_changes, "LINE", "Apply a line of a Dockerfile, such as 'CMD [\"/bin/sh\"]'", NULL },
        { "message", 'm', OPT_STR, &arg_message, "TEXT", "Comment for the image's history", NULL },
        {},
};

int cmd_import(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("import", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_close_ int fd = -EBADF;
        if (!streq(rest[0], "-")) {
                if (strstr(rest[0], "://")) {
                        fprintf(stderr, "docker import: fetching %s is not supported: pipe it in with '-'\n", rest[0]);
                        return 1;
                }
                fd = open(rest[0], O_RDONLY | O_CLOEXEC);
                if (fd < 0) {
                        fprintf(stderr, "open %s: %s\n", rest[0], strerror(errno));
                        return 1;
                }
        }
        _cleanup_(err_done) Err err = {};
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        _cleanup_free_ char *id = NULL;
        r = image_store_open(docker_root(), &store, &err);
        if (r >= 0)
                r = image_import_tar(store, fd >= 0 ? fd : STDIN_FILENO, rest[1], arg_message, arg_changes, &id, &err);
        if (r < 0)
                return docker_error(&err);
        printf("sha256:%s\n", id);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/copy.h"
#include "each.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static bool arg_archive, arg_follow, arg_quiet;

static const Option options[] = {
        { "archive", 'a', OPT_BOOL, &arg_archive, NULL, "Keep owner and group", NULL },
        { "follow-link", 'L', OPT_BOOL, &arg_follow, NULL, "Copy what a symlink SRC leads to", NULL },
        { "quiet", 'q', OPT_BOOL, &arg_quiet, NULL, "Say nothing about success (as always here)", NULL },
        {},
};

/* "NAME:PATH"; a path with a slash or dot before its first colon is a local one. */
static char *container_of_arg(const char *arg, const char **ret_path) {
        const char *colon = strchr(arg, ':');
        if (!colon || arg[0] == '/' || arg[0] == '.' || colon == arg) {
                *ret_path = arg;
                return NULL;
        }
        *ret_path = colon + 1;
        return xstrndup(arg, (size_t) (colon - arg));
}

/* Absolute; inside a container relative paths begin at its root. A trailing "/" or "/." stays. */
static char *absolute(const char *path, bool local) {
        if (path[0] == '/')
                return xstrdup(path);
        _cleanup_free_ char *cwd = local ? getcwd(NULL, 0) : NULL;
        if (!cwd)
                return xasprintf("/%s", path);
        return streq(path, ".") ? xasprintf("%s/.", cwd) : path_join(cwd, path);
}

static int copy(Store *s, const char *name, const char *inside, const char *local, bool out, Err *err) {
        _cleanup_(container_freep) Container *c = NULL;
        _cleanup_close_ int root = -EBADF, lock = -EBADF, host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = container_get(s, name, &c, err);
        bool stream = streq(local, "-");
        _cleanup_free_ char *path = absolute(inside, false), *local_path = absolute(local, true);
        if (r >= 0)
                r = container_root_open(s, c, &root, &lock, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *shown = xasprintf("container %s", name);
        CopySide container = { .root = root, .path = path, .name = shown };
        CopySide here = { .root = host, .path = local_path, .name = "this machine" };
        CopyFlags flags = arg_archive ? COPY_OWNER : 0;
        if (stream)
                return out ? container_copy_out(&container, arg_follow, STDOUT_FILENO, err)
                           : container_copy_in(STDIN_FILENO, &container, COPY_OWNER, err);
        return out ? container_copy(&container, &here, arg_follow, flags, err)
                   : container_copy(&here, &container, arg_follow, flags, err);
}

int cmd_cp(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("cp", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        const char *from, *to;
        _cleanup_free_ char *source = container_of_arg(rest[0], &from), *target = container_of_arg(rest[1], &to);
        if (source && target) {
                fprintf(stderr, "copying between containers is not supported\n");
                return 1;
        }
        if (!source && !target) {
                fprintf(stderr, "must specify at least one container source\n");
                return 1;
        }
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        if (!s)
                return 1;
        r = source ? copy(s, source, from, to, true, &err) : copy(s, target, to, from, false, &err);
        return r < 0 ? docker_error(&err) : 0;
}

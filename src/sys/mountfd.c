/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/mountfd.h"
#include "base/str.h"
#include "sys/fs.h"

#include <sys/stat.h>
#include <sys/syscall.h>

/* glibc 2.36 has these calls, but musl and older headers do not agree about the constants: syscall(2) it is. */

int sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
        struct open_how how = {
                .flags = (uint64_t) (unsigned) flags | O_CLOEXEC,
                .mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0,
                .resolve = resolve,
        };
        for (unsigned i = 0;; i++) {
                int fd = (int) syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
                if (fd >= 0)
                        return fd;
                /* A rename somewhere made ".." ambiguous: the kernel asks to try again. */
                if (errno != EAGAIN || i > 64)
                        return -errno;
        }
}

int open_in_root(int rootfd, const char *path, int flags) {
        if (!(flags & (O_WRONLY | O_RDWR | O_DIRECTORY)) && flags == 0)
                flags = O_PATH;
        return sys_openat2(rootfd, isempty(path) ? "/" : path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int mkdir_in_root(int rootfd, const char *path, mode_t mode) {
        int fd = open_in_root(rootfd, path, O_PATH | O_DIRECTORY);
        if (fd != -ENOENT)
                return fd;
        /* Walk from the top: what exists is followed (inside the root), what does not is made. */
        _cleanup_strv_ char **parts = strv_split(path, "/", false);
        _cleanup_(buf_done) Buf walked = {};
        _cleanup_close_ int parent = fcntl(rootfd, F_DUPFD_CLOEXEC, 3);
        if (parent < 0)
                return -errno;
        STRV_FOREACH(i, parts) {
                if (streq(*i, ".."))
                        return -EINVAL;
                if (streq(*i, "."))
                        continue;
                buf_addf(&walked, "/%s", *i);
                int next = open_in_root(rootfd, buf_str(&walked), O_PATH | O_DIRECTORY);
                if (next == -ENOENT) {
                        if (mkdirat(parent, *i, mode) < 0 && errno != EEXIST)
                                return -errno;
                        next = open_in_root(rootfd, buf_str(&walked), O_PATH | O_DIRECTORY);
                }
                if (next < 0)
                        return next;
                (void) close(parent);
                parent = next;
        }
        return TAKE_FD(parent);
}

int mkfile_in_root(int rootfd, const char *path, mode_t mode) {
        int fd = open_in_root(rootfd, path, O_PATH);
        if (fd != -ENOENT)
                return fd;
        const char *base = path_base(path);
        _cleanup_free_ char *dir = xstrndup(path, (size_t) (base - path));
        _cleanup_close_ int parent = mkdir_in_root(rootfd, dir, 0755);
        if (parent < 0)
                return parent;
        _cleanup_close_ int made = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (made < 0 && errno != EEXIST)
                return -errno;
        return open_in_root(rootfd, path, O_PATH);
}

static int fs_option(int fs, const char *option) {
        const char *eq = strchr(option, '=');
        if (!eq)
                return RET_NERRNO((int) syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, option, NULL, 0));
        _cleanup_free_ char *key = xstrndup(option, (size_t) (eq - option));
        return RET_NERRNO((int) syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, eq + 1, 0));
}

int fs_mount_new(const char *type, const char *const *options, uint64_t attr) {
        _cleanup_close_ int fs = (int) syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
        if (fs < 0)
                return -errno;
        /* What mount(8) shows as the device; some file systems do not take one. */
        (void) syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", type, 0);
        for (const char *const *o = options; o && *o; o++) {
                int r = fs_option(fs, *o);
                if (r < 0)
                        return r;
        }
        if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        return RET_NERRNO((int) syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr));
}

int mount_clone(int dirfd, const char *path, bool recursive) {
        unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) |
                         (isempty(path) ? AT_EMPTY_PATH : 0);
        return RET_NERRNO((int) syscall(SYS_open_tree, dirfd, path, flags));
}

int mount_attr(int mountfd, bool recursive, uint64_t set, uint64_t clear, uint64_t propagation) {
        struct mount_attr a = { .attr_set = set, .attr_clr = clear, .propagation = propagation };
        return RET_NERRNO((int) syscall(SYS_mount_setattr, mountfd, "",
                                        AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &a, sizeof(a)));
}

int mount_attach(int mountfd, int targetfd) {
        return RET_NERRNO((int) syscall(SYS_move_mount, mountfd, "", targetfd, "",
                                        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int mount_attach_at(int mountfd, int dirfd, const char *path) {
        return RET_NERRNO(
                        (int) syscall(SYS_move_mount, mountfd, "", dirfd, path, MOVE_MOUNT_F_EMPTY_PATH));
}

int sys_pivot_root(const char *new_root, const char *put_old) {
        return RET_NERRNO((int) syscall(SYS_pivot_root, new_root, put_old));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/copytree.h"
#include "base/str.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define DEPTH_MAX 512
#define XATTR_BYTES_MAX (64U << 10)

/* A descriptor of its own to read names from: `fd` may be O_PATH, and its position is not ours. */
static DIR *open_dir_of(int fd) {
        int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = own < 0 ? NULL : fdopendir(own);
        if (own >= 0 && !d)
                (void) close(own);
        return d;
}

static bool is_dots(const char *name) {
        return streq(name, ".") || streq(name, "..");
}

bool dir_is_empty(int fd) {
        DIR *d = open_dir_of(fd);
        bool empty = true;
        for (struct dirent *e; d && empty && (e = readdir(d));)
                empty = is_dots(e->d_name);
        if (d)
                (void) closedir(d);
        return empty;
}

static void copy_xattrs(int from, int to) {
        _cleanup_free_ char *names = xmalloc(XATTR_BYTES_MAX);
        ssize_t n = flistxattr(from, names, XATTR_BYTES_MAX);
        for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
                if (startswith(p, "trusted."))
                        continue;
                _cleanup_free_ char *value = xmalloc(XATTR_BYTES_MAX);
                ssize_t size = fgetxattr(from, p, value, XATTR_BYTES_MAX);
                if (size >= 0)
                        (void) fsetxattr(to, p, value, (size_t) size, 0);
        }
}

/* Owner before mode, because chown clears set-id bits. */
static int copy_attributes(int fd, const struct stat *st, CopyFlags flags) {
        if (((flags & COPY_OWNER) && fchown(fd, st->st_uid, st->st_gid) < 0) || fchmod(fd, st->st_mode & 07777) < 0)
                return -errno;
        struct timespec times[2] = { st->st_atim, st->st_mtim };
        return futimens(fd, times) < 0 ? -errno : 0;
}

static int copy_bytes(int from, int to) {
        for (;;) {
                ssize_t n = copy_file_range(from, NULL, to, NULL, 1U << 30, 0);
                if (n == 0)
                        return 0;
                if (n < 0)
                        break;
        }
        if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP)
                return -errno;
        _cleanup_free_ char *buffer = xmalloc(128 << 10);
        for (;;) {
                ssize_t n = read(from, buffer, 128 << 10);
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                int r = write_all(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
        }
}

int copy_tree_file(int in, int to, const char *to_name, CopyFlags flags) {
        struct stat st;
        if (fstat(in, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        if (unlinkat(to, to_name, 0) < 0 && errno != ENOENT)
                return -errno;
        _cleanup_close_ int out = openat(to, to_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (out < 0)
                return -errno;
        int r = copy_bytes(in, out);
        if (r < 0)
                return r;
        r = copy_attributes(out, &st, flags);
        copy_xattrs(in, out);
        return r;
}

static int copy_file(int from, const char *name, int to, const char *to_name, CopyFlags flags) {
        _cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        return in < 0 ? -errno : copy_tree_file(in, to, to_name, flags);
}

static int copy_link(int from, const char *name, int to, const char *to_name, const struct stat *st,
                     CopyFlags flags) {
        char target[4097];
        ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = 0;
        if (unlinkat(to, to_name, 0) < 0 && errno != ENOENT)
                return -errno;
        if (symlinkat(target, to, to_name) < 0)
                return -errno;
        bool own = flags & COPY_OWNER;
        return own && fchownat(to, to_name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_entry(int from, const char *name, int to, const char *to_name, CopyFlags flags, unsigned depth);

static int copy_content(int from, int to, CopyFlags flags, unsigned depth) {
        if (depth > DEPTH_MAX)
                return -ELOOP;
        DIR *d = open_dir_of(from);
        if (!d)
                return -errno;
        int r = 0;
        for (struct dirent *e; r >= 0 && (e = readdir(d));)
                if (!is_dots(e->d_name))
                        r = copy_entry(dirfd(d), e->d_name, to, e->d_name, flags, depth);
        struct stat st;
        if (r >= 0)
                r = fstat(dirfd(d), &st) < 0 ? -errno : copy_attributes(to, &st, flags);
        if (r >= 0)
                copy_xattrs(dirfd(d), to);
        (void) closedir(d);
        return r;
}

static int copy_entry(int from, const char *name, int to, const char *to_name, CopyFlags flags, unsigned depth) {
        struct stat st;
        if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISREG(st.st_mode))
                return copy_file(from, name, to, to_name, flags);
        if (S_ISLNK(st.st_mode))
                return copy_link(from, name, to, to_name, &st, flags);
        if (S_ISDIR(st.st_mode)) {
                if (mkdirat(to, to_name, 0700) < 0 && errno != EEXIST)
                        return -errno;
                _cleanup_close_ int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (in < 0)
                        return -errno;
                _cleanup_close_ int out = openat(to, to_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (out < 0)
                        return -errno;
                return copy_content(in, out, flags, depth + 1);
        }
        if (!S_ISFIFO(st.st_mode))
                return 0; /* nobody listens behind a copied socket; devices are not for copying */
        if (unlinkat(to, to_name, 0) < 0 && errno != ENOENT)
                return -errno;
        return mknodat(to, to_name, st.st_mode, 0) < 0 ? -errno : 0;
}

int copy_tree_content(int from, int to, CopyFlags flags) {
        return copy_content(from, to, flags, 0);
}

int copy_tree_entry(int from, const char *name, int to, const char *to_name, CopyFlags flags) {
        return copy_entry(from, name, to, to_name, flags, 0);
}

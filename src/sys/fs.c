/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/fs.h"
#include "base/str.h"
#include "sys/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

int write_all(int fd, const void *p, size_t n) {
        const char *b = p;
        while (n > 0) {
                ssize_t k = write(fd, b, n);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                b += k;
                n -= (size_t) k;
        }
        return 0;
}

static int read_fd(int fd, size_t limit, Buf *ret) {
        _cleanup_(buf_done) Buf b = {};
        for (;;) {
                buf_reserve(&b, 4096);
                ssize_t k = read(fd, b.data + b.len, b.cap - b.len - 1);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                b.len += (size_t) k;
                b.data[b.len] = 0;
                if (b.len > limit)
                        return -EFBIG;
        }
        buf_done(ret);
        *ret = b;
        b = (Buf){};
        return 0;
}

int read_file_at(int dirfd, const char *path, size_t limit, Buf *ret) {
        _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : read_fd(fd, limit, ret);
}

int read_file(const char *path, size_t limit, Buf *ret) {
        return read_file_at(AT_FDCWD, path, limit, ret);
}

int read_line_file(const char *path, char **ret) {
        _cleanup_(buf_done) Buf b = {};
        int r = read_file(path, 64U << 10, &b);
        if (r < 0)
                return r;
        *ret = xstrndup(buf_str(&b), strcspn(buf_str(&b), "\n"));
        return 0;
}

static char *parent_of(const char *path) {
        const char *slash = strrchr(path, '/');
        if (!slash)
                return xstrdup(".");
        return slash == path ? xstrdup("/") : xstrndup(path, (size_t) (slash - path));
}

int fsync_dir(const char *path) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : RET_NERRNO(fsync(fd));
}

static int write_synced(const char *path, const void *p, size_t n, mode_t mode) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd < 0)
                return -errno;
        int r = RET_NERRNO(fchmod(fd, mode));
        if (r >= 0)
                r = write_all(fd, p, n);
        return r < 0 ? r : RET_NERRNO(fsync(fd));
}

int write_file_atomic(const char *path, const void *p, size_t n, mode_t mode) {
        _cleanup_free_ char *tmp = xasprintf("%s.tmp-%016" PRIx64, path, random_u64());
        _cleanup_free_ char *dir = parent_of(path);
        int r = write_synced(tmp, p, n, mode);
        if (r >= 0)
                r = RET_NERRNO(rename(tmp, path));
        if (r < 0) {
                (void) unlink(tmp);
                return r;
        }
        return fsync_dir(dir);
}

int write_existing(const char *path, const char *s) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd < 0 ? -errno : write_all(fd, s, strlen(s));
}

int mkdir_p(const char *path, mode_t mode) {
        _cleanup_free_ char *p = xstrdup(path);
        for (char *s = p + 1; *p && *s; s++) {
                if (*s != '/')
                        continue;
                *s = 0;
                if (mkdir(p, mode) < 0 && errno != EEXIST)
                        return -errno;
                *s = '/';
        }
        return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int rm_rf_at(int dirfd, const char *name, unsigned depth) {
        if (unlinkat(dirfd, name, 0) >= 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        if (depth > 512)
                return -ELOOP;
        int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        DIR *d = fdopendir(fd);
        if (!d) {
                int r = -errno;
                (void) close(fd);
                return r;
        }
        int r = 0;
        for (struct dirent *e; (e = readdir(d));) {
                if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;
                int k = rm_rf_at(fd, e->d_name, depth + 1);
                r = r < 0 ? r : k;
        }
        (void) closedir(d);
        if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && r >= 0)
                r = -errno;
        return r;
}

int rm_rf(const char *path) {
        return rm_rf_at(AT_FDCWD, path, 0);
}

char *path_join(const char *a, const char *b) {
        size_t n = strlen(a);
        while (n > 0 && a[n - 1] == '/')
                n--;
        while (*b == '/')
                b++;
        return xasprintf("%.*s/%s", (int) n, a, b);
}

const char *path_base(const char *path) {
        const char *slash = strrchr(path, '/');
        return slash ? slash + 1 : path;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/treetar.h"
#include "base/str.h"
#include "codec/tar.h"
#include "sys/fs.h"
#include "sys/mountfd.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DEPTH_MAX 512
#define PIECE_BYTES (128U << 10)

/* ---- writing ---- */

static int flush(int fd, Buf *b) {
        int r = write_all(fd, b->data, b->len);
        buf_clear(b);
        return r;
}

static void describe(const struct stat *st, TarType type, char *path, char *link, TarEntry *e) {
        *e = (TarEntry){ .type = type, .path = path, .link = link, .mode = st->st_mode & 07777, .uid = st->st_uid,
                         .gid = st->st_gid, .mtime_sec = st->st_mtim.tv_sec,
                         .mtime_nsec = (uint32_t) st->st_mtim.tv_nsec,
                         .size = type == TAR_FILE ? (uint64_t) st->st_size : 0 };
}

/* The header promises st_size bytes: a file that shrinks meanwhile is filled up with zeros. */
static int write_file(int in, const struct stat *st, char *path, int fd) {
        _cleanup_(buf_done) Buf b = {};
        TarEntry e;
        describe(st, TAR_FILE, path, (char *) "", &e);
        tar_write_header(&b, &e);
        uint64_t left = e.size;
        int r = flush(fd, &b);
        _cleanup_free_ char *piece = xmalloc(PIECE_BYTES);
        while (r >= 0 && left > 0) {
                size_t want = (size_t) MIN(left, (uint64_t) PIECE_BYTES);
                ssize_t n = read(in, piece, want);
                if (n < 0)
                        return -errno;
                if (n == 0) {
                        memset(piece, 0, want);
                        n = (ssize_t) want;
                }
                r = write_all(fd, piece, (size_t) n);
                left -= (uint64_t) n;
        }
        tar_write_padding(&b, e.size);
        return r < 0 ? r : flush(fd, &b);
}

static int write_entry(int dir, const char *name, char *path, int fd, unsigned depth);

static int write_folder(int dir, const char *name, const struct stat *st, const char *path, int fd, unsigned depth) {
        if (depth > DEPTH_MAX)
                return -ELOOP;
        _cleanup_free_ char *shown = xasprintf("%s/", path);
        _cleanup_(buf_done) Buf b = {};
        TarEntry e;
        describe(st, TAR_DIR, shown, (char *) "", &e);
        tar_write_header(&b, &e);
        int r = flush(fd, &b);
        int own = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *d = own < 0 ? NULL : fdopendir(own);
        if (!d)
                return -errno;
        for (struct dirent *i; r >= 0 && (i = readdir(d));) {
                if (streq(i->d_name, ".") || streq(i->d_name, ".."))
                        continue;
                _cleanup_free_ char *sub = path_join(path, i->d_name);
                r = write_entry(dirfd(d), i->d_name, sub, fd, depth + 1);
        }
        (void) closedir(d);
        return r;
}

static int write_entry(int dir, const char *name, char *path, int fd, unsigned depth) {
        struct stat st;
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return write_folder(dir, name, &st, path, fd, depth);
        if (S_ISREG(st.st_mode)) {
                _cleanup_close_ int in = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
                if (in < 0 || fstat(in, &st) < 0)
                        return -errno;
                return S_ISREG(st.st_mode) ? write_file(in, &st, path, fd) : 0;
        }
        char target[4097] = "";
        TarType type = TAR_SYMLINK;
        if (S_ISLNK(st.st_mode)) {
                ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
                if (n < 0)
                        return -errno;
                target[n] = 0;
        } else if (S_ISFIFO(st.st_mode))
                type = TAR_FIFO;
        else
                return 0;
        _cleanup_(buf_done) Buf b = {};
        TarEntry e;
        describe(&st, type, path, target, &e);
        tar_write_header(&b, &e);
        return flush(fd, &b);
}

int tree_to_tar(int dir, const char *name, int file, const char *as, int fd) {
        _cleanup_free_ char *path = xstrdup(as);
        struct stat st;
        int r;
        if (file >= 0)
                r = fstat(file, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? write_file(file, &st, path, fd) : -EINVAL;
        else
                r = write_entry(dir, name, path, fd, 0);
        _cleanup_(buf_done) Buf b = {};
        tar_write_end(&b);
        return r < 0 ? r : flush(fd, &b);
}

/* ---- reading ---- */

static int64_t read_source(void *userdata, void *buf, size_t n, Err *err) {
        size_t have = 0;
        while (have < n) {
                ssize_t k = read(*(int *) userdata, (char *) buf + have, n - have);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return err_errno(err, -errno, "cannot read the archive");
                if (k == 0)
                        break;
                have += (size_t) k;
        }
        return (int64_t) have;
}

/* The folder an entry goes into, made when missing; symlinks on the way are refused. */
static int open_parent(int folder, const char *path, const char **ret_base) {
        const char *p = path;
        while (*p == '/' || (p[0] == '.' && p[1] == '/'))
                p++;
        int at = fcntl(folder, F_DUPFD_CLOEXEC, 3);
        for (const char *slash; at >= 0 && (slash = strchr(p, '/')) && slash[1]; p = slash + 1) {
                _cleanup_free_ char *part = xstrndup(p, (size_t) (slash - p));
                if (!*part || streq(part, "."))
                        continue;
                if (mkdirat(at, part, 0755) < 0 && errno != EEXIST) {
                        int r = -errno;
                        (void) close(at);
                        return r;
                }
                int next = sys_openat2(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                                       RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
                (void) close(at);
                at = next;
        }
        *ret_base = p;
        return at;
}

static int read_file_entry(TarReader *t, const TarEntry *e, int dir, const char *name, CopyFlags flags, Err *err) {
        (void) unlinkat(dir, name, 0);
        _cleanup_close_ int out = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (out < 0)
                return err_errno(err, -errno, "cannot make %s", e->path);
        _cleanup_free_ char *piece = xmalloc(PIECE_BYTES);
        int64_t n;
        while ((n = tar_read(t, piece, PIECE_BYTES, err)) > 0) {
                int r = write_all(out, piece, (size_t) n);
                if (r < 0)
                        return err_errno(err, r, "cannot write %s", e->path);
        }
        if (n < 0)
                return (int) n;
        struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { e->mtime_sec, (long) e->mtime_nsec } };
        if (((flags & COPY_OWNER) && fchown(out, e->uid, e->gid) < 0) || fchmod(out, e->mode & 07777) < 0 ||
            futimens(out, times) < 0)
                return err_errno(err, -errno, "cannot set the attributes of %s", e->path);
        return 0;
}

static int read_entry(TarReader *t, const TarEntry *e, int folder, CopyFlags flags, Err *err) {
        const char *base;
        _cleanup_close_ int dir = open_parent(folder, e->path, &base);
        if (dir < 0)
                return err_errno(err, dir, "cannot unpack %s", e->path);
        _cleanup_free_ char *name = xstrdup(base);
        name[strcspn(name, "/")] = 0;
        if (!*name || streq(name, "."))
                return 0;
        if (streq(name, ".."))
                return err_set(err, -EINVAL, "the archive's path %s leads out of the folder", e->path);
        int r = 0;
        switch (e->type) {
        case TAR_FILE:
                return read_file_entry(t, e, dir, name, flags, err);
        case TAR_DIR:
                r = mkdirat(dir, name, e->mode & 07777) < 0 && errno != EEXIST ? -errno : 0;
                break;
        case TAR_SYMLINK:
                (void) unlinkat(dir, name, 0);
                r = symlinkat(e->link, dir, name) < 0 ? -errno : 0;
                break;
        case TAR_FIFO:
                (void) unlinkat(dir, name, 0);
                r = mknodat(dir, name, S_IFIFO | (e->mode & 0777), 0) < 0 ? -errno : 0;
                break;
        case TAR_HARDLINK: {
                const char *target;
                _cleanup_close_ int from = open_parent(folder, e->link, &target);
                (void) unlinkat(dir, name, 0);
                r = from < 0 ? from : linkat(from, target, dir, name, 0) < 0 ? -errno : 0;
                break;
        }
        default:
                return 0; /* devices */
        }
        return r < 0 ? err_errno(err, r, "cannot unpack %s", e->path) : 0;
}

int tar_to_tree(int fd, int folder, CopyFlags flags, Err *err) {
        TarReader t = { .source = read_source, .userdata = &fd };
        for (;;) {
                TarEntry e = {};
                int r = tar_next(&t, &e, err);
                if (r <= 0)
                        return r;
                r = read_entry(&t, &e, folder, flags, err);
                tar_entry_done(&e);
                if (r < 0)
                        return r;
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/store-internal.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define OVERLAYFS_MAGIC 0x794c7630

char *store_path(const ImageStore *s, const char *fmt, ...) {
        char *rest = NULL;
        va_list ap;
        va_start(ap, fmt);
        int n = vasprintf(&rest, fmt, ap);
        va_end(ap);
        if (n < 0)
                abort();
        char *p = path_join(s->root, rest);
        free(rest);
        return p;
}

int store_lock(const ImageStore *s, const char *file, int op, int *ret, Err *err) {
        _cleanup_free_ char *path = store_path(s, "%s", file);
        _cleanup_close_ int fd = open(path, s->writable ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0644);
        if (fd < 0)
                return err_errno(err, -errno, "%s", path);
        while (flock(fd, op) < 0) {
                if (errno == EWOULDBLOCK)
                        return -EWOULDBLOCK;
                if (errno != EINTR)
                        return err_errno(err, -errno, "lock %s", path);
        }
        *ret = TAKE_FD(fd);
        return 0;
}

int store_check_writable(const ImageStore *s, Err *err) {
        if (!s->writable)
                return err_set(err, -EROFS, "the image store %s cannot be written: this needs root (or go through "
                               "dockerd's socket)", s->root);
        struct statfs fs;
        if (statfs(s->root, &fs) >= 0 && fs.f_type == OVERLAYFS_MAGIC)
                return err_set(err, -EROFS, "the image store %s lies on an overlay file system, which cannot hold layers: "
                               "mount a disk or a tmpfs there", s->root);
        return 0;
}

/* Deletes what finished or killed processes left in ROOT/tmp: a work folder is flocked by its owner. */
static void reap_tmp(const ImageStore *s) {
        _cleanup_free_ char *tmp = store_path(s, "tmp");
        DIR *d = opendir(tmp);
        if (!d)
                return;
        for (struct dirent *e; (e = readdir(d));) {
                if (e->d_name[0] == '.')
                        continue;
                _cleanup_close_ int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
                        continue;
                _cleanup_free_ char *path = path_join(tmp, e->d_name);
                (void) rm_rf(path);
        }
        (void) closedir(d);
}

static int make_folders(const ImageStore *s, Err *err) {
        static const char *const folders[] = { "tmp", "images", "blobs/sha256", "layers", "l", "partial", "containers" };
        int r = mkdir_p(s->root, 0711);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *p = store_path(s, "%s", folders[i]);
                r = mkdir_p(p, streq(folders[i], "l") || streq(folders[i], "layers") ? 0711 : 0700);
        }
        return r < 0 ? err_errno(err, r, "cannot make the image store %s", s->root) : 0;
}

int image_store_open(const char *root, ImageStore **ret, Err *err) {
        _cleanup_(image_store_closep) ImageStore *s = xnew(ImageStore, 1);
        if (isempty(root))
                root = IMAGE_ROOT_DEFAULT;
        if (root[0] == '/') {
                s->root = xstrdup(root);
        } else {
                _cleanup_free_ char *cwd = getcwd(NULL, 0);
                if (!cwd)
                        return err_errno(err, -errno, "current folder");
                s->root = path_join(cwd, root);
        }
        for (size_t n = strlen(s->root); n > 1 && s->root[n - 1] == '/'; n--)
                s->root[n - 1] = 0;
        if (strpbrk(s->root, ":,\\\n"))
                return err_set(err, -EINVAL, "the store's path %s may not contain a colon, comma or backslash", s->root);
        s->writable = geteuid() == 0;
        if (s->writable) {
                int r = make_folders(s, err);
                if (r < 0)
                        return r;
                reap_tmp(s);
        } else if (access(s->root, X_OK) < 0) {
                return err_errno(err, -errno, "cannot open the image store %s", s->root);
        }
        *ret = TAKE_PTR(s);
        return 0;
}

ImageStore *image_store_close(ImageStore *s) {
        if (!s)
                return NULL;
        free(s->root);
        return xfree(s);
}

const char *image_store_root(const ImageStore *s) {
        return s->root;
}

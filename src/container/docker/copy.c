/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/copy.h"
#include "base/str.h"
#include "container/docker/treetar.h"
#include "container/run/launch.h"
#include "sys/fs.h"
#include "sys/mountfd.h"

#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

int container_root_open(Store *s, const Container *c, int *ret_root, int *ret_lock, Err *err) {
        *ret_lock = -EBADF;
        if (container_running(c)) {
                _cleanup_free_ char *path = xasprintf("/proc/%d/root", c->state.pid);
                _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
                uint64_t start = 0;
                /* Still the same process after the open? Then the root is the container's. */
                if (fd >= 0 && process_start_time(c->state.pid, &start) >= 0 && start == c->state.pid_start) {
                        *ret_root = TAKE_FD(fd);
                        return 0;
                }
                return err_set(err, -ESRCH, "container %s has just stopped", c->id);
        }
        _cleanup_close_ int lock = container_lock(s, c->id, 1000);
        if (lock < 0)
                return err_set(err, lock, "container %s is busy", c->id);
        static const char *const names[] = { "diff", "work" };
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = path_join(c->dir, names[i]);
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return err_errno(err, -errno, "cannot make %s", path);
        }
        if (unshare(CLONE_NEWNS) < 0)
                return err_errno(err, -errno, "cannot make a mount namespace");
        Launch l = { .spec = c->spec, .root = s->root, .dir = c->dir };
        int r = launch_open_volumes(&l, err);
        if (r >= 0)
                r = rootfs_open_stopped(&l, ret_root, err);
        launch_done(&l);
        if (r >= 0)
                *ret_lock = TAKE_FD(lock);
        return r;
}

/* ---- paths ---- */

/* One thing to copy: the folder it is in, and its name there. "/" is itself, with the name ".". */
typedef struct Place {
        int dir;
        char *name;
        bool content; /* the path ended in "/.": what is in the folder */
        bool slash;   /* the path ended in "/" */
} Place;

static void place_done(Place *p) {
        p->dir = safe_close(p->dir);
        free(p->name);
}

static int find_place(const CopySide *s, Place *ret, Err *err) {
        _cleanup_free_ char *path = xstrdup(s->path);
        Place p = { .dir = -EBADF };
        size_t n = strlen(path);
        if (n >= 2 && streq(path + n - 2, "/.")) {
                p.content = true;
                path[n -= 1] = 0;
        }
        while (n > 1 && path[n - 1] == '/') {
                p.slash = true;
                path[--n] = 0;
        }
        const char *base = path_base(path);
        _cleanup_free_ char *parent = xstrndup(path, (size_t) (base - path));
        bool dots = !*base || streq(base, "..") || streq(base, ".");
        p.name = xstrdup(dots ? "." : base);
        p.dir = open_in_root(s->root, dots ? path : isempty(parent) ? "/" : parent, O_PATH | O_DIRECTORY);
        if (p.dir < 0) {
                int r = p.dir;
                place_done(&p);
                return r == -ENOENT || r == -ENOTDIR
                                       ? err_set(err, r, "Could not find the file %s in %s", s->path, s->name)
                                       : err_errno(err, r, "cannot open %s in %s", s->path, s->name);
        }
        *ret = p;
        return 0;
}

/* What the last part of the path leads to, when that is a symlink (-L): a readable descriptor, or -ENOENT when it
 * is none. */
static int open_link_target(const CopySide *s, const Place *p) {
        struct stat st;
        if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
                return -ENOENT;
        return open_in_root(s->root, s->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

/* ---- copying ---- */

static int copy_error(int r, const CopySide *from, const CopySide *to, Err *err) {
        return r < 0 ? err_errno(err, r, "cannot copy %s of %s to %s of %s", from->path, from->name, to->path, to->name)
                     : 0;
}

static int copy_into(const CopySide *from, const Place *source, int link, const CopySide *to, int folder,
                     CopyFlags flags, Err *err) {
        if (link >= 0)
                return copy_error(copy_tree_file(link, folder, source->name, flags), from, to, err);
        if (!source->content && !streq(source->name, "."))
                return copy_error(copy_tree_entry(source->dir, source->name, folder, source->name, flags), from, to,
                                  err);
        _cleanup_close_ int in = openat(source->dir, source->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (in < 0)
                return copy_error(-errno, from, to, err);
        return copy_error(copy_tree_content(in, folder, flags), from, to, err);
}

int container_copy(const CopySide *from, const CopySide *to, bool follow_link, CopyFlags flags, Err *err) {
        _cleanup_(place_done) Place source = { .dir = -EBADF }, target = { .dir = -EBADF };
        int r = find_place(from, &source, err);
        if (r < 0)
                return r;
        _cleanup_close_ int link = follow_link ? open_link_target(from, &source) : -EBADF;
        struct stat st;
        if (link >= 0 ? fstat(link, &st) < 0 : fstatat(source.dir, source.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_set(err, -errno, "Could not find the file %s in %s", from->path, from->name);
        bool folder = S_ISDIR(st.st_mode);
        if (link >= 0 && folder) {
                (void) close(source.dir);
                source.dir = TAKE_FD(link);
                free(source.name);
                source.name = xstrdup(".");
        }
        if (source.content && !folder)
                return err_set(err, -ENOTDIR, "%s in %s is not a directory", from->path, from->name);
        _cleanup_close_ int there = open_in_root(to->root, to->path, O_PATH);
        if (there >= 0) {
                _cleanup_close_ int into = open_in_root(to->root, to->path, O_RDONLY | O_DIRECTORY);
                if (into >= 0)
                        return copy_into(from, &source, link, to, into, flags, err);
                if (folder)
                        return err_set(err, -ENOTDIR, "cannot copy directory");
        }
        r = find_place(to, &target, err);
        if (r < 0)
                return r;
        if (there < 0 && (target.slash || target.content) && !folder)
                return err_set(err, -ENOENT, "no such directory: %s in %s", to->path, to->name);
        if (link >= 0)
                r = copy_tree_file(link, target.dir, target.name, flags);
        else
                r = copy_tree_entry(source.dir, source.name, target.dir, target.name, flags);
        return copy_error(r, from, to, err);
}

int container_copy_out(const CopySide *from, bool follow_link, int fd, Err *err) {
        _cleanup_(place_done) Place source = { .dir = -EBADF };
        int r = find_place(from, &source, err);
        if (r < 0)
                return r;
        _cleanup_close_ int link = follow_link ? open_link_target(from, &source) : -EBADF;
        const char *shown = source.content || streq(source.name, ".") ? "." : source.name;
        r = tree_to_tar(source.dir, source.name, link, shown, fd);
        if (r == -ENOENT)
                return err_set(err, r, "Could not find the file %s in %s", from->path, from->name);
        return r < 0 ? err_errno(err, r, "cannot copy %s of %s", from->path, from->name) : 0;
}

int container_copy_in(int fd, const CopySide *to, CopyFlags flags, Err *err) {
        _cleanup_close_ int folder = open_in_root(to->root, to->path, O_RDONLY | O_DIRECTORY);
        if (folder < 0)
                return err_set(err, folder, "%s is not a directory of %s", to->path, to->name);
        return tar_to_tree(fd, folder, flags, err);
}

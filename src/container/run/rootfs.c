/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/run/launch.h"
#include "sys/copytree.h"
#include "sys/fs.h"
#include "sys/mountfd.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The root file system of a container, built in its own mount namespace. Every place in it that the image can
 * influence is reached by openat2() below the root, so that no symlink leads a mount astray (CVE-2021-30465 and
 * its kin); mounts are made detached and then put onto a descriptor. */

#define PAGE_OPTIONS_MAX 4000 /* mount(2) copies one page of options */
#define DEV_DEPTH_MAX 4

void launch_done(Launch *l) {
        for (size_t i = 0; l->volume_fds && i < l->spec->n_mounts; i++)
                (void) safe_close(l->volume_fds[i]);
        l->volume_fds = xfree(l->volume_fds);
}

static uint64_t propagation_of(const char *name) {
        if (strstr(name, "shared"))
                return MS_SHARED;
        return strstr(name, "slave") ? MS_SLAVE : MS_PRIVATE;
}

static int open_volume(const MountSpec *m, int *ret, Err *err) {
        if (m->make_source && mkdir_p(m->source, 0755) < 0 && access(m->source, F_OK) < 0)
                return err_errno(err, -errno, "cannot make the folder %s for a bind mount", m->source);
        bool recursive = !startswith(m->propagation, "private") && !streq(m->propagation, "shared") &&
                         !streq(m->propagation, "slave");
        _cleanup_close_ int fd = mount_clone(AT_FDCWD, m->source, recursive);
        if (fd == -ENOENT)
                return err_set(err, fd, "invalid mount config for type \"%s\": bind source path does not exist: %s",
                               m->type, m->source);
        if (fd < 0)
                return err_errno(err, fd, "cannot mount %s", m->source);
        int r = mount_attr(fd, recursive, m->rw ? 0 : MOUNT_ATTR_RDONLY, 0, propagation_of(m->propagation));
        if (r < 0)
                return err_errno(err, r, "cannot mount %s", m->source);
        *ret = TAKE_FD(fd);
        return 0;
}

int launch_open_volumes(Launch *l, Err *err) {
        const ContainerSpec *s = l->spec;
        l->volume_fds = xnew(int, MAX(s->n_mounts, (size_t) 1));
        for (size_t i = 0; i < s->n_mounts; i++)
                l->volume_fds[i] = -EBADF;
        for (size_t i = 0; i < s->n_mounts; i++) {
                const MountSpec *m = &s->mounts[i];
                int r = streq(m->type, "tmpfs") ? 0 : open_volume(m, &l->volume_fds[i], err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- the root ---- */

/* Whether ROOT/skel may lie over the image's layers: only where the image has plain folders or nothing, or it would
 * hide a symlink, or change /etc's owner and mode. */
static bool skeleton_fits(const Launch *l, const char *skeleton) {
        static const char *const names[] = { "etc", "dev", "proc", "sys" };
        if (access(skeleton, F_OK) < 0)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                STRV_FOREACH(d, l->spec->lowerdirs) {
                        _cleanup_free_ char *path = path_join(*d, names[i]);
                        struct stat st;
                        if (lstat(path, &st) < 0)
                                continue;
                        if (!S_ISDIR(st.st_mode) ||
                            (i == 0 && ((st.st_mode & 07777) != 0755 || st.st_uid != 0 || st.st_gid != 0)))
                                return false;
                        break;
                }
        return true;
}

static char **lower_folders(const Launch *l) {
        _cleanup_free_ char *skeleton = path_join(l->root, "skel");
        char **lower = NULL;
        if (skeleton_fits(l, skeleton))
                strv_push(&lower, TAKE_PTR(skeleton));
        STRV_FOREACH(d, l->spec->lowerdirs)
                strv_add(&lower, *d);
        return lower;
}

/* Before Linux 6.7 lower folders are one option string of at most a page: that is why the image store has short
 * links, used here relative to the store. */
static int overlay_by_mount(const Launch *l, char *const *lower, const char *upper, const char *work,
                            const char *where, Err *err) {
        _cleanup_(buf_done) Buf o = {};
        STRV_FOREACH(d, lower) {
                const char *below = startswith(*d, l->root);
                buf_addf(&o, "%s%s", o.len ? ":" : "lowerdir=", below ? below + 1 : *d);
        }
        buf_addf(&o, ",upperdir=%s,workdir=%s%s", upper, work, l->spec->host.auto_remove ? ",volatile" : "");
        if (o.len > PAGE_OPTIONS_MAX)
                return err_set(err, -E2BIG, "this kernel cannot mount an image with %zu layers",
                               strv_len(lower));
        if (chdir(l->root) < 0 || mount("overlay", where, "overlay", MS_NODEV, o.data) < 0)
                return err_errno(err, -errno, "cannot mount the container's layers");
        return 0;
}

static int overlay_by_fsmount(const Launch *l, char *const *lower, const char *upper, const char *work) {
        _cleanup_strv_ char **options = NULL;
        STRV_FOREACH(d, lower)
                strv_addf(&options, "lowerdir+=%s", *d);
        strv_addf(&options, "upperdir=%s", upper);
        strv_addf(&options, "workdir=%s", work);
        /* Nobody will look at the layer of a --rm container after a power cut: no sync at its unmount. */
        if (l->spec->host.auto_remove)
                strv_add(&options, "volatile");
        return fs_mount_new("overlay", (const char *const *) options,
                            l->spec->host.privileged ? 0 : MOUNT_ATTR_NODEV);
}

static int mount_layers(const Launch *l, const char *where, Err *err) {
        _cleanup_free_ char *upper = path_join(l->dir, "diff"), *work = path_join(l->dir, "work");
        _cleanup_strv_ char **lower = lower_folders(l);
        _cleanup_close_ int fd = overlay_by_fsmount(l, lower, upper, work);
        if (fd < 0)
                return overlay_by_mount(l, lower, upper, work, where, err);
        int r = mount_attach_at(fd, AT_FDCWD, where);
        return r < 0 ? err_errno(err, r, "cannot mount the container's layers") : 0;
}

static int mount_root(const Launch *l, const char *where, Err *err) {
        if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
                return err_errno(err, -errno, "cannot separate the container's mounts");
        if (!l->spec->rootfs)
                return mount_layers(l, where, err);
        _cleanup_close_ int fd = mount_clone(AT_FDCWD, l->spec->rootfs, true);
        int r = fd < 0 ? fd : mount_attr(fd, true, 0, 0, MS_PRIVATE);
        if (r >= 0)
                r = mount_attach_at(fd, AT_FDCWD, where);
        return r < 0 ? err_errno(err, r, "cannot mount the root folder %s", l->spec->rootfs) : 0;
}

/* ---- /proc, /sys, /dev ---- */

/* A folder of the image right below its root that may be absent, but must not be a symlink (CVE-2019-19921). */
static int system_folder(int root, const char *name, Err *err) {
        for (unsigned i = 0; i < 2; i++) {
                int fd = sys_openat2(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                                     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
                if (fd >= 0)
                        return fd;
                if (fd != -ENOENT || (mkdirat(root, name, 0755) < 0 && errno != EEXIST))
                        return err_errno(err, fd, "the image's /%s cannot be mounted on", name);
        }
        return err_set(err, -ENOENT, "the image's /%s cannot be made", name);
}

static int attach_system(int root, int fd, const char *name, Err *err) {
        if (fd < 0)
                return err_errno(err, fd, "cannot make /%s of the container", name);
        _cleanup_close_ int target = system_folder(root, name, err);
        if (target < 0)
                return target;
        int r = mount_attach(fd, target);
        return r < 0 ? err_errno(err, r, "cannot mount /%s of the container", name) : 0;
}

/* Like attach_system(), below a mount of our own where the image has no say. */
static int attach_below(int root, int fd, const char *path, Err *err) {
        if (fd < 0)
                return err_errno(err, fd, "cannot make %s of the container", path);
        _cleanup_close_ int target = mkdir_in_root(root, path, 0755);
        int r = target < 0 ? target : mount_attach(fd, target);
        return r < 0 ? err_errno(err, r, "cannot mount %s of the container", path) : 0;
}

#define ATTR_SAFE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static int mount_proc(int root, Err *err) {
        _cleanup_close_ int fd = fs_mount_new("proc", NULL, ATTR_SAFE);
        return attach_system(root, fd, "proc", err);
}

static int mount_sys(const Launch *l, int root, Err *err) {
        uint64_t attr = ATTR_SAFE | (l->spec->host.privileged ? 0 : MOUNT_ATTR_RDONLY);
        _cleanup_close_ int fd = fs_mount_new("sysfs", NULL, attr);
        if (fd == -EPERM) { /* not our network namespace: the host's own view, as docker does for --net=host */
                fd = mount_clone(AT_FDCWD, "/sys", true);
                if (fd >= 0)
                        (void) mount_attr(fd, true, attr, 0, MS_PRIVATE);
        }
        return attach_system(root, fd, "sys", err);
}

static int mount_cgroups(const Launch *l, int root, Err *err) {
        uint64_t attr = ATTR_SAFE | (l->spec->host.privileged ? 0 : MOUNT_ATTR_RDONLY);
        if (l->cgroup->n == 1 && l->cgroup->dirs[0].controllers == CGROUP_V2) {
                _cleanup_close_ int fd = mount_clone(AT_FDCWD, l->cgroup->dirs[0].dir, false);
                if (fd >= 0)
                        (void) mount_attr(fd, false, attr, 0, MS_PRIVATE);
                return attach_below(root, fd, "/sys/fs/cgroup", err);
        }
        static const char *const options[] = { "mode=755", "size=64k", NULL };
        _cleanup_close_ int top = fs_mount_new("tmpfs", options, ATTR_SAFE);
        for (size_t i = 0; top >= 0 && i < l->cgroup->n; i++)
                if (mkdirat(top, path_base(l->cgroup->dirs[i].mount), 0755) < 0)
                        return err_errno(err, -errno, "cannot make /sys/fs/cgroup of the container");
        int r = attach_below(root, top, "/sys/fs/cgroup", err);
        for (size_t i = 0; r >= 0 && i < l->cgroup->n; i++) {
                const CgroupDir *d = &l->cgroup->dirs[i];
                _cleanup_free_ char *where = path_join("/sys/fs/cgroup", path_base(d->mount));
                _cleanup_close_ int fd = mount_clone(AT_FDCWD, d->dir, false);
                if (fd >= 0)
                        (void) mount_attr(fd, false, attr, 0, MS_PRIVATE);
                r = attach_below(root, fd, where, err);
        }
        if (r >= 0 && !l->spec->host.privileged)
                (void) mount_attr(top, false, MOUNT_ATTR_RDONLY, 0, 0);
        return r;
}

/* A device node below `dir`, or, where mknod is refused, the host's node mounted there. */
static int make_node(int dir, const char *name, const char *host, dev_t dev, mode_t mode) {
        if (mknodat(dir, name, mode, dev) >= 0)
                return fchmodat(dir, name, mode & 0777, 0) < 0 ? -errno : 0;
        if (errno != EPERM)
                return -errno;
        _cleanup_close_ int made = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (made < 0)
                return -errno;
        _cleanup_close_ int target = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_close_ int fd = mount_clone(AT_FDCWD, host, false);
        return fd < 0 ? fd : target < 0 ? -errno : mount_attach(fd, target);
}

static int make_default_nodes(int dev, Err *err) {
        static const struct {
                const char *name;
                unsigned major, minor;
        } nodes[] = { { "null", 1, 3 },   { "zero", 1, 5 },    { "full", 1, 7 },
                      { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 } };
        for (size_t i = 0; i < ELEMENTSOF(nodes); i++) {
                char host[32];
                (void) snprintf(host, sizeof(host), "/dev/%s", nodes[i].name);
                int r = make_node(dev, nodes[i].name, host, makedev(nodes[i].major, nodes[i].minor), S_IFCHR | 0666);
                if (r < 0 && r != -EEXIST)
                        return err_errno(err, r, "cannot make /dev/%s of the container", nodes[i].name);
        }
        return 0;
}

static int make_links(int dev, Err *err) {
        static const struct {
                const char *to, *name;
        } links[] = { { "/proc/self/fd", "fd" },      { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
                      { "/proc/self/fd/2", "stderr" }, { "pts/ptmx", "ptmx" },         { "/proc/kcore", "core" } };
        for (size_t i = 0; i < ELEMENTSOF(links); i++)
                if (symlinkat(links[i].to, dev, links[i].name) < 0)
                        return err_errno(err, -errno, "cannot make /dev/%s of the container", links[i].name);
        return 0;
}

/* --privileged: every device node of the host. */
static int copy_host_nodes(int to, const char *from, unsigned depth) {
        DIR *d = opendir(from);
        if (!d)
                return -errno;
        int r = 0;
        for (struct dirent *e; r >= 0 && (e = readdir(d));) {
                static const char *const skip[] = { ".", "..", "pts", "shm", "mqueue", "console", "ptmx", "hugepages" };
                bool skipped = false;
                for (size_t i = 0; i < ELEMENTSOF(skip); i++)
                        skipped |= streq(e->d_name, skip[i]);
                struct stat st;
                if (skipped || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                _cleanup_free_ char *path = path_join(from, e->d_name);
                if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
                        r = make_node(to, e->d_name, path, st.st_rdev, st.st_mode);
                        r = r == -EEXIST ? 0 : r;
                } else if (S_ISDIR(st.st_mode) && depth < DEV_DEPTH_MAX) {
                        if (mkdirat(to, e->d_name, 0755) < 0 && errno != EEXIST)
                                continue;
                        _cleanup_close_ int sub = openat(to, e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
                        r = sub < 0 ? -errno : copy_host_nodes(sub, path, depth + 1);
                }
        }
        (void) closedir(d);
        return r;
}

static int make_devices(const Launch *l, int root, Err *err) {
        for (size_t i = 0; i < l->spec->host.n_devices; i++) {
                const DeviceSpec *d = &l->spec->host.devices[i];
                struct stat st;
                if (stat(d->host, &st) < 0)
                        return err_errno(err, -errno, "error gathering device information while adding custom "
                                         "device \"%s\"", d->host);
                if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
                        return err_set(err, -ENODEV, "\"%s\" is not a device", d->host);
                const char *base = path_base(d->path);
                _cleanup_free_ char *folder = xstrndup(d->path, (size_t) (base - d->path));
                _cleanup_close_ int dir = mkdir_in_root(root, folder, 0755);
                int r = dir < 0 ? dir : make_node(dir, base, d->host, st.st_rdev, st.st_mode);
                if (r < 0 && r != -EEXIST)
                        return err_errno(err, r, "cannot make the device %s", d->path);
        }
        return 0;
}

static int mount_shm(const Launch *l, int root, Err *err) {
        _cleanup_close_ int fd = -EBADF;
        if (l->host_ipc)
                fd = mount_clone(AT_FDCWD, "/dev/shm", false);
        else {
                char size[32];
                (void) snprintf(size, sizeof(size), "size=%" PRId64, l->spec->host.shm_size);
                const char *const options[] = { "mode=1777", size, NULL };
                fd = fs_mount_new("tmpfs", options, ATTR_SAFE);
        }
        return attach_below(root, fd, "/dev/shm", err);
}

static int mount_dev(const Launch *l, int root, Err *err) {
        static const char *const options[] = { "mode=755", "size=65536k", NULL };
        static const char *const pts_options[] = { "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", NULL };
        _cleanup_close_ int dev = fs_mount_new("tmpfs", options, MOUNT_ATTR_NOSUID);
        int r = attach_system(root, dev, "dev", err);
        if (r >= 0 && l->spec->host.privileged) {
                r = copy_host_nodes(dev, "/dev", 0);
                if (r < 0)
                        return err_errno(err, r, "cannot give the host's devices to the container");
        }
        if (r >= 0)
                r = make_default_nodes(dev, err);
        if (r >= 0)
                r = make_links(dev, err);
        if (r >= 0)
                r = make_devices(l, root, err);
        if (r < 0)
                return r;
        _cleanup_close_ int pts = fs_mount_new("devpts", pts_options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
        r = attach_below(root, pts, "/dev/pts", err);
        if (r >= 0)
                r = mount_shm(l, root, err);
        if (r < 0)
                return r;
        _cleanup_close_ int mqueue = fs_mount_new("mqueue", NULL, ATTR_SAFE);
        return mqueue == -ENODEV || mqueue == -EPERM ? 0 : attach_below(root, mqueue, "/dev/mqueue", err);
}

/* ---- files and volumes ---- */

static int bind_file(const Launch *l, int root, const char *name, const char *path, Err *err) {
        _cleanup_free_ char *source = path_join(l->dir, name);
        _cleanup_close_ int fd = mount_clone(AT_FDCWD, source, false);
        if (fd == -ENOENT)
                return 0; /* --net=container:X has X's */
        _cleanup_close_ int target = fd < 0 ? -EBADF : mkfile_in_root(root, path, 0644);
        int r = fd < 0 ? fd : target < 0 ? target : mount_attach(fd, target);
        if (r >= 0)
                r = mount_attr(fd, false, 0, 0, MS_PRIVATE);
        return r < 0 ? err_errno(err, r, "cannot make the container's %s", path) : 0;
}

static int mount_tmpfs(const MountSpec *m, int root, Err *err) {
        uint64_t attr = ATTR_SAFE;
        _cleanup_strv_ char **words = strv_split(m->mode, ",", false), **options = NULL;
        static const struct {
                const char *word;
                uint64_t set, clear;
        } flags[] = { { "ro", MOUNT_ATTR_RDONLY, 0 },   { "rw", 0, MOUNT_ATTR_RDONLY },
                      { "exec", 0, MOUNT_ATTR_NOEXEC }, { "noexec", MOUNT_ATTR_NOEXEC, 0 },
                      { "suid", 0, MOUNT_ATTR_NOSUID }, { "nosuid", MOUNT_ATTR_NOSUID, 0 },
                      { "dev", 0, MOUNT_ATTR_NODEV },   { "nodev", MOUNT_ATTR_NODEV, 0 } };
        STRV_FOREACH(w, words) {
                bool known = false;
                for (size_t i = 0; i < ELEMENTSOF(flags); i++)
                        if (streq(*w, flags[i].word)) {
                                attr = (attr | flags[i].set) & ~flags[i].clear;
                                known = true;
                        }
                if (!known)
                        strv_add(&options, *w);
        }
        _cleanup_close_ int fd = fs_mount_new("tmpfs", (const char *const *) options, attr);
        if (fd < 0)
                return err_errno(err, fd, "cannot mount a tmpfs with the options \"%s\" on %s", m->mode,
                                 m->destination);
        return attach_below(root, fd, m->destination, err);
}

/* A new volume begins with what the image has at that place. */
static int fill_volume(const MountSpec *m, int root, Err *err) {
        if (!streq(m->type, "volume") || m->no_copy)
                return 0;
        _cleanup_close_ int from = open_in_root(root, m->destination, O_RDONLY | O_DIRECTORY);
        _cleanup_close_ int to = open(m->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (from < 0 || to < 0 || !dir_is_empty(to))
                return 0;
        int r = copy_tree_content(from, to, COPY_OWNER);
        return r < 0 ? err_errno(err, r, "cannot fill the volume %s from the image", m->name) : 0;
}

static int mount_volume(const MountSpec *m, int fd, int root, Err *err) {
        if (streq(m->type, "tmpfs"))
                return mount_tmpfs(m, root, err);
        int r = fill_volume(m, root, err);
        if (r < 0)
                return r;
        struct stat st;
        if (fstat(fd, &st) < 0)
                return err_errno(err, -errno, "cannot look at %s", m->source);
        _cleanup_close_ int target = S_ISDIR(st.st_mode) ? mkdir_in_root(root, m->destination, 0755)
                                                         : mkfile_in_root(root, m->destination, 0644);
        r = target < 0 ? target : mount_attach(fd, target);
        return r < 0 ? err_errno(err, r, "cannot mount %s on %s of the container", m->source, m->destination) : 0;
}

static int by_destination(const void *a, const void *b) {
        return strcmp((*(const MountSpec *const *) a)->destination, (*(const MountSpec *const *) b)->destination);
}

static int mount_volumes(const Launch *l, int root, Err *err) {
        size_t n = l->spec->n_mounts;
        _cleanup_free_ const MountSpec **order = xnew(const MountSpec *, MAX(n, (size_t) 1));
        for (size_t i = 0; i < n; i++)
                order[i] = &l->spec->mounts[i];
        if (n > 0)
                qsort(order, n, sizeof(*order), by_destination);
        for (size_t i = 0; i < n; i++) {
                int r = mount_volume(order[i], l->volume_fds[order[i] - l->spec->mounts], root, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- after pivot_root ---- */

/* `null` is a detached-able source: /dev/null as we made it. Paths are ours: /proc and /sys were mounted a moment
 * ago, and no process of the container has run yet. */
static int mask_path(const char *path, Err *err) {
        _cleanup_close_ int target = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        if (target < 0)
                return errno == ENOENT || errno == EACCES ? 0 : err_errno(err, -errno, "cannot mask %s", path);
        if (fstat(target, &st) < 0)
                return err_errno(err, -errno, "cannot mask %s", path);
        static const char *const options[] = { "size=0k", NULL };
        _cleanup_close_ int fd = S_ISDIR(st.st_mode) ? fs_mount_new("tmpfs", options, ATTR_SAFE | MOUNT_ATTR_RDONLY)
                                                     : mount_clone(AT_FDCWD, "/dev/null", false);
        if (fd < 0)
                return err_errno(err, fd, "cannot mask %s", path);
        struct stat null;
        if (!S_ISDIR(st.st_mode) && (fstat(fd, &null) < 0 || null.st_rdev != makedev(1, 3)))
                return err_set(err, -ENODEV, "cannot mask %s: /dev/null is not the null device", path);
        int r = mount_attach(fd, target);
        return r < 0 ? err_errno(err, r, "cannot mask %s", path) : 0;
}

static int protect_path(const char *path, Err *err) {
        _cleanup_close_ int target = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (target < 0)
                return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot write-protect %s", path);
        _cleanup_close_ int fd = mount_clone(target, "", true);
        int r = fd < 0 ? fd : mount_attr(fd, true, MOUNT_ATTR_RDONLY, 0, 0);
        if (r >= 0)
                r = mount_attach(fd, target);
        return r < 0 ? err_errno(err, r, "cannot write-protect %s", path) : 0;
}

static int write_sysctls(const Launch *l, Err *err) {
        if (l->own_net) {
                /* As docker: no privilege needed for low ports and for ping inside. */
                (void) write_existing("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
                (void) write_existing("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
        }
        STRV_FOREACH(s, l->spec->host.sysctls) {
                const char *eq = strchr(*s, '=');
                _cleanup_free_ char *key = xstrndup(*s, (size_t) (eq - *s));
                for (char *p = key; *p; p++)
                        *p = *p == '.' ? '/' : *p;
                _cleanup_free_ char *path = path_join("/proc/sys", key);
                int r = write_existing(path, eq + 1);
                if (r < 0)
                        return err_errno(err, r, "cannot set the sysctl %s", *s);
        }
        return 0;
}

static int protect(const Launch *l, Err *err) {
        int r = write_sysctls(l, err);
        for (const char *const *p = masked_paths; r >= 0 && !l->spec->host.privileged && *p; p++)
                r = mask_path(*p, err);
        for (const char *const *p = readonly_paths; r >= 0 && !l->spec->host.privileged && *p; p++)
                r = protect_path(*p, err);
        if (r < 0 || !l->spec->host.readonly_rootfs)
                return r;
        _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = root < 0 ? -errno : mount_attr(root, false, MOUNT_ATTR_RDONLY, 0, 0);
        return r < 0 ? err_errno(err, r, "cannot make the container's root read-only") : 0;
}

static int populate(const Launch *l, int root, Err *err) {
        int r = mount_proc(root, err);
        if (r >= 0)
                r = mount_dev(l, root, err);
        if (r >= 0)
                r = mount_sys(l, root, err);
        if (r >= 0 && l->cgroup->n > 0)
                r = mount_cgroups(l, root, err);
        if (r >= 0)
                r = bind_file(l, root, "resolv.conf", "/etc/resolv.conf", err);
        if (r >= 0)
                r = bind_file(l, root, "hostname", "/etc/hostname", err);
        if (r >= 0)
                r = bind_file(l, root, "hosts", "/etc/hosts", err);
        if (r >= 0)
                r = mount_volumes(l, root, err);
        if (r < 0)
                return r;
        _cleanup_close_ int mark = mkfile_in_root(root, "/.dockerenv", 0755);
        return 0;
}

int rootfs_open_stopped(const Launch *l, int *ret, Err *err) {
        _cleanup_free_ char *where = path_join(l->root, "mnt");
        int r = mount_root(l, where, err);
        if (r < 0)
                return r;
        _cleanup_close_ int root = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return err_errno(err, -errno, "cannot open the container's root");
        r = mount_volumes(l, root, err);
        if (r >= 0)
                *ret = TAKE_FD(root);
        return r;
}

int rootfs_enter(const Launch *l, Err *err) {
        (void) umask(0);
        _cleanup_free_ char *where = path_join(l->root, "mnt");
        int r = mount_root(l, where, err);
        if (r < 0)
                return r;
        _cleanup_close_ int root = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return err_errno(err, -errno, "cannot open the container's root");
        r = populate(l, root, err);
        if (r < 0)
                return r;
        /* The new root is stacked over the old one, which is then cut off. */
        if (fchdir(root) < 0 || (r = sys_pivot_root(".", ".")) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                return err_errno(err, r < 0 ? r : -errno, "cannot change to the container's root");
        return protect(l, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/extract.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/str.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define COPY_BYTES (256U << 10)

typedef struct DirTime {
        char *path; /* owned */
        struct timespec mtime;
} DirTime;

typedef struct Extractor {
        TarReader *tar; /* weak */
        int root;       /* weak */
        const ExtractLimits *limits;
        ExtractResult result;
        Map opaque, implicit; /* path to anything */
        DirTime *times;       /* owned, n_times of them */
        size_t n_times, times_cap, names;
        bool root_seen;
        char *parent;         /* owned: the path that parent_fd is open on */
        int parent_fd;
        uint8_t *buf; /* owned, COPY_BYTES */
} Extractor;

/* One entry under way: its clean path, split. */
typedef struct Target {
        const TarEntry *entry; /* weak */
        char *path;            /* owned; "" is the layer's root */
        char *parent;          /* owned; "" likewise */
        const char *name;      /* inside path */
        int dir;               /* weak: the parent folder, open */
} Target;

static void target_done(Target *t) {
        free(t->path);
        free(t->parent);
}

void extract_result_done(ExtractResult *r) {
        r->opaque = strv_free(r->opaque);
        r->implicit = strv_free(r->implicit);
}

int open_beneath(int rootfd, const char *path, int flags) {
        struct open_how how = {
                .flags = (uint64_t) (unsigned) (flags | O_CLOEXEC),
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
        };
        long fd = syscall(SYS_openat2, rootfd, *path ? path : ".", &how, sizeof(how));
        return fd < 0 ? -errno : (int) fd;
}

static bool is_whiteout(const struct stat *st) {
        return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* Without "", "." and a leading "/"; refuses "..", names that are too long and trees that are too deep. */
static int clean_path(const char *path, unsigned depth_max, char **ret, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        unsigned depth = 0;
        for (const char *p = path; *p;) {
                size_t n = strcspn(p, "/");
                if (n == 2 && p[0] == '.' && p[1] == '.')
                        return err_set(err, -EBADMSG, "\"%s\" leads out of the layer", path);
                if (n > NAME_MAX)
                        return err_set(err, -ENAMETOOLONG, "a name of %zu bytes; at most %d", n, NAME_MAX);
                if (n > 0 && !(n == 1 && p[0] == '.')) {
                        if (++depth > depth_max)
                                return err_set(err, -E2BIG, "a path of more than %u folders", depth_max);
                        if (b.len > 0)
                                buf_addc(&b, '/');
                        buf_add(&b, p, n);
                }
                p += n + (p[n] == '/');
        }
        if (b.len >= PATH_MAX)
                return err_set(err, -ENAMETOOLONG, "a path of %zu bytes; at most %d", b.len, PATH_MAX - 1);
        *ret = buf_take(&b);
        return 0;
}

static int remember(Extractor *x, Map *map, const char *path, Err *err) {
        if (map_has(map, path, strlen(path)))
                return 0;
        x->names += strlen(path) + 64;
        if (x->names > EXTRACT_NAMES_MAX)
                return err_set(err, -E2BIG, "the layer has too many special folders");
        map_puts(map, path, x);
        return 0;
}

static void forget_parent(Extractor *x) {
        x->parent = xfree(x->parent);
        x->parent_fd = safe_close(x->parent_fd);
}

/* ---- removing what an earlier entry left ---- */

static int remove_tree(int dir, const char *name, unsigned depth) {
        if (unlinkat(dir, name, 0) >= 0)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        if (depth == 0)
                return -ELOOP;
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        DIR *d = fdopendir(fd);
        if (!d) {
                (void) close(fd);
                return -ENOMEM;
        }
        int r = 0;
        for (struct dirent *e; r >= 0 && (e = readdir(d));)
                if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                        r = remove_tree(fd, e->d_name, depth - 1);
        (void) closedir(d);
        return r < 0 ? r : RET_NERRNO(unlinkat(dir, name, AT_REMOVEDIR));
}

/* Makes room for a new file, link or fifo. */
static int remove_existing(Extractor *x, const Target *t, Err *err) {
        struct stat st;
        if (fstatat(t->dir, t->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : err_errno(err, -errno, "%s", t->path);
        if (S_ISDIR(st.st_mode)) {
                (void) map_dels(&x->opaque, t->path);
                (void) map_dels(&x->implicit, t->path);
        }
        int r = remove_tree(t->dir, t->name, x->limits->depth_max + 1);
        return r < 0 ? err_errno(err, r, "%s cannot be replaced", t->path) : 0;
}

/* ---- folders ---- */

/* Makes `name` a folder whatever was there but a folder or a foreign file: 1 = made, 0 = it was one already. */
static int make_dir(Extractor *x, int dir, const char *name, const char *path, bool replace, Err *err) {
        if (mkdirat(dir, name, 0755) >= 0)
                return 1;
        struct stat st;
        if (errno != EEXIST || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_errno(err, -errno, "%s", path);
        if (S_ISDIR(st.st_mode))
                return 0;
        if (!replace && S_ISLNK(st.st_mode))
                return err_set(err, -ELOOP, "an entry leads through the symbolic link \"%s\"", path);
        if (!replace && !is_whiteout(&st))
                return err_set(err, -ENOTDIR, "an entry leads through \"%s\", which is no folder", path);
        if (unlinkat(dir, name, 0) < 0 || mkdirat(dir, name, 0755) < 0)
                return err_errno(err, -errno, "%s", path);
        /* What a whiteout hid must stay hidden below the new folder. */
        int r = is_whiteout(&st) ? remember(x, &x->opaque, path, err) : 0;
        return r < 0 ? r : 1;
}

static int open_dir(int dir, const char *name) {
        return open_beneath(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/* Opens `path`, making the folders that are missing. */
static int make_parents(Extractor *x, const char *path, int *ret, Err *err) {
        _cleanup_close_ int fd = open_dir(x->root, "");
        if (fd < 0)
                return fd;
        _cleanup_free_ char *sofar = xstrdup(path);
        for (char *p = sofar; p;) {
                char *slash = strchr(p, '/');
                if (slash)
                        *slash = 0;
                int r = make_dir(x, fd, p, sofar, false, err);
                if (r > 0) {
                        int k = remember(x, &x->implicit, sofar, err);
                        r = k < 0 ? k : r;
                }
                if (r < 0)
                        return r;
                int next = open_dir(fd, p);
                if (next < 0)
                        return err_errno(err, next, "%s", sofar);
                (void) safe_close(fd);
                fd = next;
                if (slash)
                        *slash = '/';
                p = slash ? slash + 1 : NULL;
        }
        *ret = TAKE_FD(fd);
        return 0;
}

/* Leaves the parent folder of *t open in t->dir; folders come in a row, so the last one is kept. */
static int open_parent(Extractor *x, Target *t, Err *err) {
        if (!streq_ptr(x->parent, t->parent)) {
                forget_parent(x);
                int fd = open_dir(x->root, t->parent);
                if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) {
                        int r = make_parents(x, t->parent, &fd, err);
                        if (r < 0)
                                return r;
                }
                if (fd < 0)
                        return err_errno(err, fd, "%s", t->parent);
                x->parent = xstrdup(t->parent);
                x->parent_fd = fd;
        }
        t->dir = x->parent_fd;
        return 0;
}

static struct timespec mtime_of(const TarEntry *e) {
        return (struct timespec){ .tv_sec = e->mtime_sec, .tv_nsec = e->mtime_nsec };
}

static bool xattr_kept(const char *name) {
        return streq(name, "security.capability") ||
               (startswith(name, "user.") && !startswith(name, "user.overlay.")) ||
               streq(name, "system.posix_acl_access") || streq(name, "system.posix_acl_default");
}

/* Owner, mode, attributes, in this order. A file system without such attributes loses them, except for
 * capabilities, without which a program would fail in riddles. */
static int set_metadata(int fd, const Target *t, Err *err) {
        const TarEntry *e = t->entry;
        if (fchown(fd, e->uid, e->gid) < 0)
                return err_errno(err, -errno, "%s: owner %u:%u", t->path, e->uid, e->gid);
        if (fchmod(fd, e->mode) < 0)
                return err_errno(err, -errno, "%s: mode %o", t->path, e->mode);
        for (size_t i = 0; i < e->n_xattrs; i++) {
                const TarXattr *a = &e->xattrs[i];
                if (!xattr_kept(a->name) || fsetxattr(fd, a->name, a->value, a->len, 0) >= 0)
                        continue;
                if (streq(a->name, "security.capability") || (errno != ENOTSUP && errno != EPERM))
                        return err_errno(err, -errno, "%s: attribute %s", t->path, a->name);
        }
        return 0;
}

static int keep_time(Extractor *x, const Target *t, Err *err) {
        x->names += strlen(t->path) + sizeof(DirTime);
        if (x->names > EXTRACT_NAMES_MAX)
                return err_set(err, -E2BIG, "the layer has too many folders");
        GROW(x->times, x->times_cap, x->n_times + 1);
        x->times[x->n_times++] = (DirTime){ .path = xstrdup(t->path), .mtime = mtime_of(t->entry) };
        return 0;
}

static int extract_dir(Extractor *x, const Target *t, Err *err) {
        int r = *t->path ? make_dir(x, t->dir, t->name, t->path, true, err) : 0;
        if (r < 0)
                return r;
        (void) map_dels(&x->implicit, t->path);
        _cleanup_close_ int fd = *t->path ? open_dir(t->dir, t->name) : open_dir(x->root, "");
        if (fd < 0)
                return err_errno(err, fd, "%s", t->path);
        r = set_metadata(fd, t, err);
        if (r >= 0)
                r = keep_time(x, t, err);
        if (r < 0)
                return r;
        forget_parent(x); /* its files come next */
        x->parent = xstrdup(t->path);
        x->parent_fd = TAKE_FD(fd);
        return 0;
}

/* ---- files ---- */

static int copy_content(Extractor *x, int fd, const Target *t, Err *err) {
        for (;;) {
                int64_t n = tar_read(x->tar, x->buf, COPY_BYTES, err);
                if (n <= 0)
                        return (int) n;
                int r = write_all(fd, x->buf, (size_t) n);
                if (r < 0)
                        return err_errno(err, r, "%s", t->path);
        }
}

static int extract_file(Extractor *x, const Target *t, Err *err) {
        x->result.bytes += t->entry->size;
        if (t->entry->size > x->limits->bytes_max || x->result.bytes > x->limits->bytes_max)
                return err_set(err, -E2BIG, "the layer's files take more than %" PRIu64 " bytes", x->limits->bytes_max);
        int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_close_ int fd = openat(t->dir, t->name, flags, 0600);
        if (fd < 0 && errno == EEXIST) {
                int r = remove_existing(x, t, err);
                if (r < 0)
                        return r;
                fd = openat(t->dir, t->name, flags, 0600);
        }
        if (fd < 0)
                return err_errno(err, -errno, "%s", t->path);
        int r = copy_content(x, fd, t, err);
        if (r >= 0)
                r = set_metadata(fd, t, err);
        if (r < 0)
                return r;
        struct timespec times[2] = { mtime_of(t->entry), mtime_of(t->entry) };
        return futimens(fd, times) < 0 ? err_errno(err, -errno, "%s: time", t->path) : 0;
}

static int set_link_metadata(const Target *t, Err *err) {
        struct timespec times[2] = { mtime_of(t->entry), mtime_of(t->entry) };
        if (fchownat(t->dir, t->name, t->entry->uid, t->entry->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
            utimensat(t->dir, t->name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return err_errno(err, -errno, "%s", t->path);
        return 0;
}

static int extract_symlink(Extractor *x, const Target *t, Err *err) {
        if (!*t->entry->link)
                return err_set(err, -EBADMSG, "%s: a symbolic link to nothing", t->path);
        int r = remove_existing(x, t, err);
        if (r < 0)
                return r;
        if (symlinkat(t->entry->link, t->dir, t->name) < 0)
                return err_errno(err, -errno, "%s", t->path);
        return set_link_metadata(t, err);
}

static int extract_fifo(Extractor *x, const Target *t, Err *err) {
        int r = remove_existing(x, t, err);
        if (r < 0)
                return r;
        if (mknodat(t->dir, t->name, S_IFIFO | (t->entry->mode & 0777), 0) < 0)
                return err_errno(err, -errno, "%s", t->path);
        return set_link_metadata(t, err);
}

/* The target must be a file of this very layer; the link itself may be one to a symbolic link (its inode). */
static int extract_hardlink(Extractor *x, const Target *t, Err *err) {
        _cleanup_free_ char *link = NULL;
        int r = clean_path(t->entry->link, x->limits->depth_max, &link, err);
        if (r < 0)
                return err_wrap(err, r, "%s: hard link", t->path);
        if (streq(link, t->path))
                return 0;
        const char *name = path_base(link);
        _cleanup_free_ char *parent = xstrndup(link, name > link ? (size_t) (name - link) - 1 : 0);
        _cleanup_close_ int dir = open_dir(x->root, parent);
        if (dir < 0)
                return err_errno(err, dir, "%s: hard link to \"%s\"", t->path, link);
        struct stat st;
        if (!*name || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || is_whiteout(&st))
                return err_set(err, -ENOENT, "%s: hard link to \"%s\", which this layer does not have", t->path, link);
        if (S_ISDIR(st.st_mode))
                return err_set(err, -EBADMSG, "%s: hard link to the folder \"%s\"", t->path, link);
        r = remove_existing(x, t, err);
        if (r < 0)
                return r;
        if (linkat(dir, name, t->dir, t->name, 0) < 0)
                return err_errno(err, -errno, "%s: hard link to \"%s\"", t->path, link);
        return 0;
}

/* ---- whiteouts ---- */

static int extract_whiteout(Extractor *x, const Target *t, Err *err) {
        if (streq(t->name, OPAQUE)) {
                if (*t->parent)
                        return remember(x, &x->opaque, t->parent, err);
                x->result.opaque_root = true;
                return 0;
        }
        if (startswith(t->name, WHITEOUT WHITEOUT))
                return 0; /* aufs' own files */
        const char *name = t->name + strlen(WHITEOUT);
        if (!*name || streq(name, ".") || streq(name, ".."))
                return err_set(err, -EBADMSG, "\"%s\" is no valid whiteout", t->path);
        if (mknodat(t->dir, name, S_IFCHR, makedev(0, 0)) >= 0)
                return 0;
        struct stat st;
        if (errno != EEXIST || fstatat(t->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_errno(err, -errno, "%s", t->path);
        if (!S_ISDIR(st.st_mode))
                return 0; /* hides the lower one already */
        _cleanup_free_ char *path = *t->parent ? xasprintf("%s/%s", t->parent, name) : xstrdup(name);
        return remember(x, &x->opaque, path, err);
}

/* ---- all of it ---- */

static int extract_by_type(Extractor *x, const Target *t, Err *err) {
        if (startswith(t->name, WHITEOUT))
                return extract_whiteout(x, t, err);
        switch (t->entry->type) {
        case TAR_DIR:
                return extract_dir(x, t, err);
        case TAR_FILE:
                return extract_file(x, t, err);
        case TAR_SYMLINK:
                return extract_symlink(x, t, err);
        case TAR_HARDLINK:
                return extract_hardlink(x, t, err);
        case TAR_FIFO:
                return extract_fifo(x, t, err);
        case TAR_CHAR:
        case TAR_BLOCK_DEVICE:
                x->result.devices_skipped++;
                return 0;
        case _TAR_TYPE_MAX:
                break;
        }
        return err_set(err, -EBADMSG, "%s: unknown type", t->path);
}

static int extract_entry(Extractor *x, const TarEntry *e, Err *err) {
        if (++x->result.entries > x->limits->entries_max)
                return err_set(err, -E2BIG, "the layer has more than %" PRIu64 " entries", x->limits->entries_max);
        _cleanup_(target_done) Target t = { .entry = e };
        int r = clean_path(e->path, x->limits->depth_max, &t.path, err);
        if (r < 0)
                return r;
        if (!*t.path) {
                t.parent = xstrdup("");
                t.name = t.path;
                if (e->type != TAR_DIR)
                        return err_set(err, -EBADMSG, "the layer's root is no folder");
                x->root_seen = true;
                return extract_dir(x, &t, err);
        }
        t.name = path_base(t.path);
        t.parent = xstrndup(t.path, t.name > t.path ? (size_t) (t.name - t.path) - 1 : 0);
        if (startswith(t.parent, WHITEOUT) || strstr(t.parent, "/" WHITEOUT))
                return err_set(err, -EBADMSG, "\"%s\" lies below a whiteout", t.path);
        r = open_parent(x, &t, err);
        return r < 0 ? r : extract_by_type(x, &t, err);
}

static int set_times(Extractor *x) {
        for (size_t i = 0; i < x->n_times; i++) {
                _cleanup_close_ int fd = open_dir(x->root, x->times[i].path);
                if (fd < 0)
                        continue; /* replaced by a later entry */
                struct timespec times[2] = { x->times[i].mtime, x->times[i].mtime };
                if (futimens(fd, times) < 0)
                        return -errno;
        }
        return 0;
}

static char **map_keys(const Map *m) {
        char **l = xnew(char *, map_size(m) + 1);
        size_t n = 0;
        for (MapIter i = {}; map_next(m, &i);)
                l[n++] = xstrndup(i.key, i.key_len);
        strv_sort(l);
        return l;
}

static void extractor_done(Extractor *x) {
        forget_parent(x);
        map_done(&x->opaque);
        map_done(&x->implicit);
        for (size_t i = 0; i < x->n_times; i++)
                free(x->times[i].path);
        free(x->times);
        free(x->buf);
        extract_result_done(&x->result);
}

int extract_layer(TarReader *tar, int rootfd, const ExtractLimits *limits, ExtractResult *ret, Err *err) {
        static const ExtractLimits defaults = { EXTRACT_BYTES_MAX, EXTRACT_ENTRIES_MAX, EXTRACT_DEPTH_MAX };
        _cleanup_(extractor_done) Extractor x = {
                .tar = tar, .root = rootfd, .limits = limits ? limits : &defaults, .parent_fd = -EBADF,
        };
        x.buf = xmalloc(COPY_BYTES);
        int r;
        for (;;) {
                _cleanup_(tar_entry_done) TarEntry e = {};
                r = tar_next(tar, &e, err);
                if (r > 0)
                        r = extract_entry(&x, &e, err);
                else
                        break;
                if (r < 0)
                        break;
        }
        if (r >= 0)
                r = set_times(&x);
        if (r < 0)
                return r;
        x.result.opaque = map_keys(&x.opaque);
        x.result.implicit = map_keys(&x.implicit);
        if (!x.root_seen)
                strv_add(&x.result.implicit, "");
        *ret = x.result;
        x.result = (ExtractResult){};
        return 0;
}

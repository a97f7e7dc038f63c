/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/cgroup.h"
#include "base/str.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define PROC_FILE_MAX (4U << 20)

void cgroup_set_done(CgroupSet *s) {
        for (size_t i = 0; i < s->n; i++) {
                free(s->dirs[i].mount);
                free(s->dirs[i].dir);
                s->dirs[i].enter_fd = safe_close(s->dirs[i].enter_fd);
        }
        *s = (CgroupSet){};
}

static unsigned controllers_of(const char *list) {
        static const struct {
                const char *name;
                unsigned bit;
        } names[] = { { "memory", CGROUP_MEMORY },   { "cpu", CGROUP_CPU },
                      { "cpuacct", CGROUP_CPUACCT }, { "pids", CGROUP_PIDS },
                      { "devices", CGROUP_DEVICES }, { "freezer", CGROUP_FREEZER },
                      { "cpuset", CGROUP_CPUSET } };
        unsigned found = 0;
        _cleanup_strv_ char **words = strv_split(list, ",", false);
        STRV_FOREACH(w, words)
                for (size_t i = 0; i < ELEMENTSOF(names); i++)
                        if (streq(*w, names[i].name))
                                found |= names[i].bit;
        return found;
}

typedef struct MountLine {
        char *root, *point, *type, *super;
} MountLine;

/* Splits a line of mountinfo in place. */
static bool parse_mountinfo(char *line, MountLine *m) {
        char *words[32];
        size_t n = 0;
        char *save = NULL;
        for (char *w = strtok_r(line, " ", &save); w && n < ELEMENTSOF(words); w = strtok_r(NULL, " ", &save))
                words[n++] = w;
        for (size_t i = 6; i + 3 < n; i++)
                if (streq(words[i], "-")) {
                        *m = (MountLine){ .root = words[3], .point = words[4], .type = words[i + 1],
                                          .super = words[i + 3] };
                        return true;
                }
        return false;
}

/* Adds the group `path` (as /proc/PID/cgroup has it) of the hierarchy that is mounted like `m`. */
static void add_dir(CgroupSet *s, const MountLine *m, const char *path, unsigned controllers) {
        for (size_t i = 0; i < s->n; i++)
                if (s->dirs[i].controllers & controllers)
                        return;
        if (s->n >= CGROUP_DIRS_MAX)
                return;
        /* A container manager may have mounted only a subtree: paths are then below that root. */
        const char *rest = streq(m->root, "/") ? path : startswith(path, m->root);
        if (!rest)
                rest = startswith(m->root, "/..") ? path : "/";
        _cleanup_free_ char *dir = path_join(m->point, rest);
        if (access(dir, F_OK) < 0)
                return;
        s->dirs[s->n++] = (CgroupDir){ .controllers = controllers, .mount = xstrdup(m->point),
                                       .dir = TAKE_PTR(dir), .enter_fd = -EBADF };
}

static void add_hierarchy(CgroupSet *s, char *const *mounts, const char *list, const char *path) {
        unsigned want = *list ? controllers_of(list) : CGROUP_V2;
        if (!want)
                return;
        STRV_FOREACH(l, mounts) {
                _cleanup_free_ char *copy = xstrdup(*l);
                MountLine m;
                if (!parse_mountinfo(copy, &m) || !streq(m.type, want == CGROUP_V2 ? "cgroup2" : "cgroup"))
                        continue;
                if (want == CGROUP_V2 || (controllers_of(m.super) & want) == want)
                        add_dir(s, &m, path, want);
        }
}

int cgroup_of(pid_t pid, CgroupSet *ret, Err *err) {
        _cleanup_free_ char *file = pid ? xasprintf("/proc/%d/cgroup", pid) : xstrdup("/proc/self/cgroup");
        _cleanup_(buf_done) Buf groups = {}, mounts = {};
        int r = read_file(file, PROC_FILE_MAX, &groups);
        if (r < 0)
                return err_errno(err, r, "cannot read %s", file);
        r = read_file("/proc/self/mountinfo", PROC_FILE_MAX, &mounts);
        if (r < 0)
                return err_errno(err, r, "cannot read /proc/self/mountinfo");
        _cleanup_strv_ char **all = strv_split(buf_str(&mounts), "\n", false);

        _cleanup_free_ char **cgroup_mounts = xnew(char *, strv_len(all) + 1);
        size_t n = 0;
        STRV_FOREACH(l, all)
                if (strstr(*l, " - cgroup"))
                        cgroup_mounts[n++] = *l;
        CgroupSet s = {};
        _cleanup_strv_ char **lines = strv_split(buf_str(&groups), "\n", false);
        STRV_FOREACH(l, lines) {
                char *list = strchr(*l, ':');
                char *path = list ? strchr(list + 1, ':') : NULL;
                if (!path)
                        continue;
                *path++ = 0;
                add_hierarchy(&s, cgroup_mounts, list + 1, path);
        }
        /* Beside v1 controllers the unified hierarchy is systemd's bookkeeping: not ours to build in. */
        if (s.n > 1)
                for (size_t i = 0; i < s.n; i++)
                        if (s.dirs[i].controllers == CGROUP_V2) {
                                free(s.dirs[i].mount);
                                free(s.dirs[i].dir);
                                s.dirs[i] = s.dirs[--s.n];
                                break;
                        }
        *ret = s;
        return 0;
}

const CgroupDir *cgroup_dir(const CgroupSet *s, CgroupController c) {
        for (size_t i = 0; i < s->n; i++)
                if (s->dirs[i].controllers & ((unsigned) c | CGROUP_V2))
                        return &s->dirs[i];
        return NULL;
}

static int write_in(const char *dir, const char *file, const char *value) {
        _cleanup_free_ char *path = path_join(dir, file);
        return write_existing(path, value);
}

static int read_pids(const char *dir, pid_t **ret, size_t *ret_n) {
        _cleanup_free_ char *path = path_join(dir, "cgroup.procs");
        _cleanup_(buf_done) Buf b = {};
        int r = read_file(path, PROC_FILE_MAX, &b);
        if (r < 0)
                return r;
        pid_t *pids = NULL;
        size_t n = 0, cap = 0;
        _cleanup_strv_ char **words = strv_split(buf_str(&b), "\n", false);
        STRV_FOREACH(w, words) {
                int pid = 0;
                if (parse_int(*w, &pid) < 0 || pid <= 0)
                        continue; /* 0: a process outside our pid namespace */
                GROW(pids, cap, n + 1);
                pids[n++] = pid;
        }
        *ret = pids;
        *ret_n = n;
        return 0;
}

/* v2: switches the controllers on for the children of `dir`, making room first if the group has processes. */
static int v2_enable(const char *dir, const char *leaf_name) {
        static const char want[] = "+memory +pids +cpu +cpuset";
        static const char *const each[] = { "+memory", "+pids", "+cpu", "+cpuset" };
        int r = write_in(dir, "cgroup.subtree_control", want);
        if (r == -EBUSY) {
                _cleanup_free_ char *name = xasprintf("%s.engine", leaf_name);
                _cleanup_free_ char *leaf = path_join(dir, name);
                if (mkdir(leaf, 0755) < 0 && errno != EEXIST)
                        return -errno;
                _cleanup_free_ pid_t *pids = NULL;
                size_t n = 0;
                r = read_pids(dir, &pids, &n);
                for (size_t i = 0; i < n; i++) {
                        char word[16];
                        (void) snprintf(word, sizeof(word), "%d", pids[i]);
                        (void) write_in(leaf, "cgroup.procs", word);
                }
        } else if (r >= 0)
                return 0;
        /* One by one: a controller that is not delegated must not cost us the others. */
        r = -ENOENT;
        for (size_t i = 0; i < ELEMENTSOF(each); i++)
                if (write_in(dir, "cgroup.subtree_control", each[i]) >= 0)
                        r = 0;
        return r;
}

static int open_enter(CgroupDir *d) {
        if (d->controllers == CGROUP_V2) {
                d->enter_fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                return d->enter_fd < 0 ? -errno : 0;
        }
        _cleanup_free_ char *tasks = path_join(d->dir, "tasks");
        d->enter_fd = open(tasks, O_WRONLY | O_CLOEXEC);
        return d->enter_fd < 0 ? -errno : 0;
}

static int set_below(const CgroupSet *parent, const char *name, bool make, bool limits, CgroupSet *ret) {
        CgroupSet s = {};
        int first = 0;
        for (size_t i = 0; i < parent->n; i++) {
                const CgroupDir *p = &parent->dirs[i];
                if (p->controllers == CGROUP_CPUSET && make && !limits)
                        continue;
                CgroupDir d = { .controllers = p->controllers, .mount = xstrdup(p->mount),
                                .dir = path_join(p->dir, name), .enter_fd = -EBADF };
                int r = make && mkdir(d.dir, 0755) < 0 && errno != EEXIST ? -errno : 0;
                if (r >= 0 && make && limits && p->controllers == CGROUP_V2)
                        (void) v2_enable(p->dir, name); /* cgroup_apply() tells when a limit cannot be set */
                if (r >= 0)
                        r = open_enter(&d);
                if (r >= 0) {
                        s.dirs[s.n++] = d;
                        continue;
                }
                first = first < 0 ? first : r;
                free(d.mount);
                free(d.dir);
        }
        *ret = s;
        return s.n == 0 && first < 0 ? first : 0;
}

int cgroup_make(const CgroupSet *parent, const char *name, bool limits, CgroupSet *ret, Err *err) {
        int r = set_below(parent, name, true, limits, ret);
        return r < 0 ? err_errno(err, r, "cannot make the control group %s", name) : 0;
}

int cgroup_open(const CgroupSet *parent, const char *name, CgroupSet *ret) {
        return set_below(parent, name, false, false, ret);
}

int cgroup_clone_fd(const CgroupSet *s) {
        for (size_t i = 0; i < s->n; i++)
                if (s->dirs[i].controllers == CGROUP_V2)
                        return s->dirs[i].enter_fd;
        return -EBADF;
}

int cgroup_enter_self(const CgroupSet *s, bool born_in_v2) {
        for (size_t i = 0; i < s->n; i++) {
                const CgroupDir *d = &s->dirs[i];
                int r = 0;
                if (d->controllers != CGROUP_V2)
                        r = write_all(d->enter_fd, "0", 1);
                else if (!born_in_v2)
                        r = write_in(d->dir, "cgroup.procs", "0");
                if (r < 0)
                        return r;
        }
        return 0;
}

int cgroup_write(const CgroupSet *s, CgroupController c, const char *file, const char *value) {
        const CgroupDir *d = cgroup_dir(s, c);
        return d ? write_in(d->dir, file, value) : -ENOENT;
}

static int read_in(const CgroupSet *s, CgroupController c, const char *file, Buf *ret) {
        const CgroupDir *d = cgroup_dir(s, c);
        if (!d)
                return -ENOENT;
        _cleanup_free_ char *path = path_join(d->dir, file);
        return read_file(path, 64 << 10, ret);
}

int cgroup_read_u64(const CgroupSet *s, CgroupController c, const char *file, uint64_t *ret) {
        _cleanup_(buf_done) Buf b = {};
        int r = read_in(s, c, file, &b);
        if (r < 0)
                return r;
        _cleanup_free_ char *text = buf_take(&b);
        return parse_u64(strstrip(text), ret);
}

int cgroup_read_key(const CgroupSet *s, CgroupController c, const char *file, const char *key, uint64_t *ret) {
        _cleanup_(buf_done) Buf b = {};
        int r = read_in(s, c, file, &b);
        if (r < 0)
                return r;
        _cleanup_strv_ char **lines = strv_split(buf_str(&b), "\n", false);
        STRV_FOREACH(l, lines) {
                const char *v = startswith(*l, key);
                if (v && *v == ' ')
                        return parse_u64(v + 1, ret);
        }
        return -ENOENT;
}

int cgroup_pids(const CgroupSet *s, pid_t **ret, size_t *ret_n) {
        if (s->n == 0)
                return -ENOENT;
        const CgroupDir *d = cgroup_dir(s, CGROUP_PIDS);
        return read_pids(d ? d->dir : s->dirs[0].dir, ret, ret_n);
}

static void pause_msec(long msec) {
        struct timespec t = { .tv_nsec = msec * 1000000L };
        (void) nanosleep(&t, NULL);
}

void cgroup_kill(const CgroupSet *s) {
        for (unsigned round = 0; round < 100; round++) {
                _cleanup_free_ pid_t *pids = NULL;
                size_t n = 0;
                if (cgroup_pids(s, &pids, &n) < 0 || n == 0)
                        return;
                if (round == 0)
                        (void) cgroup_write(s, CGROUP_FREEZER, "freezer.state", "THAWED");
                for (size_t i = 0; i < n; i++)
                        (void) kill(pids[i], SIGKILL);
                pause_msec(round < 10 ? 1 : 20);
        }
}

void cgroup_remove(const CgroupSet *s) {
        for (size_t i = 0; i < s->n; i++)
                for (unsigned round = 0; rmdir(s->dirs[i].dir) < 0 && errno == EBUSY && round < 50; round++)
                        pause_msec(round < 10 ? 1 : 10);
}

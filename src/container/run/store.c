/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/store.h"
#include "base/str.h"
#include "container/run/names.h"
#include "sys/cgroup.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define CONTAINER_FILE_MAX (4U << 20)
#define ID_LEN 64
#define NAME_MAX_LEN 200
#define NAME_TRIES 32
#define GARBAGE_AGE_SEC 10

char *container_store_path(const Store *s, const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        char *rest = NULL;
        if (vasprintf(&rest, fmt, ap) < 0)
                abort();
        va_end(ap);
        char *path = path_join(s->root, rest);
        free(rest);
        return path;
}

/* ROOT/skel: the topmost lower layer of every container, with the places that are mounted on. Without it each start
 * would make these files in the writable layer, and each removal delete them. */
static int make_skeleton(const Store *s) {
        static const char *const folders[] = { "skel/etc", "skel/dev", "skel/proc", "skel/sys" };
        static const char *const files[] = { "skel/etc/hosts", "skel/etc/hostname", "skel/etc/resolv.conf",
                                             "skel/.dockerenv" };
        int r = 0;
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *dir = container_store_path(s, "%s", folders[i]);
                r = mkdir_p(dir, 0755);
        }
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(files); i++) {
                _cleanup_free_ char *path = container_store_path(s, "%s", files[i]);
                _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
                r = fd < 0 ? -errno : 0;
        }
        return r;
}

static int make_folders(const Store *s, Err *err) {
        static const struct {
                const char *name;
                mode_t mode;
        } folders[] = { { "names", 0700 }, { "volumes", 0711 },    { "network", 0700 },
                        { "cache", 0700 }, { "containers", 0711 }, { "mnt", 0700 } };
        /* "mnt" is made last: where it is, the rest is. */
        _cleanup_free_ char *last = container_store_path(s, "mnt");
        if (access(last, F_OK) >= 0)
                return 0;
        mode_t mask = umask(0022);
        int r = mkdir_p(s->root, 0711);
        if (r >= 0)
                r = make_skeleton(s);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *dir = container_store_path(s, "%s", folders[i].name);
                r = mkdir_p(dir, folders[i].mode);
        }
        (void) umask(mask);
        return r < 0 ? err_errno(err, r, "cannot make the container store %s", s->root) : 0;
}

int container_store_open(const char *root, Store **ret, Err *err) {
        _cleanup_(container_store_closep) Store *s = xnew(Store, 1);
        if (root[0] == '/')
                s->root = xstrdup(root);
        else {
                _cleanup_free_ char *cwd = getcwd(NULL, 0);
                if (!cwd)
                        return err_errno(err, -errno, "cannot tell the current folder");
                s->root = path_join(cwd, root);
        }
        int r = make_folders(s, err);
        if (r >= 0)
                *ret = TAKE_PTR(s);
        return r;
}

Store *container_store_close(Store *s) {
        if (s)
                free(s->root);
        free(s);
        return NULL;
}

Container *container_free(Container *c) {
        if (!c)
                return NULL;
        free(c->id);
        free(c->dir);
        container_spec_free(c->spec);
        container_state_done(&c->state);
        free(c);
        return NULL;
}

const char *container_status(const Container *c) {
        if (container_running(c))
                return c->state.paused ? "paused" : "running";
        return c->state.started_nsec ? "exited" : "created";
}

bool container_name_ok(const char *name) {
        static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
        size_t n = strlen(name);
        return n >= 2 && n <= NAME_MAX_LEN && strspn(name, chars) == n && !strchr("_.-", name[0]);
}

char *container_new_id(void) {
        uint8_t bytes[ID_LEN / 2];
        random_bytes(bytes, sizeof(bytes));
        return hex_encode(bytes, sizeof(bytes));
}

static bool is_hex(const char *s) {
        return *s && strspn(s, "0123456789abcdef") == strlen(s);
}

/* ---- locks ---- */

static int open_lock(const Store *s, const char *id, int flags) {
        _cleanup_free_ char *path = container_store_path(s, "containers/%s/lock", id);
        int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? -errno : fd;
}

int container_lock(Store *s, const char *id, unsigned msec) {
        _cleanup_close_ int fd = open_lock(s, id, O_RDWR | O_CREAT);
        if (fd < 0)
                return fd;
        for (unsigned waited = 0;; waited += 2) {
                if (flock(fd, LOCK_EX | LOCK_NB) >= 0)
                        break;
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return -errno;
                if (waited >= msec)
                        return -EBUSY;
                struct timespec t = { .tv_nsec = 2000000 };
                (void) nanosleep(&t, NULL);
        }
        /* Removed while we waited? Then this lock guards nothing. */
        struct stat st;
        if (fstat(fd, &st) < 0 || st.st_nlink == 0)
                return -ENOENT;
        return TAKE_FD(fd);
}

/* 1, 0 or -ENOENT. The probe holds a shared lock for an instant; container_lock() retries over that. */
int container_is_alive(const Store *s, const char *id) {
        _cleanup_close_ int fd = open_lock(s, id, O_RDONLY);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        if (flock(fd, LOCK_SH | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? 1 : -errno;
        return 0;
}

/* ---- reading ---- */

int process_start_time(pid_t pid, uint64_t *ret) {
        char path[32];
        (void) snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        _cleanup_(buf_done) Buf b = {};
        if (read_file(path, 4096, &b) < 0)
                return -ESRCH;
        /* Field 22; the second is the program's name in parentheses, which may contain anything. */
        const char *p = strrchr(buf_str(&b), ')');
        for (unsigned field = 2; p && field < 22; field++)
                p = strchr(p + 1, ' ');
        if (!p)
                return -ESRCH;
        *ret = strtoull(p + 1, NULL, 10);
        return 0;
}

int container_state_save(const Store *s, const char *id, const ContainerState *state) {
        _cleanup_(buf_done) Buf b = {};
        container_state_write(state, &b);
        _cleanup_free_ char *path = container_store_path(s, "containers/%s/state.json", id);
        _cleanup_free_ char *tmp = container_store_path(s, "containers/%s/.state.%d", id, getpid());
        _cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        int r = write_all(fd, b.data, b.len);
        if (r >= 0)
                r = RET_NERRNO(rename(tmp, path));
        if (r < 0)
                (void) unlink(tmp);
        return r;
}

/* The folder's name link leads back to it. */
static bool is_named(const Store *s, const ContainerSpec *spec) {
        _cleanup_free_ char *link = container_store_path(s, "names/%s", spec->name);
        char id[ID_LEN + 1];
        ssize_t n = readlink(link, id, sizeof(id));
        return n == ID_LEN && strncmp(id, spec->id, ID_LEN) == 0;
}

/* What the container's processes were, after its shim was killed: they may live on for an instant, or longer
 * when only the shim was hit. */
static void kill_left_over(const ContainerState *st) {
        uint64_t start = 0;
        if (st->pid > 1 && process_start_time(st->pid, &start) >= 0 && start == st->pid_start)
                (void) kill(st->pid, SIGKILL);
        CgroupSet set = {};
        STRV_FOREACH(dir, st->cgroups)
                if (set.n < CGROUP_DIRS_MAX && access(*dir, F_OK) >= 0)
                        set.dirs[set.n++] = (CgroupDir){ .dir = xstrdup(*dir), .enter_fd = -EBADF };
        if (set.n > 0) {
                cgroup_kill(&set);
                cgroup_remove(&set);
        }
        cgroup_set_done(&set);
}

static int repair(Store *s, Container *c, Err *err) {
        _cleanup_close_ int lock = container_lock(s, c->id, 0);
        if (lock == -EBUSY) { /* somebody else is at it, or starts it anew */
                c->alive = true;
                return 0;
        }
        if (lock < 0)
                return err_set(err, lock, "No such container: %s", c->id);
        kill_left_over(&c->state);
        c->state.running = c->state.paused = false;
        c->state.exit_code = 128 + SIGKILL;
        c->state.finished_nsec = now_wall_nsec();
        c->state.pid = 0;
        strv_free(c->state.cgroups);
        c->state.cgroups = NULL;
        if (c->spec->host.auto_remove) {
                (void) container_delete(s, c->spec, true, NULL);
                return err_set(err, -ENOENT, "No such container: %s", c->id);
        }
        return container_state_save(s, c->id, &c->state);
}

static int load_files(Store *s, Container *c, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        _cleanup_free_ char *config = path_join(c->dir, "config.json");
        int r = read_file(config, CONTAINER_FILE_MAX, &b);
        if (r < 0)
                return err_set(err, -ENOENT, "No such container: %s", c->id);
        r = container_spec_parse(b.data, b.len, &c->spec, err);
        if (r < 0)
                return err_wrap(err, r, "%s", config);
        if (!streq(c->spec->id, c->id) || !container_name_ok(c->spec->name))
                return err_set(err, -EBADMSG, "%s does not belong to container %s", config, c->id);
        /* The lock first: what the state says after "not alive" is final. */
        c->alive = container_is_alive(s, c->id) > 0;
        _cleanup_free_ char *state = path_join(c->dir, "state.json");
        buf_clear(&b);
        r = read_file(state, CONTAINER_FILE_MAX, &b);
        if (r == -ENOENT)
                return 0;
        return r < 0 ? err_errno(err, r, "cannot read %s", state) : container_state_parse(b.data, b.len, &c->state, err);
}

int container_load(Store *s, const char *id, Container **ret, Err *err) {
        _cleanup_(container_freep) Container *c = xnew(Container, 1);
        c->id = xstrdup(id);
        c->dir = container_store_path(s, "containers/%s", id);
        int r = load_files(s, c, err);
        if (r >= 0 && c->state.running && !c->alive)
                r = repair(s, c, err);
        if (r >= 0)
                *ret = TAKE_PTR(c);
        return r;
}

static int find_prefix(Store *s, const char *prefix, char **ret, Err *err) {
        _cleanup_free_ char *path = container_store_path(s, "containers");
        DIR *d = opendir(path);
        if (!d)
                return -errno;
        _cleanup_free_ char *found = NULL;
        bool many = false;
        for (struct dirent *e; (e = readdir(d));) {
                if (!startswith(e->d_name, prefix) || !is_hex(e->d_name))
                        continue;
                many |= found != NULL;
                free(found);
                found = xstrdup(e->d_name);
        }
        (void) closedir(d);
        if (many)
                return err_set(err, -ENOTUNIQ, "Multiple IDs found with provided prefix: %s", prefix);
        if (!found)
                return -ENOENT;
        *ret = TAKE_PTR(found);
        return 0;
}

int container_find(Store *s, const char *name, char **ret_id, Err *err) {
        const char *bare = name[0] == '/' ? name + 1 : name;
        if (strlen(bare) == ID_LEN && is_hex(bare)) {
                _cleanup_free_ char *dir = container_store_path(s, "containers/%s", bare);
                if (access(dir, F_OK) >= 0) {
                        *ret_id = xstrdup(bare);
                        return 0;
                }
        }
        if (container_name_ok(bare)) {
                _cleanup_free_ char *link = container_store_path(s, "names/%s", bare);
                char id[ID_LEN + 1] = "";
                if (readlink(link, id, ID_LEN) == ID_LEN && is_hex(id)) {
                        *ret_id = xstrdup(id);
                        return 0;
                }
        }
        int r = is_hex(bare) && strlen(bare) < ID_LEN ? find_prefix(s, bare, ret_id, err) : -ENOENT;
        return r == -ENOENT ? err_set(err, r, "No such container: %s", name) : r;
}

int container_get(Store *s, const char *name, Container **ret, Err *err) {
        _cleanup_free_ char *id = NULL;
        int r = container_find(s, name, &id, err);
        if (r < 0)
                return r;
        _cleanup_(err_done) Err e = {};
        r = container_load(s, id, ret, &e);
        if (r == -ENOENT)
                return err_set(err, r, "No such container: %s", name);
        return r < 0 ? err_set(err, r, "%s", err_msg(&e)) : 0;
}

void container_list_free(Container **l, size_t n) {
        for (size_t i = 0; i < n; i++)
                container_free(l[i]);
        free(l);
}

static int newest_first(const void *a, const void *b) {
        int64_t x = (*(Container *const *) a)->spec->created_nsec, y = (*(Container *const *) b)->spec->created_nsec;
        return x < y ? 1 : x > y ? -1 : 0;
}

/* A folder that nobody works on and that no name leads to: an interrupted create or remove. */
static void reap_garbage(Store *s, const char *id) {
        /* A folder this young may belong to a create that has not come to lock it. */
        _cleanup_free_ char *dir = container_store_path(s, "containers/%s", id);
        struct stat st;
        if (stat(dir, &st) < 0 || st.st_mtime + GARBAGE_AGE_SEC > (time_t) (now_wall() / USEC_PER_SEC))
                return;
        _cleanup_close_ int lock = container_lock(s, id, 0);
        if (lock < 0)
                return;
        _cleanup_(container_freep) Container *c = xnew(Container, 1);
        c->id = xstrdup(id);
        c->dir = container_store_path(s, "containers/%s", id);
        if (load_files(s, c, NULL) >= 0 && is_named(s, c->spec))
                return; /* it got its name meanwhile */
        (void) rm_rf(c->dir);
}

int container_list(Store *s, Container ***ret, size_t *ret_n, Err *err) {
        _cleanup_free_ char *path = container_store_path(s, "containers");
        DIR *d = opendir(path);
        if (!d)
                return err_errno(err, -errno, "cannot list %s", path);
        Container **l = NULL;
        size_t n = 0, cap = 0;
        for (struct dirent *e; (e = readdir(d));) {
                if (strlen(e->d_name) != ID_LEN || !is_hex(e->d_name))
                        continue;
                _cleanup_(container_freep) Container *c = NULL;
                int r = container_load(s, e->d_name, &c, NULL);
                if (r < 0 || !is_named(s, c->spec)) {
                        reap_garbage(s, e->d_name);
                        continue;
                }
                GROW(l, cap, n + 1);
                l[n++] = TAKE_PTR(c);
        }
        (void) closedir(d);
        if (n > 0)
                qsort(l, n, sizeof(*l), newest_first);
        *ret = l;
        *ret_n = n;
        return 0;
}

/* ---- making and removing ---- */

int container_create(Store *s, ContainerSpec *spec, int *ret_lock, Err *err) {
        assert(spec->id && strlen(spec->id) == ID_LEN);
        if (spec->name && !container_name_ok(spec->name))
                return err_set(err, -EINVAL,
                               "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", spec->name);
        _cleanup_free_ char *dir = container_store_path(s, "containers/%s", spec->id);
        if (mkdir(dir, 0711) < 0)
                return err_errno(err, -errno, "cannot make %s", dir);
        _cleanup_close_ int lock = container_lock(s, spec->id, 1000);
        if (lock < 0)
                return err_errno(err, lock, "cannot lock the new container %s", spec->id);
        *ret_lock = TAKE_FD(lock);
        return 0;
}

/* 0 when the name is ours now, -EEXIST when a living container has it. */
static int take_name(Store *s, const char *name, const char *id, char **ret_owner) {
        _cleanup_free_ char *link = container_store_path(s, "names/%s", name);
        for (unsigned i = 0; i < NAME_TRIES; i++) {
                if (symlink(id, link) >= 0)
                        return 0;
                if (errno != EEXIST)
                        return -errno;
                char owner[ID_LEN + 1] = "";
                if (readlink(link, owner, ID_LEN) < 0)
                        continue;
                _cleanup_(container_freep) Container *c = NULL;
                int r = is_hex(owner) ? container_load(s, owner, &c, NULL) : -ENOENT;
                if (r >= 0 && streq(c->spec->name, name)) {
                        *ret_owner = xstrdup(owner);
                        return -EEXIST;
                }
                if (r >= 0 || r == -ENOENT)
                        (void) unlink(link); /* left by an interrupted rename or remove */
                else
                        return r;
        }
        return -EBUSY;
}

static int publish_name(Store *s, ContainerSpec *spec, Err *err) {
        _cleanup_free_ char *owner = NULL;
        int r = take_name(s, spec->name, spec->id, &owner);
        if (r == -EEXIST)
                return err_set(err, r,
                               "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have "
                               "to remove (or rename) that container to be able to reuse that name",
                               spec->name, owner);
        return r < 0 ? err_errno(err, r, "cannot take the name %s", spec->name) : 0;
}

static int write_config(Store *s, const ContainerSpec *spec) {
        _cleanup_(buf_done) Buf b = {};
        container_spec_write(spec, &b);
        _cleanup_free_ char *path = container_store_path(s, "containers/%s/config.json", spec->id);
        _cleanup_free_ char *tmp = xasprintf("%s.new", path);
        _cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        int r = write_all(fd, b.data, b.len);
        return r < 0 ? r : RET_NERRNO(rename(tmp, path));
}

int container_publish(Store *s, ContainerSpec *spec, Err *err) {
        bool chosen = !spec->name;
        int r = -EEXIST;
        for (unsigned i = 0; r == -EEXIST && i < (chosen ? NAME_TRIES : 1); i++) {
                if (chosen) {
                        free(spec->name);
                        spec->name = container_random_name(random_u64(), i);
                }
                /* The configuration, which holds the name, comes first: a name never leads to nothing. */
                r = write_config(s, spec);
                if (r < 0)
                        return err_errno(err, r, "cannot write the container's configuration");
                _cleanup_(err_done) Err e = {};
                r = publish_name(s, spec, &e);
                if (r < 0 && (r != -EEXIST || !chosen || i + 1 == NAME_TRIES))
                        (void) err_set(err, r, "%s", err_msg(&e));
        }
        if (r < 0) {
                _cleanup_free_ char *dir = container_store_path(s, "containers/%s", spec->id);
                (void) rm_rf(dir);
        }
        return r;
}

int container_rename(Store *s, Container *c, const char *name, Err *err) {
        if (name[0] == '/')
                name++;
        if (!container_name_ok(name))
                return err_set(err, -EINVAL,
                               "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name);
        if (streq(name, c->spec->name))
                return err_set(err, -EINVAL, "Renaming a container with the same name as its current name");
        _cleanup_free_ char *old = c->spec->name;
        c->spec->name = xstrdup(name);
        int r = publish_name(s, c->spec, err);
        if (r < 0)
                return r;
        r = write_config(s, c->spec);
        if (r < 0)
                return err_errno(err, r, "cannot write the container's configuration");
        _cleanup_free_ char *link = container_store_path(s, "names/%s", old);
        (void) unlink(link);
        return 0;
}

int container_delete(Store *s, const ContainerSpec *spec, bool volumes, Err *err) {
        if (is_named(s, spec)) {
                _cleanup_free_ char *link = container_store_path(s, "names/%s", spec->name);
                (void) unlink(link);
        }
        for (size_t i = 0; volumes && i < spec->n_mounts; i++)
                if (spec->mounts[i].anonymous)
                        (void) volume_remove(s, spec->mounts[i].name, NULL);
        _cleanup_free_ char *dir = container_store_path(s, "containers/%s", spec->id);
        int r = rm_rf(dir);
        return r < 0 ? err_errno(err, r, "cannot remove %s", dir) : 0;
}

/* ---- volumes ---- */

int volume_make(const Store *s, const char *name, char **ret_path, bool *ret_new, Err *err) {
        if (!container_name_ok(name))
                return err_set(err, -EINVAL,
                               "\"%s\" includes invalid characters for a local volume name, only "
                               "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, "
                               "use absolute path",
                               name);
        _cleanup_free_ char *dir = container_store_path(s, "volumes/%s", name), *data = container_store_path(s, "volumes/%s/_data", name);
        if (mkdir(dir, 0701) < 0 && errno != EEXIST)
                return err_errno(err, -errno, "cannot make the volume %s", name);
        *ret_new = mkdir(data, 0755) >= 0;
        if (!*ret_new && errno != EEXIST)
                return err_errno(err, -errno, "cannot make the volume %s", name);
        *ret_path = TAKE_PTR(data);
        return 0;
}

int volume_remove(const Store *s, const char *name, Err *err) {
        _cleanup_free_ char *dir = container_store_path(s, "volumes/%s", name);
        if (!container_name_ok(name) || access(dir, F_OK) < 0)
                return err_set(err, -ENOENT, "get %s: no such volume", name);
        int r = rm_rf(dir);
        return r < 0 ? err_errno(err, r, "cannot remove the volume %s", name) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/engine.h"
#include "base/str.h"
#include "container/run/caps.h"
#include "container/run/network.h"
#include "container/run/seccomp.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/mountfd.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Starting a container: its files, then its shim, which does the rest (programs/coracle-shim). */

#define SHIM_PROGRAM "coracle-shim"
#define FD_BASE 32 /* descriptors for the shim are moved up here, out of the way of their final numbers */

enum { FD_PRIMARY = 3, FD_LOCK, FD_SECCOMP, FD_NET, FD_PID, FD_IPC, _FD_END };

typedef struct Spawn {
        int fds[_FD_END]; /* index = number in the shim; -EBADF = not passed */
        char **args;
        int program;
} Spawn;

static void spawn_done(Spawn *s) {
        for (size_t i = 0; i < ELEMENTSOF(s->fds); i++)
                s->fds[i] = safe_close(s->fds[i]);
        s->program = safe_close(s->program);
        strv_free(s->args);
}

/* A copy of the shim that nobody can write to: a detached, read-only clone of its own mount, so that the pages
 * are shared with every other shim; or, where that is refused, a sealed memory file. */
static int open_program(Err *err) {
        const char *env = getenv("CORACLE_SHIM");
        char self[4096];
        ssize_t n = isempty(env) ? readlink("/proc/self/exe", self, sizeof(self) - 1) : 0;
        if (n < 0)
                return err_errno(err, -errno, "cannot find the program " SHIM_PROGRAM);
        self[n] = 0;
        char *slash = strrchr(self, '/');
        if (slash)
                *slash = 0;
        _cleanup_free_ char *path = isempty(env) ? path_join(self, SHIM_PROGRAM) : xstrdup(env);
        _cleanup_close_ int fd = mount_clone(AT_FDCWD, path, false);
        if (fd >= 0 && mount_attr(fd, false, MOUNT_ATTR_RDONLY, 0, 0) >= 0)
                return TAKE_FD(fd);
        _cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC), memory = memfd_create(SHIM_PROGRAM,
                                                                                          MFD_CLOEXEC | MFD_ALLOW_SEALING);
        struct stat st;
        if (file < 0 || fstat(file, &st) < 0)
                return err_errno(err, -errno, "cannot find the program %s", path);
        if (memory < 0 || sendfile(memory, file, NULL, (size_t) st.st_size) != st.st_size ||
            fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return err_errno(err, -errno, "cannot copy the program %s", path);
        return TAKE_FD(memory);
}

static int move_up(int fd) {
        int up = fcntl(fd, F_DUPFD_CLOEXEC, FD_BASE);
        (void) close(fd);
        return up;
}

static int spawn_shim(Spawn *s, pid_t *ret, Err *err) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t none;
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawnattr_init(&attr);
        (void) sigemptyset(&none);
        (void) posix_spawnattr_setsigmask(&attr, &none);
        (void) posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
        for (int i = FD_PRIMARY; i < _FD_END; i++)
                if (s->fds[i] >= 0) {
                        s->fds[i] = move_up(s->fds[i]);
                        (void) posix_spawn_file_actions_adddup2(&actions, s->fds[i], i);
                }
        s->program = move_up(s->program);
        char path[32];
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", s->program);
        int r = posix_spawn(ret, path, &actions, &attr, s->args, environ);
        (void) posix_spawn_file_actions_destroy(&actions);
        (void) posix_spawnattr_destroy(&attr);
        return r ? err_errno(err, -r, "cannot start " SHIM_PROGRAM) : 0;
}

/* ---- namespaces of other containers ---- */

static int open_namespace(Store *s, const char *mode, const char *ns, const char *flag, Spawn *sp, int slot, Err *err) {
        const char *target = startswith(strempty(mode), "container:");
        _cleanup_(container_freep) Container *c = NULL;
        char path[48];
        if (target) {
                int r = container_get(s, target, &c, err);
                if (r < 0)
                        return r;
                if (!container_running(c))
                        return err_set(err, -ESRCH, "cannot join the %s namespace of a non running container: %s", ns,
                                       target);
                (void) snprintf(path, sizeof(path), "/proc/%d/ns/%s", c->state.pid, ns);
        } else
                return 0;
        sp->fds[slot] = open(path, O_RDONLY | O_CLOEXEC);
        if (sp->fds[slot] < 0)
                return err_errno(err, -errno, "cannot open the %s namespace of container %s", ns, target);
        strv_addf(&sp->args, "--join-%s=%d", ns, slot);
        return 0;
}

static int open_namespaces(Store *s, const HostConfig *h, Spawn *sp, Err *err) {
        int r = open_namespace(s, h->network_mode, "net", "net", sp, FD_NET, err);
        if (r >= 0)
                r = open_namespace(s, h->pid_mode, "pid", "pid", sp, FD_PID, err);
        return r < 0 ? r : open_namespace(s, h->ipc_mode, "ipc", "ipc", sp, FD_IPC, err);
}

/* --net=container:X uses X's files as well. */
static int share_etc_files(Store *s, const ContainerSpec *spec, const char *dir, Err *err) {
        const char *target = startswith(spec->host.network_mode, "container:");
        _cleanup_(container_freep) Container *c = NULL;
        int r = container_get(s, target, &c, err);
        static const char *const names[] = { "hosts", "hostname", "resolv.conf" };
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *from = path_join(c->dir, names[i]), *to = path_join(dir, names[i]);
                (void) unlink(to);
                if (link(from, to) < 0 && errno != ENOENT)
                        r = err_errno(err, -errno, "cannot share %s", from);
        }
        return r;
}

/* ---- starting ---- */

static int make_layer(const char *dir, Err *err) {
        static const char *const names[] = { "diff", "work" };
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = path_join(dir, names[i]);
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return err_errno(err, -errno, "cannot make %s", path);
        }
        return 0;
}

static int prepare_files(Store *s, const ContainerSpec *spec, Spawn *sp, Err *err) {
        _cleanup_free_ char *dir = container_store_path(s, "containers/%s", spec->id);
        int r = spec->rootfs ? 0 : make_layer(dir, err);
        if (r < 0)
                return r;
        if (network_mode(spec->host.network_mode) == NETWORK_CONTAINER)
                return share_etc_files(s, spec, dir, err);
        _cleanup_strv_ char **env = NULL;
        r = etc_files_write(s, spec, dir, &env, err);
        STRV_FOREACH(e, env)
                strv_addf(&sp->args, "--env=%s", *e);
        return r;
}

static int prepare(Store *s, const ContainerSpec *spec, const StartOptions *o, Spawn *sp, Err *err) {
        strv_add(&sp->args, SHIM_PROGRAM);
        strv_add(&sp->args, o->foreground ? "--foreground" : "--hold");
        if (o->attach)
                strv_addf(&sp->args, "--attach=%s", o->attach);
        uint64_t caps = 0;
        int r = caps_compute(spec->host.privileged, spec->host.cap_add, spec->host.cap_drop, &caps, err);
        if (r >= 0)
                r = seccomp_filter_open(s, &spec->host, caps, &sp->fds[FD_SECCOMP], err);
        if (r >= 0 && sp->fds[FD_SECCOMP] >= 0)
                strv_addf(&sp->args, "--seccomp=%d", FD_SECCOMP);
        if (r >= 0)
                r = open_namespaces(s, &spec->host, sp, err);
        if (r >= 0)
                r = prepare_files(s, spec, sp, err);
        if (r >= 0)
                r = sp->program = open_program(err);
        if (r < 0)
                return r;
        strv_add(&sp->args, s->root);
        strv_add(&sp->args, spec->id);
        return 0;
}

/* A held shim waits for one byte, so that it makes its control groups below the scope and not below the caller. */
static int let_go(const StartOptions *o, const char *id, pid_t pid, int fd, Err *err) {
        bool systemd = access("/run/systemd/system", F_OK) >= 0;
        int r = systemd && o->leave ? o->leave(id, pid, err) : 0;
        if (r < 0) {
                (void) kill(pid, SIGKILL);
                return r;
        }
        return send(fd, "G", 1, MSG_NOSIGNAL) < 0 ? err_set(err, -EPIPE, "the container's shim has died") : 0;
}

int scope_start_by(const char *program, const char *id, pid_t pid, Err *err) {
        _cleanup_free_ char *number = xasprintf("%d", pid);
        char *args[] = { (char *) program, (char *) "__scope", (char *) id, number, NULL };
        pid_t child;
        int status = 0, r = posix_spawn(&child, program, NULL, NULL, args, environ);
        if (r)
                return err_errno(err, -r, "cannot run %s", program);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
                ;
        return status == 0 ? 1 : err_set(err, -EIO, "systemd gave no scope to the container");
}

int engine_start(Store *s, const char *id, int *lock, const StartOptions *o, ShimClient *client, int *ret_code,
                 Err *err) {
        *ret_code = 125;
        _cleanup_(container_freep) Container *c = NULL;
        int r = container_load(s, id, &c, err);
        if (r < 0)
                return r;
        _cleanup_(spawn_done) Spawn sp = { .program = -EBADF };
        for (size_t i = 0; i < ELEMENTSOF(sp.fds); i++)
                sp.fds[i] = -EBADF;
        r = prepare(s, c->spec, o, &sp, err);
        if (r < 0)
                return r;
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return err_errno(err, -errno, "cannot start the container");
        _cleanup_(shim_client_done) ShimClient k = { .fd = pair[0] };
        sp.fds[FD_PRIMARY] = pair[1];
        sp.fds[FD_LOCK] = TAKE_FD(*lock);
        pid_t pid;
        r = spawn_shim(&sp, &pid, err);
        spawn_done(&sp);
        sp = (Spawn){ .program = -EBADF };
        for (size_t i = 0; i < ELEMENTSOF(sp.fds); i++)
                sp.fds[i] = -EBADF;
        if (r >= 0 && !o->foreground)
                r = let_go(o, id, pid, k.fd, err);
        if (r >= 0)
                r = shim_answer(&k, ret_code, o->warn, err);
        if (r < 0)
                return r;
        *client = k;
        k = (ShimClient){ .fd = -EBADF };
        return 0;
}

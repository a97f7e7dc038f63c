/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/run/caps.h"
#include "container/run/launch.h"
#include "container/run/user.h"
#include "sys/fs.h"
#include "sys/mountfd.h"

#include <grp.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

/* The last steps of a container's process, in the order that security asks for: names are looked up and files
 * opened while we are still privileged but already inside; then privileges go; then nothing but execve(). */

#define PASSWD_MAX (1U << 20)
#define EXIT_ENGINE 125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

/* A small text file of the image. Anything but a regular file (a fifo would block us) counts as empty. */
static void read_image_file(int rootfd, const char *path, Buf *b) {
        _cleanup_close_ int fd = open_in_root(rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > PASSWD_MAX)
                return;
        buf_reserve(b, (size_t) st.st_size);
        while (b->len < PASSWD_MAX) {
                char part[8192];
                ssize_t n = read(fd, part, sizeof(part));
                if (n <= 0)
                        break;
                buf_add(b, part, (size_t) n);
        }
        /* A NUL would end the text early for us and not for others. */
        for (size_t i = 0; i < b->len; i++)
                if (!b->data[i])
                        b->data[i] = '?';
}

static int find_user(const ProcessSpec *p, int rootfd, UserIds *ret, Err *err) {
        _cleanup_(buf_done) Buf passwd = {}, group = {};
        read_image_file(rootfd, "/etc/passwd", &passwd);
        read_image_file(rootfd, "/etc/group", &group);
        return user_resolve(buf_str(&passwd), buf_str(&group), p->user, p->group_add, ret, err);
}

/* ---- standard streams ---- */

static int open_null(int rootfd) {
        _cleanup_close_ int fd = open_in_root(rootfd, "/dev/null", O_RDWR | O_NOCTTY);
        struct stat st;
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
                return -ENODEV;
        return TAKE_FD(fd);
}

static int setup_pipes(const ProcessSpec *p, int rootfd, const UserIds *u, Err *err) {
        for (int i = 0; i < 3; i++) {
                _cleanup_close_ int null = -EBADF;
                int fd = p->stdio[i];
                if (fd < 0)
                        fd = null = open_null(rootfd);
                if (fd < 0)
                        return err_errno(err, fd, "cannot open the container's /dev/null");
                /* The program may open /dev/stdout again by name, as its own user (spec F.4). */
                if (null < 0 && u->uid != 0)
                        (void) fchown(fd, u->uid, u->gid);
                if (fd == i) {
                        if (fcntl(fd, F_SETFD, 0) < 0)
                                return err_errno(err, -errno, "cannot set up standard stream %d", i);
                        TAKE_FD(null);
                } else if (dup2(fd, i) < 0)
                        return err_errno(err, -errno, "cannot set up standard stream %d", i);
        }
        return 0;
}

/* The multiplexer is opened by a path inside a perhaps hostile container: only the real one of a devpts will do. */
static int open_ptmx(int rootfd) {
        _cleanup_close_ int fd = open_in_root(rootfd, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
        struct stat st;
        struct statfs fs;
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
                return -errno;
        if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2) || (unsigned long) fs.f_type != DEVPTS_SUPER_MAGIC)
                return -ENODEV;
        return TAKE_FD(fd);
}

static int setup_console(int rootfd, int slave, Err *err) {
        char path[32];
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", slave);
        _cleanup_close_ int mount = mount_clone(AT_FDCWD, path, false);
        _cleanup_close_ int target = mkfile_in_root(rootfd, "/dev/console", 0600);
        int r = mount < 0 ? mount : target < 0 ? target : mount_attach(mount, target);
        return r < 0 ? err_errno(err, r, "cannot make /dev/console") : 0;
}

static int setup_tty(const ProcessSpec *p, int rootfd, const UserIds *u, int sync, Err *err) {
        _cleanup_close_ int master = open_ptmx(rootfd);
        if (master < 0)
                return err_errno(err, master, "cannot get a terminal from the container's /dev/pts");
        int unlock = 0;
        if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
                return err_errno(err, -errno, "cannot unlock the terminal");
        _cleanup_close_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (slave < 0)
                return err_errno(err, -errno, "cannot open the terminal");
        if (fchown(slave, u->uid, (gid_t) -1) < 0)
                return err_errno(err, -errno, "cannot give the terminal to the container's user");
        int r = p->first ? setup_console(rootfd, slave, err) : 0;
        if (r < 0)
                return r;
        SyncMessage m = { .kind = SYNC_TTY };
        r = sync_send(sync, &m, master);
        if (r < 0)
                return err_errno(err, r, "cannot hand over the terminal");
        if (ioctl(slave, TIOCSCTTY, 0) < 0)
                return err_errno(err, -errno, "cannot make the terminal the controlling one");
        for (int i = 0; i < 3; i++)
                if (dup2(slave, i) < 0)
                        return err_errno(err, -errno, "cannot set up standard stream %d", i);
        return 0;
}

/* ---- limits ---- */

static int rlimit_number(const char *name) {
        static const struct {
                const char *name;
                int resource;
        } table[] = { { "as", RLIMIT_AS },           { "core", RLIMIT_CORE },       { "cpu", RLIMIT_CPU },
                      { "data", RLIMIT_DATA },       { "fsize", RLIMIT_FSIZE },     { "locks", RLIMIT_LOCKS },
                      { "memlock", RLIMIT_MEMLOCK }, { "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },
                      { "nofile", RLIMIT_NOFILE },   { "nproc", RLIMIT_NPROC },     { "rss", RLIMIT_RSS },
                      { "rtprio", RLIMIT_RTPRIO },   { "rttime", RLIMIT_RTTIME },   { "sigpending", RLIMIT_SIGPENDING },
                      { "stack", RLIMIT_STACK } };
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (streq(table[i].name, name))
                        return table[i].resource;
        return -EINVAL;
}

static int set_limits(const ProcessSpec *p, int sync, Err *err) {
        for (size_t i = 0; i < p->n_ulimits; i++) {
                const UlimitSpec *u = &p->ulimits[i];
                int resource = rlimit_number(u->name);
                if (resource < 0)
                        return err_set(err, -EINVAL, "invalid ulimit type: %s", u->name);
                struct rlimit want = { .rlim_cur = (rlim_t) u->soft, .rlim_max = (rlim_t) u->hard }, have;
                if (setrlimit((__rlimit_resource_t) resource, &want) >= 0)
                        continue;
                /* Without CAP_SYS_RESOURCE nobody raises a hard limit: clamp, say so, go on (spec F.7). */
                if (errno != EPERM || getrlimit((__rlimit_resource_t) resource, &have) < 0)
                        return err_errno(err, -errno, "cannot set ulimit %s", u->name);
                want.rlim_max = MIN(want.rlim_max, have.rlim_max);
                want.rlim_cur = MIN(want.rlim_cur, want.rlim_max);
                if (setrlimit((__rlimit_resource_t) resource, &want) < 0)
                        return err_errno(err, -errno, "cannot set ulimit %s", u->name);
                sync_warn(sync, "ulimit %s was lowered to %ju, the most that this machine allows", u->name,
                          (uintmax_t) want.rlim_max);
        }
        return 0;
}

static int set_oom_score(const ProcessSpec *p, int sync, Err *err) {
        if (p->oom_score_adj == 0)
                return 0;
        char text[16];
        (void) snprintf(text, sizeof(text), "%" PRId64, p->oom_score_adj);
        int r = write_existing("/proc/self/oom_score_adj", text);
        if (r == -EACCES || r == -EPERM) {
                sync_warn(sync, "oom_score_adj could not be lowered to %s: this machine does not allow it", text);
                return 0;
        }
        return r < 0 ? err_errno(err, r, "cannot set oom_score_adj to %s", text) : 0;
}

/* ---- privileges ---- */

static int load_seccomp(const ProcessSpec *p, Err *err) {
        if (!p->bpf)
                return 0;
        struct sock_fprog prog = { .len = (unsigned short) (p->bpf_bytes / sizeof(struct sock_filter)),
                                   .filter = (struct sock_filter *) p->bpf };
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
                return err_errno(err, -errno, "cannot load the seccomp filter");
        return 0;
}

static int drop_privileges(const ProcessSpec *p, const UserIds *u, Err *err) {
        int r = caps_bound(p->caps);
        if (r < 0)
                return err_errno(err, r, "cannot drop capabilities");
        if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return err_errno(err, -errno, "cannot set no_new_privs");
        /* Without no_new_privs only CAP_SYS_ADMIN may load a filter: before it is gone. */
        r = load_seccomp(p, err);
        if (r < 0)
                return r;
        if (setgroups(u->n_groups, u->groups) < 0 || setresgid(u->gid, u->gid, u->gid) < 0 ||
            setresuid(u->uid, u->uid, u->uid) < 0)
                return err_errno(err, -errno, "cannot become user %u group %u", u->uid, u->gid);
        r = u->uid == 0 ? caps_set(p->caps) : caps_set(0);
        return r < 0 ? err_errno(err, r, "cannot set capabilities") : 0;
}

/* ---- the program ---- */

static int enter_cwd(const ProcessSpec *p, int rootfd, Err *err) {
        const char *cwd = isempty(p->cwd) ? "/" : p->cwd;
        /* No magic links on the way: /proc/self/fd/N must not lead out (CVE-2024-21626). */
        _cleanup_close_ int fd = p->first ? mkdir_in_root(rootfd, cwd, 0755)
                                          : open_in_root(rootfd, cwd, O_PATH | O_DIRECTORY);
        if (fd < 0 || fchdir(fd) < 0)
                return err_errno(err, fd < 0 ? fd : -errno, "cannot enter the working directory \"%s\"", cwd);
        _cleanup_free_ char *real = getcwd(NULL, 0);
        if (!real || real[0] != '/')
                return err_set(err, -EXDEV, "the working directory \"%s\" is outside of the container", cwd);
        return 0;
}

static const char *env_get(char *const *env, const char *key) {
        STRV_FOREACH(e, env) {
                const char *v = startswith(*e, key);
                if (v && *v == '=')
                        return v + 1;
        }
        return NULL;
}

_noreturn_ static void fail_exec(int sync, const char *name, int error) {
        _cleanup_(err_done) Err err = {};
        bool absent = error == ENOENT || error == ENOTDIR;
        const char *why = strchr(name, '/') || !absent ? strerror(error) : "executable file not found in $PATH";
        if (absent && strchr(name, '/'))
                why = "no such file or directory";
        else if (error == EACCES)
                why = "permission denied";
        else if (error == ENOEXEC)
                why = "exec format error";
        (void) err_set(&err, -error, "failed to start the container's process: exec: \"%s\": %s", name, why);
        sync_fail(sync, absent ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE, &err);
}

static bool is_directory(const char *path) {
        struct stat st;
        return stat(path, &st) >= 0 && S_ISDIR(st.st_mode);
}

_noreturn_ static void exec_program(char *const *args, char *const *env, int sync) {
        const char *name = args[0];
        if (strchr(name, '/')) {
                (void) execve(name, args, env);
                int error = errno;
                fail_exec(sync, name, error == EISDIR || is_directory(name) ? EACCES : error);
        }
        const char *path = env_get(env, "PATH");
        _cleanup_strv_ char **dirs = strv_split(path ? path : "", ":", true);
        int best = ENOENT;
        STRV_FOREACH(d, dirs) {
                _cleanup_free_ char *full = isempty(*d) ? xasprintf("./%s", name) : path_join(*d, name);
                if (is_directory(full))
                        continue;
                (void) execve(full, args, env);
                if (errno != ENOENT && errno != ENOTDIR)
                        best = errno;
        }
        fail_exec(sync, name, best);
}

/* --init: this process stays process 1, passes signals on and reaps orphans; the program is its child. */
_noreturn_ static void run_reaper(pid_t child) {
        sigset_t all;
        (void) sigfillset(&all);
        for (;;) {
                int sig = 0;
                if (sigwait(&all, &sig) != 0)
                        continue;
                if (sig != SIGCHLD) {
                        (void) kill(child, sig);
                        continue;
                }
                for (int status; ;) {
                        pid_t pid = waitpid(-1, &status, WNOHANG);
                        if (pid <= 0)
                                break;
                        if (pid == child && !WIFSTOPPED(status))
                                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
                }
        }
}

static void become_reaper(int sync) {
        sigset_t all;
        (void) sigfillset(&all);
        (void) sigprocmask(SIG_BLOCK, &all, NULL);
        pid_t pid = fork();
        if (pid == 0) {
                (void) setpgid(0, 0);
                (void) tcsetpgrp(0, getpid());
                return;
        }
        if (pid > 0) {
                (void) close(sync);
                run_reaper(pid);
        }
        _cleanup_(err_done) Err err = {};
        (void) err_errno(&err, -errno, "cannot start the init process");
        sync_fail(sync, EXIT_ENGINE, &err);
}

static void reset_signals(void) {
        for (int sig = 1; sig < NSIG; sig++)
                (void) signal(sig, SIG_DFL);
        sigset_t none;
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static int prepare(const ProcessSpec *p, int sync, char ***env, Err *err) {
        _cleanup_close_ int rootfd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (rootfd < 0)
                return err_errno(err, -errno, "cannot open the container's root");
        _cleanup_(user_ids_done) UserIds user = {};
        int r = find_user(p, rootfd, &user, err);
        if (r < 0)
                return r;
        if (setsid() < 0 && errno != EPERM)
                return err_errno(err, -errno, "cannot start a session");
        /* The caller's keys stay with the caller. */
        (void) syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
        r = set_limits(p, sync, err);
        if (r >= 0)
                r = set_oom_score(p, sync, err);
        if (r >= 0)
                r = p->tty ? setup_tty(p, rootfd, &user, sync, err) : setup_pipes(p, rootfd, &user, err);
        if (r >= 0)
                r = enter_cwd(p, rootfd, err);
        if (r < 0)
                return r;
        *env = strv_copy(p->env);
        if (!env_get(*env, "HOME"))
                strv_addf(env, "HOME=%s", user.home);
        (void) umask(0022);
        return drop_privileges(p, &user, err);
}

_noreturn_ void process_exec(const ProcessSpec *p, int sync) {
        _cleanup_(err_done) Err err = {};
        char **env = NULL;
        if (prepare(p, sync, &env, &err) < 0)
                sync_fail(sync, EXIT_ENGINE, &err);
        /* Changing credentials has cleared it. When the shim dies, so does the container. */
        if (p->first)
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        /* Whatever this process inherited ends here; `sync` tells the shim by its end of file. */
        (void) syscall(SYS_close_range, 3U, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
        if (p->reaper)
                become_reaper(sync);
        reset_signals();
        exec_program(p->args, env, sync);
}

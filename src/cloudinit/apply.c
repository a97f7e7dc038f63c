/* SPDX-License-Identifier: Apache-2.0 */
#include "cloudinit/apply.h"
#include "base/alloc.h"
#include "base/str.h"
#include "sys/fs.h"
#include "sys/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SETTINGS_FILE_MAX (1U << 20)

static int wait_for(pid_t pid, const char *program, Err *err) {
        int status;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return err_errno(err, -errno, "cannot wait for %s", program);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        return err_set(err, -EIO, "%s failed (%s %d)", program, WIFEXITED(status) ? "exit status" : "signal",
                       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* Runs a program with `input` on its standard input. */
static int run(char *const *argv, const char *input, Err *err) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return err_errno(err, -errno, "cannot make a pipe");
        _cleanup_close_ int in = fds[0], out = fds[1];
        posix_spawn_file_actions_t fa;
        (void) posix_spawn_file_actions_init(&fa);
        (void) posix_spawn_file_actions_adddup2(&fa, in, STDIN_FILENO);
        pid_t pid;
        int r = -posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
        (void) posix_spawn_file_actions_destroy(&fa);
        if (r < 0)
                return err_errno(err, r, "cannot run %s", argv[0]);
        in = safe_close(in);
        if (input)
                (void) write_all(out, input, strlen(input));
        out = safe_close(out);
        return wait_for(pid, argv[0], err);
}

static int run_words(Err *err, const char *a, const char *b, const char *c, const char *d) {
        char *argv[] = { (char *) (uintptr_t) a, (char *) (uintptr_t) b, (char *) (uintptr_t) c,
                         (char *) (uintptr_t) d, NULL };
        return run(argv, NULL, err);
}

typedef struct Target {
        const char *root; /* NULL for the running system */
} Target;

static char *target_path(const Target *t, const char *path) {
        return t->root ? path_join(t->root, path) : xstrdup(path);
}

static int make_parents(const char *path, Err *err) {
        _cleanup_free_ char *dir = xstrdup(path);
        *strrchr(dir, '/') = 0;
        int r = *dir ? mkdir_p(dir, 0755) : 0;
        return r < 0 ? err_errno(err, r, "cannot make the folder %s", dir) : 0;
}

static int set_owner(const char *path, const char *owner, Err *err) {
        return run_words(err, "chown", "--", owner, path);
}

/* Written beside its place, given its owner, then moved there: nobody sees a half-made file. */
static int apply_file(const Target *t, const Action *a, Err *err) {
        _cleanup_free_ char *path = target_path(t, a->path), *tmp = xasprintf("%s.cloudinit-new", path);
        int r = make_parents(path, err);
        if (r < 0)
                return r;
        r = write_file_atomic(tmp, a->content, a->content_len, a->mode);
        if (r < 0)
                return err_errno(err, r, "cannot write %s", a->path);
        if (a->owner && !t->root)
                r = set_owner(tmp, a->owner, err);
        if (r >= 0 && chmod(tmp, a->mode) < 0)
                r = err_errno(err, -errno, "cannot set the mode of %s", a->path);
        if (r >= 0 && rename(tmp, path) < 0)
                r = err_errno(err, -errno, "cannot write %s", a->path);
        if (r < 0)
                (void) unlink(tmp);
        else
                log_info("Wrote file to \"%s\"", a->path);
        return r;
}

static int apply_settings(const Target *t, const Action *a, Err *err) {
        _cleanup_free_ char *path = target_path(t, a->path);
        _cleanup_(buf_done) Buf old = {}, merged = {};
        int r = read_file(path, SETTINGS_FILE_MAX, &old);
        if (r == -ENOENT && a->argument) {
                _cleanup_free_ char *from = target_path(t, a->argument);
                r = read_file(from, SETTINGS_FILE_MAX, &old);
        }
        if (r < 0 && r != -ENOENT)
                return err_errno(err, r, "cannot read %s", a->path);
        settings_merge(&merged, buf_str(&old), a->content);
        if (streq(buf_str(&old), buf_str(&merged)))
                return 0;
        r = make_parents(path, err);
        if (r < 0)
                return r;
        r = write_file_atomic(path, merged.data, merged.len, 0644);
        if (r < 0)
                return err_errno(err, r, "cannot write %s", a->path);
        log_info("Updated %s", a->path);
        return 0;
}

static int apply_hostname(const Target *t, const Action *a, Err *err) {
        _cleanup_free_ char *path = target_path(t, "/etc/hostname"), *line = xasprintf("%s\n", a->name);
        int r = make_parents(path, err);
        if (r < 0)
                return r;
        r = write_file_atomic(path, line, strlen(line), 0644);
        if (r >= 0 && !t->root)
                r = RET_NERRNO(sethostname(a->name, strlen(a->name)));
        if (r < 0)
                return err_errno(err, r, "cannot set the hostname to %s", a->name);
        log_info("Set hostname to %s", a->name);
        return 0;
}

static int apply_user(const Target *t, const Action *a, Err *err) {
        if (t->root)
                return err_set(err, -EOPNOTSUPP,
                               "users can only be made on the running system, not below %s", t->root);
        if (!getpwnam(a->name)) {
                int r = run(a->argv, NULL, err);
                if (r >= 0)
                        log_info("Created user '%s'", a->name);
                return r;
        }
        log_info("User '%s' exists, ignoring creation-time fields", a->name);
        if (!a->argument)
                return 0;
        char *argv[] = { "chpasswd", "-e", NULL };
        _cleanup_free_ char *line = xasprintf("%s:%s\n", a->name, a->argument);
        log_info("Setting '%s' user's password", a->name);
        return run(argv, line, err);
}

/* The sets lie in ~/.ssh/authorized_keys.d, one file each; authorized_keys is all of them together. */
static int join_key_sets(int ssh_fd, uid_t uid, gid_t gid) {
        _cleanup_(buf_done) Buf all = {};
        _cleanup_strv_ char **names = NULL;
        int fd = openat(ssh_fd, "authorized_keys.d", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        if (!d)
                return -errno;
        for (struct dirent *e; (e = readdir(d));)
                if (e->d_name[0] != '.')
                        strv_add(&names, e->d_name);
        strv_sort(names);
        STRV_FOREACH(n, names) {
                _cleanup_(buf_done) Buf b = {};
                if (read_file_at(fd, *n, SETTINGS_FILE_MAX, &b) >= 0)
                        buf_add(&all, buf_str(&b), b.len);
        }
        (void) closedir(d);
        (void) unlinkat(ssh_fd, "authorized_keys.new", 0);
        _cleanup_close_ int out =
                        openat(ssh_fd, "authorized_keys.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (out < 0)
                return -errno;
        int r = write_all(out, buf_str(&all), all.len);
        if (r >= 0)
                r = RET_NERRNO(fchown(out, uid, gid));
        if (r >= 0)
                r = RET_NERRNO(fsync(out));
        return r < 0 ? r : RET_NERRNO(renameat(ssh_fd, "authorized_keys.new", ssh_fd, "authorized_keys"));
}

/* A folder of the user's own, opened without following a link that the user may have put there. */
static int open_user_dir(int at, const char *name, uid_t uid, gid_t gid) {
        if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (fchown(fd, uid, gid) < 0) {
                int r = -errno;
                safe_close(fd);
                return r;
        }
        return fd;
}

static int write_key_set(int ssh_fd, const Action *a, uid_t uid, gid_t gid) {
        _cleanup_close_ int sets = open_user_dir(ssh_fd, "authorized_keys.d", uid, gid);
        if (sets < 0)
                return sets;
        (void) unlinkat(sets, a->argument, 0);
        _cleanup_close_ int fd = openat(sets, a->argument, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        int r = write_all(fd, a->content, a->content_len);
        return r < 0 ? r : RET_NERRNO(fchown(fd, uid, gid));
}

static int apply_ssh_keys(const Target *t, const Action *a, Err *err) {
        if (t->root)
                return err_set(err, -EOPNOTSUPP, "ssh keys can only be given on the running system");
        const struct passwd *pw = getpwnam(a->name);
        if (!pw)
                return err_set(err, -ENOENT, "there is no user %s to authorize SSH keys for", a->name);
        _cleanup_close_ int home = open(pw->pw_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (home < 0)
                return err_errno(err, -errno, "cannot open %s", pw->pw_dir);
        _cleanup_close_ int ssh = open_user_dir(home, ".ssh", pw->pw_uid, pw->pw_gid);
        int r = ssh < 0 ? ssh : write_key_set(ssh, a, pw->pw_uid, pw->pw_gid);
        if (r >= 0)
                r = join_key_sets(ssh, pw->pw_uid, pw->pw_gid);
        if (r < 0)
                return err_errno(err, r, "cannot write the SSH keys of %s", a->name);
        log_info("Authorized SSH keys for user '%s'", a->name);
        return 0;
}

static char *unit_path(const Target *t, const Action *a) {
        _cleanup_free_ char *p = xasprintf("%s/systemd/system/%s", a->runtime ? "/run" : "/etc", a->name);
        return target_path(t, p);
}

static int apply_mask(const Target *t, const Action *a, Err *err) {
        _cleanup_free_ char *path = unit_path(t, a);
        int r = make_parents(path, err);
        if (r < 0)
                return r;
        if (unlink(path) < 0 && errno != ENOENT)
                return err_errno(err, -errno, "cannot remove %s", path);
        if (symlink("/dev/null", path) < 0)
                return err_errno(err, -errno, "cannot mask %s", a->name);
        log_info("Masked unit \"%s\"", a->name);
        return 0;
}

/* Only a mask is taken away: an empty file or a link to the null device. */
static int apply_unmask(const Target *t, const Action *a, Err *err) {
        _cleanup_free_ char *path = unit_path(t, a);
        struct stat st;
        if (stat(path, &st) < 0)
                return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot look at %s", path);
        if (!S_ISCHR(st.st_mode) && st.st_size > 0)
                return 0;
        return unlink(path) < 0 ? err_errno(err, -errno, "cannot unmask %s", a->name) : 0;
}

static int apply_systemctl(const Target *t, const char *verb, const char *unit, Err *err) {
        if (t->root && !streq(verb, "enable"))
                return 0;
        if (t->root) {
                _cleanup_free_ char *root = xasprintf("--root=%s", t->root);
                return run_words(err, "systemctl", root, verb, unit);
        }
        log_info("Calling unit command \"%s\" on \"%s\"", verb, strempty(unit));
        int r = run_words(err, "systemctl", verb, unit, NULL);
        return r < 0 && unit ? err_wrap(err, r, "%s %s", verb, unit) : r;
}

static int apply_action(const Target *t, const Action *a, Err *err) {
        switch (a->kind) {
        case ACTION_HOSTNAME:
                return apply_hostname(t, a, err);
        case ACTION_USER:
                return apply_user(t, a, err);
        case ACTION_SSH_KEYS:
                return apply_ssh_keys(t, a, err);
        case ACTION_FILE:
                return apply_file(t, a, err);
        case ACTION_SETTINGS:
                return apply_settings(t, a, err);
        case ACTION_MASK:
                return apply_mask(t, a, err);
        case ACTION_UNMASK:
                return apply_unmask(t, a, err);
        case ACTION_ENABLE:
                return apply_systemctl(t, "enable", a->name, err);
        case ACTION_RELOAD:
                return apply_systemctl(t, "daemon-reload", NULL, err);
        case ACTION_COMMAND:
                return apply_systemctl(t, a->argument, a->name, err);
        case _ACTION_KIND_MAX:
                break;
        }
        assert(false);
        return -EINVAL;
}

int cloud_plan_apply(const CloudPlan *plan, const char *root, Err *err) {
        const Target t = { .root = root && !streq(root, "/") ? root : NULL };
        LIST_FOREACH(a, &plan->actions, link) {
                int r = apply_action(&t, a, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

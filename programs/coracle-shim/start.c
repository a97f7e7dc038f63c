/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/run/caps.h"
#include "shim.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void env_set(char ***env, const char *assignment) {
        size_t key = strcspn(assignment, "=");
        for (char **e = *env; e && *e; e++)
                if (strncmp(*e, assignment, key) == 0 && (*e)[key] == '=') {
                        free(*e);
                        *e = xstrdup(assignment);
                        return;
                }
        strv_add(env, assignment);
}

/* Later ones win: defaults, links, image and -e (spec C.4). */
static char **make_env(const Shim *s) {
        char **env = NULL;
        strv_add(&env, "PATH=" PATH_DEFAULT);
        strv_addf(&env, "HOSTNAME=%s", strempty(s->spec->config.hostname));
        if (s->spec->config.tty)
                strv_add(&env, "TERM=xterm");
        STRV_FOREACH(e, s->env)
                env_set(&env, *e);
        STRV_FOREACH(e, s->spec->config.env)
                env_set(&env, *e);
        return env;
}

static bool has_option(char *const *options, const char *a, const char *b) {
        return strv_contains(options, a) || strv_contains(options, b);
}

static int prepare_process(Shim *s, char ***ret_args, Err *err) {
        const ContainerSpec *c = s->spec;
        ProcessSpec *p = &s->launch.process;
        char **args = NULL;
        strv_add(&args, c->path);
        STRV_FOREACH(a, c->args)
                strv_add(&args, *a);
        *ret_args = args;
        p->args = args;
        s->env = make_env(s);
        p->env = s->env;
        p->cwd = c->config.working_dir;
        p->user = c->config.user;
        p->group_add = c->host.group_add;
        p->tty = c->config.tty;
        p->no_new_privs = has_option(c->host.security_opt, "no-new-privileges", "no-new-privileges:true");
        p->ulimits = c->host.ulimits;
        p->n_ulimits = c->host.n_ulimits;
        p->oom_score_adj = c->host.oom_score_adj;
        p->reaper = c->host.init;
        p->first = true;
        return caps_compute(c->host.privileged, c->host.cap_add, c->host.cap_drop, &p->caps, err);
}

/* ---- control group ---- */

/* v1's device list; where there is none, the seccomp filter and nodev keep devices out of reach (spec E.2). */
static void limit_devices(const Shim *s) {
        if (s->spec->host.privileged || cgroup_clone_fd(&s->cgroup) >= 0 || !cgroup_dir(&s->cgroup, CGROUP_DEVICES))
                return;
        static const char *const allowed[] = { "c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
                                               "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm",
                                               "c 136:* rwm" };
        if (cgroup_write(&s->cgroup, CGROUP_DEVICES, "devices.deny", "a") < 0)
                return;
        for (size_t i = 0; i < ELEMENTSOF(allowed); i++)
                (void) cgroup_write(&s->cgroup, CGROUP_DEVICES, "devices.allow", allowed[i]);
        for (size_t i = 0; i < s->spec->host.n_devices; i++) {
                const DeviceSpec *d = &s->spec->host.devices[i];
                struct stat st;
                if (stat(d->host, &st) < 0)
                        continue;
                _cleanup_free_ char *line = xasprintf("%c %u:%u %s", S_ISBLK(st.st_mode) ? 'b' : 'c',
                                                      major(st.st_rdev), minor(st.st_rdev), d->permissions);
                (void) cgroup_write(&s->cgroup, CGROUP_DEVICES, "devices.allow", line);
        }
}

static int make_cgroup(Shim *s, Err *err) {
        const HostConfig *h = &s->spec->host;
        CgroupLimits limits = { .memory = h->memory, .memory_swap = h->memory_swap,
                                .memory_reservation = h->memory_reservation, .cpu_shares = (uint64_t) h->cpu_shares,
                                .cpu_quota = h->cpu_quota, .cpu_period = h->cpu_period, .pids = h->pids_limit,
                                .cpuset_cpus = h->cpuset_cpus, .cpuset_mems = h->cpuset_mems };
        if (h->nano_cpus > 0) {
                limits.cpu_period = 100000;
                limits.cpu_quota = h->nano_cpus / 10000;
        }
        CgroupSet here = {};
        int r = cgroup_of(0, &here, err);
        _cleanup_free_ char *name = xasprintf("ctr-%s", s->spec->id);
        if (r >= 0)
                r = cgroup_make(&here, name, cgroup_limits_any(&limits), &s->cgroup, err);
        cgroup_set_done(&here);
        if (r >= 0)
                r = cgroup_apply(&s->cgroup, &limits, err);
        if (r < 0)
                return r;
        limit_devices(s);
        for (size_t i = 0; i < s->cgroup.n; i++)
                strv_add(&s->state.cgroups, s->cgroup.dirs[i].dir);
        return 0;
}

/* ---- the child ---- */

static uint64_t namespace_flags(const Shim *s) {
        const HostConfig *h = &s->spec->host;
        uint64_t f = CLONE_NEWNS;
        if (!streq_ptr(h->uts_mode, "host"))
                f |= CLONE_NEWUTS;
        if (s->launch.own_net)
                f |= CLONE_NEWNET;
        if (isempty(h->pid_mode))
                f |= CLONE_NEWPID;
        if (!s->launch.host_ipc && s->join_ipc < 0)
                f |= CLONE_NEWIPC;
        return f;
}

static int clone_child(Shim *s, Proc *p, Err *err) {
        int sync[2], child_io[3];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
                return err_errno(err, -errno, "cannot start the container");
        p->sync = sync[0];
        _cleanup_close_ int theirs = sync[1];
        int r = proc_make_pipes(p, child_io, err);
        if (r < 0)
                return r;
        memcpy(s->launch.process.stdio, child_io, sizeof(child_io));
        if (s->join_pid >= 0 && setns(s->join_pid, CLONE_NEWPID) < 0)
                return err_errno(err, -errno, "cannot join the other container's PID namespace");
        int cgroup = cgroup_clone_fd(&s->cgroup), pidfd = -EBADF;
        struct clone_args a = {
                .flags = namespace_flags(s) | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
                .pidfd = (uint64_t) (uintptr_t) &pidfd,
                .exit_signal = SIGCHLD,
                .cgroup = cgroup >= 0 ? (uint64_t) cgroup : 0,
        };
        pid_t pid = (pid_t) syscall(SYS_clone3, &a, sizeof(a));
        if (pid < 0)
                return err_errno(err, -errno, "cannot clone the container's process");
        if (pid == 0)
                launch_child(&s->launch, theirs);
        p->pid = pid;
        p->pidfd = pidfd;
        s->launched = true;
        for (int i = 0; i < 3; i++)
                (void) safe_close(child_io[i]);
        return 0;
}

/* Waits for the child's next step; warnings and the terminal are taken on the way. */
static int await_child(Shim *s, Proc *p, SyncKind until, Err *err) {
        for (;;) {
                SyncMessage m;
                int fd, r = sync_receive(p->sync, &m, &fd);
                if (r <= 0 && until == SYNC_ERROR) { /* end of file: the program runs */
                        p->sync = safe_close(p->sync);
                        p->started = true;
                        return 0;
                }
                if (r <= 0)
                        return err_set(err, -EPIPE, "the container's first process died while it was being set up");
                if (m.kind == SYNC_TTY && fd >= 0 && p->out[0] < 0) {
                        (void) fcntl(fd, F_SETFL, O_NONBLOCK);
                        p->in = fcntl(fd, F_DUPFD_CLOEXEC, 3);
                        p->out[0] = fd;
                        continue;
                }
                (void) safe_close(fd);
                if (m.kind == SYNC_WARNING)
                        conn_warning(s->conns.first, m.text);
                else if (m.kind == SYNC_ERROR) {
                        p->code = (int) m.code;
                        return err_set(err, -ECHILD, "%s", m.text);
                } else if (m.kind == (uint32_t) until)
                        return 0;
        }
}

/* The own address goes to the end of the hosts file, which the engine has begun. */
static int add_host_line(const Shim *s, Err *err) {
        _cleanup_free_ char *path = path_join(s->dir, "hosts");
        _cleanup_close_ int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        const ContainerConfig *c = &s->spec->config;
        _cleanup_free_ char *line = isempty(c->domainname)
                        ? xasprintf("%s\t%s\n", s->network.state.ip, strempty(c->hostname))
                        : xasprintf("%s\t%s.%s %s\n", s->network.state.ip, c->hostname, c->domainname, c->hostname);
        int r = fd < 0 ? -errno : write_all(fd, line, strlen(line));
        return r < 0 ? err_errno(err, r, "cannot write %s", path) : 0;
}

static int connect_network(Shim *s, Proc *p, Err *err) {
        if (!s->has_network)
                return 0;
        int r = network_connect(s->store, s->spec, &s->network, p->pid, err);
        return r < 0 ? r : add_host_line(s, err);
}

static int bring_up(Shim *s, Proc *p, Err *err) {
        int r = clone_child(s, p, err);
        /* The child mounts while we build the network. */
        if (r >= 0)
                r = connect_network(s, p, err);
        if (r >= 0)
                r = await_child(s, p, SYNC_READY, err);
        SyncMessage go = { .kind = SYNC_GO, .ip = s->network.ip, .gateway = s->network.gateway,
                           .prefix = s->network.state.prefix };
        if (r >= 0)
                r = sync_send(p->sync, &go, -EBADF);
        return r < 0 ? r : await_child(s, p, SYNC_ERROR, err);
}

static void give_up(Proc *p) {
        if (p->pidfd < 0)
                return;
        (void) syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
        siginfo_t info;
        (void) waitid(P_PIDFD, (id_t) p->pidfd, &info, WEXITED);
        p->exited = true;
}

int shim_start(Shim *s, Err *err) {
        const HostConfig *h = &s->spec->host;
        NetworkMode mode = network_mode(h->network_mode);
        s->launch.spec = s->spec;
        s->launch.root = s->store->root;
        s->launch.dir = s->dir;
        s->launch.cgroup = &s->cgroup;
        s->launch.own_net = mode == NETWORK_OWN_BRIDGE || mode == NETWORK_NONE;
        s->launch.host_ipc = streq_ptr(h->ipc_mode, "host");
        s->launch.join_net = s->join_net;
        s->launch.join_ipc = s->join_ipc;
        _cleanup_strv_ char **args = NULL;
        int r = prepare_process(s, &args, err);
        if (r >= 0)
                r = make_cgroup(s, err);
        if (r >= 0 && mode == NETWORK_OWN_BRIDGE) {
                r = network_prepare(s->store, s->spec, &s->network, err);
                s->has_network = r >= 0;
        }
        if (r >= 0)
                r = launch_open_volumes(&s->launch, err);
        if (r < 0)
                return r;
        Proc *p = s->first = proc_new(s);
        p->first = true;
        p->tty = s->spec->config.tty;
        p->has_stdin = s->spec->config.open_stdin;
        p->stdin_once = s->spec->config.stdin_once;
        r = bring_up(s, p, err);
        launch_done(&s->launch);
        if (r < 0) {
                give_up(p);
                s->launched = false;
                return r;
        }
        s->state.pid = p->pid;
        (void) process_start_time(p->pid, &s->state.pid_start);
        s->state.running = true;
        s->state.started_nsec = now_wall_nsec();
        if (s->has_network)
                s->state.net = s->network.state; /* borrowed; cleared before the state's end */
        r = container_state_save(s->store, s->spec->id, &s->state);
        return r < 0 ? err_errno(err, r, "cannot write the container's state") : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/run/caps.h"
#include "container/run/fields.h"
#include "shim.h"
#include "sys/fs.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* docker exec: one more process in the container, with the same control group, capabilities and seccomp filter as
 * the first (rkt's enter forgot all three: CVE-2019-10144, -10145, -10147).
 *
 * Entering a PID namespace takes effect for children only, hence two steps: a helper joins the namespaces and
 * clones the real process as OUR child (CLONE_PARENT), tells its pid, and ends. */

#define SYNC_PID 'P'

typedef struct ExecRequest {
        char **args, **env;
        ProcessSpec process;
} ExecRequest;

static void exec_request_done(ExecRequest *r) {
        strv_free(r->args);
        strv_free(r->env);
}

static int read_request(const Shim *s, const json_t *j, ExecRequest *ret, Err *err) {
        ret->args = json_list_read(ji_arr(j, "args"));
        if (!ret->args)
                return err_set(err, -EINVAL, "No exec command specified");
        ret->env = strv_copy(s->env);
        _cleanup_strv_ char **more = json_list_read(ji_arr(j, "env"));
        STRV_FOREACH(m, more) {
                size_t key = strcspn(*m, "=");
                bool found = false;
                for (char **e = ret->env; e && *e && !found; e++)
                        if (strncmp(*e, *m, key) == 0 && (*e)[key] == '=') {
                                free(*e);
                                *e = xstrdup(*m);
                                found = true;
                        }
                if (!found)
                        strv_add(&ret->env, *m);
        }
        bool privileged = ji_bool(j, "privileged", false) || s->spec->host.privileged;
        ProcessSpec *p = &ret->process;
        *p = s->launch.process;
        p->args = ret->args;
        p->env = ret->env;
        p->first = p->reaper = false;
        p->tty = ji_bool(j, "tty", false);
        p->cwd = ji_str(j, "cwd") && *ji_str(j, "cwd") ? ji_str(j, "cwd") : s->spec->config.working_dir;
        if (!isempty(ji_str(j, "user")))
                p->user = ji_str(j, "user");
        if (privileged) {
                p->bpf = NULL;
                p->caps = caps_all();
        }
        return 0;
}

_noreturn_ static void helper(const Shim *s, const ProcessSpec *p, int sync) {
        _cleanup_(err_done) Err err = {};
        int r = cgroup_enter_self(&s->cgroup, false);
        if (r < 0)
                (void) err_errno(&err, r, "cannot enter the container's control group");
        int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
        if (r >= 0 && setns(s->first->pidfd, flags) < 0)
                r = err_errno(&err, -errno, "cannot enter the container");
        if (r < 0)
                sync_fail(sync, 126, &err);
        pid_t pid = (pid_t) syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
                process_exec(p, sync);
        }
        SyncMessage m = { .kind = SYNC_PID, .code = (uint32_t) pid };
        if (pid < 0) {
                (void) err_errno(&err, -errno, "cannot start a process in the container");
                sync_fail(sync, 126, &err);
        }
        (void) sync_send(sync, &m, -EBADF);
        _exit(0);
}

static int start(Shim *s, Proc *p, ProcessSpec *spec, Err *err) {
        int sync[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
                return err_errno(err, -errno, "cannot start a process in the container");
        p->sync = sync[0];
        _cleanup_close_ int theirs = sync[1];
        int child_io[3], r = proc_make_pipes(p, child_io, err);
        if (r < 0)
                return r;
        memcpy(spec->stdio, child_io, sizeof(child_io));
        pid_t pid = fork();
        if (pid == 0)
                helper(s, spec, theirs);
        for (int i = 0; i < 3; i++)
                (void) safe_close(child_io[i]);
        theirs = safe_close(theirs);
        if (pid < 0)
                return err_errno(err, -errno, "cannot start a process in the container");
        SyncMessage m = {};
        int fd;
        r = sync_receive(p->sync, &m, &fd);
        (void) safe_close(fd);
        (void) waitpid(pid, NULL, 0);
        if (r <= 0 || m.kind != SYNC_PID)
                return err_set(err, -ECHILD, "%s", r > 0 && m.kind == SYNC_ERROR ? m.text : "cannot enter the container");
        p->pid = (pid_t) m.code;
        p->pidfd = (int) syscall(SYS_pidfd_open, p->pid, 0);
        return p->pidfd < 0 ? err_errno(err, -errno, "cannot watch the process in the container") : 0;
}

int shim_exec(Shim *s, Conn *c, const json_t *request, Err *err) {
        if (s->first->exited)
                return err_set(err, -ESRCH, "Container %s is not running", s->spec->id);
        if (s->state.paused)
                return err_set(err, -EBUSY, "Container %s is paused, unpause the container before exec", s->spec->name);
        _cleanup_(exec_request_done) ExecRequest r = {};
        int k = read_request(s, request, &r, err);
        if (k < 0)
                return k;
        Proc *p = proc_new(s);
        p->tty = r.process.tty;
        p->has_stdin = ji_bool(request, "stdin", false);
        p->stdin_once = true;
        p->owner = c;
        k = start(s, p, &r.process, err);
        if (k < 0) {
                proc_free(s, p);
                return k;
        }
        c->proc = p;
        c->want_in = p->has_stdin;
        c->want_out = c->want_err = true;
        return 0;
}

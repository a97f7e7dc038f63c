/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "shim.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#define READ_BYTES (64U << 10)

Proc *proc_new(Shim *s) {
        Proc *p = xnew(Proc, 1);
        p->pidfd = p->sync = p->in = p->out[0] = p->out[1] = -EBADF;
        LIST_APPEND(&s->procs, p, link);
        return p;
}

void proc_free(Shim *s, Proc *p) {
        LIST_FOREACH(c, &s->conns, link)
                if (c->proc == p)
                        c->proc = NULL;
        LIST_REMOVE(&s->procs, p, link);
        int *fds[] = { &p->pidfd, &p->sync, &p->in, &p->out[0], &p->out[1] };
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                *fds[i] = safe_close(*fds[i]);
        buf_done(&p->input);
        free(p);
}

/* Pipes for the standard streams: ours do not block, the child's do. */
int proc_make_pipes(Proc *p, int child[3], Err *err) {
        child[0] = child[1] = child[2] = -EBADF;
        if (p->tty)
                return 0;
        for (int i = p->has_stdin ? 0 : 1; i < 3; i++) {
                int fds[2];
                if (pipe2(fds, O_CLOEXEC) < 0)
                        return err_errno(err, -errno, "cannot make pipes for the container");
                int ours = i == 0 ? fds[1] : fds[0];
                child[i] = i == 0 ? fds[0] : fds[1];
                (void) fcntl(ours, F_SETFL, O_NONBLOCK);
                if (i == 0)
                        p->in = ours;
                else
                        p->out[i - 1] = ours;
        }
        return 0;
}

static void close_input(Proc *p) {
        buf_clear(&p->input);
        if (p->tty)
                return; /* a terminal's end of input is a character, which the client sends */
        p->in = safe_close(p->in);
}

void proc_write_input(Proc *p) {
        while (p->input.len > 0 && p->in >= 0) {
                ssize_t n = write(p->in, p->input.data, p->input.len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n < 0)
                        return close_input(p);
                buf_consume(&p->input, (size_t) n);
        }
        if (p->input_end)
                close_input(p);
}

void proc_feed(Proc *p, const char *data, size_t n) {
        if (p->in < 0 || p->input_end)
                return;
        if (n == 0)
                p->input_end = true;
        else
                buf_add(&p->input, data, n);
        proc_write_input(p);
}

/* Nothing goes out before "started" has. */
bool proc_may_read(Shim *s, const Proc *p) {
        if (p->sync >= 0)
                return false;
        LIST_FOREACH(c, &s->conns, link)
                if (c->proc == p && !c->closed && c->out.len > OUT_HIGH)
                        return false;
        return true;
}

bool proc_drained(const Proc *p) {
        return p->out[0] < 0 && p->out[1] < 0;
}

void proc_read_output(Shim *s, Proc *p, unsigned stream) {
        int *fd = &p->out[stream - 1];
        if (*fd < 0)
                return;
        static char part[READ_BYTES];
        ssize_t n = read(*fd, part, sizeof(part));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n <= 0) { /* EIO: the last process has closed the terminal */
                *fd = safe_close(*fd);
                return;
        }
        if (p->first)
                log_write(&s->log, stream, part, (size_t) n);
        LIST_FOREACH(c, &s->conns, link) {
                if (c->proc != p || c->closed || !(stream == 1 ? c->want_out : c->want_err))
                        continue;
                frame_add(&c->out, stream == 1 ? FRAME_STDOUT : FRAME_STDERR, part, (size_t) n);
                conn_flush(c);
        }
}

void proc_reap(Shim *s, Proc *p) {
        siginfo_t info = {};
        if (waitid(P_PIDFD, (id_t) p->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
                return;
        p->exited = true;
        p->code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
        p->in = safe_close(p->in);
        buf_clear(&p->input);
}

void proc_resize(Proc *p, unsigned width, unsigned height) {
        if (!p->tty || p->out[0] < 0 || width == 0 || width > UINT16_MAX || height == 0 || height > UINT16_MAX)
                return;
        struct winsize w = { .ws_col = (unsigned short) width, .ws_row = (unsigned short) height };
        (void) ioctl(p->out[0], TIOCSWINSZ, &w);
}

static void take_terminal(Proc *p, int fd) {
        (void) fcntl(fd, F_SETFL, O_NONBLOCK);
        p->in = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        p->out[0] = fd;
}

/* One message of the child, or the end of file that means that the program was started. */
void proc_on_sync(Shim *s, Proc *p) {
        SyncMessage m;
        int fd, r = sync_receive(p->sync, &m, &fd);
        Conn *caller = p->first ? shim_primary(s) : p->owner;
        if (p->first && !caller)
                caller = s->conns.first;
        if (r <= 0) {
                p->sync = safe_close(p->sync);
                p->started = !p->failed; /* not the code: a short program may have ended already */
                if (p->started && !p->first && caller)
                        conn_control(caller, "{\"started\":true}");
                return;
        }
        if (m.kind == SYNC_TTY && p->tty && fd >= 0 && p->out[0] < 0) {
                take_terminal(p, fd);
                return;
        }
        (void) safe_close(fd);
        if (m.kind == SYNC_WARNING && caller)
                conn_warning(caller, m.text);
        else if (m.kind == SYNC_ERROR) {
                p->code = (int) m.code;
                p->failed = true;
                if (!p->first && caller) {
                        conn_error(caller, p->code, m.text);
                        p->owner = NULL; /* it has its answer */
                }
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "shim.h"
#include "sys/fs.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define REQUEST_MAX (2U << 20)

Conn *conn_new(Shim *s, int fd) {
        Conn *c = xnew(Conn, 1);
        c->fd = fd;
        LIST_APPEND(&s->conns, c, link);
        return c;
}

void conn_free(Shim *s, Conn *c) {
        LIST_FOREACH(p, &s->procs, link)
                if (p->owner == c)
                        p->owner = NULL;
        LIST_REMOVE(&s->conns, c, link);
        (void) close(c->fd);
        buf_done(&c->in);
        buf_done(&c->out);
        free(c);
}

void conn_flush(Conn *c) {
        while (c->out.len > 0 && !c->closed) {
                ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n < 0) {
                        buf_clear(&c->out);
                        c->closed = true;
                        return;
                }
                buf_consume(&c->out, (size_t) n);
        }
}

static void add_frame(Conn *c, FrameKind kind, const char *p, size_t n) {
        if (c->closed)
                return;
        frame_add(&c->out, kind, p, n);
        conn_flush(c);
}

void conn_control(Conn *c, const char *fmt, ...) {
        char text[128];
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        assert(n > 0 && (size_t) n < sizeof(text));
        add_frame(c, FRAME_CONTROL, text, (size_t) n);
}

void conn_error(Conn *c, int code, const char *message) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kstr(&j, "error", message);
        jo_kint(&j, "code", code);
        jo_end(&j);
        add_frame(c, FRAME_CONTROL, b.data, b.len);
}

void conn_warning(Conn *c, const char *message) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kstr(&j, "warning", message);
        jo_end(&j);
        add_frame(c, FRAME_CONTROL, b.data, b.len);
}

/* ---- requests ---- */

static void request_kill(Shim *s, Conn *c, const json_t *j) {
        int sig = (int) ji_int(j, "signal", SIGKILL);
        if (sig < 1 || sig > 64)
                return conn_error(c, 1, "Invalid signal");
        if (s->first->exited)
                return conn_error(c, 1, "the container is not running");
        if (sig == SIGKILL && s->state.paused) {
                (void) cgroup_write(&s->cgroup, CGROUP_FREEZER, "freezer.state", "THAWED");
                (void) cgroup_write(&s->cgroup, CGROUP_FREEZER, "cgroup.freeze", "0");
        }
        if (syscall(SYS_pidfd_send_signal, s->first->pidfd, sig, NULL, 0) < 0)
                return conn_error(c, 1, strerror(errno));
        conn_control(c, "{\"ok\":true}");
}

static void request_attach(Shim *s, Conn *c, const json_t *j) {
        c->proc = s->first;
        c->want_in = ji_bool(j, "stdin", false);
        c->want_out = ji_bool(j, "stdout", false);
        c->want_err = ji_bool(j, "stderr", false);
        c->wait_exit = true;
        conn_control(c, "{\"started\":true}");
}

static void request_pause(Shim *s, Conn *c, bool pause) {
        if (s->state.paused == pause)
                return conn_error(c, 1, pause ? "is already paused" : "is not paused");
        bool v2 = cgroup_clone_fd(&s->cgroup) >= 0;
        int r = v2 ? cgroup_write(&s->cgroup, CGROUP_FREEZER, "cgroup.freeze", pause ? "1" : "0")
                   : cgroup_write(&s->cgroup, CGROUP_FREEZER, "freezer.state", pause ? "FROZEN" : "THAWED");
        if (r < 0)
                return conn_error(c, 1, strerror(-r));
        s->state.paused = pause;
        (void) container_state_save(s->store, s->spec->id, &s->state);
        conn_control(c, "{\"ok\":true}");
}

static void request_exec(Shim *s, Conn *c, const json_t *j) {
        _cleanup_(err_done) Err err = {};
        if (shim_exec(s, c, j, &err) < 0)
                conn_error(c, 126, err_msg(&err));
}

static void request_wait(Shim *s, Conn *c, const json_t *j) {
        c->wait_exit = true;
        c->wait_removed = ji_bool(j, "removed", false);
}

static void handle_request(Shim *s, Conn *c, const char *p, size_t n) {
        _cleanup_json_ json_t *j = NULL;
        if (n > REQUEST_MAX || ji_parse(p, n, REQUEST_MAX, &j, NULL) < 0)
                return conn_error(c, 1, "malformed request");
        const char *op = strempty(ji_str(j, "op"));
        if (streq(op, "kill"))
                request_kill(s, c, j);
        else if (streq(op, "attach"))
                request_attach(s, c, j);
        else if (streq(op, "wait"))
                request_wait(s, c, j);
        else if (streq(op, "exec"))
                request_exec(s, c, j);
        else if (streq(op, "pause") || streq(op, "unpause"))
                request_pause(s, c, streq(op, "pause"));
        else if (streq(op, "detach"))
                c->primary = c->wait_exit = c->wait_removed = c->want_out = c->want_err = c->want_in = false;
        else if (streq(op, "resize")) {
                if (c->proc)
                        proc_resize(c->proc, (unsigned) ji_int(j, "width", 0), (unsigned) ji_int(j, "height", 0));
        } else
                conn_error(c, 1, "unknown request");
}

static void handle_frame(Shim *s, Conn *c, const Frame *f) {
        if (f->kind == FRAME_CONTROL)
                handle_request(s, c, f->data, f->n);
        else if (f->kind == FRAME_STDIN && c->want_in && c->proc)
                proc_feed(c->proc, f->data, f->n);
}

void conn_hang_up(Shim *s, Conn *c) {
        c->closed = true;
        /* The foreground run is gone, killed with its unit or by hand: so is its container (DESIGN D8). */
        if (c->primary && s->first && !s->first->exited)
                (void) syscall(SYS_pidfd_send_signal, s->first->pidfd, SIGKILL, NULL, 0);
        if (c->want_in && c->proc && c->proc->stdin_once)
                proc_feed(c->proc, NULL, 0);
}

/* No more input than the process takes: its pipe is the brake for the client. */
bool conn_throttled(const Conn *c) {
        return c->proc && c->want_in && c->proc->input.len > OUT_HIGH;
}

void conn_readable(Shim *s, Conn *c) {
        while (!c->closed && !conn_throttled(c)) {
                char part[64 << 10];
                ssize_t n = recv(c->fd, part, sizeof(part), MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        break;
                if (n <= 0)
                        return conn_hang_up(s, c);
                buf_add(&c->in, part, (size_t) n);
                Frame f;
                int r;
                while ((r = frame_peek(&c->in, &f)) > 0) {
                        handle_frame(s, c, &f);
                        buf_consume(&c->in, FRAME_HEADER + f.n);
                }
                if (r < 0)
                        return conn_hang_up(s, c);
        }
}

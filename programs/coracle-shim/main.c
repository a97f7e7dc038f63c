/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"
#include "base/str.h"
#include "shim.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Descriptors that the engine hands over. */
#define FD_PRIMARY 3
#define FD_LOCK 4

#define DRAIN_MSEC 3000 /* for output that somebody outside the container still holds open */
#define FLUSH_MSEC 60000

static bool arg_foreground, arg_hold;
static int64_t arg_seccomp = -1, arg_join_net = -1, arg_join_pid = -1, arg_join_ipc = -1;
static char *arg_attach, **arg_env;

static const Option options[] = {
        { "foreground", 0, OPT_BOOL, &arg_foreground, NULL, "The container dies with the connection on fd 3", NULL },
        { "hold", 0, OPT_BOOL, &arg_hold, NULL, "Wait for one byte on fd 3 before the start", NULL },
        { "attach", 0, OPT_STR, &arg_attach, "ioe", "Streams for the connection on fd 3", NULL },
        { "env", 0, OPT_LIST, &arg_env, "K=V", "More environment (links)", NULL },
        { "seccomp", 0, OPT_INT, &arg_seccomp, "FD", "A compiled seccomp filter", NULL },
        { "join-net", 0, OPT_INT, &arg_join_net, "FD", "Network namespace to join", NULL },
        { "join-pid", 0, OPT_INT, &arg_join_pid, "FD", "PID namespace to join", NULL },
        { "join-ipc", 0, OPT_INT, &arg_join_ipc, "FD", "IPC namespace to join", NULL },
        {},
};

Conn *shim_primary(Shim *s) {
        LIST_FOREACH(c, &s->conns, link)
                if (c->primary)
                        return c;
        return NULL;
}

/* ---- setting up ---- */

static void settle_process(void) {
        /* systemd's TERM to the whole unit is for the container; we leave when it has left. */
        static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM };
        for (size_t i = 0; i < ELEMENTSOF(ignored); i++)
                (void) signal(ignored[i], SIG_IGN);
        (void) setsid();
        (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        (void) prctl(PR_SET_NAME, "coracle-shim", 0, 0, 0);
        (void) umask(0077);
        if (chdir("/") < 0)
                _exit(125);
        /* Nothing of the caller's stays open: its terminal and pipes must be able to close. */
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int i = 0; i < 3 && null >= 0; i++)
                (void) dup2(null, i);
        if (null > 2)
                (void) close(null);
}

static int read_filter(Shim *s, Err *err) {
        if (arg_seccomp < 0)
                return 0;
        _cleanup_close_ int fd = (int) arg_seccomp;
        struct stat st;
        if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size % 8 || st.st_size > 32768 * 8)
                return err_set(err, -EBADMSG, "the compiled seccomp filter is damaged");
        s->bpf = xmalloc((size_t) st.st_size);
        if (pread(fd, s->bpf, (size_t) st.st_size, 0) != st.st_size)
                return err_set(err, -EBADMSG, "cannot read the compiled seccomp filter");
        s->launch.process.bpf = s->bpf;
        s->launch.process.bpf_bytes = (size_t) st.st_size;
        return 0;
}

/* The socket's full path may be too long for sockaddr_un: it is bound through the folder's descriptor. */
static int listen_for_clients(Shim *s, Err *err) {
        _cleanup_close_ int dir = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        (void) snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/shim", dir);
        if (dir < 0 || (unlinkat(dir, "shim", 0) < 0 && errno != ENOENT))
                return err_errno(err, -errno, "cannot make the socket of the container");
        s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->listener < 0 || bind(s->listener, (struct sockaddr *) &a, sizeof(a)) < 0 ||
            listen(s->listener, 64) < 0)
                return err_errno(err, -errno, "cannot make the socket of the container");
        return 0;
}

static int load(Shim *s, const char *root, const char *id, Err *err) {
        int r = container_store_open(root, &s->store, err);
        if (r < 0)
                return r;
        _cleanup_(container_freep) Container *c = NULL;
        r = container_load(s->store, id, &c, err);
        if (r < 0)
                return r;
        s->spec = TAKE_PTR(c->spec);
        s->dir = TAKE_PTR(c->dir);
        r = log_writer_init(&s->log, s->dir, s->spec, err);
        if (r >= 0)
                r = read_filter(s, err);
        return r < 0 ? r : listen_for_clients(s, err);
}

/* ---- the loop ---- */

typedef enum SlotKind { SLOT_LISTENER, SLOT_CONN, SLOT_IN, SLOT_OUT, SLOT_ERR, SLOT_PIDFD, SLOT_SYNC } SlotKind;

typedef struct Slots {
        struct pollfd *fds;
        struct {
                SlotKind kind;
                void *object;
        } *what;
        size_t n, cap_fds, cap_what;
} Slots;

static void add_slot(Slots *l, int fd, short events, SlotKind kind, void *object) {
        if (fd < 0)
                return;
        GROW(l->fds, l->cap_fds, l->n + 1);
        GROW(l->what, l->cap_what, l->n + 1);
        l->fds[l->n] = (struct pollfd){ .fd = fd, .events = events };
        l->what[l->n].kind = kind;
        l->what[l->n++].object = object;
}

static void collect(Shim *s, Slots *l) {
        l->n = 0;
        add_slot(l, s->listener, POLLIN, SLOT_LISTENER, NULL);
        LIST_FOREACH(c, &s->conns, link)
                add_slot(l, c->fd, (short) ((conn_throttled(c) ? 0 : POLLIN) | (c->out.len ? POLLOUT : 0)), SLOT_CONN,
                         c);
        LIST_FOREACH(p, &s->procs, link) {
                if (p->input.len > 0)
                        add_slot(l, p->in, POLLOUT, SLOT_IN, p);
                if (proc_may_read(s, p)) {
                        add_slot(l, p->out[0], POLLIN, SLOT_OUT, p);
                        add_slot(l, p->out[1], POLLIN, SLOT_ERR, p);
                }
                if (!p->exited)
                        add_slot(l, p->pidfd, POLLIN, SLOT_PIDFD, p);
                add_slot(l, p->sync, POLLIN, SLOT_SYNC, p);
        }
}

static void accept_client(Shim *s) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
                (void) conn_new(s, fd);
}

static void dispatch(Shim *s, SlotKind kind, void *object, short events) {
        switch (kind) {
        case SLOT_LISTENER:
                return accept_client(s);
        case SLOT_CONN:
                if (events & POLLOUT)
                        conn_flush(object);
                /* A throttled client that is gone is not waited for: its hang-up would wake us for ever. */
                if ((events & (POLLHUP | POLLERR)) && conn_throttled(object))
                        conn_hang_up(s, object);
                else if (events & (POLLIN | POLLHUP | POLLERR))
                        conn_readable(s, object);
                return;
        case SLOT_IN:
                return proc_write_input(object);
        case SLOT_OUT:
                return proc_read_output(s, object, 1);
        case SLOT_ERR:
                return proc_read_output(s, object, 2);
        case SLOT_PIDFD:
                return proc_reap(s, object);
        case SLOT_SYNC:
                return proc_on_sync(s, object);
        }
}

/* Connections and processes are freed only here, between two polls, so that slots never point to freed memory. */
static void sweep(Shim *s) {
        LIST_FOREACH(c, &s->conns, link)
                if (c->closed)
                        conn_free(s, c);
        LIST_FOREACH(p, &s->procs, link)
                if (!p->first && p->exited && p->sync < 0 && proc_drained(p)) {
                        if (p->owner)
                                conn_control(p->owner, "{\"exit\":%d}", p->code);
                        proc_free(s, p);
                }
}

static void turn(Shim *s, Slots *l, int timeout_msec) {
        collect(s, l);
        int n = poll(l->fds, l->n, timeout_msec);
        for (size_t i = 0; n > 0 && i < l->n; i++)
                if (l->fds[i].revents)
                        dispatch(s, l->what[i].kind, l->what[i].object, l->fds[i].revents);
        sweep(s);
}

/* ---- the end ---- */

static void drain(Shim *s, Slots *l) {
        Usec end = usec_add(now_monotonic(), DRAIN_MSEC * USEC_PER_MSEC);
        while (!proc_drained(s->first) && (now_monotonic() < end || !proc_may_read(s, s->first)))
                turn(s, l, 100);
}

static void tell_everybody(Shim *s, bool removed) {
        LIST_FOREACH(c, &s->conns, link) {
                bool now = removed ? c->wait_removed : c->wait_exit && !c->wait_removed;
                if (now)
                        conn_control(c, "{\"exit\":%d,\"oom\":%s}", s->state.exit_code,
                                     s->state.oom_killed ? "true" : "false");
        }
}

static void finish(Shim *s, Slots *l) {
        if (s->launched) {
                cgroup_kill(&s->cgroup);
                drain(s, l);
                s->state.oom_killed = cgroup_oom_kills(&s->cgroup) > 0;
                s->state.exit_code = s->first->code;
                s->state.finished_nsec = now_wall_nsec();
        }
        s->finished = true;
        log_writer_done(&s->log);
        if (s->has_network)
                network_release(s->store, s->spec, &s->network);
        cgroup_remove(&s->cgroup);
        s->state.running = s->state.paused = false;
        s->state.pid = 0;
        s->state.cgroups = strv_free(s->state.cgroups);
        s->state.net = (NetState){};
        s->listener = safe_close(s->listener);
        if (s->spec->host.auto_remove)
                (void) container_delete(s->store, s->spec, true, NULL);
        else {
                _cleanup_free_ char *socket = path_join(s->dir, "shim");
                (void) unlink(socket);
                (void) container_state_save(s->store, s->spec->id, &s->state);
        }
        s->lock = safe_close(s->lock);
        tell_everybody(s, false);
        tell_everybody(s, true);
        /* Slow readers get the rest of what was printed; the container itself is over. */
        for (;;) {
                bool pending = false;
                LIST_FOREACH(c, &s->conns, link) {
                        conn_flush(c);
                        pending |= c->out.len > 0 && !c->closed;
                }
                if (!pending)
                        break;
                turn(s, l, FLUSH_MSEC);
        }
}

/* A client that connected before the end, whose request has not been read yet, gets its answer too. */
static void serve_last_requests(Shim *s) {
        LIST_FOREACH(c, &s->conns, link)
                if (!c->closed)
                        conn_readable(s, c);
}

static int start(Shim *s, const char *root, const char *id, Conn *primary) {
        _cleanup_(err_done) Err err = {};
        int code = 125, r = load(s, root, id, &err);
        if (r >= 0) {
                r = shim_start(s, &err);
                code = s->first && s->first->code ? s->first->code : 125;
        }
        if (r >= 0) {
                conn_control(primary, "{\"started\":true}");
                return 0;
        }
        if (s->spec) {
                s->state.exit_code = code;
                s->state.error = xstrdup(err_msg(&err));
        }
        conn_error(primary, code, err_msg(&err));
        return r;
}

int main(int argc, char **argv) {
        settle_process();
        _cleanup_free_ char **rest = NULL;
        if (options_parse(options, OPTIONS_STOP_AT_ARG, argc, argv, &rest, NULL) < 0 || !rest[0] || !rest[1])
                return 125;
        char go;
        if (arg_hold && read(FD_PRIMARY, &go, 1) != 1)
                return 125;
        Shim s = { .lock = FD_LOCK, .listener = -EBADF, .log.fd = -EBADF, .join_net = (int) arg_join_net,
                   .join_pid = (int) arg_join_pid, .join_ipc = (int) arg_join_ipc, .env = arg_env };
        (void) fcntl(FD_LOCK, F_SETFD, FD_CLOEXEC);
        (void) fcntl(FD_PRIMARY, F_SETFD, FD_CLOEXEC);
        (void) fcntl(FD_PRIMARY, F_SETFL, O_NONBLOCK);
        Conn *primary = conn_new(&s, FD_PRIMARY);
        primary->want_in = arg_attach && strchr(arg_attach, 'i');
        primary->want_out = arg_attach && strchr(arg_attach, 'o');
        primary->want_err = arg_attach && strchr(arg_attach, 'e');
        primary->wait_exit = primary->wait_removed = arg_foreground;

        Slots slots = {};
        if (start(&s, rest[0], rest[1], primary) < 0) {
                if (!s.spec)
                        return 125;
                finish(&s, &slots);
                return 125;
        }
        primary->primary = arg_foreground;
        primary->proc = arg_attach ? s.first : NULL;
        while (!s.first->exited)
                turn(&s, &slots, -1);
        serve_last_requests(&s);
        finish(&s, &slots);
        return 0;
}

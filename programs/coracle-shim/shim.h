/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* coracle-shim: the one process that stays beside a running container. It is the parent of the container's first
 * process, holds its pipes or terminal, writes its log, keeps the exit code, and serves attach, exec, wait, kill
 * and resize over the socket `shim` in the container's folder (container/run/frame.h).
 *
 * A separate, static program, because: it lives as long as the container, so it should cost little memory (no
 * OpenSSL, curl, libsystemd); and it is started from a read-only copy of its own mount, so that a container that
 * gets hold of /proc/PID/exe cannot write to it (CVE-2019-5736). Its loop is poll(2) over a few descriptors:
 * sd-event is not to be had statically. One thread: fork is safe at any time.
 *
 * It never exits before it has written the final state, and holds the container's lock until then. */

#include "base/list.h"
#include "container/run/frame.h"
#include "container/run/launch.h"
#include "container/run/log.h"
#include "container/run/network.h"
#include "container/run/store.h"

typedef struct Conn Conn;
typedef struct Proc Proc;

/* One process that we started in the container: the first, or one by exec. */
struct Proc {
        LIST_LINK(Proc) link;
        bool first, tty, started, exited, detached;
        bool failed; /* the child said why it could not start the program */
        bool has_stdin, stdin_once;
        pid_t pid;
        int pidfd, sync;
        int in, out[2]; /* our ends; a terminal's master is in out[0], and `in` a duplicate */
        Buf input;      /* for `in`, not yet written */
        bool input_end;
        int code;
        Conn *owner; /* an exec's caller */
};

struct Conn {
        LIST_LINK(Conn) link;
        int fd;
        Buf in, out;
        Proc *proc; /* whose streams it has */
        bool want_in, want_out, want_err;
        bool primary; /* a foreground run: the container dies with it */
        bool wait_exit, wait_removed, closed;
};

typedef struct Shim {
        Store *store;
        char *dir;
        ContainerSpec *spec;
        ContainerState state;
        Launch launch;
        CgroupSet cgroup;
        Network network;
        LogWriter log;
        void *bpf;
        char **env;
        int lock, listener;
        int join_net, join_pid, join_ipc; /* namespaces of another container */
        bool has_network, finished;
        bool launched;
        LIST_HEAD(Proc) procs;
        LIST_HEAD(Conn) conns;
        Proc *first;
} Shim;

#define OUT_HIGH (256U << 10) /* a client that is this far behind stops the container's output */

/* start.c */
int shim_start(Shim *s, Err *err);
/* proc.c */
Proc *proc_new(Shim *s);
void proc_free(Shim *s, Proc *p);
int proc_make_pipes(Proc *p, int child_ends[3], Err *err);
void proc_feed(Proc *p, const char *data, size_t n); /* n 0 = end of input */
void proc_write_input(Proc *p);
void proc_read_output(Shim *s, Proc *p, unsigned stream);
void proc_on_sync(Shim *s, Proc *p);
bool proc_drained(const Proc *p);
bool proc_may_read(Shim *s, const Proc *p);
void proc_reap(Shim *s, Proc *p);
void proc_resize(Proc *p, unsigned width, unsigned height);
/* exec.c */
int shim_exec(Shim *s, Conn *c, const json_t *request, Err *err);
/* conn.c */
Conn *conn_new(Shim *s, int fd);
void conn_free(Shim *s, Conn *c);
void conn_readable(Shim *s, Conn *c);
void conn_hang_up(Shim *s, Conn *c);
bool conn_throttled(const Conn *c);
void conn_flush(Conn *c);
void conn_control(Conn *c, const char *fmt, ...) _printf_(2, 3); /* fmt makes one JSON object; no free text */
void conn_error(Conn *c, int code, const char *message);
void conn_warning(Conn *c, const char *message);
/* main.c */
Conn *shim_primary(Shim *s);

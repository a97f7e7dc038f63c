/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From a specification to a running first process. The shim prepares a Launch, clones a child into new
 * namespaces, and the child builds its own root file system there, so that when its last process dies the kernel
 * drops every mount by itself; nothing is ever mounted where the host could see it.
 *
 * The child and the shim talk over a SOCK_SEQPACKET pair, one struct SyncMessage a packet. The child's end is
 * close-on-exec: end of file after "ready" means that the program runs. */

#include "container/run/spec.h"
#include "sys/cgroup.h"

typedef enum SyncKind {
        SYNC_READY = 'R',   /* child: the root is built, waiting for the network */
        SYNC_GO = 'G',      /* shim: network is there (ip, prefix, gateway) */
        SYNC_TTY = 'T',     /* child: carries the master side of the terminal */
        SYNC_WARNING = 'W', /* child: text, for the caller's stderr */
        SYNC_ERROR = 'E',   /* child: code is the exit status (125, 126, 127) and text says why */
} SyncKind;

#define SYNC_TEXT_MAX 1024

typedef struct SyncMessage {
        uint32_t kind, code;
        uint32_t ip, gateway, prefix; /* network byte order; ip 0 = only the loopback device */
        char text[SYNC_TEXT_MAX];
} SyncMessage;

int sync_send(int fd, const SyncMessage *m, int pass_fd);
/* Fills *m; *ret_fd gets a passed descriptor or -EBADF. 1, or 0 at end of file. */
int sync_receive(int fd, SyncMessage *m, int *ret_fd);
_noreturn_ void sync_fail(int fd, unsigned code, const Err *err);
void sync_warn(int fd, const char *fmt, ...) _printf_(2, 3);

/* One process in a container, the first or an exec'ed one. All pointers are borrowed. */
typedef struct ProcessSpec {
        char *const *args;
        char *const *env;
        const char *cwd;
        const char *user;
        char *const *group_add;
        uint64_t caps;
        const void *bpf; /* compiled seccomp filter, NULL = none */
        size_t bpf_bytes;
        const UlimitSpec *ulimits;
        size_t n_ulimits;
        int64_t oom_score_adj;
        bool tty, no_new_privs, reaper /* --init */, first;
        int stdio[3]; /* not for tty; -EBADF = /dev/null */
} ProcessSpec;

/* In the child, already inside the root: becomes the program, or reports through `sync` and exits. */
_noreturn_ void process_exec(const ProcessSpec *p, int sync);

typedef struct Launch {
        const ContainerSpec *spec;
        const char *root; /* of the store */
        const char *dir;  /* of the container */
        const CgroupSet *cgroup;
        bool own_net, host_ipc;
        int join_net, join_ipc; /* another container's namespaces, or -EBADF */
        ProcessSpec process;
        int *volume_fds; /* one detached mount per spec->mounts (-EBADF for tmpfs), made in the host's namespace */
} Launch;

/* Clones the mounts of all volumes while still in the host's mount namespace, so that "shared" propagation means
 * the host's peers. */
int launch_open_volumes(Launch *l, Err *err);
void launch_done(Launch *l);
/* In the child: mounts everything and makes it the root. */
int rootfs_enter(const Launch *l, Err *err);
/* The file system of a container that does not run (its lock is the caller's), mounted in the caller's own,
 * private mount namespace: a descriptor of its root. */
int rootfs_open_stopped(const Launch *l, int *ret, Err *err);
/* In the child: the whole of its life before the program. */
_noreturn_ void launch_child(const Launch *l, int sync);

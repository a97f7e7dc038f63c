/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Work on hostile input in a child that can do nothing else: no descriptors but the given ones, no privileges
 * but the given ones, a system-call filter, and for file work a root of its own. The child answers with bytes
 * over a pipe, which the parent must still distrust. */

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

typedef enum ConfineKind {
        CONFINE_FILES, /* may write below its root only; capabilities CHOWN DAC_OVERRIDE FOWNER FSETID SETFCAP */
        CONFINE_NETWORK, /* may use the network, reads files as an unprivileged user, writes to its fds only */
} ConfineKind;

#define CONFINE_REPLY_MAX (256U << 20)
#define CONFINE_FDS_MAX 8

typedef struct Confine {
        ConfineKind kind;
        int root_fd;      /* CONFINE_FILES: becomes "/" of the child; -1 otherwise */
        const int *fds;   /* kept open in the child under the same numbers */
        size_t n_fds;
} Confine;

/* Runs in the child. Returns 0 or a negative errno with *err set; what it puts into *reply goes to the parent. */
typedef int (*ConfineFn)(void *userdata, Buf *reply, Err *err);

typedef struct Confined {
        pid_t pid;
        int pipe; /* owned: the reply */
} Confined;

/* Starts the child. */
int confine_start(const Confine *c, ConfineFn fn, void *userdata, Confined *ret, Err *err);
/* Reads the reply and waits. Returns what fn returned, its message in *err; -EPROTO when the child died. */
int confine_finish(Confined *c, Buf *ret_reply, Err *err);
/* Kills a child whose work is no longer wanted. */
void confine_abort(Confined *c);

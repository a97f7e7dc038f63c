/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "container/run/engine.h"

/* Between this terminal (or pipes) and a process in a container: input to it, its output here, signals and window
 * size too, until it ends. */

typedef struct FollowOptions {
        bool in, tty;    /* pass our stdin on; the process has a terminal */
        bool sig_proxy;  /* pass our signals on to the container's first process */
        Store *store;    /* for signals, with sig_proxy */
        const char *id;
} FollowOptions;

/* The exit code of the process; -EPIPE when the shim vanished. */
int follow(ShimClient *client, const FollowOptions *o);
/* Blocks the signals that follow() passes on: to be called before the start, so that none is lost. */
void follow_block_signals(void);
void follow_warn(const char *message); /* "WARNING: …" on stderr */

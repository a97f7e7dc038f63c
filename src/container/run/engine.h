/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What commands do with containers: start one by starting its shim, and talk to running ones. */

#include "container/run/frame.h"
#include "container/run/store.h"

typedef struct ShimClient {
        int fd;
        Buf in;
        size_t skip; /* bytes of the last frame, dropped by the next shim_next() */
} ShimClient;

void shim_client_done(ShimClient *c);
/* Connects to the shim of a running container. -ESRCH when it is not running. */
int shim_connect(const Store *s, const char *id, ShimClient *ret, Err *err);
int shim_send(ShimClient *c, FrameKind kind, const void *p, size_t n);
int shim_sendf(ShimClient *c, const char *json_fmt, ...) _printf_(2, 3); /* no free text in the arguments */
/* The next frame, borrowed until the next call: 1; 0 at end of file; -EAGAIN with `wait` false and nothing there. */
int shim_next(ShimClient *c, bool wait, Frame *ret);
/* Waits for the answer to a request: 0, or the shim's {"error"} as message and -EREMOTEIO; *ret_code (may be NULL)
 * gets its "code". Warnings go to `warn` (may be NULL). */
int shim_answer(ShimClient *c, int *ret_code, void (*warn)(const char *), Err *err);

typedef struct StartOptions {
        bool foreground;    /* the container stays in our cgroup and dies with our connection */
        const char *attach; /* "ioe" subset, NULL = none */
        void (*warn)(const char *message);
        /* How to leave our own systemd unit, detached, where systemd runs; NULL = stay in it. */
        int (*leave)(const char *id, pid_t pid, Err *err);
} StartOptions;

/* Starts container `id`, whose lock the caller holds in *lock (taken over). On success the connection is in
 * *client; the caller follows its streams or closes it. *ret_code: 125, 126 or 127 when it could not start. */
int engine_start(Store *s, const char *id, int *lock, const StartOptions *o, ShimClient *client, int *ret_code,
                 Err *err);
/* Sends a signal. -ESRCH "Container X is not running". */
int engine_kill(Store *s, const Container *c, int sig, Err *err);
/* Waits until the container does not run: its exit code in *ret_code. `msec` < 0 = for ever; -ETIME. */
int engine_wait(Store *s, const char *id, int64_t msec, int *ret_code, Err *err);
/* Stop signal, grace (seconds, < 0 = the container's own), SIGKILL. 0 also when it did not run. */
int engine_stop(Store *s, const Container *c, int64_t grace_sec, Err *err);
/* Removes; a running one is killed with `force`, an error otherwise. */
int engine_remove(Store *s, const char *name, bool force, bool volumes, Err *err);

/* hosts, hostname, resolv.conf of a container that is about to start (etcfiles.c). *ret_env gets the environment
 * that links bring. */
int etc_files_write(Store *s, const ContainerSpec *spec, const char *dir, char ***ret_env, Err *err);
/* A systemd scope docker-<id>.scope around `pid` (scope.c, over sd-bus). */
int scope_start(const char *id, pid_t pid, Err *err);
/* Does the same by running "PROGRAM __scope ID PID", for a program that is linked without sd-bus. */
int scope_start_by(const char *program, const char *id, pid_t pid, Err *err);

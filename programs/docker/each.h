/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "container/run/engine.h"
#include "docker.h"

/* Opens the store, or prints why not: NULL. */
Store *open_store(void);
/* Runs fn for every name: echoes the name as given on success, prints "Error response from daemon: …" for a
 * failure and goes on; 0, or 1 when any failed (spec A.3). */
int for_each_name(char *const *names, int (*fn)(Store *s, const char *name, void *userdata, Err *err), void *userdata);
/* StartOptions.leave: a systemd scope, by our own sd-bus or our twin's. */
int leave_unit(const char *id, pid_t pid, Err *err);

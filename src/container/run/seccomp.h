/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The default system-call filter of containers (spec E.1), compiled by libseccomp and kept as BPF in ROOT/cache:
 * compiling takes tens of milliseconds, loading well under one. What the filter lets through depends on the
 * capabilities, so the cache is keyed by them. Unlike docker's, it denies making block and character devices even
 * with CAP_MKNOD (spec E.2: without a device control group that capability is an escape). */

#include "container/run/store.h"

/* A descriptor of the compiled filter, or -EBADF in *ret_fd when the container shall have none (privileged, or
 * --security-opt seccomp=unconfined). `caps` is the container's capability mask. */
int seccomp_filter_open(const Store *s, const HostConfig *h, uint64_t caps, int *ret_fd, Err *err);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Capability sets of containers. */

#include "base/err.h"

/* What a container gets (spec E.1): 14 capabilities. */
#define CAPS_DEFAULT UINT64_C(0xa80425fb)

/* "NET_ADMIN", "CAP_NET_ADMIN", any case; the number, or -EINVAL. */
int cap_from_name(const char *name);
const char *cap_name(unsigned cap); /* "CAP_CHOWN"; NULL beyond the last */
uint64_t caps_all(void);            /* every capability that the running kernel knows */
/* The default changed by --cap-add and --cap-drop lists ("ALL" too); adding wins over dropping ALL. */
int caps_compute(bool privileged, char *const *add, char *const *drop, uint64_t *ret, Err *err);
/* Drops everything else from the bounding set; clears inheritable and ambient. */
int caps_bound(uint64_t mask);
/* Sets permitted and effective to `mask`, inheritable empty. */
int caps_set(uint64_t mask);

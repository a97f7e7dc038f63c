/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A machine that leaves in good order gives its units back itself, so that whoever leads places them at once and
 * nobody has to wonder whether the machine is dead or late. */

#include "fleet/registry.h"

typedef struct Release Release;

/* Unschedules every unit that is scheduled on the machine. done() once, also when something failed. */
Release *release_begin(Registry *r, const char *machine_id, void (*done)(void *user), void *user);
Release *release_free(Release *r);

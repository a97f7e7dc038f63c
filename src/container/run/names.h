/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/macro.h"

/* A name such as "brisk_sextant" for a container that got none; from the third try on a digit is added. Owned. */
char *container_random_name(uint64_t random, unsigned attempt);

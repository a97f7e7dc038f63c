/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/macro.h"

/* The IPv4 address that others reach this machine at: the source address of the default route, else the first
 * global one of any interface that is up. Owned; "" when there is none. */
char *address_of_machine(void);

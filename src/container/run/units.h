/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/macro.h"

/* "64m", "1.5g", "512k", "100b", "100", also "64MiB", "64mb": bytes, in powers of 1024. -EINVAL, -ERANGE. */
int parse_bytes(const char *s, int64_t *ret);
/* "TERM", "SIGTERM", "15", "RTMIN+3"; -EINVAL. */
int parse_signal(const char *s);

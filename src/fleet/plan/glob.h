/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/macro.h"

/* Go's path.Match, which Conflicts= and Replaces= use: '*' and '?' do not match '/', [a-z], [^a-z], backslash
 * escapes. 1 = match, 0 = no match, -EINVAL = malformed pattern (which callers treat as no match). */
int glob_match(const char *pattern, const char *name);
static inline bool glob_matches(const char *pattern, const char *name) {
        return glob_match(pattern, name) == 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

#include <jansson.h>

/* --format of list commands: a template for every row; with a leading "table " a header row from `headers`
 * (pairs: field, heading) and aligned columns. `rows` is an array of objects. "json" prints one object a line. */
int format_rows(const char *format, const json_t *rows, const char *const *headers, Err *err);

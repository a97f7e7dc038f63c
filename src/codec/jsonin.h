/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading JSON: jansson behind size and depth limits, plus typed getters that say what was wrong.
 * jansson owns the names json_*; ours are ji_*. */

#include "base/err.h"

#include <jansson.h>

#define JSON_IN_BYTES_MAX (16U << 20)
#define JSON_IN_DEPTH_MAX 64

/* Parses exactly one value of at most `limit` bytes (0 = JSON_IN_BYTES_MAX). The caller owns *ret. */
int ji_parse(const void *p, size_t n, size_t limit, json_t **ret, Err *err);
#define _cleanup_json_ _cleanup_(json_decrefp)

/* The member, borrowed; NULL or the fallback when it is absent or of another type. */
const char *ji_str(const json_t *obj, const char *key);
int64_t ji_int(const json_t *obj, const char *key, int64_t fallback);
bool ji_bool(const json_t *obj, const char *key, bool fallback);
json_t *ji_obj(const json_t *obj, const char *key);
json_t *ji_arr(const json_t *obj, const char *key);

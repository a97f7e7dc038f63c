/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writing JSON exactly as Go's encoding/json does, which clients and golden files compare byte for byte:
 * compact, fields in the order they are written, "<", ">", "&", U+2028 and U+2029 as \u escapes, bytes that
 * are not UTF-8 as \ufffd. (Reading JSON is jansson's job: codec/jsonin.h.)
 *
 *   JsonOut j = { .buf = &b };
 *   jo_obj(&j); jo_key(&j, "action"); jo_str(&j, "get"); jo_end(&j);
 *
 * Commas are put in by the writer. With `indent` > 0 the output is indented by that many spaces a level. */

#include "base/buf.h"

#define JSON_OUT_DEPTH_MAX 64

typedef struct JsonOut {
        Buf *buf;   /* weak */
        int indent; /* 0 = compact */
        bool plain; /* do not escape < > & (Go's SetEscapeHTML(false)) */
        unsigned depth;
        bool after_key;
        struct {
                bool array, filled;
        } level[JSON_OUT_DEPTH_MAX];
} JsonOut;

void jo_obj(JsonOut *j);
void jo_arr(JsonOut *j);
void jo_end(JsonOut *j); /* closes the innermost object or array */
void jo_key(JsonOut *j, const char *key);
void jo_str(JsonOut *j, const char *s); /* NULL writes null */
void jo_strn(JsonOut *j, const char *s, size_t n);
void jo_int(JsonOut *j, int64_t v);
void jo_uint(JsonOut *j, uint64_t v);
void jo_double(JsonOut *j, double v); /* shortest form that reads back the same, as Go's 'g' style */
void jo_bool(JsonOut *j, bool v);
void jo_null(JsonOut *j);
void jo_raw(JsonOut *j, const char *json, size_t n); /* one complete value, already encoded */
void jo_base64(JsonOut *j, const void *p, size_t n); /* as a string, standard alphabet with padding */
void jo_int_str(JsonOut *j, int64_t v);              /* "123": 64-bit numbers of the gRPC gateway */
void jo_uint_str(JsonOut *j, uint64_t v);

/* key and value at once */
void jo_kstr(JsonOut *j, const char *key, const char *s);
void jo_kint(JsonOut *j, const char *key, int64_t v);
void jo_kuint(JsonOut *j, const char *key, uint64_t v);
void jo_kbool(JsonOut *j, const char *key, bool v);

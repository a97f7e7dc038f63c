/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Strings, NULL-terminated string lists (`char **`, "strv"), and number parsing that rejects anything but a
 * whole valid number. All pure. */

#include "base/macro.h"

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}
/* NULL equals NULL only. */
static inline bool streq_ptr(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool isempty(const char *s) {
        return !s || !*s;
}
static inline const char *strempty(const char *s) {
        return s ? s : "";
}
/* The rest after the prefix, or NULL. */
static inline const char *startswith(const char *s, const char *prefix) {
        size_t n = strlen(prefix);
        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}
/* Where the suffix begins, or NULL. */
const char *endswith(const char *s, const char *suffix);
/* Removes white space at both ends in place; returns the start. */
char *strstrip(char *s);
bool str_is_utf8(const char *s, size_t n);
/* New string with every `from` replaced by `to`. */
char *str_replace(const char *s, const char *from, const char *to);

/* Decimal only, no sign for unsigned, no white space; -EINVAL or -ERANGE. */
int parse_u64(const char *s, uint64_t *ret);
int parse_i64(const char *s, int64_t *ret);
int parse_u32(const char *s, uint32_t *ret);
int parse_int(const char *s, int *ret);
int parse_u64_base(const char *s, unsigned base, uint64_t *ret); /* base 2..16, no prefix */
/* Go's strconv.ParseBool set: 1 t T TRUE true True 0 f F FALSE false False. */
int parse_bool_go(const char *s, bool *ret);
/* Go's time.ParseDuration ("1h2m3.5s", "100ms", "0"), to microseconds; negative allowed. */
int parse_duration_go(const char *s, int64_t *ret_usec);

char *hex_encode(const void *p, size_t n);          /* owned, lower case */
int hex_decode(const char *s, size_t n, void *ret); /* n hex digits into n/2 bytes; -EINVAL */

/* ---- strv: a NULL-terminated array of owned strings; NULL is the empty list ---- */
size_t strv_len(char *const *l);
char **strv_free(char **l);
static inline void strv_freep(char ***l) {
        strv_free(*l);
}
#define _cleanup_strv_ _cleanup_(strv_freep)
void strv_push(char ***l, char *s); /* takes s */
void strv_add(char ***l, const char *s);
void strv_addf(char ***l, const char *fmt, ...) _printf_(2, 3);
char **strv_copy(char *const *l);
bool strv_contains(char *const *l, const char *s);
/* Splits at any character of `seps`; with keep_empty empty fields stay. Never NULL fields. */
char **strv_split(const char *s, const char *seps, bool keep_empty);
char *strv_join(char *const *l, const char *sep);
void strv_sort(char **l);
#define STRV_FOREACH(i, l) for (char *const *i = (l); i && *i; i++) /* *i is the string */

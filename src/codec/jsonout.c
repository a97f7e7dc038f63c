/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonout.h"
#include "base/str.h"
#include "codec/base64.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void newline(JsonOut *j, unsigned depth) {
        if (j->indent <= 0)
                return;
        buf_addc(j->buf, '\n');
        for (unsigned i = 0; i < depth * (unsigned) j->indent; i++)
                buf_addc(j->buf, ' ');
}

/* What must stand before a value: nothing after a key, else a comma and a new line inside an array. */
static void before_value(JsonOut *j) {
        if (j->after_key) {
                j->after_key = false;
                return;
        }
        if (j->depth == 0)
                return;
        assert(j->level[j->depth - 1].array);
        if (j->level[j->depth - 1].filled)
                buf_addc(j->buf, ',');
        j->level[j->depth - 1].filled = true;
        newline(j, j->depth);
}

static void open_level(JsonOut *j, bool array) {
        before_value(j);
        assert(j->depth < JSON_OUT_DEPTH_MAX);
        j->level[j->depth].array = array;
        j->level[j->depth].filled = false;
        j->depth++;
        buf_addc(j->buf, array ? '[' : '{');
}

void jo_obj(JsonOut *j) {
        open_level(j, false);
}

void jo_arr(JsonOut *j) {
        open_level(j, true);
}

void jo_end(JsonOut *j) {
        assert(j->depth > 0 && !j->after_key);
        j->depth--;
        if (j->level[j->depth].filled)
                newline(j, j->depth);
        buf_addc(j->buf, j->level[j->depth].array ? ']' : '}');
}

/* One character (or one bad byte) of a string; returns how many input bytes it took. */
static size_t add_char(JsonOut *j, const uint8_t *p, size_t n) {
        static const char short_escape[32] = { ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
        Buf *b = j->buf;
        uint8_t c = p[0];
        if (c == '"' || c == '\\') {
                buf_addc(b, '\\');
                buf_addc(b, (char) c);
        } else if (c < 0x20 && short_escape[c]) {
                buf_addc(b, '\\');
                buf_addc(b, short_escape[c]);
        } else if (c < 0x20 || (!j->plain && (c == '<' || c == '>' || c == '&')))
                buf_addf(b, "\\u%04x", (unsigned) c);
        else if (c < 0x80)
                buf_addc(b, (char) c);
        else {
                size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
                if (len > n || !str_is_utf8((const char *) p, len)) {
                        buf_adds(b, "\\ufffd");
                        return 1;
                }
                if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
                        buf_addf(b, "\\u202%c", p[2] == 0xa8 ? '8' : '9');
                else
                        buf_add(b, p, len);
                return len;
        }
        return 1;
}

/* How many bytes at the front go out as they are. */
static size_t plain_run(const JsonOut *j, const uint8_t *p, size_t n) {
        size_t i = 0;
        while (i < n && p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' && p[i] != '\\' &&
               (j->plain || (p[i] != '<' && p[i] != '>' && p[i] != '&')))
                i++;
        return i;
}

static void add_string(JsonOut *j, const char *s, size_t n) {
        const uint8_t *p = (const uint8_t *) s;
        buf_addc(j->buf, '"');
        while (n > 0) {
                size_t k = plain_run(j, p, n);
                if (k > 0)
                        buf_add(j->buf, p, k);
                else
                        k = add_char(j, p, n);
                p += k;
                n -= k;
        }
        buf_addc(j->buf, '"');
}

void jo_key(JsonOut *j, const char *key) {
        assert(j->depth > 0 && !j->level[j->depth - 1].array && !j->after_key);
        if (j->level[j->depth - 1].filled)
                buf_addc(j->buf, ',');
        j->level[j->depth - 1].filled = true;
        newline(j, j->depth);
        add_string(j, key, strlen(key));
        buf_adds(j->buf, j->indent > 0 ? ": " : ":");
        j->after_key = true;
}

void jo_strn(JsonOut *j, const char *s, size_t n) {
        before_value(j);
        add_string(j, s, n);
}

void jo_str(JsonOut *j, const char *s) {
        if (s)
                jo_strn(j, s, strlen(s));
        else
                jo_null(j);
}

void jo_raw(JsonOut *j, const char *json, size_t n) {
        before_value(j);
        buf_add(j->buf, json, n);
}

void jo_int(JsonOut *j, int64_t v) {
        before_value(j);
        buf_addf(j->buf, "%" PRId64, v);
}

void jo_uint(JsonOut *j, uint64_t v) {
        before_value(j);
        buf_addf(j->buf, "%" PRIu64, v);
}

void jo_int_str(JsonOut *j, int64_t v) {
        before_value(j);
        buf_addf(j->buf, "\"%" PRId64 "\"", v);
}

void jo_uint_str(JsonOut *j, uint64_t v) {
        before_value(j);
        buf_addf(j->buf, "\"%" PRIu64 "\"", v);
}

/* Go writes "1e+06" as 1000000 and uses exponents only below 1e-6 and from 1e21 on. */
void jo_double(JsonOut *j, double v) {
        before_value(j);
        assert(isfinite(v));
        char tmp[40];
        for (int prec = 1; prec <= 17; prec++) {
                (void) snprintf(tmp, sizeof(tmp), "%.*g", prec, v);
                double back = strtod(tmp, NULL);
                if (memcmp(&back, &v, sizeof(v)) != 0)
                        continue;
                double a = fabs(v);
                if (strchr(tmp, 'e') && a < 1e21 && a >= 1e-6) {
                        int lead = (int) floor(log10(a)) + 1;
                        (void) snprintf(tmp, sizeof(tmp), "%.*f", MAX(prec - lead, 0), v);
                }
                break;
        }
        buf_adds(j->buf, tmp);
}

void jo_bool(JsonOut *j, bool v) {
        before_value(j);
        buf_adds(j->buf, v ? "true" : "false");
}

void jo_null(JsonOut *j) {
        before_value(j);
        buf_adds(j->buf, "null");
}

void jo_base64(JsonOut *j, const void *p, size_t n) {
        before_value(j);
        buf_addc(j->buf, '"');
        base64_encode(j->buf, p, n, BASE64_STD);
        buf_addc(j->buf, '"');
}

void jo_kstr(JsonOut *j, const char *key, const char *s) {
        jo_key(j, key);
        jo_str(j, s);
}

void jo_kint(JsonOut *j, const char *key, int64_t v) {
        jo_key(j, key);
        jo_int(j, v);
}

void jo_kuint(JsonOut *j, const char *key, uint64_t v) {
        jo_key(j, key);
        jo_uint(j, v);
}

void jo_kbool(JsonOut *j, const char *key, bool v) {
        jo_key(j, key);
        jo_bool(j, v);
}

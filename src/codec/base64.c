/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base64.h"

static const char std_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64_encode(Buf *b, const void *p, size_t n, Base64Kind kind) {
        const char *digits = kind == BASE64_URL ? url_digits : std_digits;
        const uint8_t *s = p;
        buf_reserve(b, (n + 2) / 3 * 4);
        for (size_t i = 0; i < n; i += 3) {
                size_t left = n - i;
                uint32_t v = (uint32_t) s[i] << 16 | (left > 1 ? (uint32_t) s[i + 1] << 8 : 0) |
                             (left > 2 ? s[i + 2] : 0);
                char q[4] = { digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                              left > 2 ? digits[v & 63] : '=' };
                buf_add(b, q, 4);
        }
}

static int value_of(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        if (c == '+' || c == '-')
                return 62;
        if (c == '/' || c == '_')
                return 63;
        return -1;
}

int base64_decode(Buf *b, const char *s, size_t n) {
        size_t start = b->len;
        if (n % 4 == 0 && n > 0) {
                n -= s[n - 1] == '=';
                n -= s[n - 1] == '=';
        }
        if (n % 4 == 1)
                return -EINVAL;
        uint32_t v = 0;
        for (size_t i = 0; i < n; i++) {
                int d = value_of(s[i]);
                if (d < 0) {
                        buf_truncate(b, start);
                        return -EINVAL;
                }
                v = v << 6 | (uint32_t) d;
                if (i % 4 > 0)
                        buf_addc(b, (char) (v >> (6 - 2 * (i % 4))));
        }
        return 0;
}

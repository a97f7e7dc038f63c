/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Base64, RFC 4648. */

#include "base/buf.h"

typedef enum Base64Kind {
        BASE64_STD, /* "+/", padded */
        BASE64_URL, /* "-_", padded */
} Base64Kind;

void base64_encode(Buf *b, const void *p, size_t n, Base64Kind kind);
/* Accepts both alphabets, padded or not; no white space. Appends to b; -EINVAL leaves b as it was. */
int base64_decode(Buf *b, const char *s, size_t n);

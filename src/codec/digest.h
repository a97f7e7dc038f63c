/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SHA-1, SHA-256 and SHA-512 by OpenSSL: whole buffers, or piece by piece. */

#include "base/macro.h"

typedef enum DigestKind { DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA512, _DIGEST_MAX } DigestKind;
#define DIGEST_BYTES_MAX 64

size_t digest_size(DigestKind kind);
void digest_of(DigestKind kind, const void *p, size_t n, uint8_t ret[DIGEST_BYTES_MAX]);
char *digest_hex(DigestKind kind, const void *p, size_t n); /* owned lower-case hex */

typedef struct Digest Digest;
Digest *digest_new(DigestKind kind);
void digest_add(Digest *d, const void *p, size_t n);
void digest_finish(Digest *d, uint8_t ret[DIGEST_BYTES_MAX]); /* once; then only digest_free() */
Digest *digest_free(Digest *d);
DEFINE_CLEANUP(Digest *, digest_free)

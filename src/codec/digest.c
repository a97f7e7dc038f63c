/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/digest.h"
#include "base/alloc.h"
#include "base/str.h"

#include <openssl/evp.h>

static const EVP_MD *method(DigestKind kind) {
        switch (kind) {
        case DIGEST_SHA1:
                return EVP_sha1();
        case DIGEST_SHA256:
                return EVP_sha256();
        case DIGEST_SHA512:
                return EVP_sha512();
        case _DIGEST_MAX:
                break;
        }
        abort();
}

size_t digest_size(DigestKind kind) {
        return (size_t) EVP_MD_get_size(method(kind));
}

void digest_of(DigestKind kind, const void *p, size_t n, uint8_t ret[DIGEST_BYTES_MAX]) {
        if (EVP_Digest(p, n, ret, NULL, method(kind), NULL) != 1)
                abort();
}

char *digest_hex(DigestKind kind, const void *p, size_t n) {
        uint8_t d[DIGEST_BYTES_MAX];
        digest_of(kind, p, n, d);
        return hex_encode(d, digest_size(kind));
}

struct Digest {
        EVP_MD_CTX *ctx;
};

Digest *digest_new(DigestKind kind) {
        Digest *d = xnew(Digest, 1);
        d->ctx = EVP_MD_CTX_new();
        if (!d->ctx || EVP_DigestInit_ex(d->ctx, method(kind), NULL) != 1)
                abort();
        return d;
}

void digest_add(Digest *d, const void *p, size_t n) {
        if (EVP_DigestUpdate(d->ctx, p, n) != 1)
                abort();
}

void digest_finish(Digest *d, uint8_t ret[DIGEST_BYTES_MAX]) {
        if (EVP_DigestFinal_ex(d->ctx, ret, NULL) != 1)
                abort();
}

Digest *digest_free(Digest *d) {
        if (!d)
                return NULL;
        EVP_MD_CTX_free(d->ctx);
        return xfree(d);
}

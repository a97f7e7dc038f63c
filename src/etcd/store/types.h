/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The words that every part of the store shares: byte views, key-values, and the errors of the v3 API. */

#include "base/macro.h"

/* A borrowed view of bytes; who owns them, and for how long they live, says the function that hands it out.
 */
typedef struct Bytes {
        const char *p; /* weak */
        size_t n;
} Bytes;

static inline Bytes bytes_of(const char *s) {
        return (Bytes){ s, strlen(s) };
}
static inline bool bytes_eq(Bytes a, Bytes b) {
        return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* Order of byte strings: shorter first when one is the beginning of the other. */
static inline int bytes_cmp(Bytes a, Bytes b) {
        int c = MIN(a.n, b.n) > 0 ? memcmp(a.p, b.p, MIN(a.n, b.n)) : 0;
        return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* One version of one v3 key (spec/etcd.md b.2). Of a deletion only key and mod_revision are set. */
typedef struct KeyVal {
        Bytes key, value; /* weak */
        int64_t create_revision, mod_revision, version;
        int64_t lease; /* 0: none */
} KeyVal;

/* What v3 requests can fail with here (spec b.5). The texts are API: clients match on them. */
typedef enum StoreError {
        STORE_OK,
        STORE_EMPTY_KEY,     /* etcdserver: key is not provided */
        STORE_KEY_NOT_FOUND, /* etcdserver: key not found (ignore_value, ignore_lease on a missing key) */
        STORE_VALUE_PROVIDED,
        STORE_LEASE_PROVIDED,
        STORE_TOO_MANY_OPS,
        STORE_DUPLICATE_KEY,
        STORE_INVALID_SORT,
        STORE_INVALID_ENUM, /* compare target or result, operation kind: never from a well-behaved client */
        STORE_COMPACTED,
        STORE_FUTURE_REV,
        STORE_LEASE_NOT_FOUND,
        STORE_LEASE_EXISTS,
        STORE_LEASE_TTL_TOO_LARGE,
        STORE_NO_SPACE,
        STORE_BAD_COMMAND, /* the command does not decode, or is of a version we do not know */
        _STORE_ERROR_MAX,
} StoreError;

/* The message as gRPC clients know it ("etcdserver: ..."), never NULL. */
const char *store_error_message(StoreError e);
/* The gRPC status code: 0, 3 (InvalidArgument), 5, 8, 9, 11 ... */
int store_error_grpc_code(StoreError e);

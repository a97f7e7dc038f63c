/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* gRPC over HTTP/2, the parts that are pure: message framing (one flag byte, four bytes of length,
 * big-endian), status codes, and the percent-coding of grpc-message. Documents: grpc/grpc
 * doc/PROTOCOL-HTTP2.md. */

#include "base/buf.h"
#include "base/time.h"

#define GRPC_PREFIX_BYTES 5U
#define GRPC_MESSAGE_BYTES_MAX (2U << 20) /* etcd: 1.5 MiB requests + 512 KiB overhead */

typedef enum GrpcCode {
        GRPC_OK = 0,
        GRPC_CANCELED = 1,
        GRPC_UNKNOWN = 2,
        GRPC_INVALID_ARGUMENT = 3,
        GRPC_DEADLINE_EXCEEDED = 4,
        GRPC_NOT_FOUND = 5,
        GRPC_ALREADY_EXISTS = 6,
        GRPC_PERMISSION_DENIED = 7,
        GRPC_RESOURCE_EXHAUSTED = 8,
        GRPC_FAILED_PRECONDITION = 9,
        GRPC_ABORTED = 10,
        GRPC_OUT_OF_RANGE = 11,
        GRPC_UNIMPLEMENTED = 12,
        GRPC_INTERNAL = 13,
        GRPC_UNAVAILABLE = 14,
        GRPC_DATA_LOSS = 15,
        GRPC_UNAUTHENTICATED = 16,
        _GRPC_CODE_MAX,
} GrpcCode;

const char *grpc_code_name(GrpcCode code); /* "NotFound", as Go prints it */
/* The five bytes before a message of n bytes. */
void grpc_prefix(uint8_t ret[GRPC_PREFIX_BYTES], uint32_t n);
/* Looks for one whole message at the front of p[0..n). 1: *ret_msg and *ret_n borrow it and *ret_used bytes
 * are to be consumed; 0: more bytes are needed; -EOPNOTSUPP: compressed; -EMSGSIZE: longer than max;
 * -EBADMSG: bad flag. */
int grpc_parse(const void *p, size_t n, size_t max, const void **ret_msg, size_t *ret_n, size_t *ret_used);
void grpc_message_encode(Buf *b, const char *message);
void grpc_message_decode(Buf *b, const char *encoded); /* what cannot be decoded stays as it is */
/* The grpc-timeout header, e.g. "100m", to microseconds; -EINVAL. */
int grpc_timeout_parse(const char *s, Usec *ret);
/* The same the other way; buf holds 16 bytes; returns buf. */
char *grpc_timeout_format(char *buf, Usec timeout);

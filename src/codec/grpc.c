/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/grpc.h"
#include "base/str.h"

#include <stdio.h>

const char *grpc_code_name(GrpcCode code) {
        static const char *const names[_GRPC_CODE_MAX] = {
                [GRPC_OK] = "OK",
                [GRPC_CANCELED] = "Canceled",
                [GRPC_UNKNOWN] = "Unknown",
                [GRPC_INVALID_ARGUMENT] = "InvalidArgument",
                [GRPC_DEADLINE_EXCEEDED] = "DeadlineExceeded",
                [GRPC_NOT_FOUND] = "NotFound",
                [GRPC_ALREADY_EXISTS] = "AlreadyExists",
                [GRPC_PERMISSION_DENIED] = "PermissionDenied",
                [GRPC_RESOURCE_EXHAUSTED] = "ResourceExhausted",
                [GRPC_FAILED_PRECONDITION] = "FailedPrecondition",
                [GRPC_ABORTED] = "Aborted",
                [GRPC_OUT_OF_RANGE] = "OutOfRange",
                [GRPC_UNIMPLEMENTED] = "Unimplemented",
                [GRPC_INTERNAL] = "Internal",
                [GRPC_UNAVAILABLE] = "Unavailable",
                [GRPC_DATA_LOSS] = "DataLoss",
                [GRPC_UNAUTHENTICATED] = "Unauthenticated",
        };
        return (unsigned) code < _GRPC_CODE_MAX ? names[code] : "Unknown";
}

void grpc_prefix(uint8_t ret[GRPC_PREFIX_BYTES], uint32_t n) {
        ret[0] = 0;
        for (unsigned i = 0; i < 4; i++)
                ret[1 + i] = (uint8_t) (n >> (24 - 8 * i));
}

int grpc_parse(const void *p, size_t n, size_t max, const void **ret_msg, size_t *ret_n, size_t *ret_used) {
        Rd rd = rd_new(p, n);
        uint8_t flag;
        uint32_t size;
        if (rd_u8(&rd, &flag) < 0)
                return 0;
        if (flag > 1)
                return -EBADMSG;
        if (rd_be32(&rd, &size) < 0)
                return 0;
        if (flag == 1)
                return -EOPNOTSUPP;
        if (size > max)
                return -EMSGSIZE;
        if (rd_mem(&rd, size, ret_msg) < 0)
                return 0;
        *ret_n = size;
        *ret_used = GRPC_PREFIX_BYTES + size;
        return 1;
}

void grpc_message_encode(Buf *b, const char *message) {
        for (const char *s = message; *s; s++) {
                if (*s >= 0x20 && *s <= 0x7e && *s != '%')
                        buf_addc(b, *s);
                else
                        buf_addf(b, "%%%02X", (unsigned) (uint8_t) *s);
        }
}

void grpc_message_decode(Buf *b, const char *encoded) {
        for (const char *s = encoded; *s; s++) {
                uint8_t v;
                if (*s == '%' && s[1] && s[2] && hex_decode(s + 1, 2, &v) >= 0 && v != 0) {
                        buf_addc(b, (char) v);
                        s += 2;
                } else {
                        buf_addc(b, *s);
                }
        }
}

static const struct {
        char unit;
        Usec usec; /* 0: nanoseconds */
} units[] = {
        { 'n', 0 },
        { 'u', 1 },
        { 'm', USEC_PER_MSEC },
        { 'S', USEC_PER_SEC },
        { 'M', 60 * USEC_PER_SEC },
        { 'H', 3600 * USEC_PER_SEC },
};

int grpc_timeout_parse(const char *s, Usec *ret) {
        size_t n = strspn(s, "0123456789");
        if (n == 0 || n > 8 || !s[n] || s[n + 1])
                return -EINVAL;
        Usec v = 0;
        for (size_t i = 0; i < n; i++)
                v = v * 10 + (Usec) (s[i] - '0');
        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (units[i].unit == s[n]) {
                        *ret = units[i].usec ? v * units[i].usec : (v + 999) / 1000;
                        return 0;
                }
        return -EINVAL;
}

/* At most eight digits: the finest unit that fits. */
char *grpc_timeout_format(char *buf, Usec timeout) {
        for (size_t i = 1; i < ELEMENTSOF(units); i++) {
                Usec v = timeout / units[i].usec + (timeout % units[i].usec ? 1 : 0);
                if (v <= 99999999 || i == ELEMENTSOF(units) - 1) {
                        (void) snprintf(buf, 16, "%" PRIu64 "%c", MIN(v, (Usec) 99999999), units[i].unit);
                        break;
                }
        }
        return buf;
}

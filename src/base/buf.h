/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Buf: a growable byte buffer. Invariant: `data` is never NULL after the first append and data[len] == 0,
 * so a Buf of text is always a C string; buf_str() gives "" for an empty one.
 *
 * Rd: a bounds-checked read cursor over bytes that somebody else owns. Every rd_*() returns -EBADMSG on
 * short input and then leaves the cursor alone. Protocol code does no pointer arithmetic of its own. */

#include "base/macro.h"

typedef struct Buf {
        char *data; /* owned */
        size_t len;
        size_t cap;
} Buf;

void buf_done(Buf *b);                  /* frees the content; the Buf is empty and usable after */
void buf_clear(Buf *b);                 /* len = 0, keeps the memory */
char *buf_take(Buf *b);                 /* the content as an owned C string; never NULL */
const char *buf_str(const Buf *b);      /* borrowed, never NULL */
void buf_reserve(Buf *b, size_t extra); /* at least `extra` bytes free after len */
void buf_add(Buf *b, const void *p, size_t n);
void buf_adds(Buf *b, const char *s);
void buf_addc(Buf *b, char c);
void buf_addf(Buf *b, const char *fmt, ...) _printf_(2, 3);
void buf_consume(Buf *b, size_t n); /* drops n bytes from the front */
void buf_truncate(Buf *b, size_t len);

void buf_add_le16(Buf *b, uint16_t v);
void buf_add_le32(Buf *b, uint32_t v);
void buf_add_le64(Buf *b, uint64_t v);
void buf_add_be16(Buf *b, uint16_t v);
void buf_add_be32(Buf *b, uint32_t v);
void buf_add_be64(Buf *b, uint64_t v);
void buf_add_varint(Buf *b, uint64_t v);             /* LEB128, as protobuf */
void buf_add_bytes(Buf *b, const void *p, size_t n); /* varint length, then the bytes: see rd_bytes() */

typedef struct Rd {
        const uint8_t *p; /* weak */
        size_t left;
} Rd;

static inline Rd rd_new(const void *p, size_t n) {
        return (Rd){ .p = p, .left = n };
}
int rd_skip(Rd *rd, size_t n);
int rd_mem(Rd *rd, size_t n, const void **ret); /* borrowed view of the next n bytes */
int rd_copy(Rd *rd, void *to, size_t n);
int rd_u8(Rd *rd, uint8_t *ret);
int rd_le16(Rd *rd, uint16_t *ret);
int rd_le32(Rd *rd, uint32_t *ret);
int rd_le64(Rd *rd, uint64_t *ret);
int rd_be16(Rd *rd, uint16_t *ret);
int rd_be32(Rd *rd, uint32_t *ret);
int rd_be64(Rd *rd, uint64_t *ret);
int rd_varint(Rd *rd, uint64_t *ret);
int rd_bytes(Rd *rd, const void **ret, size_t *ret_n); /* varint length, then that many bytes, borrowed */

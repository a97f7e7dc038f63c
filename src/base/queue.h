/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ByteQueue: bytes in at the back, out at the front, both cheap (a Buf moves everything when its front is
 * consumed). The bytes between are contiguous. Zeroed = empty. */

#include "base/macro.h"

typedef struct ByteQueue {
        char *data; /* owned */
        size_t start, end, cap;
} ByteQueue;

static inline size_t queue_len(const ByteQueue *q) {
        return q->end - q->start;
}
static inline const char *queue_data(const ByteQueue *q) {
        return q->data + q->start; /* queue_len() bytes; undefined when empty */
}
/* Room for n bytes at the back, to be filled and then counted by queue_added(). */
char *queue_room(ByteQueue *q, size_t n);
static inline void queue_added(ByteQueue *q, size_t n) {
        assert(n <= q->cap - q->end);
        q->end += n;
}
void queue_add(ByteQueue *q, const void *p, size_t n);
void queue_adds(ByteQueue *q, const char *s);
/* Drops n bytes at the front; a large empty queue gives its memory back. */
void queue_drop(ByteQueue *q, size_t n);
void queue_done(ByteQueue *q);

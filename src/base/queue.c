/* SPDX-License-Identifier: Apache-2.0 */
#include "base/queue.h"
#include "base/alloc.h"

#define QUEUE_KEEP (64U << 10) /* an empty queue keeps at most this */

static void make_room(ByteQueue *q, size_t n) {
        size_t len = queue_len(q);
        if (q->start > 0 && q->start >= len && q->cap - len >= n) {
                memmove(q->data, q->data + q->start, len);
        } else {
                size_t need, cap = q->cap ? q->cap : 1024;
                if (__builtin_add_overflow(len, n, &need))
                        abort();
                while (cap < need)
                        cap *= 2;
                char *p = xmalloc(cap);
                if (len > 0)
                        memcpy(p, q->data + q->start, len);
                free(q->data);
                q->data = p;
                q->cap = cap;
        }
        q->start = 0;
        q->end = len;
}

char *queue_room(ByteQueue *q, size_t n) {
        if (q->cap - q->end < n)
                make_room(q, n);
        return q->data + q->end;
}

void queue_add(ByteQueue *q, const void *p, size_t n) {
        if (n == 0)
                return;
        memcpy(queue_room(q, n), p, n);
        q->end += n;
}

void queue_adds(ByteQueue *q, const char *s) {
        queue_add(q, s, strlen(s));
}

void queue_drop(ByteQueue *q, size_t n) {
        assert(n <= queue_len(q));
        q->start += n;
        if (q->start < q->end)
                return;
        q->start = q->end = 0;
        if (q->cap > QUEUE_KEEP)
                queue_done(q);
}

void queue_done(ByteQueue *q) {
        free(q->data);
        *q = (ByteQueue){};
}

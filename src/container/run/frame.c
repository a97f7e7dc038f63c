/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/frame.h"

void frame_add(Buf *b, FrameKind kind, const void *p, size_t n) {
        assert(n <= FRAME_MAX);
        buf_add(b, (const char[]){ (char) kind, 0, 0, 0 }, 4);
        buf_add_be32(b, (uint32_t) n);
        buf_add(b, p, n);
}

int frame_peek(const Buf *b, Frame *ret) {
        Rd rd = rd_new(b->data, b->len);
        uint8_t kind = 0;
        uint32_t n = 0;
        if (rd_u8(&rd, &kind) < 0 || rd_skip(&rd, 3) < 0 || rd_be32(&rd, &n) < 0)
                return 0;
        if (kind >= _FRAME_KIND_MAX || n > FRAME_MAX)
                return -EBADMSG;
        const void *p;
        if (rd_mem(&rd, n, &p) < 0)
                return 0;
        *ret = (Frame){ .kind = (FrameKind) kind, .data = p, .n = n };
        return 1;
}

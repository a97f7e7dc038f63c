/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "container/run/frame.h"
#include "container/run/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The stream between shim and client, cut into frames; and the same bytes as a line of a container's log. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(buf_done) Buf b = {};
        buf_add(&b, data, size);
        Frame f;
        while (frame_peek(&b, &f) > 0) {
                if (f.n > b.len)
                        abort();
                buf_consume(&b, FRAME_HEADER + f.n);
        }
        unsigned stream;
        int64_t nsec;
        _cleanup_free_ char *text = NULL;
        size_t n;
        (void) log_parse_line((const char *) data, size, &stream, &nsec, &text, &n);
        return 0;
}

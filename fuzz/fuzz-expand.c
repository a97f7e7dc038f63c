/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "codec/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t source(void *userdata, void *buf, size_t n, Err *err) {
        Rd *rd = userdata;
        n = MIN(n, rd->left);
        return rd_copy(rd, buf, n) < 0 ? -EIO : (int64_t) n;
}

/* Never more than the limit allows (and one read beyond it). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const ExpandLimits limits = { .bytes_max = 1 << 20 };
        Rd rd = rd_new(data, size);
        _cleanup_(expander_freep) Expander *x = expander_new(source, &rd, &limits);
        uint8_t buf[4096];
        uint64_t total = 0;
        for (int64_t n; (n = expander_read(x, buf, sizeof(buf), NULL)) > 0;)
                total += (uint64_t) n;
        if (total > limits.bytes_max + sizeof(buf))
                abort();
        return 0;
}

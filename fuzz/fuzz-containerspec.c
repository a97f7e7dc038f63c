/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/run/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* config.json and state.json; what was read is written and read again to the same text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(container_spec_freep) ContainerSpec *s = NULL, *again = NULL;
        if (container_spec_parse(data, size, &s, NULL) >= 0) {
                _cleanup_(buf_done) Buf a = {}, b = {};
                container_spec_write(s, &a);
                if (container_spec_parse(a.data, a.len, &again, NULL) < 0)
                        abort();
                container_spec_write(again, &b);
                if (!streq(buf_str(&a), buf_str(&b)))
                        abort();
        }
        ContainerState st = {};
        (void) container_state_parse(data, size, &st, NULL);
        container_state_done(&st);
        return 0;
}

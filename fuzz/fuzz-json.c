/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever parses as a string must come back the same through our writer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ json_t *v = NULL;
        if (ji_parse(data, size, 1U << 16, &v, NULL) >= 0 && json_is_string(v)) {
                _cleanup_(buf_done) Buf b = {};
                JsonOut j = { .buf = &b };
                jo_strn(&j, json_string_value(v), json_string_length(v));
                _cleanup_json_ json_t *w = NULL;
                if (ji_parse(b.data, b.len, 0, &w, NULL) < 0 || !json_equal(v, w))
                        abort();
        }
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_strn(&j, (const char *) data, size);
        _cleanup_json_ json_t *w = NULL;
        if (size < (1U << 16) && ji_parse(b.data, b.len, 0, &w, NULL) < 0)
                abort();
        return 0;
}

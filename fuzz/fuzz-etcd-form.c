/* SPDX-License-Identifier: Apache-2.0 */

/* The parameters of /v2/keys: method byte, query up to the first newline, then the form. */

#include "base/alloc.h"
#include "etcd/apiv2/apiv2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const methods[] = { "GET", "PUT", "POST", "DELETE" };
        if (size == 0)
                return 0;
        const char *p = (const char *) data + 1;
        const char *nl = memchr(p, '\n', size - 1);
        size_t n = nl ? (size_t) (nl - p) : size - 1;
        _cleanup_free_ char *query = xstrndup(p, n);
        _cleanup_(arena_done) Arena arena = {};
        V2Params params;
        char *cause = NULL;
        int code = v2_params_parse(methods[data[0] % 4], "/k", query, nl ? nl + 1 : "", nl ? size - 2 - n : 0, &arena,
                                   &params, &cause);
        assert((code == 0) == (cause == NULL));
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What parses, parses again to the same from both of its written forms. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *s = xstrndup((const char *) data, size);
        _cleanup_(reference_done) Reference a = {};
        if (reference_parse(s, &a, NULL) < 0)
                return 0;
        _cleanup_free_ char *full = reference_full(&a), *familiar = reference_familiar(&a);
        _cleanup_(reference_done) Reference b = {}, c = {};
        if (reference_parse(full, &b, NULL) < 0 || reference_parse(familiar, &c, NULL) < 0)
                abort();
        _cleanup_free_ char *full_b = reference_full(&b), *full_c = reference_full(&c);
        if (!streq(full, full_b) || !streq(full, full_c) || strpbrk(full, " \r\n\t?#%\\") ||
            strstr(a.path, "..") || strstr(a.domain, ".."))
                abort();
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A realm that gets through cannot break out of a request line, and only http(s) is ever trusted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *s = xstrndup((const char *) data, size);
        _cleanup_(challenge_done) Challenge c = {};
        if (challenge_parse(s, &c) >= 0 && c.bearer) {
                if (strpbrk(c.realm, " \r\n\t"))
                        abort();
                if (realm_trusted("quay.io", c.realm, false) && !startswith(c.realm, "https://"))
                        abort();
        }
        _cleanup_(credentials_done) Credentials k = {};
        (void) credentials_parse(s, strlen(s), "quay.io", &k, NULL);
        (void) insecure_listed(s, strlen(s), "10.1.2.3:5000");
        (void) domain_is_loopback(s);
        return 0;
}

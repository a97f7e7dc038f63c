/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "container/run/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The user to look up, a newline, then a text that serves as passwd and as group. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *all = xstrndup((const char *) data, size);
        char *nl = strchr(all, '\n');
        if (!nl)
                return 0;
        *nl = 0;
        UserIds u;
        if (user_resolve(nl + 1, nl + 1, all, NULL, &u, NULL) >= 0) {
                if (u.uid == UINT32_MAX || u.gid == UINT32_MAX || !u.home)
                        abort();
                user_ids_done(&u);
        }
        return 0;
}

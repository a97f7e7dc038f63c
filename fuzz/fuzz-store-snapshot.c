/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "etcd/store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The snapshot reader on anything, whole and in two pieces: the records are all judged before the checksum
 * is. A store that comes out must be usable. */

static void use(StoreRestore *r) {
        _cleanup_(store_freep) Store *s = NULL;
        if (store_restore_finish(r, &s, NULL, NULL) < 0)
                return;
        Command c = { .kind = CMD_PUT, .put = { .key = bytes_of("k"), .value = bytes_of("v") } };
        _cleanup_(buf_done) Buf b = {};
        cmd_encode(&c, &b);
        if (store_applied_index(s) < UINT64_MAX && store_revision(s) < INT64_MAX)
                store_apply(s, store_applied_index(s) + 1, store_applied_term(s), b.data, b.len, NULL);
        while (store_compact_step(s))
                ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        StoreRestore *r = store_restore_new(NULL);
        if (store_restore_add(r, data, size, NULL) >= 0)
                use(r);
        store_restore_free(r);
        r = store_restore_new(NULL);
        if (store_restore_add(r, data, size / 3, NULL) >= 0)
                (void) store_restore_add(r, data + size / 3, size - size / 3, NULL);
        store_restore_free(r);
        return 0;
}

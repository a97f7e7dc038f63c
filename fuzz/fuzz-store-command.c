/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "etcd/store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes must encode again, stably; and the checks must cope with it. Then the input is cut into
 * commands (a length byte each) and applied: the incremental hash must match the slow one, and a snapshot
 * must restore. */

static void check_codec(const uint8_t *data, size_t size) {
        _cleanup_(arena_done) Arena a = {};
        Command c = {}, again = {};
        if (cmd_decode(data, size, &a, &c) < 0)
                return;
        _cleanup_(buf_done) Buf one = {}, two = {};
        cmd_encode(&c, &one);
        if (cmd_decode(one.data, one.len, &a, &again) < 0)
                abort();
        cmd_encode(&again, &two);
        if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0)
                abort();
        if (c.kind == CMD_TXN && txn_check(&c.txn, 0) == STORE_OK)
                (void) txn_is_serializable(&c.txn);
}

static void check_snapshot(Store *s) {
        StoreSnapshot *snap = NULL;
        if (store_snapshot_begin(s, NULL, 0, &snap) < 0)
                abort();
        _cleanup_(buf_done) Buf b = {};
        while (store_snapshot_next(snap, &b) > 0)
                ;
        store_snapshot_end(snap);
        _cleanup_(store_restore_freep) StoreRestore *r = store_restore_new(NULL);
        _cleanup_(store_freep) Store *copy = NULL;
        if (store_restore_add(r, b.data, b.len, NULL) < 0 ||
            store_restore_finish(r, &copy, NULL, NULL) < 0 || store_hash(copy) != store_hash(s))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        check_codec(data, size);
        _cleanup_(store_freep) Store *s = store_new(NULL);
        uint64_t index = 0;
        for (size_t i = 0; i < size;) {
                size_t n = MIN((size_t) data[i], size - i - 1);
                _cleanup_(buf_done) Buf cmd = {};
                if (n > 0) { /* version, proposer and sequence need no guessing */
                        buf_addc(&cmd, CMD_VERSION);
                        buf_addc(&cmd, (char) data[i + 1]);
                        buf_add(&cmd, "\0\0", 2);
                        buf_add(&cmd, data + i + 2, n - 1);
                }
                store_apply(s, ++index, 1, cmd.data, cmd.len, NULL);
                (void) store_compact_step(s);
                i += n + 1;
        }
        if (store_hash(s) != store_hash_slow(s))
                abort();
        check_snapshot(s);
        return 0;
}

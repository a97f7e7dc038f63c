/* SPDX-License-Identifier: Apache-2.0 */

/* JSON of the v3 gateway to messages and back, and the conversion of messages to requests of the store. */

#include "base/alloc.h"
#include "codec/jsonin.h"
#include "etcd/apiv3/apiv3.h"
#include "etcd/apiv3/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const ProtobufCMessageDescriptor *d = &etcdserverpb__txn_request__descriptor;
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(buf_done) Buf packed = {}, text = {};
        if (ji_parse(data, size, 0, &j, NULL) >= 0 && v3_from_json(d, j, 0, &packed, NULL) >= 0) {
                int r = v3_to_json(d, buf_str(&packed), packed.len, &text);
                assert(r >= 0);
        }
        const uint8_t *p = packed.len > 0 ? (const uint8_t *) packed.data : data;
        Etcdserverpb__TxnRequest *m = etcdserverpb__txn_request__unpack(NULL, packed.len > 0 ? packed.len : size, p);
        if (m) {
                _cleanup_(arena_done) Arena arena = {};
                TxnReq t;
                (void) v3_txn_of(m, 128, &arena, &t);
                etcdserverpb__txn_request__free_unpacked(m, NULL);
        }
        return 0;
}

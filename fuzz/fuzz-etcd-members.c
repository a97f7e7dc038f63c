/* SPDX-License-Identifier: Apache-2.0 */

/* What other members and discovery services tell about members: log entries, snapshots, JSON lists. */

#include "base/alloc.h"
#include "etcd/boot.h"
#include "etcd/discovery/discovery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        MemberChange c = {};
        if (member_change_decode(data, size, &c) >= 0)
                member_change_done(&c);
        Members m = {};
        Rd rd = rd_new(data, size);
        if (members_decode(&rd, &m) >= 0) {
                _cleanup_(buf_done) Buf b = {};
                members_encode(&m, &b);
                assert(b.len == size - rd.left);
                members_done(&m);
        }
        if (founding_parse_remote(data, size, &m, NULL) >= 0)
                members_done(&m);
        DiscoveryNodes l = {};
        if (discovery_parse_listing(data, size, &l, NULL) >= 0) {
                char *cluster = NULL;
                if (discovery_cluster(&l, 3, &cluster, NULL) >= 0)
                        free(cluster);
                discovery_nodes_done(&l);
        }
        _cleanup_free_ char *text = xstrndup((const char *) data, size);
        EtcdInitialCluster ic = {};
        if (etcd_initial_cluster_parse(text, &ic, NULL) >= 0)
                etcd_initial_cluster_done(&ic);
        return 0;
}

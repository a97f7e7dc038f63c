/* SPDX-License-Identifier: Apache-2.0 */

/* The cloud-config that tells a node who it is and which cluster it joins. */

#include "base/alloc.h"
#include "base/buf.h"
#include "cluster.h"
#include "sys/fs.h"

static char *initial_cluster(const Cluster *c) {
        Buf b = {};
        for (unsigned i = 1; i <= c->n_nodes; i++)
                buf_addf(&b, "%sn%u=http://%s.%u:2380", i > 1 ? "," : "", i, c->subnet, 10 + i);
        return buf_take(&b);
}

char *user_data_for(const Node *n, const char *ssh_key) {
        const Cluster *c = n->cluster;
        _cleanup_free_ char *members = initial_cluster(c), *gw = cluster_gateway(c);
        Buf b = {};
        buf_addf(&b, "#cloud-config\nhostname: %s\nssh_authorized_keys:\n  - %s\n", n->name, ssh_key);
        buf_adds(&b, "manage_etc_hosts: localhost\ncoreos:\n");
        buf_addf(&b,
                 "  etcd2:\n    name: %s\n    initial-cluster: %s\n    initial-cluster-state: new\n"
                 "    initial-cluster-token: %s\n    initial-advertise-peer-urls: http://%s:2380\n"
                 "    listen-peer-urls: http://%s:2380\n    advertise-client-urls: http://%s:2379\n"
                 "    listen-client-urls: http://0.0.0.0:2379\n",
                 n->name, members, c->name, n->ip, n->ip, n->ip);
        buf_addf(&b, "  fleet:\n    public-ip: %s\n    metadata: node=%s,zone=%s\n", n->ip, n->name,
                 n->number % 2 ? "a" : "b");
        buf_adds(&b, "  units:\n"
                     "    - name: etcd2.service\n      command: start\n"
                     "    - name: fleet.socket\n      command: start\n"
                     "      drop-ins:\n        - name: 30-tcp.conf\n          content: |\n"
                     "            [Socket]\n            ListenStream=49153\n"
                     "    - name: fleet.service\n      command: start\n");
        buf_addf(&b,
                 "    - name: registry-proxy.socket\n      command: start\n      content: |\n"
                 "        [Socket]\n        ListenStream=127.0.0.1:5000\n"
                 "    - name: registry-proxy.service\n      content: |\n"
                 "        [Unit]\n        Requires=registry-proxy.socket\n        "
                 "After=registry-proxy.socket\n"
                 "        [Service]\n        ExecStart=/lib/systemd/systemd-socket-proxyd %s:5000\n",
                 gw);
        buf_addf(&b,
                 "write_files:\n  - path: /etc/environment\n    permissions: \"0644\"\n    content: |\n"
                 "      COREOS_PUBLIC_IPV4=%s\n      COREOS_PRIVATE_IPV4=%s\n"
                 "  - path: /etc/docker/daemon.json\n    permissions: \"0644\"\n    content: |\n"
                 "      {\"registry-mirrors\": [\"http://127.0.0.1:5000\"]}\n",
                 n->ip, n->ip);
        return buf_take(&b);
}

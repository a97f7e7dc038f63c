/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/nft.h"
#include "base/str.h"
#include "sys/fs.h"
#include "sys/netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* Why each rule is there (spec F.3, E.3):
 *  - guard: with route_localnet on the bridge a packet for 127/8 from elsewhere would otherwise be delivered, so
 *    that a port published on 127.0.0.1, or any local service, could be reached from outside or from containers;
 *  - prerouting serves other machines and containers, output this machine itself;
 *  - postrouting: containers going out; this machine's 127/8 going in; and a container that reaches itself or a
 *    neighbour through the host's address must get the answer the same way. */
static const char ruleset[] =
        "add table ip " NFT_TABLE "\n"
        "delete table ip " NFT_TABLE "\n"
        "table ip " NFT_TABLE " {\n"
        "  comment \"%2$s\"\n"
        "  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
        "  map addrports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
        "  chain guard { type filter hook prerouting priority -300;\n"
        "    iifname != \"lo\" ip daddr 127.0.0.0/8 drop; }\n"
        "  chain prerouting { type nat hook prerouting priority -100;\n"
        "    dnat ip to ip daddr . meta l4proto . th dport map @addrports;\n"
        "    fib daddr type local dnat ip to meta l4proto . th dport map @ports; }\n"
        "  chain output { type nat hook output priority -100;\n"
        "    dnat ip to ip daddr . meta l4proto . th dport map @addrports;\n"
        "    fib daddr type local dnat ip to meta l4proto . th dport map @ports; }\n"
        "  chain postrouting { type nat hook postrouting priority 100;\n"
        "    ip saddr %2$s oifname != \"%1$s\" masquerade;\n"
        "    ip saddr 127.0.0.0/8 oifname \"%1$s\" masquerade;\n"
        "    ip saddr %2$s ip daddr %2$s ct status dnat masquerade; }\n"
        "}\n";

static size_t begin(Buf *b, uint16_t type, uint16_t flags, uint16_t res_id) {
        struct nfgenmsg g = { .nfgen_family = NFPROTO_IPV4, .version = NFNETLINK_V0, .res_id = htons(res_id) };
        return nl_begin(b, type, flags, &g, sizeof(g));
}

#define NFT_TYPE(m) ((uint16_t) (NFNL_SUBSYS_NFTABLES << 8 | (m)))

static int table_get(Netlink *n, Buf *reply) {
        _cleanup_(buf_done) Buf b = {};
        size_t m = begin(&b, NFT_TYPE(NFT_MSG_GETTABLE), NLM_F_ACK, 0);
        nl_attr_str(&b, NFTA_TABLE_NAME, NFT_TABLE);
        nl_end(&b, m);
        return netlink_call(n, &b, reply);
}

static int run_nft(const char *text, Err *err) {
        _cleanup_close_ int in = memfd_create("ruleset", MFD_CLOEXEC);
        if (in < 0 || write_all(in, text, strlen(text)) < 0 || lseek(in, 0, SEEK_SET) < 0)
                return err_errno(err, -errno, "cannot write the firewall rules");
        posix_spawn_file_actions_t actions;
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawn_file_actions_adddup2(&actions, in, 0);
        static char *args[] = { (char *) "nft", (char *) "-f", (char *) "-", NULL };
        static char *env[] = { (char *) "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
        static const char *const places[] = { "/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft" };
        pid_t pid = -1;
        int r = ENOENT;
        for (size_t i = 0; i < ELEMENTSOF(places) && r == ENOENT; i++)
                r = posix_spawn(&pid, places[i], &actions, NULL, args, env);
        (void) posix_spawn_file_actions_destroy(&actions);
        if (r)
                return err_set(err, -r, "cannot run nft (%s): install the package nftables, or use --net=host",
                               strerror(r));
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        return status == 0 ? 0 : err_set(err, -EIO, "nft could not load the container network's firewall rules");
}

int nft_table_ensure(const char *bridge, const char *subnet, bool *ret_new, Err *err) {
        *ret_new = false;
        Netlink n;
        int r = netlink_open(NETLINK_NETFILTER, &n);
        if (r < 0)
                return err_errno(err, r, "this kernel has no netfilter");
        _cleanup_(buf_done) Buf reply = {};
        r = table_get(&n, &reply);
        netlink_done(&n);
        /* The comment is in the table's user data as nft wrote it. */
        if (r >= 0 && memmem(reply.data, reply.len, subnet, strlen(subnet) + 1))
                return 0;
        *ret_new = true;
        _cleanup_(buf_done) Buf text = {};
        /* %1$s and %2$s: the compiler checks them against the constant above. */
        char *all = NULL;
        if (asprintf(&all, ruleset, bridge, subnet) < 0)
                return -ENOMEM;
        buf_adds(&text, all);
        free(all);
        return run_nft(text.data, err);
}

/* ---- elements ---- */

static uint8_t proto_number(const char *proto) {
        return streq(proto, "udp") ? IPPROTO_UDP : streq(proto, "sctp") ? IPPROTO_SCTP : IPPROTO_TCP;
}

/* Fields of a concatenation are padded to four bytes each. */
static void add_padded(Buf *b, const void *p, size_t n) {
        static const char zero[4];
        buf_add(b, p, n);
        buf_add(b, zero, 4 - n);
}

static void data_attr(Buf *b, uint16_t type, const Buf *value) {
        size_t nest = nl_nest(b, type);
        nl_attr(b, NFTA_DATA_VALUE, value->data, value->len);
        nl_nest_end(b, nest);
}

static void element(Buf *b, uint16_t message, uint16_t flags, const PortBinding *p, const uint32_t *ip) {
        bool any = isempty(p->host_ip) || streq(p->host_ip, "0.0.0.0");
        _cleanup_(buf_done) Buf key = {}, data = {};
        uint16_t host_port = htons(p->host_port), port = htons(p->port);
        uint8_t proto = proto_number(p->proto);
        if (!any) {
                struct in_addr a = {};
                (void) inet_pton(AF_INET, p->host_ip, &a);
                buf_add(&key, &a, 4);
        }
        add_padded(&key, &proto, 1);
        add_padded(&key, &host_port, 2);
        size_t m = begin(b, NFT_TYPE(message), (uint16_t) (flags | NLM_F_ACK), 0);
        nl_attr_str(b, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
        nl_attr_str(b, NFTA_SET_ELEM_LIST_SET, any ? "ports" : "addrports");
        size_t list = nl_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS), one = nl_nest(b, NFTA_LIST_ELEM);
        data_attr(b, NFTA_SET_ELEM_KEY, &key);
        if (ip) {
                buf_add(&data, ip, 4);
                add_padded(&data, &port, 2);
                data_attr(b, NFTA_SET_ELEM_DATA, &data);
        }
        nl_nest_end(b, one);
        nl_nest_end(b, list);
        nl_end(b, m);
}

/* A transaction of nf_tables: begin, the messages, end. */
static int transact(const PortBinding *p, const uint32_t *ip, bool remove) {
        Netlink n;
        int r = netlink_open(NETLINK_NETFILTER, &n);
        if (r < 0)
                return r;
        _cleanup_(buf_done) Buf b = {};
        nl_end(&b, begin(&b, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES));
        if (remove)
                element(&b, NFT_MSG_DELSETELEM, 0, p, NULL);
        if (ip)
                element(&b, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, p, ip);
        nl_end(&b, begin(&b, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES));
        r = netlink_batch(&n, &b, (unsigned) remove + (ip != NULL));
        netlink_done(&n);
        return r;
}

int nft_port_add(const PortBinding *p, uint32_t ip, Err *err) {
        int r = transact(p, &ip, false);
        if (r == -EEXIST)
                r = transact(p, &ip, true);
        return r < 0 ? err_errno(err, r, "cannot publish port %u", p->host_port) : 0;
}

int nft_port_remove(const PortBinding *p) {
        int r = transact(p, NULL, true);
        return r == -ENOENT ? 0 : r;
}

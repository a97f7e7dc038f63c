/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/netlink.h"
#include "base/str.h"
#include "sys/fs.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>

#define REPLY_MAX (64U << 10)

int netlink_open(int protocol, Netlink *ret) {
        _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
        if (fd < 0)
                return -errno;
        struct sockaddr_nl a = { .nl_family = AF_NETLINK };
        if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
                return -errno;
        *ret = (Netlink){ .fd = TAKE_FD(fd), .seq = 1 };
        return 0;
}

void netlink_done(Netlink *n) {
        n->fd = safe_close(n->fd);
}

static void pad4(Buf *b) {
        while (b->len % 4)
                buf_addc(b, 0);
}

size_t nl_begin(Buf *b, uint16_t type, uint16_t flags, const void *body, size_t body_n) {
        size_t at = b->len;
        struct nlmsghdr h = { .nlmsg_type = type, .nlmsg_flags = (uint16_t) (flags | NLM_F_REQUEST) };
        buf_add(b, &h, sizeof(h));
        buf_add(b, body, body_n);
        pad4(b);
        return at;
}

void nl_end(Buf *b, size_t at) {
        struct nlmsghdr h;
        memcpy(&h, b->data + at, sizeof(h));
        h.nlmsg_len = (uint32_t) (b->len - at);
        memcpy(b->data + at, &h, sizeof(h));
}

void nl_attr(Buf *b, uint16_t type, const void *p, size_t n) {
        assert(n < UINT16_MAX - sizeof(struct nlattr));
        struct nlattr a = { .nla_len = (uint16_t) (sizeof(a) + n), .nla_type = type };
        buf_add(b, &a, sizeof(a));
        buf_add(b, p, n);
        pad4(b);
}

void nl_attr_str(Buf *b, uint16_t type, const char *s) {
        nl_attr(b, type, s, strlen(s) + 1);
}

void nl_attr_u32(Buf *b, uint16_t type, uint32_t v) {
        nl_attr(b, type, &v, sizeof(v));
}

void nl_attr_be32(Buf *b, uint16_t type, uint32_t v) {
        nl_attr_u32(b, type, htonl(v));
}

size_t nl_nest(Buf *b, uint16_t type) {
        size_t at = b->len;
        nl_attr(b, type | NLA_F_NESTED, NULL, 0);
        return at;
}

void nl_nest_end(Buf *b, size_t at) {
        struct nlattr a;
        memcpy(&a, b->data + at, sizeof(a));
        a.nla_len = (uint16_t) (b->len - at);
        memcpy(b->data + at, &a, sizeof(a));
}

/* Numbers the messages of a batch so that answers to an earlier, failed one cannot be taken for ours. */
static uint32_t number_messages(Netlink *n, Buf *b) {
        uint32_t first = n->seq;
        for (size_t at = 0; at + sizeof(struct nlmsghdr) <= b->len;) {
                struct nlmsghdr h;
                memcpy(&h, b->data + at, sizeof(h));
                assert(h.nlmsg_len >= sizeof(h) && h.nlmsg_len <= b->len - at);
                h.nlmsg_seq = n->seq++;
                memcpy(b->data + at, &h, sizeof(h));
                at += NLMSG_ALIGN(h.nlmsg_len);
        }
        return first;
}

typedef struct Answers {
        uint32_t first_seq;
        unsigned acks; /* still expected */
        int error;
        Buf *reply;
} Answers;

static void take_answer(const struct nlmsghdr *h, const char *payload, size_t n, Answers *a) {
        if (h->nlmsg_seq < a->first_seq)
                return;
        if (h->nlmsg_type == NLMSG_ERROR) {
                int32_t e = 0;
                if (n >= sizeof(e))
                        memcpy(&e, payload, sizeof(e));
                if (e < 0 && a->error == 0)
                        a->error = e;
                /* An error ends a batch of nf_tables: the rest is never acknowledged. */
                a->acks = e < 0 ? 0 : a->acks - (a->acks > 0);
        } else if (a->reply && n <= REPLY_MAX)
                buf_add(a->reply, payload, n);
}

static int receive(Netlink *n, Answers *a) {
        _cleanup_free_ char *in = xmalloc(REPLY_MAX);
        while (a->acks > 0) {
                ssize_t got = recv(n->fd, in, REPLY_MAX, 0);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return -errno;
                for (size_t at = 0, left = (size_t) got; left >= sizeof(struct nlmsghdr);) {
                        struct nlmsghdr h;
                        memcpy(&h, in + at, sizeof(h));
                        if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > left)
                                return -EBADMSG;
                        take_answer(&h, in + at + sizeof(h), h.nlmsg_len - sizeof(h), a);
                        size_t step = MIN((size_t) NLMSG_ALIGN(h.nlmsg_len), left);
                        at += step;
                        left -= step;
                }
        }
        return a->error;
}

static int send_and_receive(Netlink *n, Buf *b, unsigned n_acks, Buf *reply) {
        Answers a = { .first_seq = number_messages(n, b), .acks = n_acks, .reply = reply };
        if (send(n->fd, b->data, b->len, 0) < 0)
                return -errno;
        return receive(n, &a);
}

int netlink_call(Netlink *n, Buf *message, Buf *reply) {
        return send_and_receive(n, message, 1, reply);
}

int netlink_batch(Netlink *n, Buf *messages, unsigned n_acks) {
        return send_and_receive(n, messages, n_acks, NULL);
}

#define NEW_FLAGS (NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)

int rtnl_bridge_new(Netlink *n, const char *name, uint32_t mtu) {
        _cleanup_(buf_done) Buf b = {};
        struct ifinfomsg ifi = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
        size_t m = nl_begin(&b, RTM_NEWLINK, NEW_FLAGS, &ifi, sizeof(ifi));
        nl_attr_str(&b, IFLA_IFNAME, name);
        if (mtu > 0)
                nl_attr_u32(&b, IFLA_MTU, mtu);
        size_t info = nl_nest(&b, IFLA_LINKINFO);
        nl_attr_str(&b, IFLA_INFO_KIND, "bridge");
        nl_nest_end(&b, info);
        nl_end(&b, m);
        return netlink_call(n, &b, NULL);
}

int rtnl_veth_new(Netlink *n, const VethArgs *a) {
        _cleanup_(buf_done) Buf b = {};
        struct ifinfomsg ifi = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
        size_t m = nl_begin(&b, RTM_NEWLINK, NEW_FLAGS, &ifi, sizeof(ifi));
        nl_attr_str(&b, IFLA_IFNAME, a->name);
        if (a->mtu > 0)
                nl_attr_u32(&b, IFLA_MTU, a->mtu);
        if (a->master) {
                unsigned index = if_nametoindex(a->master);
                if (index == 0)
                        return -ENODEV;
                nl_attr_u32(&b, IFLA_MASTER, index);
        }
        size_t info = nl_nest(&b, IFLA_LINKINFO);
        nl_attr_str(&b, IFLA_INFO_KIND, "veth");
        size_t data = nl_nest(&b, IFLA_INFO_DATA);
        size_t peer = nl_nest(&b, VETH_INFO_PEER);
        struct ifinfomsg peer_ifi = {};
        buf_add(&b, &peer_ifi, sizeof(peer_ifi));
        nl_attr_str(&b, IFLA_IFNAME, a->peer_name);
        nl_attr_u32(&b, IFLA_NET_NS_PID, (uint32_t) a->peer_pid);
        if (a->peer_mac)
                nl_attr(&b, IFLA_ADDRESS, a->peer_mac, 6);
        if (a->mtu > 0)
                nl_attr_u32(&b, IFLA_MTU, a->mtu);
        nl_nest_end(&b, peer);
        nl_nest_end(&b, data);
        nl_nest_end(&b, info);
        nl_end(&b, m);
        return netlink_call(n, &b, NULL);
}

int rtnl_hairpin(Netlink *n, const char *port) {
        _cleanup_(buf_done) Buf b = {};
        struct ifinfomsg ifi = { .ifi_family = AF_BRIDGE, .ifi_index = (int) if_nametoindex(port) };
        if (ifi.ifi_index == 0)
                return -ENODEV;
        size_t m = nl_begin(&b, RTM_SETLINK, NLM_F_ACK, &ifi, sizeof(ifi));
        size_t info = nl_nest(&b, IFLA_PROTINFO);
        uint8_t on = 1;
        nl_attr(&b, IFLA_BRPORT_MODE, &on, 1);
        nl_nest_end(&b, info);
        nl_end(&b, m);
        return netlink_call(n, &b, NULL);
}

int rtnl_up(Netlink *n, const char *name) {
        _cleanup_(buf_done) Buf b = {};
        struct ifinfomsg ifi = { .ifi_index = (int) if_nametoindex(name), .ifi_flags = IFF_UP,
                                 .ifi_change = IFF_UP };
        if (ifi.ifi_index == 0)
                return -ENODEV;
        nl_end(&b, nl_begin(&b, RTM_NEWLINK, NLM_F_ACK, &ifi, sizeof(ifi)));
        return netlink_call(n, &b, NULL);
}

int rtnl_addr_add(Netlink *n, const char *name, uint32_t addr, unsigned prefix) {
        assert(prefix <= 32);
        _cleanup_(buf_done) Buf b = {};
        struct ifaddrmsg ifa = { .ifa_family = AF_INET, .ifa_prefixlen = (uint8_t) prefix,
                                 .ifa_index = if_nametoindex(name) };
        if (ifa.ifa_index == 0)
                return -ENODEV;
        size_t m = nl_begin(&b, RTM_NEWADDR, NEW_FLAGS, &ifa, sizeof(ifa));
        nl_attr(&b, IFA_LOCAL, &addr, 4);
        nl_attr(&b, IFA_ADDRESS, &addr, 4);
        uint32_t broadcast = addr | htonl(prefix == 0 ? UINT32_MAX : prefix == 32 ? 0 : UINT32_MAX >> prefix);
        nl_attr(&b, IFA_BROADCAST, &broadcast, 4);
        nl_end(&b, m);
        return netlink_call(n, &b, NULL);
}

int rtnl_default_route(Netlink *n, uint32_t gateway) {
        _cleanup_(buf_done) Buf b = {};
        struct rtmsg rt = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                            .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };
        size_t m = nl_begin(&b, RTM_NEWROUTE, NEW_FLAGS, &rt, sizeof(rt));
        nl_attr(&b, RTA_GATEWAY, &gateway, 4);
        nl_end(&b, m);
        return netlink_call(n, &b, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/address.h"

#include "base/alloc.h"
#include "sys/fs.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

static bool is_global(struct in_addr a) {
        uint32_t h = ntohl(a.s_addr);
        return h != 0 && h >> 24 != 127 && h >> 16 != 0xa9fe /* link-local */ && h >> 28 != 0xe /* multicast */ &&
               h != 0xffffffff;
}

static char *text_of(struct in_addr a) {
        char s[INET_ADDRSTRLEN];
        return xstrdup(inet_ntop(AF_INET, &a, s, sizeof(s)) ? s : "");
}

/* Connecting a datagram socket sends nothing; it only asks the routing table. The address is a documentation one
 * (RFC 5737), which no machine has and the default route therefore takes. */
static bool default_route_source(struct in_addr *ret) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) }, from;
        socklen_t n = sizeof(from);

        if (fd < 0 || inet_pton(AF_INET, "192.0.2.1", &to.sin_addr) != 1)
                return false;
        if (connect(fd, (struct sockaddr *) &to, sizeof(to)) < 0 || getsockname(fd, (struct sockaddr *) &from, &n) < 0)
                return false;
        *ret = from.sin_addr;
        return is_global(from.sin_addr);
}

char *address_of_machine(void) {
        struct ifaddrs *list = NULL;
        struct in_addr a;
        char *found = NULL;

        if (default_route_source(&a))
                return text_of(a);
        if (getifaddrs(&list) < 0)
                return xstrdup("");
        for (struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
                if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP))
                        continue;
                struct sockaddr_in in;
                memcpy(&in, i->ifa_addr, sizeof(in));
                if (is_global(in.sin_addr))
                        found = text_of(in.sin_addr);
        }
        freeifaddrs(list);
        return found ? found : xstrdup("");
}

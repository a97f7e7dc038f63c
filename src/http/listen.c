/* SPDX-License-Identifier: Apache-2.0 */
#include "http/listen.h"
#include "base/alloc.h"
#include "base/str.h"
#include "codec/url.h"
#include "sys/fs.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#define LISTEN_BACKLOG 1024

int socket_set_nonblock(int fd) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                return -errno;
        return 0;
}

int socket_port(int fd) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof(addr);
        if (getsockname(fd, (struct sockaddr *) &addr, &len) < 0)
                return -errno;
        if (addr.ss_family == AF_INET)
                return be16toh(((struct sockaddr_in *) &addr)->sin_port);
        if (addr.ss_family == AF_INET6)
                return be16toh(((struct sockaddr_in6 *) &addr)->sin6_port);
        return -ENOENT;
}

const char *socket_peer_text(const struct sockaddr_storage *addr, char *buf, size_t n) {
        char host[INET6_ADDRSTRLEN] = "";
        if (addr->ss_family == AF_INET) {
                const struct sockaddr_in *in = (const struct sockaddr_in *) addr;
                (void) inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
                (void) snprintf(buf, n, "%s:%u", host, be16toh(in->sin_port));
        } else if (addr->ss_family == AF_INET6) {
                const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) addr;
                (void) inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
                (void) snprintf(buf, n, "[%s]:%u", host, be16toh(in6->sin6_port));
        } else {
                (void) snprintf(buf, n, "unix");
        }
        return buf;
}

/* The numbers are those of etcd's listeners; a peer that lost its power is noticed after about a minute. */
void socket_tune(int fd, int family) {
        int on = 1, idle = 30, interval = 10, count = 3;
        if (family != AF_INET && family != AF_INET6)
                return;
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
        (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

int socket_address(const char *host, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_len) {
        *ret = (struct sockaddr_storage){};
        struct sockaddr_in *in = (struct sockaddr_in *) ret;
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) ret;
        if (streq(host, "localhost"))
                host = "127.0.0.1";
        if (isempty(host) || inet_pton(AF_INET, host, &in->sin_addr) == 1) {
                in->sin_family = AF_INET;
                in->sin_port = htobe16(port);
                *ret_len = sizeof(*in);
                return 0;
        }
        if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
                in6->sin6_family = AF_INET6;
                in6->sin6_port = htobe16(port);
                *ret_len = sizeof(*in6);
                return 0;
        }
        return -EINVAL;
}

int socket_unix_address(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len) {
        struct sockaddr_un *un = (struct sockaddr_un *) ret;
        size_t n = strlen(path);
        *ret = (struct sockaddr_storage){};
        if (n == 0 || n >= sizeof(un->sun_path))
                return -ENAMETOOLONG;
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, path, n + 1);
        *ret_len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n + 1);
        return 0;
}

static int bind_and_listen(const struct sockaddr_storage *addr, socklen_t len, int *ret) {
        int on = 1, off = 0;
        _cleanup_close_ int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (addr->ss_family != AF_UNIX)
                (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (addr->ss_family == AF_INET6) /* [::] takes IPv4 as well, as Go's listeners do */
                (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        if (bind(fd, (const struct sockaddr *) addr, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

/* A socket file that somebody still listens on is not taken away. */
static int clear_unix_path(const char *path, const struct sockaddr_storage *addr, socklen_t len) {
        struct stat st;
        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EEXIST;
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) addr, len) >= 0 || errno == EAGAIN)
                return -EADDRINUSE;
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int listen_unix(const char *path, int *ret_fd, char **ret_path, Err *err) {
        struct sockaddr_storage addr;
        socklen_t len;
        int r = socket_unix_address(path, &addr, &len);
        if (r >= 0)
                r = clear_unix_path(path, &addr, len);
        if (r >= 0)
                r = bind_and_listen(&addr, len, ret_fd);
        if (r < 0)
                return err_errno(err, r, "cannot listen at unix://%s", path);
        (void) chmod(path, 0660);
        *ret_path = xstrdup(path);
        return 0;
}

int socket_listen(const char *url, int *ret_fd, char **ret_path, bool *ret_secure, Err *err) {
        _cleanup_(url_done) Url u = {};
        _cleanup_free_ char *without_port = NULL;
        const char *zero = endswith(url, ":0");
        struct sockaddr_storage addr;
        socklen_t len;
        if (zero) /* port 0, "any", is not a port of a URL but is one to listen on */
                url = without_port = xstrndup(url, (size_t) (zero - url));
        int r = url_parse(url, &u, err);
        if (r < 0)
                return r;
        if (streq(u.scheme, "unix"))
                return listen_unix(u.path, ret_fd, ret_path, err);
        if (!streq(u.scheme, "http") && !streq(u.scheme, "https"))
                return err_set(err, -EINVAL, "cannot listen at %s: the scheme is not http, https or unix",
                               url);
        r = socket_address(u.host, zero ? 0 : url_port(&u), &addr, &len);
        if (r < 0)
                return err_set(err, r, "cannot listen at %s: \"%s\" is a name, an address is needed", url,
                               u.host);
        r = bind_and_listen(&addr, len, ret_fd);
        if (r < 0)
                return err_errno(err, r, "cannot listen at %s", url);
        *ret_secure = streq(u.scheme, "https");
        return 0;
}

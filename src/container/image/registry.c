/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/registry.h"
#include "base/alloc.h"
#include "base/str.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

struct Registry {
        Confined child;
        int socket; /* owned */
};

int registry_start(const RegistryOptions *options, Registry **ret, Err *err) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return err_errno(err, -errno, "socketpair");
        RegistryWorkerArgs args = { .options = options, .socket = fds[1] };
        Confine c = { .kind = CONFINE_NETWORK, .root_fd = -1, .fds = &fds[1], .n_fds = 1 };
        Registry *r = xnew(Registry, 1);
        r->socket = fds[0];
        int k = confine_start(&c, registry_worker, &args, &r->child, err);
        (void) close(fds[1]);
        if (k < 0) {
                (void) close(fds[0]);
                free(r);
                return k;
        }
        *ret = r;
        return 0;
}

Registry *registry_stop(Registry *r) {
        if (!r)
                return NULL;
        (void) safe_close(r->socket);
        confine_abort(&r->child);
        return xfree(r);
}

int registry_request(Registry *r, uint32_t id, RegistryKind kind, const char *what, int fd, uint64_t offset,
                     uint64_t limit, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        buf_add_le32(&b, id);
        buf_addc(&b, (char) kind);
        buf_add_le64(&b, offset);
        buf_add_le64(&b, limit);
        buf_add_bytes(&b, what, strlen(what));
        union {
                char space[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = {};
        struct iovec iov = { .iov_base = b.data, .iov_len = b.len };
        struct msghdr m = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space),
        };
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
        if (sendmsg(r->socket, &m, MSG_NOSIGNAL) < 0)
                return err_errno(err, -errno, "the registry client's process is gone");
        return 0;
}

static int copy_text(Rd *rd, char *to, size_t size) {
        const void *p;
        size_t n;
        if (rd_bytes(rd, &p, &n) < 0 || n >= size || memchr(p, 0, n))
                return -EBADMSG;
        memcpy(to, p, n);
        to[n] = 0;
        for (char *c = to; *c; c++) /* what a registry says may end on somebody's terminal */
                if ((unsigned char) *c < ' ' || *c == 127)
                        *c = '?';
        return 0;
}

static int parse_event(const void *p, size_t n, RegistryEvent *ret) {
        Rd rd = rd_new(p, n);
        uint8_t done, more;
        uint32_t error;
        *ret = (RegistryEvent){};
        if (rd_le32(&rd, &ret->id) < 0 || rd_u8(&rd, &done) < 0 || rd_le64(&rd, &ret->bytes) < 0 ||
            rd_le32(&rd, &error) < 0 || rd_le32(&rd, &ret->http_code) < 0 || rd_u8(&rd, &more) < 0 ||
            copy_text(&rd, ret->content_type, sizeof(ret->content_type)) < 0 ||
            copy_text(&rd, ret->digest, sizeof(ret->digest)) < 0 ||
            copy_text(&rd, ret->message, sizeof(ret->message)) < 0 || error > 4095)
                return -EBADMSG;
        ret->done = done;
        ret->more = more;
        ret->error = -(int) error;
        return 0;
}

int registry_next(Registry *r, int timeout_ms, RegistryEvent *ret, Err *err) {
        struct pollfd p = { .fd = r->socket, .events = POLLIN };
        int k;
        do
                k = poll(&p, 1, timeout_ms);
        while (k < 0 && errno == EINTR);
        if (k <= 0)
                return k < 0 ? err_errno(err, -errno, "poll") : 0;
        char buf[REGISTRY_REPLY_MAX];
        ssize_t n = recv(r->socket, buf, sizeof(buf), 0);
        if (n < 0)
                return err_errno(err, -errno, "registry client");
        if (n == 0) {
                _cleanup_(buf_done) Buf reply = {};
                k = confine_finish(&r->child, &reply, err);
                return k < 0 ? k : err_set(err, -EPROTO, "the registry client's process ended early");
        }
        return parse_event(buf, (size_t) n, ret) < 0 ? err_set(err, -EPROTO, "malformed message of the registry client") : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/launch.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int sync_send(int fd, const SyncMessage *m, int pass_fd) {
        struct iovec iov = { .iov_base = (void *) m, .iov_len = sizeof(*m) };
        union {
                struct cmsghdr h;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
        if (pass_fd >= 0) {
                h.msg_control = &control;
                h.msg_controllen = sizeof(control);
                struct cmsghdr *c = CMSG_FIRSTHDR(&h);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
        }
        return sendmsg(fd, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int sync_receive(int fd, SyncMessage *m, int *ret_fd) {
        struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
        union {
                struct cmsghdr h;
                char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                            .msg_controllen = sizeof(control) };
        ssize_t n;
        do
                n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        *ret_fd = -EBADF;
        if (n < 0)
                return errno == ECONNRESET ? 0 : -errno;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
                        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
        if (n == 0)
                return 0;
        if ((size_t) n != sizeof(*m))
                return -EBADMSG;
        m->text[SYNC_TEXT_MAX - 1] = 0;
        return 1;
}

void sync_warn(int fd, const char *fmt, ...) {
        SyncMessage m = { .kind = SYNC_WARNING };
        va_list ap;
        va_start(ap, fmt);
        (void) vsnprintf(m.text, sizeof(m.text), fmt, ap);
        va_end(ap);
        (void) sync_send(fd, &m, -EBADF);
}

_noreturn_ void sync_fail(int fd, unsigned code, const Err *err) {
        SyncMessage m = { .kind = SYNC_ERROR, .code = code };
        (void) snprintf(m.text, sizeof(m.text), "%s", err_msg(err));
        (void) sync_send(fd, &m, -EBADF);
        _exit((int) code);
}

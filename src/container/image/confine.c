/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/confine.h"
#include "base/alloc.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NOBODY 65534

/* What both kinds need: their descriptors, memory, time, and a clean end. */
static const int calls_common[] = {
        SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(readv), SCMP_SYS(writev),
        SCMP_SYS(close), SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
        SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise), SCMP_SYS(brk),
        SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(clock_gettime),
        SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(getrandom),
        SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
        SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(tgkill), SCMP_SYS(exit), SCMP_SYS(exit_group),
        SCMP_SYS(restart_syscall), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64), SCMP_SYS(rseq), SCMP_SYS(set_robust_list),
};
static const int calls_files[] = {
        SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(mkdirat), SCMP_SYS(unlinkat), SCMP_SYS(symlinkat),
        SCMP_SYS(linkat), SCMP_SYS(fchown), SCMP_SYS(fchownat), SCMP_SYS(fchmod), SCMP_SYS(fsetxattr),
        SCMP_SYS(utimensat), SCMP_SYS(getdents64), SCMP_SYS(fcntl),
};
static const int calls_network[] = {
        SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(getsockname),
        SCMP_SYS(getpeername), SCMP_SYS(setsockopt), SCMP_SYS(getsockopt), SCMP_SYS(sendto), SCMP_SYS(recvfrom),
        SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg), SCMP_SYS(shutdown),
        SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_create1),
        SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(eventfd2), SCMP_SYS(pipe2), SCMP_SYS(pipe),
        SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(access), SCMP_SYS(faccessat),
        SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(fcntl),
        SCMP_SYS(ioctl), SCMP_SYS(uname), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
        SCMP_SYS(clone3), SCMP_SYS(ftruncate), SCMP_SYS(fadvise64), SCMP_SYS(getcwd), SCMP_SYS(sysinfo),
        SCMP_SYS(clock_getres), SCMP_SYS(set_tid_address), SCMP_SYS(dup), SCMP_SYS(fstatfs), SCMP_SYS(statfs),
};

static int allow(scmp_filter_ctx f, const int *calls, size_t n) {
        int r = 0;
        for (size_t i = 0; i < n && r >= 0; i++)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
        return r;
}

/* mknod: fifos and whiteouts (char 0:0) only. */
static int allow_mknod(scmp_filter_ctx f) {
        int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 1,
                                 SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO));
        return r < 0 ? r : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 2,
                                            SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFCHR), SCMP_A3(SCMP_CMP_EQ, 0));
}

/* Threads (the resolver's) but no processes nor namespaces: every one of CLONE_VM, CLONE_THREAD set. clone3
 * hides its flags from the filter, so it is answered ENOSYS, upon which libc falls back to clone. */
static int allow_threads(scmp_filter_ctx f) {
        const uint64_t thread = 0x00010000 | 0x00000100;
        int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        return r < 0 ? r : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                            SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));
}

static int load_filter(ConfineKind kind) {
        scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        if (!f)
                return -ENOMEM;
        int r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        if (r >= 0)
                r = allow(f, calls_common, ELEMENTSOF(calls_common));
        if (r >= 0 && kind == CONFINE_FILES)
                r = allow(f, calls_files, ELEMENTSOF(calls_files));
        if (r >= 0 && kind == CONFINE_FILES)
                r = allow_mknod(f);
        if (r >= 0 && kind == CONFINE_NETWORK)
                r = allow(f, calls_network, ELEMENTSOF(calls_network));
        if (r >= 0 && kind == CONFINE_NETWORK)
                r = allow_threads(f);
        if (r >= 0)
                r = seccomp_load(f);
        seccomp_release(f);
        return r;
}

static int drop_capabilities(ConfineKind kind) {
        static const cap_value_t file_caps[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP };
        for (cap_value_t c = 0; c <= cap_max_bits(); c++)
                if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EINVAL)
                        return -errno;
        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        cap_t caps = cap_init();
        if (!caps)
                return -ENOMEM;
        int r = 0;
        if (kind == CONFINE_FILES && (cap_set_flag(caps, CAP_PERMITTED, ELEMENTSOF(file_caps), file_caps, CAP_SET) < 0 ||
                                      cap_set_flag(caps, CAP_EFFECTIVE, ELEMENTSOF(file_caps), file_caps, CAP_SET) < 0))
                r = -errno;
        if (r >= 0 && cap_set_proc(caps) < 0)
                r = -errno;
        (void) cap_free(caps);
        return r;
}

static int compare_fds(const void *a, const void *b) {
        return *(const int *) a - *(const int *) b;
}

static int close_others(const Confine *c, int reply) {
        int keep[CONFINE_FDS_MAX + 4] = { 2, reply };
        size_t n = 2;
        assert(c->n_fds <= CONFINE_FDS_MAX);
        for (size_t i = 0; i < c->n_fds; i++)
                keep[n++] = c->fds[i];
        if (c->root_fd >= 0)
                keep[n++] = c->root_fd;
        qsort(keep, n, sizeof(keep[0]), compare_fds);
        unsigned from = 0;
        for (size_t i = 0; i < n; i++) {
                if ((unsigned) keep[i] > from && close_range(from, (unsigned) keep[i] - 1, 0) < 0)
                        return -errno;
                from = (unsigned) keep[i] + 1;
        }
        return RET_NERRNO(close_range(from, ~0U, 0));
}

static int confine_self(const Confine *c, int reply, Err *err) {
        const struct rlimit no_core = {};
        const char *step = "close descriptors";
        int r = close_others(c, reply);
        if (r >= 0)
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (r >= 0 && c->kind == CONFINE_FILES) {
                step = "change root";
                r = fchdir(c->root_fd) < 0 || chroot(".") < 0 ? -errno : 0;
        }
        if (r >= 0 && c->kind == CONFINE_NETWORK && geteuid() == 0) {
                step = "become nobody";
                r = setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
                    setresuid(NOBODY, NOBODY, NOBODY) < 0 ? -errno : 0;
        }
        if (r >= 0) {
                step = "drop capabilities";
                (void) setrlimit(RLIMIT_CORE, &no_core);
                (void) umask(0);
                r = c->kind == CONFINE_NETWORK && geteuid() != 0 && NOBODY != geteuid() ? 0 : drop_capabilities(c->kind);
                if (r == -EPERM && c->kind == CONFINE_NETWORK)
                        r = 0; /* nobody has none to drop */
        }
        if (r >= 0) {
                step = "forbid new privileges";
                r = RET_NERRNO(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        }
        if (r >= 0) {
                step = "load the system-call filter";
                r = load_filter(c->kind);
        }
        return r < 0 ? err_errno(err, r, "cannot confine the helper process: %s", step) : 0;
}

/* The reply: result, message with its length, then fn's bytes. */
static _noreturn_ void child_main(const Confine *c, ConfineFn fn, void *userdata, int reply_fd) {
        Err err = {};
        Buf body = {}, head = {};
        int r = confine_self(c, reply_fd, &err);
        if (r >= 0)
                r = fn(userdata, &body, &err);
        buf_add_le32(&head, (uint32_t) -r);
        buf_add_bytes(&head, err.msg ? err.msg : "", err.msg ? strlen(err.msg) : 0);
        bool sent = write_all(reply_fd, head.data, head.len) >= 0 && (body.len == 0 || write_all(reply_fd, body.data, body.len) >= 0);
        _exit(sent ? 0 : 1);
}

int confine_start(const Confine *c, ConfineFn fn, void *userdata, Confined *ret, Err *err) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return err_errno(err, -errno, "pipe");
        (void) fflush(NULL);
        pid_t pid = fork();
        if (pid < 0) {
                int r = -errno;
                (void) close(fds[0]);
                (void) close(fds[1]);
                return err_errno(err, r, "fork");
        }
        if (pid == 0) {
                (void) close(fds[0]);
                child_main(c, fn, userdata, fds[1]);
        }
        (void) close(fds[1]);
        *ret = (Confined){ .pid = pid, .pipe = fds[0] };
        return 0;
}

static int read_reply(int fd, Buf *b) {
        for (;;) {
                buf_reserve(b, 4096);
                ssize_t n = read(fd, b->data + b->len, b->cap - b->len - 1);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                b->len += (size_t) n;
                b->data[b->len] = 0;
                if (b->len > CONFINE_REPLY_MAX)
                        return -EFBIG;
        }
}

static int wait_child(Confined *c) {
        int status = 0;
        while (waitpid(c->pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -1;
        c->pid = 0;
        c->pipe = safe_close(c->pipe);
        return status;
}

void confine_abort(Confined *c) {
        if (c->pid <= 0)
                return;
        (void) kill(c->pid, SIGKILL);
        (void) wait_child(c);
}

int confine_finish(Confined *c, Buf *ret_reply, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        int r = read_reply(c->pipe, &b);
        if (r < 0) {
                confine_abort(c);
                return err_errno(err, r, "reply of the helper process");
        }
        int status = wait_child(c);
        if (WIFSIGNALED(status))
                return err_set(err, -EPROTO, "the helper process was killed by signal %d", WTERMSIG(status));
        Rd rd = rd_new(b.data, b.len);
        uint32_t code;
        const void *msg;
        size_t n;
        if (rd_le32(&rd, &code) < 0 || code > 4095 || rd_bytes(&rd, &msg, &n) < 0)
                return err_set(err, -EPROTO, "the helper process ended without a reply (status %d)", status);
        if (code > 0)
                return n > 0 ? err_set(err, -(int) code, "%.*s", (int) MIN(n, (size_t) 4096), (const char *) msg)
                             : err_errno(err, -(int) code, "helper process");
        buf_add(ret_reply, rd.p, rd.left);
        return 0;
}

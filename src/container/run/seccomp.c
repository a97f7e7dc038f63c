/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/seccomp.h"
#include "base/str.h"
#include "container/run/caps.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PROFILE_VERSION 1 /* part of the cache's file name: raise when a rule changes */

/* Allowed without conditions. Names that this libseccomp or architecture does not know are skipped. */
static const char allowed[] =
        "accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chown32 "
        "clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep "
        "clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create "
        "epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 "
        "execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir "
        "fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork "
        "fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex "
        "futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 "
        "getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid "
        "getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit "
        "get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 "
        "getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy "
        "io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill "
        "landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat "
        "listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack "
        "membarrier memfd_create memfd_secret mincore mkdir mkdirat mlock mlock2 mlockall mmap mmap2 modify_ldt "
        "mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
        "mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv msgsnd mseal msync munlock munlockall munmap "
        "name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal "
        "pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 "
        "process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv "
        "recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat renameat2 "
        "restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
        "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr "
        "sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval "
        "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield "
        "seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg "
        "sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid "
        "setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit "
        "set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr shmat shmctl "
        "shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat "
        "stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time "
        "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 "
        "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate "
        "truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice "
        "wait4 waitid waitpid write writev ptrace process_vm_readv process_vm_writev";

/* Unlocked by a capability. */
static const struct {
        unsigned cap;
        const char *calls;
} by_cap[] = {
        { 2, "open_by_handle_at" },
        { 21, "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
              "move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount "
              "umount2 unshare" },
        { 22, "reboot" },
        { 18, "chroot" },
        { 16, "delete_module finit_module init_module" },
        { 20, "acct" },
        { 19, "kcmp pidfd_getfd process_madvise" },
        { 17, "iopl ioperm" },
        { 25, "settimeofday stime clock_settime clock_settime64" },
        { 26, "vhangup" },
        { 23, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node" },
        { 34, "syslog" },
        { 39, "bpf" },
        { 38, "perf_event_open" },
};

#define CAP_SYS_ADMIN_BIT 21
#define NAMESPACE_FLAGS 0x7E020000U

static int allow_words(scmp_filter_ctx ctx, const char *words) {
        _cleanup_strv_ char **list = strv_split(words, " ", false);
        STRV_FOREACH(name, list) {
                int nr = seccomp_syscall_resolve_name(*name);
                if (nr == __NR_SCMP_ERROR)
                        continue;
                int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
                if (r < 0 && r != -EDOM && r != -EEXIST)
                        return r;
        }
        return 0;
}

static int allow_if(scmp_filter_ctx ctx, const char *name, struct scmp_arg_cmp a) {
        int nr = seccomp_syscall_resolve_name(name);
        return nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &a);
}

static int allow_socket(scmp_filter_ctx ctx) {
        /* Every family but AF_ALG (kernel crypto) and AF_VSOCK (the hypervisor). */
        int r = allow_if(ctx, "socket", SCMP_A0(SCMP_CMP_LT, AF_ALG));
        if (r >= 0)
                r = allow_if(ctx, "socket", SCMP_A0(SCMP_CMP_EQ, AF_NFC));
        return r < 0 ? r : allow_if(ctx, "socket", SCMP_A0(SCMP_CMP_GT, AF_VSOCK));
}

static int allow_personality(scmp_filter_ctx ctx) {
        static const unsigned values[] = { 0x0, 0x8, 0x20000, 0x20008, 0xffffffff };
        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                int r = allow_if(ctx, "personality", SCMP_A0(SCMP_CMP_EQ, values[i]));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int allow_mknod(scmp_filter_ctx ctx) {
        static const unsigned types[] = { 0, S_IFREG, S_IFIFO, S_IFSOCK };
        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                int r = allow_if(ctx, "mknod", SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, types[i]));
                if (r >= 0)
                        r = allow_if(ctx, "mknodat", SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, types[i]));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_rules(scmp_filter_ctx ctx, uint64_t caps) {
        int r = seccomp_arch_add(ctx, SCMP_ARCH_X86);
        if (r >= 0 || r == -EEXIST)
                r = seccomp_arch_add(ctx, SCMP_ARCH_X32);
        if (r < 0 && r != -EEXIST)
                return r;
        r = allow_words(ctx, allowed);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(by_cap); i++)
                if (caps >> by_cap[i].cap & 1)
                        r = allow_words(ctx, by_cap[i].calls);
        if (r >= 0 && !(caps >> CAP_SYS_ADMIN_BIT & 1)) {
                r = allow_if(ctx, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACE_FLAGS, 0));
                /* Its flags are behind a pointer: ENOSYS makes libc fall back to clone(). */
                if (r >= 0)
                        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        }
        if (r >= 0)
                r = allow_socket(ctx);
        if (r >= 0)
                r = allow_personality(ctx);
        return r < 0 ? r : allow_mknod(ctx);
}

static int compile(uint64_t caps, int fd) {
        scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        if (!ctx)
                return -ENOMEM;
        (void) seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree instead of a list */
        int r = add_rules(ctx, caps);
        if (r >= 0)
                r = seccomp_export_bpf(ctx, fd);
        seccomp_release(ctx);
        return r;
}

/* Made in a file beside the final one, so that nobody ever loads half a filter. */
static int compile_to(const char *path, uint64_t caps, Err *err) {
        _cleanup_free_ char *tmp = xasprintf("%s.%016" PRIx64, path, random_u64());
        _cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int r = fd < 0 ? -errno : compile(caps, fd);
        if (r >= 0)
                r = RET_NERRNO(rename(tmp, path));
        if (r < 0) {
                (void) unlink(tmp);
                return err_errno(err, r, "cannot compile the seccomp filter");
        }
        return 0;
}

static int check_option(const HostConfig *h, bool *ret_none, Err *err) {
        *ret_none = h->privileged;
        STRV_FOREACH(o, h->security_opt) {
                const char *v = startswith(*o, "seccomp=") ?: startswith(*o, "seccomp:");
                if (!v)
                        continue;
                if (!streq(v, "unconfined"))
                        return err_set(err, -EOPNOTSUPP,
                                       "seccomp profile files are not supported: use the built-in profile or "
                                       "--security-opt seccomp=unconfined");
                *ret_none = true;
        }
        return 0;
}

int seccomp_filter_open(const Store *s, const HostConfig *h, uint64_t caps, int *ret_fd, Err *err) {
        bool none = false;
        int r = check_option(h, &none, err);
        *ret_fd = -EBADF;
        if (r < 0 || none)
                return r;
        _cleanup_free_ char *path = container_store_path(s, "cache/seccomp-%d-%" PRIx64 ".bpf", PROFILE_VERSION, caps);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_size == 0)) /* a power cut in the middle */
                fd = safe_close(fd);
        if (fd < 0) {
                r = compile_to(path, caps, err);
                if (r < 0)
                        return r;
                fd = open(path, O_RDONLY | O_CLOEXEC);
        }
        if (fd < 0)
                return err_errno(err, -errno, "cannot open %s", path);
        *ret_fd = fd;
        return 0;
}

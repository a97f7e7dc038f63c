/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (1U << 20)

static void child(char *const *argv, int out) {
        if (out >= 0) {
                (void) dup2(out, STDOUT_FILENO);
                (void) dup2(out, STDERR_FILENO);
        }
        execvp(argv[0], argv);
        dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

static void drain(int fd, Buf *b) {
        char tmp[4096];
        for (;;) {
                ssize_t n = read(fd, tmp, sizeof(tmp));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return;
                if (b->len < OUTPUT_MAX)
                        buf_add(b, tmp, (size_t) n);
        }
}

static int wait_exit(pid_t pid) {
        int status;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_program(char *const *argv, char **output) {
        int fds[2] = { -1, -1 };
        if (output && pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid < 0) {
                int r = -errno;
                safe_close(fds[0]);
                safe_close(fds[1]);
                return r;
        }
        if (pid == 0)
                child(argv, fds[1]);
        safe_close(fds[1]);
        _cleanup_(buf_done) Buf b = {};
        if (output)
                drain(fds[0], &b);
        safe_close(fds[0]);
        int r = wait_exit(pid);
        if (output && r >= 0) {
                *output = buf_take(&b);
                (void) strstrip(*output);
        }
        return r;
}

int run_checked(Err *err, const char *first, ...) {
        _cleanup_strv_ char **argv = NULL;
        va_list ap;
        va_start(ap, first);
        for (const char *s = first; s; s = va_arg(ap, const char *))
                strv_add(&argv, s);
        va_end(ap);
        _cleanup_free_ char *out = NULL;
        int r = run_program(argv, &out);
        if (r < 0)
                return err_errno(err, r, "cannot run %s", first);
        if (r > 0) {
                _cleanup_free_ char *line = strv_join(argv, " ");
                return err_set(err, -EIO, "`%s` failed (%d): %s", line, r, isempty(out) ? "no output" : out);
        }
        return 0;
}

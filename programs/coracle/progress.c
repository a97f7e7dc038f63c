/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
        char *what;
        Usec began, drawn;
        unsigned frame;
} step;

static bool on_terminal(void) {
        return isatty(STDOUT_FILENO) == 1;
}

static double elapsed(void) {
        return (double) (now_monotonic() - step.began) / USEC_PER_SEC;
}

void progress_begin(const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        free(step.what);
        if (vasprintf(&step.what, fmt, ap) < 0)
                abort();
        va_end(ap);
        step.began = now_monotonic();
        step.drawn = 0;
        if (!on_terminal()) {
                printf("%s ...\n", step.what);
                (void) fflush(stdout);
        }
        progress_tick(NULL);
}

void progress_tick(const char *detail) {
        static const char *const frames[] = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" };
        Usec now = now_monotonic();
        if (!on_terminal() || now - step.drawn < 80 * USEC_PER_MSEC)
                return;
        step.drawn = now;
        printf("\r\033[K%s %s  %.0f s  %.60s", frames[step.frame++ % ELEMENTSOF(frames)], step.what,
               elapsed(), strempty(detail));
        (void) fflush(stdout);
}

void progress_end(const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        _cleanup_free_ char *result = NULL;
        if (vasprintf(&result, fmt, ap) < 0)
                abort();
        va_end(ap);
        printf("%s%s: %s (%.1f s)\n", on_terminal() ? "\r\033[K" : "", strempty(step.what), result,
               elapsed());
        (void) fflush(stdout);
        step.what = xfree(step.what);
}

/* Keeps the last complete line of `b` in `line`. */
static void take_last_line(Buf *b, char **line) {
        for (char *nl; (nl = memchr(buf_str(b), '\n', b->len)) || (nl = memchr(buf_str(b), '\r', b->len));) {
                size_t n = (size_t) (nl - b->data);
                if (n > 0) {
                        free(*line);
                        *line = xstrndup(b->data, n);
                }
                buf_consume(b, n + 1);
        }
}

int progress_run(char *const *argv, Err *err) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return err_errno(err, -errno, "cannot make a pipe");
        pid_t pid = fork();
        if (pid < 0)
                return err_errno(err, -errno, "cannot fork");
        if (pid == 0) {
                (void) dup2(fds[1], STDOUT_FILENO);
                (void) dup2(fds[1], STDERR_FILENO);
                execvp(argv[0], argv);
                dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
                _exit(127);
        }
        safe_close(fds[1]);
        _cleanup_(buf_done) Buf pending = {}, all = {};
        _cleanup_free_ char *line = NULL;
        for (;;) {
                struct pollfd p = { .fd = fds[0], .events = POLLIN };
                if (poll(&p, 1, 100) > 0) {
                        char tmp[4096];
                        ssize_t n = read(fds[0], tmp, sizeof(tmp));
                        if (n <= 0)
                                break;
                        buf_add(&pending, tmp, (size_t) n);
                        if (all.len < (64U << 10))
                                buf_add(&all, tmp, (size_t) n);
                        take_last_line(&pending, &line);
                }
                progress_tick(line);
        }
        safe_close(fds[0]);
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        return err_set(err, -EIO, "%s failed:\n%s", argv[0], buf_str(&all));
}

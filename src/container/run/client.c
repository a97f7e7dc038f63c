/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/run/engine.h"
#include "container/run/units.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define STARTING_MSEC 2000 /* between the lock and the socket of a container that is just starting */

void shim_client_done(ShimClient *c) {
        c->fd = safe_close(c->fd);
        buf_done(&c->in);
}

static int connect_once(const Store *s, const char *id) {
        _cleanup_free_ char *path = container_store_path(s, "containers/%s", id);
        _cleanup_close_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
                return -errno;
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        (void) snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/shim", dir);
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int shim_connect(const Store *s, const char *id, ShimClient *ret, Err *err) {
        Usec end = usec_add(now_monotonic(), STARTING_MSEC * USEC_PER_MSEC);
        for (;;) {
                int fd = connect_once(s, id);
                if (fd >= 0) {
                        *ret = (ShimClient){ .fd = fd };
                        return 0;
                }
                if (fd != -ENOENT && fd != -ECONNREFUSED && fd != -EAGAIN)
                        return err_errno(err, fd, "cannot reach the container %s", id);
                if (container_is_alive(s, id) <= 0 || now_monotonic() > end)
                        return err_set(err, -ESRCH, "Container %s is not running", id);
                struct timespec t = { .tv_nsec = 2000000 };
                (void) nanosleep(&t, NULL);
        }
}

int shim_send(ShimClient *c, FrameKind kind, const void *p, size_t n) {
        _cleanup_(buf_done) Buf b = {};
        frame_add(&b, kind, p, n);
        for (size_t at = 0; at < b.len;) {
                ssize_t k = send(c->fd, b.data + at, b.len - at, MSG_NOSIGNAL);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                at += (size_t) k;
        }
        return 0;
}

int shim_sendf(ShimClient *c, const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        char text[256];
        int n = vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        assert(n > 0 && (size_t) n < sizeof(text));
        return shim_send(c, FRAME_CONTROL, text, (size_t) n);
}

int shim_next(ShimClient *c, bool wait, Frame *ret) {
        buf_consume(&c->in, c->skip);
        c->skip = 0;
        for (;;) {
                int r = frame_peek(&c->in, ret);
                if (r > 0)
                        c->skip = FRAME_HEADER + ret->n;
                if (r != 0)
                        return r;
                buf_reserve(&c->in, 64 << 10);
                ssize_t n = recv(c->fd, c->in.data + c->in.len, 64 << 10, wait ? 0 : MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == ECONNRESET ? 0 : -errno;
                if (n == 0)
                        return 0;
                c->in.len += (size_t) n;
                c->in.data[c->in.len] = 0;
        }
}

int shim_answer(ShimClient *c, int *ret_code, void (*warn)(const char *), Err *err) {
        for (;;) {
                Frame f;
                int r = shim_next(c, true, &f);
                if (r <= 0)
                        return err_set(err, -EPIPE, "the container's shim has died");
                if (f.kind != FRAME_CONTROL)
                        continue;
                _cleanup_json_ json_t *j = NULL;
                r = ji_parse(f.data, f.n, 0, &j, err);
                if (r < 0)
                        return r;
                const char *warning = ji_str(j, "warning"), *error = ji_str(j, "error");
                if (warning) {
                        if (warn)
                                warn(warning);
                        continue;
                }
                if (!error)
                        return 0;
                if (ret_code)
                        *ret_code = (int) ji_int(j, "code", 125);
                return err_set(err, -EREMOTEIO, "%s", error);
        }
}

/* ---- operations on running containers ---- */

int engine_kill(Store *s, const Container *c, int sig, Err *err) {
        _cleanup_(shim_client_done) ShimClient k = { .fd = -EBADF };
        if (!container_running(c) || shim_connect(s, c->id, &k, NULL) < 0)
                return err_set(err, -ESRCH, "Container %s is not running", c->id);
        if (shim_sendf(&k, "{\"op\":\"kill\",\"signal\":%d}", sig) < 0)
                return err_set(err, -ESRCH, "Container %s is not running", c->id);
        int r = shim_answer(&k, NULL, NULL, NULL);
        return r < 0 ? err_set(err, -ESRCH, "Container %s is not running", c->id) : 0;
}

/* Waits for {"exit"} on a connection: the code, -ETIME, or -EPIPE when the shim goes without a word. */
static int await_exit(ShimClient *k, int64_t msec, int *ret_code) {
        Usec end = msec < 0 ? USEC_NEVER : usec_add(now_monotonic(), (Usec) msec * USEC_PER_MSEC);
        for (;;) {
                Frame f;
                int r = shim_next(k, msec < 0, &f);
                if (r == -EAGAIN) {
                        Usec now = now_monotonic();
                        if (now >= end)
                                return -ETIME;
                        struct pollfd p = { .fd = k->fd, .events = POLLIN };
                        (void) poll(&p, 1, (int) MIN((end - now) / USEC_PER_MSEC + 1, (Usec) 60000));
                        continue;
                }
                if (r <= 0)
                        return -EPIPE;
                _cleanup_json_ json_t *j = NULL;
                if (f.kind != FRAME_CONTROL || ji_parse(f.data, f.n, 0, &j, NULL) < 0 || !json_object_get(j, "exit"))
                        continue;
                *ret_code = (int) ji_int(j, "exit", 255);
                return 0;
        }
}

int engine_wait(Store *s, const char *id, int64_t msec, int *ret_code, Err *err) {
        _cleanup_(shim_client_done) ShimClient k = { .fd = -EBADF };
        int r = shim_connect(s, id, &k, NULL);
        if (r >= 0)
                r = shim_sendf(&k, "{\"op\":\"wait\",\"removed\":true}");
        if (r >= 0)
                r = await_exit(&k, msec, ret_code);
        if (r == 0 || r == -ETIME)
                return r;
        _cleanup_(container_freep) Container *c = NULL;
        r = container_load(s, id, &c, err);
        if (r >= 0)
                *ret_code = c->state.exit_code;
        return r;
}

static int stop_signal(const Container *c) {
        int sig = isempty(c->spec->config.stop_signal) ? SIGTERM : parse_signal(c->spec->config.stop_signal);
        return sig > 0 ? sig : SIGTERM;
}

int engine_stop(Store *s, const Container *c, int64_t grace_sec, Err *err) {
        if (!container_running(c))
                return 0;
        if (grace_sec < 0)
                grace_sec = c->spec->config.stop_timeout > 0 ? c->spec->config.stop_timeout : 10;
        int code;
        _cleanup_(shim_client_done) ShimClient k = { .fd = -EBADF };
        int r = shim_connect(s, c->id, &k, NULL);
        if (r >= 0)
                r = shim_sendf(&k, "{\"op\":\"wait\",\"removed\":true}");
        if (r < 0)
                return 0; /* it has just ended */
        if (c->state.paused)
                (void) shim_sendf(&k, "{\"op\":\"unpause\"}");
        (void) shim_sendf(&k, "{\"op\":\"kill\",\"signal\":%d}", stop_signal(c));
        r = await_exit(&k, MIN(grace_sec, (int64_t) 1 << 31) * 1000, &code);
        if (r != -ETIME)
                return 0;
        (void) shim_sendf(&k, "{\"op\":\"kill\",\"signal\":%d}", SIGKILL);
        r = await_exit(&k, 30000, &code);
        return r == -ETIME ? err_set(err, r, "Cannot stop container %s: it did not die after SIGKILL", c->id) : 0;
}

int engine_remove(Store *s, const char *name, bool force, bool volumes, Err *err) {
        _cleanup_(container_freep) Container *c = NULL;
        int r = container_get(s, name, &c, err);
        if (r < 0)
                return r;
        if (container_running(c) && !force)
                return err_set(err, -EBUSY,
                               "You cannot remove a running container %s. Stop the container before attempting "
                               "removal or force remove", c->id);
        if (container_running(c)) {
                int code;
                (void) engine_kill(s, c, SIGKILL, NULL);
                (void) engine_wait(s, c->id, 30000, &code, NULL);
        }
        _cleanup_close_ int lock = container_lock(s, c->id, 5000);
        if (lock == -ENOENT)
                return 0; /* an AutoRemove container has gone by itself */
        if (lock < 0)
                return err_set(err, lock, "container %s is busy: it is being started or removed", c->id);
        return container_delete(s, c->spec, volumes, err);
}

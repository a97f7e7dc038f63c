/* SPDX-License-Identifier: Apache-2.0 */
#include "follow.h"
#include "base/str.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

static const int proxied[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH };

static void proxied_set(sigset_t *set) {
        (void) sigemptyset(set);
        for (size_t i = 0; i < ELEMENTSOF(proxied); i++)
                (void) sigaddset(set, proxied[i]);
}

void follow_block_signals(void) {
        sigset_t set;
        proxied_set(&set);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        (void) signal(SIGPIPE, SIG_IGN);
}

void follow_warn(const char *message) {
        fprintf(stderr, "WARNING: %s\n", message);
}

typedef struct Follow {
        ShimClient *client;
        const FollowOptions *o;
        int signals;
        bool input_open, ended, output_broken;
        int code;
        bool raw;
        struct termios saved;
} Follow;

static void set_raw(Follow *f) {
        struct termios t;
        if (!f->o->tty || !f->o->in || tcgetattr(0, &f->saved) < 0)
                return;
        t = f->saved;
        cfmakeraw(&t);
        f->raw = tcsetattr(0, TCSANOW, &t) >= 0;
}

static void send_window(const Follow *f) {
        struct winsize w;
        if (f->o->tty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) >= 0 && w.ws_col > 0)
                (void) shim_sendf(f->client, "{\"op\":\"resize\",\"width\":%u,\"height\":%u}", w.ws_col, w.ws_row);
}

static void take_signal(Follow *f) {
        struct signalfd_siginfo info;
        if (read(f->signals, &info, sizeof(info)) != (ssize_t) sizeof(info))
                return;
        int sig = (int) info.ssi_signo;
        if (sig == SIGWINCH)
                send_window(f);
        else if (f->o->sig_proxy)
                (void) shim_sendf(f->client, "{\"op\":\"kill\",\"signal\":%d}", sig);
        else if (sig != SIGCONT) {
                /* Not ours to pass on: do what the signal means. */
                if (f->raw)
                        (void) tcsetattr(0, TCSANOW, &f->saved);
                (void) signal(sig, SIG_DFL);
                sigset_t one;
                (void) sigemptyset(&one);
                (void) sigaddset(&one, sig);
                (void) raise(sig);
                (void) sigprocmask(SIG_UNBLOCK, &one, NULL);
        }
}

static void take_input(Follow *f) {
        char part[32 << 10];
        ssize_t n = read(STDIN_FILENO, part, sizeof(part));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        f->input_open = n > 0;
        (void) shim_send(f->client, FRAME_STDIN, part, n > 0 ? (size_t) n : 0);
}

/* Our reader may be a pipe somebody made non-blocking. */
static int write_out(int fd, const char *p, size_t n) {
        while (n > 0) {
                ssize_t k = write(fd, p, n);
                if (k < 0 && errno == EAGAIN) {
                        struct pollfd w = { .fd = fd, .events = POLLOUT };
                        (void) poll(&w, 1, -1);
                        continue;
                }
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                p += k;
                n -= (size_t) k;
        }
        return 0;
}

static void take_control(Follow *f, const Frame *frame) {
        _cleanup_json_ json_t *j = NULL;
        if (ji_parse(frame->data, frame->n, 0, &j, NULL) < 0)
                return;
        if (json_object_get(j, "exit")) {
                f->code = (int) ji_int(j, "exit", 255);
                f->ended = true;
        } else if (ji_str(j, "warning"))
                follow_warn(ji_str(j, "warning"));
}

/* Takes what has come; -EPIPE at the end of the connection. */
static int take_frames(Follow *f) {
        Frame frame;
        int r = -EAGAIN;
        while (!f->ended && (r = shim_next(f->client, false, &frame)) > 0) {
                if (frame.kind == FRAME_CONTROL)
                        take_control(f, &frame);
                else if (write_out(frame.kind == FRAME_STDERR ? STDERR_FILENO : STDOUT_FILENO, frame.data, frame.n) < 0)
                        f->output_broken = true;
        }
        return f->ended || r == -EAGAIN ? 0 : -EPIPE;
}

static int loop(Follow *f) {
        while (!f->ended) {
                struct pollfd fds[] = {
                        { .fd = f->client->fd, .events = POLLIN },
                        { .fd = f->signals, .events = POLLIN },
                        { .fd = f->input_open ? STDIN_FILENO : -1, .events = POLLIN },
                };
                if (poll(fds, ELEMENTSOF(fds), -1) < 0 && errno != EINTR)
                        return -errno;
                if (fds[1].revents)
                        take_signal(f);
                if (fds[2].revents)
                        take_input(f);
                int r = fds[0].revents ? take_frames(f) : 0;
                if (r < 0)
                        return r;
        }
        return f->code;
}

int follow(ShimClient *client, const FollowOptions *o) {
        sigset_t set;
        proxied_set(&set);
        Follow f = { .client = client, .o = o, .input_open = o->in };
        f.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        set_raw(&f);
        send_window(&f);
        int r = take_frames(&f); /* what came together with "started" */
        if (r >= 0)
                r = loop(&f);
        if (f.raw)
                (void) tcsetattr(0, TCSANOW, &f.saved);
        (void) safe_close(f.signals);
        return r;
}

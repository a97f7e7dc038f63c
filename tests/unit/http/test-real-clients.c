/* SPDX-License-Identifier: Apache-2.0 */

/* A server in this process, asked by curl, h2load and plain sockets. */

#include "base/alloc.h"
#include "base/str.h"
#include "http/grpc.h"
#include "http/http.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

typedef struct World {
        sd_event *event;
        HttpServer *server;
        int port;
        char dir[64];
        char *base; /* http://127.0.0.1:PORT */
        HttpLimits limits;
} World;

static void hello(HttpReq *q, void *user) {
        http_add_header(q, "X-Method", q->method);
        http_respond(q, 200, "text/plain", "hello\n", 6);
}

static void echo(HttpReq *q, void *user) {
        http_respond(q, 200, "application/octet-stream", buf_str(&q->body), q->body.len);
}

typedef struct Poll {
        sd_event_source *timer;
        unsigned left;
} Poll;

static int on_poll(sd_event_source *s, uint64_t usec, void *user) {
        HttpReq *q = user;
        Poll *p = q->user;
        char line[32];
        int n = snprintf(line, sizeof(line), "event %u\n", p->left);
        (void) http_write(q, line, (size_t) n);
        if (--p->left == 0) {
                sd_event_source_disable_unref(p->timer);
                p->timer = NULL;
                http_finish(q);
                return 0;
        }
        (void) sd_event_source_set_time_relative(s, 20 * USEC_PER_MSEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static void poll_free(HttpReq *q) {
        Poll *p = q->user;
        sd_event_source_disable_unref(p->timer);
        free(p);
}

static void poll_cancel(HttpReq *q) {
        Poll *p = q->user;
        p->timer = sd_event_source_disable_unref(p->timer);
}

static void long_poll(HttpReq *q, void *user) {
        World *w = user;
        Poll *p = xnew(Poll, 1);
        p->left = 3;
        q->user = p;
        q->on_free = poll_free;
        q->on_cancel = poll_cancel;
        http_start(q, 200);
        ASSERT_OK(sd_event_add_time_relative(w->event, &p->timer, CLOCK_MONOTONIC, 20 * USEC_PER_MSEC, 1,
                                             on_poll, q));
}

#define BIG_BYTES (8U << 20)

static void big_more(HttpReq *q) {
        static char block[64U << 10];
        size_t *left = q->user;
        int r = 0;
        while (*left > 0 && r == 0) {
                size_t n = MIN(*left, sizeof(block));
                r = http_write(q, block, n);
                ASSERT_TRUE(r >= 0);
                *left -= n;
        }
        ASSERT_TRUE(http_queued(q) < HTTP_WRITE_HIGH + sizeof(block) + 4096);
        if (*left == 0)
                http_finish(q);
}

static void big(HttpReq *q, void *user) {
        q->user = arena_new(&q->arena, size_t, 1);
        *(size_t *) q->user = BIG_BYTES;
        q->on_writable = big_more;
        http_start(q, 200);
        big_more(q);
}

static void count_data(HttpReq *q) {
        size_t *n = q->user;
        *n += q->body.len;
        http_consume(q, q->body.len);
        if (q->body_end)
                http_respondf(q, 200, "%zu\n", *n);
}

static void count(HttpReq *q, void *user) {
        q->user = arena_new(&q->arena, size_t, 1);
        q->on_data = count_data;
}

static unsigned n_cancelled, n_half_closed;

static void silent_data(HttpReq *q) {
        http_consume(q, q->body.len);
        n_half_closed += q->body_end;
}

static void silent_cancel(HttpReq *q) {
        n_cancelled++;
}

/* As attaching to a container that prints nothing. */
static void attach(HttpReq *q, void *user) {
        q->on_data = silent_data;
        q->on_cancel = silent_cancel;
        ASSERT_OK(http_hijack(q, 101));
}

static const HttpRoute routes[] = {
        { "/attach", HTTP_POST, 0, 0, attach },
        { "/hello", HTTP_GET | HTTP_HEAD, 0, 0, hello },
        { "/echo", HTTP_POST | HTTP_PUT, 0, 0, echo },
        { "/poll", HTTP_GET, 0, 0, long_poll },
        { "/big", HTTP_GET, 0, 0, big },
        { "/count", HTTP_POST, HTTP_ROUTE_STREAM, 0, count },
        {},
};

static void route(HttpReq *q, void *user) {
        http_route(routes, q, user);
}

static World *world_new(const HttpLimits *limits) {
        World *w = xnew(World, 1);
        strncpy(w->dir, "/tmp/http-test-XXXXXX", sizeof(w->dir) - 1);
        ASSERT_NOT_NULL(mkdtemp(w->dir));
        ASSERT_OK(sd_event_new(&w->event));
        HttpServerConfig config = { .event = w->event, .handler = route, .user = w };
        if (limits)
                config.limits = *limits;
        w->server = http_server_new(&config);
        ASSERT_NOT_NULL(w->server);
        ASSERT_OK(http_server_listen(w->server, "http://127.0.0.1:0", NULL, NULL));
        w->port = ASSERT_OK(http_server_port(w->server, 0));
        w->base = xasprintf("http://127.0.0.1:%d", w->port);
        return w;
}

static World *world_free(World *w) {
        if (!w)
                return NULL;
        http_server_free(w->server);
        sd_event_unref(w->event);
        (void) rm_rf(w->dir);
        free(w->base);
        free(w);
        return NULL;
}
DEFINE_CLEANUP(World *, world_free)

static void run_for(World *w, Usec time) {
        for (Usec end = now_monotonic() + time, now; (now = now_monotonic()) < end;)
                ASSERT_OK(sd_event_run(w->event, end - now));
}

/* Runs a shell command while the server serves; its output, or NULL when it exited with another status. */
static char *shell(World *w, const char *command, int want) {
        _cleanup_free_ char *out = xasprintf("%s/out", w->dir);
        pid_t pid = fork();
        ASSERT_OK(pid);
        if (pid == 0) {
                int fd = open(out, O_CREAT | O_TRUNC | O_WRONLY, 0600);
                if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
                        _exit(126);
                execl("/bin/sh", "sh", "-c", command, NULL);
                _exit(127);
        }
        int status;
        for (Usec end = now_monotonic() + 60 * USEC_PER_SEC; waitpid(pid, &status, WNOHANG) == 0;) {
                ASSERT_OK(sd_event_run(w->event, 10 * USEC_PER_MSEC));
                if (now_monotonic() > end) {
                        (void) kill(pid, SIGKILL);
                        test_fail(__FILE__, __LINE__, "timeout: %s", command);
                }
        }
        Buf b = {};
        ASSERT_OK(read_file(out, 16U << 20, &b));
        if (!WIFEXITED(status) || WEXITSTATUS(status) != want)
                test_fail(__FILE__, __LINE__, "%s: status %d\n%s", command, status, buf_str(&b));
        return buf_take(&b);
}

static void expect(World *w, const char *command, const char *want) {
        _cleanup_free_ char *full = str_replace(command, "URL", w->base);
        _cleanup_free_ char *got = shell(w, full, 0);
        ASSERT_STREQ(got, want);
}

static char *receive(World *w, int fd, Usec time, bool *ret_eof);

TEST(curl_on_both_wires) {
        _cleanup_(world_freep) World *w = world_new(NULL);
        static const char *const wires[] = { "--http1.1", "--http2-prior-knowledge", "--http1.0",
                                             "--http2" };
        for (size_t i = 0; i < ELEMENTSOF(wires); i++) {
                _cleanup_free_ char *get = xasprintf("curl -sS %s URL/hello", wires[i]);
                expect(w, get, "hello\n");
                _cleanup_free_ char *post = xasprintf("curl -sS %s -d abc URL/echo", wires[i]);
                expect(w, post, "abc");
                _cleanup_free_ char *poll = xasprintf("curl -sSN %s URL/poll", wires[i]);
                expect(w, poll, "event 3\nevent 2\nevent 1\n");
                _cleanup_free_ char *head = xasprintf("curl -sSI %s URL/hello | tr -d '\\r' | grep -ci -e "
                                                      "'content-length: 6' -e 'x-method: HEAD' -e '^date: '",
                                                      wires[i]);
                expect(w, head, "3\n");
                _cleanup_free_ char *none =
                                xasprintf("curl -sS %s -o /dev/null -w '%%{http_code}' URL/none", wires[i]);
                expect(w, none, "404");
        }
}

TEST(large_bodies_both_ways) {
        _cleanup_(world_freep) World *w = world_new(NULL);
        expect(w, "curl -sS --http1.1 URL/big | wc -c", "8388608\n");
        expect(w, "curl -sS --http2-prior-knowledge URL/big | wc -c", "8388608\n");
        expect(w, "head -c 5000000 /dev/zero | curl -sS --http1.1 --data-binary @- -H 'Expect:' URL/count",
               "5000000\n");
}

static void upload(World *w, const char *wire) {
        _cleanup_free_ char *c =
                        xasprintf("head -c 5000000 /dev/zero >%s/in; curl -sS %s -T %s/in -X POST %s/count",
                                  w->dir, wire, w->dir, w->base);
        _cleanup_free_ char *got = shell(w, c, 0);
        ASSERT_STREQ(got, "5000000\n");
        _cleanup_free_ char *d =
                        xasprintf("curl -sS %s -o /dev/null -w '%%{http_code}' -T %s/in -X POST %s/echo",
                                  wire, w->dir, w->base);
        _cleanup_free_ char *code = shell(w, d, 0);
        ASSERT_STREQ(code, "413");
}

TEST(uploads_and_their_limit) {
        _cleanup_(world_freep) World *w = world_new(NULL);
        upload(w, "--http1.1");
        upload(w, "--http2-prior-knowledge");
        upload(w, "--http1.1 -H 'Expect:'");
        upload(w, "--http1.1 -H 'Transfer-Encoding: chunked'");
}

TEST(unix_socket) {
        _cleanup_(world_freep) World *w = world_new(NULL);
        _cleanup_free_ char *url = xasprintf("unix://%s/s", w->dir);
        ASSERT_OK(http_server_listen(w->server, url, NULL, NULL));
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(http_server_listen(w->server, url, NULL, &err), -EADDRINUSE);
        _cleanup_free_ char *c = xasprintf("curl -sS --unix-socket %s/s http://x/hello", w->dir);
        _cleanup_free_ char *got = shell(w, c, 0);
        ASSERT_STREQ(got, "hello\n");
}

TEST(hijacked_client_goes_away) {
        static const char request[] =
                        "POST /attach HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        _cleanup_(world_freep) World *w = world_new(NULL);
        int pair[2];
        bool eof;
        n_cancelled = n_half_closed = 0;
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        ASSERT_OK(http_server_add_connection(w->server, pair[0], NULL, NULL));
        ASSERT_TRUE(send(pair[1], request, sizeof(request) - 1, 0) > 0);
        _cleanup_free_ char *got = receive(w, pair[1], 30 * USEC_PER_MSEC, &eof);
        ASSERT_TRUE(startswith(got, "HTTP/1.1 101 "));
        ASSERT_EQ(shutdown(pair[1], SHUT_WR), 0); /* stdin has ended; the output may go on */
        run_for(w, 30 * USEC_PER_MSEC);
        ASSERT_EQ(n_half_closed, 1);
        ASSERT_EQ(n_cancelled, 0);
        (void) close(pair[1]);
        run_for(w, 30 * USEC_PER_MSEC);
        ASSERT_EQ(n_cancelled, 1);
        ASSERT_EQ(http_server_connections(w->server), 0);
}

TEST(h2load_many_streams) {
        _cleanup_(world_freep) World *w = world_new(NULL);
        expect(w, "h2load -n 3000 -c 4 -m 50 URL/hello | grep -c '3000 succeeded, 0 failed'", "1\n");
        expect(w, "h2load --h1 -n 1000 -c 8 URL/hello | grep -c '1000 succeeded, 0 failed'", "1\n");
        expect(w, "h2load -n 40 -c 2 -m 20 URL/big | grep -c '40 succeeded, 0 failed'", "1\n");
        expect(w,
               "head -c 60000 /dev/zero >/tmp/h2load.$$; h2load -d /tmp/h2load.$$ -n 200 -c 2 -m 50 "
               "URL/echo "
               "| "
               "grep -c '200 succeeded, 0 failed'; rm /tmp/h2load.$$",
               "1\n");
        ASSERT_EQ(http_server_requests(w->server), 0);
}

static int dial(World *w) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in in = { .sin_family = AF_INET,
                                  .sin_port = htons((uint16_t) w->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        ASSERT_OK(fd);
        ASSERT_EQ(connect(fd, (struct sockaddr *) &in, sizeof(in)), 0);
        return fd;
}

/* What has arrived within `time`, as text; *ret_eof if the server closed. */
static char *receive(World *w, int fd, Usec time, bool *ret_eof) {
        Buf b = {};
        char tmp[4096];
        ssize_t n = 1;
        run_for(w, time);
        while ((n = recv(fd, tmp, sizeof(tmp), MSG_DONTWAIT)) > 0)
                buf_add(&b, tmp, (size_t) n);
        *ret_eof = n == 0 || (n < 0 && errno != EAGAIN);
        return buf_take(&b);
}

TEST(slowloris_is_cut_off) {
        HttpLimits limits = { .headers_timeout = 300 * USEC_PER_MSEC };
        _cleanup_(world_freep) World *w = world_new(&limits);
        _cleanup_close_ int fd = dial(w);
        bool eof = false;
        for (unsigned i = 0; i < 8 && !eof; i++) {
                (void) send(fd, i == 0 ? "GET /" : "a", i == 0 ? 5 : 1, MSG_NOSIGNAL);
                _cleanup_free_ char *got = receive(w, fd, 100 * USEC_PER_MSEC, &eof);
                if (*got) {
                        ASSERT_TRUE(startswith(got, "HTTP/1.1 408 "));
                        return;
                }
        }
        test_fail(__FILE__, __LINE__, "still open");
}

TEST(idle_connections_end) {
        HttpLimits limits = { .idle_timeout = 200 * USEC_PER_MSEC };
        _cleanup_(world_freep) World *w = world_new(&limits);
        _cleanup_close_ int fd = dial(w);
        bool eof;
        free(receive(w, fd, 800 * USEC_PER_MSEC, &eof));
        ASSERT_TRUE(eof);
        ASSERT_EQ(http_server_connections(w->server), 0);
}

TEST(connections_are_limited) {
        HttpLimits limits = { .connections = 2 };
        _cleanup_(world_freep) World *w = world_new(&limits);
        int fd[3];
        bool eof;
        for (size_t i = 0; i < 3; i++)
                fd[i] = dial(w);
        run_for(w, 50 * USEC_PER_MSEC);
        ASSERT_EQ(http_server_connections(w->server), 2);
        ASSERT_TRUE(send(fd[2], "GET /hello HTTP/1.0\r\n\r\n", 23, 0) == 23);
        (void) close(fd[0]);
        _cleanup_free_ char *got = receive(w, fd[2], 400 * USEC_PER_MSEC, &eof);
        ASSERT_TRUE(endswith(got, "hello\n"));
        (void) close(fd[1]);
        (void) close(fd[2]);
}

TEST(out_of_descriptors) {
        _cleanup_(world_freep) World *w = world_new(NULL);
        struct rlimit old, low;
        int fds[16], n = 0;
        bool eof;
        ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
        for (; n < 8; n++)
                fds[n] = dial(w);
        low = old;
        low.rlim_cur = (rlim_t) fds[n - 1] + 1; /* nothing left for accept() */
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
        run_for(w, 50 * USEC_PER_MSEC);
        ASSERT_EQ(http_server_connections(w->server), 0);
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
        ASSERT_TRUE(send(fds[0], "GET /hello HTTP/1.0\r\n\r\n", 23, 0) == 23);
        _cleanup_free_ char *got = receive(w, fds[0], 300 * USEC_PER_MSEC, &eof);
        ASSERT_TRUE(endswith(got, "hello\n"));
        while (n > 0)
                (void) close(fds[--n]);
}

static void on_stopped(void *user) {
        *(bool *) user = true;
}

TEST(graceful_stop) {
        _cleanup_(world_freep) World *w = world_new(NULL);
        _cleanup_close_ int busy = dial(w), idle = dial(w);
        bool stopped = false, eof;
        ASSERT_TRUE(send(busy, "GET /poll HTTP/1.1\r\nHost: h\r\n\r\n", 31, 0) == 31);
        run_for(w, 10 * USEC_PER_MSEC);
        http_server_stop(w->server, 5 * USEC_PER_SEC, on_stopped, &stopped);
        ASSERT_FALSE(stopped);
        _cleanup_free_ char *got = receive(w, busy, 300 * USEC_PER_MSEC, &eof);
        ASSERT_TRUE(endswith(got, "event 1\n\r\n0\r\n\r\n"));
        ASSERT_TRUE(eof);
        ASSERT_TRUE(stopped);
}

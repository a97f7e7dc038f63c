/* SPDX-License-Identifier: Apache-2.0 */

/* Listeners and accepted connections: joins sockets (http/poll.h) and the protocol engine (http/conn.h). */

#include "http/conn.h"
#include "http/listen.h"
#include "http/poll.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/log.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define ACCEPT_BATCH 64
#define ACCEPT_PAUSE (100 * USEC_PER_MSEC) /* when descriptors or connections have run out */
#define SCAN_MIN (250 * USEC_PER_MSEC)     /* between two looks at all deadlines */
#define WARN_INTERVAL (10 * USEC_PER_SEC)
#define LINGER_TIME (1 * USEC_PER_SEC)
#define LINGER_BYTES (1U << 20)
#define FLUSH_BYTES (1U << 20) /* written to one socket in one turn */

typedef struct Listener Listener;
typedef struct Link Link;

struct Listener {
        HttpServer *server; /* weak: the owner */
        int fd;             /* owned */
        sd_event_source *io;
        TlsContext *tls; /* reference; NULL = plain */
        char *unix_path; /* owned; removed at the end */
        LIST_LINK(Listener) link;
};

struct Link { /* one accepted connection */
        Channel ch;
        HttpServer *server;
        HttpConn *conn; /* owned; NULL during the TLS handshake */
        char peer[64];
        Usec since; /* handshake or lingering began */
        bool lingering;
        size_t lingered;
        LIST_LINK(Link) link;
};

struct HttpServer {
        HttpServerConfig config;
        char *server_header;
        sd_event *event;
        Poller *poller;
        sd_event_source *timer, *resume_timer, *stop_timer;
        Usec timer_at, warned;
        LIST_HEAD(Listener) listeners;
        LIST_HEAD(Link) links;
        size_t n_links;
        bool paused, stopping, freeing;
        void (*stopped)(void *user);
        void *stopped_user;
        char date[40];
        time_t date_sec;
};

static void link_flush(Channel *ch);
static void arm_timer(HttpServer *s, Usec at);
static void pause_accepting(HttpServer *s, bool pause);

/* ---- one connection ---- */

static void update_date(HttpServer *s) {
        time_t now = (time_t) (now_wall() / USEC_PER_SEC);
        struct tm tm;
        if (now == s->date_sec || !gmtime_r(&now, &tm))
                return;
        s->date_sec = now;
        (void) strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static Usec link_deadline(const Link *l) {
        if (l->lingering)
                return usec_add(l->since, LINGER_TIME);
        if (!l->conn)
                return usec_add(l->since, l->server->config.limits.headers_timeout);
        return http_conn_deadline(l->conn);
}

static void on_wake(void *owner) {
        Link *l = owner;
        channel_mark_dirty(&l->ch);
}

static void link_start(Link *l) {
        HttpServer *s = l->server;
        _cleanup_free_ char *name = l->ch.tls ? tls_session_peer_name(l->ch.tls) : NULL;
        HttpConnConfig config = {
                .handler = s->config.handler,
                .user = s->config.user,
                .limits = &s->config.limits,
                .peer = l->peer,
                .peer_name = name,
                .date = s->date,
                .server_header = s->server_header,
                .tls = l->ch.tls != NULL,
                .http2 = l->ch.tls && tls_session_is_http2(l->ch.tls),
                .on_wake = on_wake,
                .owner = l,
        };
        l->conn = http_conn_new(&config, now_monotonic());
        if (s->stopping)
                http_conn_shutdown(l->conn);
}

static void link_close(Link *l) {
        channel_kill(&l->ch);
}

/* The answer is out but the peer may still be sending: closing now would reset the connection and could
 * destroy the answer on its way. */
static void link_linger(Link *l, Usec now) {
        channel_shutdown_write(&l->ch);
        l->lingering = true;
        l->since = now;
        channel_interest(&l->ch, true, false);
        arm_timer(l->server, link_deadline(l));
}

static void link_drain(Link *l) {
        ssize_t n = channel_read(&l->ch, poller_buffer(l->ch.poller), POLL_READ_BYTES);
        if (n > 0)
                l->lingered += (size_t) n;
        if ((n <= 0 && n != -EAGAIN) || l->lingered > LINGER_BYTES)
                link_close(l);
}

static void link_handshake(Link *l) {
        char raw[16U << 10];
        ssize_t n = recv(l->ch.fd, raw, sizeof(raw), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                link_close(l);
                return;
        }
        tls_session_feed(l->ch.tls, raw, (size_t) n);
        int r = tls_session_handshake(l->ch.tls);
        tls_session_take_output(l->ch.tls, &l->ch.wire);
        ssize_t w = channel_write(&l->ch, NULL, 0);
        if (r < 0) {
                log_debug("http: %s: %s", l->peer, tls_session_problem(l->ch.tls));
                link_close(l);
        } else if (w < 0 && w != -EAGAIN) {
                link_close(l);
        } else {
                if (r > 0)
                        link_start(l);
                channel_interest(&l->ch, true, false);
        }
}

static void link_readable(Channel *ch) {
        Link *l = ch->user;
        if (l->lingering) {
                link_drain(l);
                return;
        }
        if (!l->conn) {
                link_handshake(l);
                if (ch->dead || !l->conn)
                        return;
        }
        update_date(l->server);
        char *buf = poller_buffer(ch->poller);
        for (unsigned i = 0; i < 4; i++) { /* more than once only for what TLS holds already */
                ssize_t n = channel_read(ch, buf, POLL_READ_BYTES);
                if (n == -EAGAIN)
                        break;
                Usec now = now_monotonic();
                if (n <= 0) {
                        http_conn_recv_eof(l->conn, now);
                        if (n < 0 || ch->hup) { /* nothing can be written either */
                                link_close(l);
                                return;
                        }
                        break;
                }
                http_conn_recv(l->conn, buf, (size_t) n, now);
                if (!channel_has_buffered(ch))
                        break;
        }
        channel_mark_dirty(ch);
}

static void link_flush(Channel *ch) {
        Link *l = ch->user;
        ssize_t r = channel_write(ch, NULL, 0); /* TLS records first */
        size_t total = 0;
        if (!l->conn || l->lingering) {
                if (r < 0 && r != -EAGAIN)
                        link_close(l);
                else
                        channel_interest(ch, true, false);
                return;
        }
        Usec now = now_monotonic();
        bool full = r == -EAGAIN;
        const void *p;
        for (size_t n; r >= 0 && total < FLUSH_BYTES && (n = http_conn_output(l->conn, &p, now)) > 0;) {
                r = channel_write(ch, p, n);
                if (r > 0) {
                        http_conn_sent(l->conn, (size_t) r, now);
                        total += (size_t) r;
                        full = (size_t) r < n;
                }
        }
        if (r < 0 && r != -EAGAIN) {
                link_close(l);
                return;
        }
        if (total >= FLUSH_BYTES || r == -EAGAIN)
                full = true;
        if (http_conn_finished(l->conn) && queue_len(&ch->wire) == 0) {
                if (http_conn_linger(l->conn))
                        link_linger(l, now);
                else
                        link_close(l);
                return;
        }
        channel_interest(ch, http_conn_want_read(l->conn), full);
        arm_timer(l->server, link_deadline(l));
}

static void link_free(Channel *ch) {
        Link *l = ch->user;
        HttpServer *s = l->server;
        l->conn = http_conn_free(l->conn);
        LIST_REMOVE(&s->links, l, link);
        s->n_links--;
        free(l);
        if (s->freeing)
                return;
        if (s->paused && !s->stopping && s->n_links < s->config.limits.connections)
                arm_timer(s, now_monotonic() + 1);
        if (s->stopping && s->n_links == 0 && s->stopped) {
                void (*stopped)(void *) = TAKE_PTR(s->stopped);
                stopped(s->stopped_user);
        }
}

static int add_link(HttpServer *s, int fd, TlsContext *tls, const char *peer) {
        Link *l = xnew(Link, 1);
        l->server = s;
        l->since = now_monotonic();
        (void) snprintf(l->peer, sizeof(l->peer), "%s", peer);
        l->ch = (Channel){ .poller = s->poller,
                           .fd = fd,
                           .on_readable = link_readable,
                           .on_flush = link_flush,
                           .on_free = link_free,
                           .user = l,
                           .tls = tls ? tls_session_new_server(tls) : NULL };
        int r = channel_add(&l->ch);
        if (r < 0) {
                tls_session_free(l->ch.tls);
                (void) safe_close(fd);
                free(l);
                return r;
        }
        LIST_APPEND(&s->links, l, link);
        s->n_links++;
        if (!tls)
                link_start(l);
        arm_timer(s, link_deadline(l));
        return 0;
}

/* ---- deadlines: one timer for all, set to the nearest; it only ever looks, the connections decide ---- */

static int on_timer(sd_event_source *source, uint64_t usec, void *user) {
        HttpServer *s = user;
        Usec now = now_monotonic(), next = USEC_NEVER;
        s->timer_at = USEC_NEVER;
        if (s->paused)
                pause_accepting(s, false);
        LIST_FOREACH(l, &s->links, link) {
                if (l->ch.dead)
                        continue;
                if (link_deadline(l) <= now) {
                        if (!l->conn || l->lingering) {
                                link_close(l);
                                continue;
                        }
                        http_conn_tick(l->conn, now);
                        channel_mark_dirty(&l->ch);
                }
                next = MIN(next, link_deadline(l));
        }
        if (next != USEC_NEVER)
                arm_timer(s, MAX(next, now + SCAN_MIN));
        return 0;
}

static void arm_timer(HttpServer *s, Usec at) {
        if (at >= s->timer_at)
                return;
        s->timer_at = at;
        (void) sd_event_source_set_time(s->timer, at);
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

/* ---- listeners ---- */

static void pause_accepting(HttpServer *s, bool pause) {
        if (s->paused == pause)
                return;
        s->paused = pause;
        LIST_FOREACH(i, &s->listeners, link)
                (void) sd_event_source_set_enabled(i->io, pause ? SD_EVENT_OFF : SD_EVENT_ON);
}

static int on_resume(sd_event_source *source, uint64_t usec, void *user) {
        HttpServer *s = user;
        if (s->n_links < s->config.limits.connections)
                pause_accepting(s, false);
        else
                (void) sd_event_source_set_time_relative(source, ACCEPT_PAUSE);
        (void) sd_event_source_set_enabled(source, s->paused ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        return 0;
}

static void accept_later(HttpServer *s, int error) {
        Usec now = now_monotonic();
        if (s->warned == 0 || usec_sub(now, s->warned) > WARN_INTERVAL) {
                s->warned = now;
                log_warning("http: %zu connections are open and no more are accepted: %s", s->n_links,
                            error ? strerror(error) : "that is the limit");
        }
        pause_accepting(s, true);
        if (!s->resume_timer) {
                (void) sd_event_add_time_relative(s->event, &s->resume_timer, CLOCK_MONOTONIC, ACCEPT_PAUSE,
                                                  1, on_resume, s);
                return;
        }
        (void) sd_event_source_set_time_relative(s->resume_timer, ACCEPT_PAUSE);
        (void) sd_event_source_set_enabled(s->resume_timer, SD_EVENT_ONESHOT);
}

static int on_accept(sd_event_source *source, int lfd, uint32_t revents, void *user) {
        Listener *l = user;
        HttpServer *s = l->server;
        for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
                if (s->n_links >= s->config.limits.connections) {
                        accept_later(s, 0);
                        return 0;
                }
                struct sockaddr_storage addr;
                socklen_t len = sizeof(addr);
                int fd = accept4(lfd, (struct sockaddr *) &addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                                accept_later(s, errno);
                        }
                        return 0;
                }
                char peer[64];
                socket_tune(fd, addr.ss_family);
                (void) add_link(s, fd, l->tls, socket_peer_text(&addr, peer, sizeof(peer)));
        }
        return 0;
}

int http_server_listen_fd(HttpServer *s, int fd, TlsContext *tls, Err *err) {
        Listener *l = xnew(Listener, 1);
        l->server = s;
        l->fd = fd;
        int r = socket_set_nonblock(fd);
        if (r >= 0)
                r = sd_event_add_io(s->event, &l->io, fd, EPOLLIN, on_accept, l);
        if (r < 0) {
                free(l);
                return err_errno(err, r, "cannot watch the listening socket");
        }
        l->tls = tls_context_ref(tls);
        LIST_APPEND(&s->listeners, l, link);
        return 0;
}

int http_server_listen(HttpServer *s, const char *url, TlsContext *tls, Err *err) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *path = NULL;
        bool secure = false;
        int r = socket_listen(url, &fd, &path, &secure, err);
        if (r < 0)
                return r;
        if (secure && !tls)
                return err_set(err, -EINVAL, "%s: https needs a certificate and a key", url);
        r = http_server_listen_fd(s, fd, secure ? tls : NULL, err);
        if (r < 0)
                return r;
        (void) TAKE_FD(fd);
        s->listeners.last->unix_path = TAKE_PTR(path);
        return 0;
}

int http_server_add_connection(HttpServer *s, int fd, TlsContext *tls, Err *err) {
        int r = socket_set_nonblock(fd);
        if (r < 0)
                return err_errno(err, r, "cannot use the connection");
        r = add_link(s, fd, tls, "socket");
        return r < 0 ? err_errno(err, r, "cannot watch the connection") : 0;
}

int http_server_port(const HttpServer *s, size_t n) {
        LIST_FOREACH(l, &s->listeners, link) {
                int port = socket_port(l->fd);
                if (port >= 0 && n-- == 0)
                        return port;
        }
        return -ENOENT;
}

static void drop_listeners(HttpServer *s) {
        while (s->listeners.first) {
                Listener *l = s->listeners.first;
                LIST_REMOVE(&s->listeners, l, link);
                sd_event_source_disable_unref(l->io);
                tls_context_unref(l->tls);
                if (l->unix_path)
                        (void) unlink(l->unix_path);
                (void) safe_close(l->fd);
                free(l->unix_path);
                free(l);
        }
}

/* ---- the server ---- */

HttpServer *http_server_new(const HttpServerConfig *config) {
        assert(config->event && config->handler);
        HttpServer *s = xnew(HttpServer, 1);
        s->config = *config;
        http_limits_fill(&s->config.limits);
        s->server_header = config->server_header ? xstrdup(config->server_header) : NULL;
        s->event = sd_event_ref(config->event);
        s->poller = poller_new(s->event);
        s->timer_at = USEC_NEVER;
        /* The timers exist from the start: when descriptors have run out it is too late to make one. */
        if (!s->poller ||
            sd_event_add_time(s->event, &s->timer, CLOCK_MONOTONIC, USEC_NEVER, 1, on_timer, s) < 0 ||
            sd_event_add_time(s->event, &s->resume_timer, CLOCK_MONOTONIC, USEC_NEVER, 1, on_resume, s) < 0)
                return http_server_free(s);
        update_date(s);
        return s;
}

size_t http_server_connections(const HttpServer *s) {
        return s->n_links;
}

size_t http_server_requests(const HttpServer *s) {
        size_t n = 0;
        LIST_FOREACH(l, &s->links, link)
                n += l->conn ? http_conn_requests(l->conn) : 0;
        return n;
}

static int on_stop_timeout(sd_event_source *source, uint64_t usec, void *user) {
        HttpServer *s = user;
        LIST_FOREACH(l, &s->links, link)
                link_close(l);
        return 0;
}

static int on_stop_empty(sd_event_source *source, uint64_t usec, void *user) {
        HttpServer *s = user;
        if (s->n_links == 0 && s->stopped) {
                void (*stopped)(void *) = TAKE_PTR(s->stopped);
                stopped(s->stopped_user);
        } else {
                (void) on_stop_timeout(source, usec, user);
        }
        return 0;
}

void http_server_stop(HttpServer *s, Usec grace, void (*done)(void *user), void *user) {
        if (s->stopping)
                return;
        s->stopping = true;
        s->stopped = done;
        s->stopped_user = user;
        drop_listeners(s);
        LIST_FOREACH(l, &s->links, link) {
                if (l->conn && !l->lingering) {
                        http_conn_shutdown(l->conn);
                        channel_mark_dirty(&l->ch);
                } else {
                        link_close(l);
                }
        }
        /* Without connections done() still comes from the loop, not from here. */
        (void) sd_event_add_time_relative(s->event, &s->stop_timer, CLOCK_MONOTONIC,
                                          s->n_links > 0 ? grace : 0, 1, on_stop_empty, s);
}

HttpServer *http_server_free(HttpServer *s) {
        if (!s)
                return NULL;
        s->freeing = true;
        drop_listeners(s);
        LIST_FOREACH(l, &s->links, link)
                channel_kill(&l->ch);
        if (s->poller)
                poller_bury(s->poller);
        assert(s->n_links == 0);
        sd_event_source_disable_unref(s->timer);
        sd_event_source_disable_unref(s->resume_timer);
        sd_event_source_disable_unref(s->stop_timer);
        poller_unref(s->poller);
        sd_event_unref(s->event);
        free(s->server_header);
        free(s);
        return NULL;
}

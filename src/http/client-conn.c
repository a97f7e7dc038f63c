/* SPDX-License-Identifier: Apache-2.0 */

/* Connections of the client: resolving, connecting, TLS, reading, writing, keep-alive, the end. */

#include "http/client-internal.h"
#include "http/listen.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static void try_next_address(ClientConn *c);
static void flush(Channel *ch);

static const char *place(const ClientConn *c, char *buf, size_t n) {
        if (c->origin->unix_path)
                (void) snprintf(buf, n, "unix://%s", c->origin->unix_path);
        else
                (void) snprintf(buf, n, strchr(c->origin->host, ':') ? "[%s]:%u" : "%s:%u", c->origin->host,
                                c->origin->port);
        return buf;
}

/* ---- timers: connecting, silence, idleness ---- */

static int on_conn_timer(sd_event_source *s, uint64_t usec, void *user) {
        ClientConn *c = user;
        HttpClient *client = c->client;
        char where[128], text[200];
        if (c->state < CONN_READY) {
                (void) snprintf(text, sizeof(text), "connect %s: no answer in time",
                                place(c, where, sizeof(where)));
                conn_fail(c, -ETIMEDOUT, text);
                return 0;
        }
        Usec now = now_monotonic(), silent = usec_sub(now, c->last_in);
        if (c->n_calls == 0) {
                if (silent >= client->config.idle_timeout)
                        conn_fail(c, -ETIMEDOUT, "idle");
                else
                        conn_arm(c, client->config.idle_timeout - silent);
        } else if (!c->h2) {
                return 0;
        } else if (c->ping_out && silent >= client->config.ping_timeout) {
                (void) snprintf(text, sizeof(text), "%s does not answer any more",
                                place(c, where, sizeof(where)));
                conn_fail(c, -ETIMEDOUT, text);
        } else if (silent >= client->config.ping_interval) {
                ch2_ping(c);
                c->ping_out = true;
                conn_arm(c, client->config.ping_timeout);
        } else {
                conn_arm(c, client->config.ping_interval - silent);
        }
        return 0;
}

void conn_arm(ClientConn *c, Usec in) {
        if (!c->timer) {
                (void) sd_event_add_time_relative(c->client->event, &c->timer, CLOCK_MONOTONIC, in, 1,
                                                  on_conn_timer, c);
                return;
        }
        (void) sd_event_source_set_time_relative(c->timer, in);
        (void) sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

void conn_watch(ClientConn *c) {
        conn_arm(c,
                 c->h2 && c->n_calls > 0 ? c->client->config.ping_interval : c->client->config.idle_timeout);
}

/* ---- the end ---- */

void conn_free_now(ClientConn *c) {
        assert(c->n_calls == 0 && !c->in_poller);
        LIST_REMOVE(&c->origin->conns, c, link);
        sd_event_source_disable_unref(c->timer);
        resolve_free(c->resolution);
        nghttp2_session_del(c->session);
        queue_done(&c->out);
        tls_session_free(c->ch.tls);
        (void) safe_close(c->ch.fd);
        free(c);
}

static void on_channel_free(Channel *ch) {
        ClientConn *c = ch->user;
        c->in_poller = false;
        client_wake(c->client);
}

/* Calls that wait for a connection of this origin and have no other that is being opened: they fail with it.
 */
static void fail_waiting(Origin *o, int r, const char *problem) {
        size_t opening = 0, waiting = 0;
        LIST_FOREACH(c, &o->conns, link)
                opening += c->state < CONN_READY;
        LIST_FOREACH(p, &o->waiting, link)
                waiting++;
        if (o->h2 && opening > 0)
                return;
        for (; waiting > opening && o->waiting.first; waiting--)
                call_end(o->waiting.first, r, problem);
}

static void leave(ClientConn *c) {
        c->state = CONN_CLOSED;
        c->timer = sd_event_source_disable_unref(c->timer);
        c->resolution = resolve_free(c->resolution);
        if (c->in_poller)
                channel_kill(&c->ch);
        client_wake(c->client);
}

void conn_fail(ClientConn *c, int r, const char *problem) {
        if (c->state == CONN_CLOSED)
                return;
        bool opening = c->state < CONN_READY;
        char text[256];
        (void) snprintf(text, sizeof(text), "%s", problem);
        leave(c);
        while (c->calls.first) {
                HttpCallPrivate *p = c->calls.first;
                bool harmless = streq(p->method, "GET") || streq(p->method, "HEAD");
                bool stale = !c->h2 && c->reused && !c->got_bytes && harmless && r != -ETIMEDOUT &&
                             r != -ECANCELED;
                if ((!p->call->sent || stale) && call_repeat(p))
                        continue;
                call_end(p, r, text);
        }
        if (opening && !c->client->freeing)
                fail_waiting(c->origin, r, text);
}

/* ---- opening ---- */

static void conn_ready(ClientConn *c, bool h2) {
        c->state = CONN_READY;
        c->h2 = h2;
        c->last_in = now_monotonic();
        if (!h2)
                ch1_init(c);
        else if (ch2_init(c) < 0) {
                conn_fail(c, -EPROTO, "cannot begin HTTP/2");
                return;
        }
        conn_watch(c);
        conn_touch(c);
        client_wake(c->client);
}

static void handshake(ClientConn *c) {
        char text[300];
        int r = tls_session_handshake(c->ch.tls);
        tls_session_take_output(c->ch.tls, &c->ch.wire);
        ssize_t w = channel_write(&c->ch, NULL, 0);
        if (r < 0 || (w < 0 && w != -EAGAIN)) {
                char where[128];
                (void) snprintf(text, sizeof(text), "%s: %s", place(c, where, sizeof(where)),
                                tls_session_problem(c->ch.tls));
                conn_fail(c, -EPROTO, text);
                return;
        }
        channel_interest(&c->ch, true, false);
        if (r == 0)
                return;
        bool h2 = tls_session_is_http2(c->ch.tls);
        if (c->origin->h2 && !h2)
                conn_fail(c, -EPROTO, "the server does not speak HTTP/2");
        else
                conn_ready(c, h2);
}

static TlsContext *client_tls(HttpClient *client) {
        if (!client->tls) {
                TlsClientConfig config = {};
                (void) tls_client_context_new(&config, &client->tls, NULL);
        }
        return client->tls;
}

static void on_connected(Channel *ch, int r) {
        ClientConn *c = ch->user;
        if (r < 0) {
                char where[128];
                (void) snprintf(c->problem, sizeof(c->problem), "connect %s: %s",
                                place(c, where, sizeof(where)), strerror(-r));
                if (c->at_address < c->n_addresses) {
                        /* A channel is one socket: the next address is tried by a new connection. */
                        ClientConn *next = xnew(ClientConn, 1);
                        next->client = c->client;
                        next->origin = c->origin;
                        next->ch.fd = -EBADF;
                        memcpy(next->addresses, c->addresses, sizeof(c->addresses));
                        memcpy(next->address_len, c->address_len, sizeof(c->address_len));
                        next->n_addresses = c->n_addresses;
                        next->at_address = c->at_address;
                        LIST_APPEND(&c->origin->conns, next, link);
                        conn_arm(next, c->client->config.connect_timeout);
                        try_next_address(next);
                }
                conn_fail(c, r, c->problem);
                return;
        }
        channel_interest(ch, true, false);
        if (!c->origin->tls) {
                conn_ready(c, c->origin->h2);
                return;
        }
        c->state = CONN_HANDSHAKE;
        ch->tls = tls_session_new_client(client_tls(c->client), c->origin->host, c->origin->h2);
        handshake(c);
}

/* ---- reading and writing ---- */

static void closed_by_peer(ClientConn *c, ssize_t r) {
        char where[128], text[200];
        if (r == 0 && !c->h2 && c->state == CONN_READY) {
                ch1_eof(c);
                if (c->state == CONN_CLOSED)
                        return;
        }
        (void) snprintf(text, sizeof(text), "%s: %s", place(c, where, sizeof(where)),
                        r < 0 ? strerror((int) -r) : "the connection was closed");
        conn_fail(c, r < 0 ? (int) r : -ECONNRESET, text);
}

static bool want_read(const ClientConn *c) {
        const HttpCallPrivate *p = c->calls.first;
        return c->h2 || !p || !p->config.on_data || p->call->body.len < HTTP_READ_HIGH;
}

static void read_handshake(ClientConn *c) {
        char raw[16U << 10];
        ssize_t n = recv(c->ch.fd, raw, sizeof(raw), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                closed_by_peer(c, n < 0 ? -errno : 0);
                return;
        }
        tls_session_feed(c->ch.tls, raw, (size_t) n);
        handshake(c);
}

static void on_readable(Channel *ch) {
        ClientConn *c = ch->user;
        if (c->state == CONN_HANDSHAKE) {
                read_handshake(c);
                if (c->state != CONN_READY || !channel_has_buffered(ch))
                        return;
        }
        char *buf = poller_buffer(ch->poller);
        do {
                ssize_t n = channel_read(ch, buf, POLL_READ_BYTES);
                if (n == -EAGAIN)
                        break;
                if (n <= 0) {
                        closed_by_peer(c, n);
                        return;
                }
                c->last_in = now_monotonic();
                c->ping_out = false;
                c->got_bytes = true;
                int r = c->h2 ? ch2_recv(c, buf, (size_t) n) : ch1_recv(c, buf, (size_t) n);
                if (c->state == CONN_CLOSED)
                        return;
                if (r < 0) {
                        conn_fail(c, -EPROTO, c->problem[0] ? c->problem : "malformed answer");
                        return;
                }
        } while (channel_has_buffered(ch));
        conn_touch(c);
}

static void notify_writable(ClientConn *c) {
        LIST_FOREACH(p, &c->calls, link) {
                size_t queued = c->h2 ? queue_len(&p->out) : queue_len(&c->out);
                if (!p->high || queued >= HTTP_WRITE_HIGH / 4)
                        continue;
                p->high = false;
                if (p->config.on_writable)
                        p->config.on_writable(p->call, p->config.user);
                if (c->state == CONN_CLOSED)
                        return;
        }
}

static void flush(Channel *ch) {
        ClientConn *c = ch->user;
        ssize_t r = channel_write(ch, NULL, 0);
        while (r >= 0 && c->state == CONN_READY) {
                if (c->h2 && ch2_fill(c) < 0) {
                        conn_fail(c, -EPROTO, "HTTP/2 failed");
                        return;
                }
                if (queue_len(&c->out) == 0)
                        break;
                r = channel_write(ch, queue_data(&c->out), queue_len(&c->out));
                if (r > 0)
                        queue_drop(&c->out, (size_t) r);
        }
        if (r < 0 && r != -EAGAIN) {
                closed_by_peer(c, r);
                return;
        }
        if (c->state != CONN_READY)
                return;
        notify_writable(c);
        if (c->state != CONN_READY)
                return;
        if (c->h2 && !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session)) {
                conn_fail(c, -ECONNRESET, "the server closed the connection");
                return;
        }
        channel_interest(ch, want_read(c), queue_len(&c->out) > 0);
}

void conn_touch(ClientConn *c) {
        if (c->in_poller && c->state >= CONN_HANDSHAKE)
                channel_mark_dirty(&c->ch);
}

void conn_idle(ClientConn *c) {
        size_t idle = 0;
        LIST_FOREACH(i, &c->origin->conns, link)
                idle += i->state == CONN_READY && i->n_calls == 0;
        if (idle > HTTP_CLIENT_IDLE_PER_ORIGIN || c->going_away) {
                conn_fail(c, -ECANCELED, "not needed any more");
                return;
        }
        c->got_bytes = false;
        conn_watch(c);
        client_wake(c->client);
}

/* ---- where to connect ---- */

static int connect_to(ClientConn *c, const struct sockaddr_storage *addr, socklen_t len) {
        int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        socket_tune(fd, addr->ss_family);
        if (connect(fd, (const struct sockaddr *) addr, len) < 0 && errno != EINPROGRESS) {
                int r = -errno;
                (void) safe_close(fd);
                return r;
        }
        c->state = CONN_CONNECTING;
        c->ch = (Channel){ .poller = c->client->poller,
                           .fd = fd,
                           .connecting = true,
                           .on_connected = on_connected,
                           .on_readable = on_readable,
                           .on_flush = flush,
                           .on_free = on_channel_free,
                           .user = c };
        int r = channel_add(&c->ch);
        if (r < 0) {
                (void) safe_close(fd);
                c->ch.fd = -EBADF;
                return r;
        }
        c->in_poller = true;
        return 0;
}

static void try_next_address(ClientConn *c) {
        int r = -EHOSTUNREACH;
        char where[128];
        while (c->at_address < c->n_addresses) {
                size_t i = c->at_address++;
                r = connect_to(c, &c->addresses[i], c->address_len[i]);
                if (r >= 0)
                        return;
        }
        (void) snprintf(c->problem, sizeof(c->problem), "connect %s: %s", place(c, where, sizeof(where)),
                        strerror(-r));
        conn_fail(c, r, c->problem);
}

static void on_resolved(int error, const struct sockaddr_storage *addresses, const socklen_t *lengths,
                        size_t n, void *user) {
        ClientConn *c = user;
        c->resolution = resolve_free(c->resolution);
        if (error != 0) {
                (void) snprintf(c->problem, sizeof(c->problem), "cannot resolve %s: %s", c->origin->host,
                                gai_strerror(error));
                conn_fail(c, -EHOSTUNREACH, c->problem);
                return;
        }
        memcpy(c->addresses, addresses, n * sizeof(*addresses));
        memcpy(c->address_len, lengths, n * sizeof(*lengths));
        c->n_addresses = n;
        try_next_address(c);
}

ClientConn *conn_open(Origin *o) {
        ClientConn *c = xnew(ClientConn, 1);
        c->client = o->client;
        c->origin = o;
        c->ch.fd = -EBADF;
        LIST_APPEND(&o->conns, c, link);
        conn_arm(c, o->client->config.connect_timeout);
        int r = o->unix_path ? socket_unix_address(o->unix_path, &c->addresses[0], &c->address_len[0])
                             : socket_address(o->host, o->port, &c->addresses[0], &c->address_len[0]);
        if (r >= 0) {
                c->n_addresses = 1;
                try_next_address(c);
        } else if (!o->unix_path) {
                r = resolve_start(o->client->event, o->host, o->port, on_resolved, c, &c->resolution);
        }
        if (r < 0) {
                (void) snprintf(c->problem, sizeof(c->problem), "connect %s: %s", o->unix_path ?: o->host,
                                strerror(-r));
                conn_fail(c, r, c->problem);
        }
        return c->state == CONN_CLOSED ? NULL : c;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "http/poll.h"
#include "base/alloc.h"
#include "sys/fs.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#define POLL_BATCH 256

struct Poller {
        unsigned refs;
        int fd;
        sd_event *event;
        sd_event_source *io, *flush; /* owned */
        LIST_HEAD(Channel) dirty;
        LIST_HEAD(Channel) graveyard;
        bool in_batch;
        char buffer[POLL_READ_BYTES];
};

char *poller_buffer(Poller *p) {
        return p->buffer;
}

/* Marks may be set again by the callbacks: a bounded number of rounds, the rest in the next turn. */
static void flush_dirty(Poller *p) {
        for (unsigned round = 0; round < 4 && p->dirty.first; round++) {
                Channel *last = p->dirty.last;
                for (bool end = false; !end && p->dirty.first;) {
                        Channel *ch = p->dirty.first;
                        end = ch == last;
                        LIST_REMOVE(&p->dirty, ch, link);
                        ch->dirty = false;
                        if (!ch->dead && !ch->connecting)
                                ch->on_flush(ch);
                }
        }
        if (p->dirty.first)
                (void) sd_event_source_set_enabled(p->flush, SD_EVENT_ONESHOT);
}

void poller_bury(Poller *p) {
        while (p->graveyard.first) {
                Channel *ch = p->graveyard.first;
                LIST_REMOVE(&p->graveyard, ch, dead_link);
                if (ch->dirty)
                        LIST_REMOVE(&p->dirty, ch, link);
                ch->dirty = false;
                ch->fd = safe_close(ch->fd);
                tls_session_free(TAKE_PTR(ch->tls));
                queue_done(&ch->wire);
                Poller *ref = TAKE_PTR(ch->poller);
                ch->on_free(ch);
                poller_unref(ref);
        }
}

static void end_batch(Poller *p) {
        flush_dirty(p);
        p->in_batch = false;
        poller_bury(p);
}

static void connected(Channel *ch) {
        int error = 0;
        socklen_t len = sizeof(error);
        if (getsockopt(ch->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
                error = errno;
        ch->connecting = false;
        ch->on_connected(ch, -error);
}

static void ready(Channel *ch, uint32_t revents) {
        if (ch->dead)
                return;
        if (ch->connecting) {
                connected(ch);
                return;
        }
        ch->hup = revents & (EPOLLHUP | EPOLLERR);
        if (revents & EPOLLOUT)
                channel_mark_dirty(ch);
        if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
                ch->on_readable(ch);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *user) {
        Poller *p = poller_ref(user);
        struct epoll_event events[POLL_BATCH];
        int n = epoll_wait(fd, events, POLL_BATCH, 0);
        p->in_batch = true;
        for (int i = 0; i < n; i++)
                ready(events[i].data.ptr, events[i].events);
        end_batch(p);
        poller_unref(p);
        return 0;
}

static int on_flush_event(sd_event_source *s, void *user) {
        Poller *p = poller_ref(user);
        p->in_batch = true;
        end_batch(p);
        poller_unref(p);
        return 0;
}

Poller *poller_new(sd_event *event) {
        Poller *p = xnew(Poller, 1);
        p->refs = 1;
        p->event = sd_event_ref(event);
        p->fd = epoll_create1(EPOLL_CLOEXEC);
        if (p->fd < 0 || sd_event_add_io(event, &p->io, p->fd, EPOLLIN, on_io, p) < 0 ||
            sd_event_add_defer(event, &p->flush, on_flush_event, p) < 0)
                return poller_unref(p);
        (void) sd_event_source_set_enabled(p->flush, SD_EVENT_OFF);
        return p;
}

Poller *poller_ref(Poller *p) {
        p->refs++;
        return p;
}

Poller *poller_unref(Poller *p) {
        if (!p || --p->refs > 0)
                return NULL;
        sd_event_source_disable_unref(p->io);
        sd_event_source_disable_unref(p->flush);
        (void) safe_close(p->fd);
        sd_event_unref(p->event);
        free(p);
        return NULL;
}

/* ---- channels ---- */

static void want_turn(Poller *p) {
        if (!p->in_batch)
                (void) sd_event_source_set_enabled(p->flush, SD_EVENT_ONESHOT);
}

int channel_add(Channel *ch) {
        poller_ref(ch->poller);
        ch->events = (ch->connecting ? EPOLLOUT : EPOLLIN) | EPOLLRDHUP;
        struct epoll_event e = { .events = ch->events, .data.ptr = ch };
        if (epoll_ctl(ch->poller->fd, EPOLL_CTL_ADD, ch->fd, &e) < 0) {
                int r = -errno;
                poller_unref(ch->poller);
                return r;
        }
        ch->in_list = true;
        return 0;
}

void channel_kill(Channel *ch) {
        if (ch->dead)
                return;
        ch->dead = true;
        assert(ch->in_list);
        (void) epoll_ctl(ch->poller->fd, EPOLL_CTL_DEL, ch->fd, NULL);
        LIST_APPEND(&ch->poller->graveyard, ch, dead_link);
        want_turn(ch->poller);
}

void channel_mark_dirty(Channel *ch) {
        if (ch->dirty || ch->dead)
                return;
        ch->dirty = true;
        LIST_APPEND(&ch->poller->dirty, ch, link);
        want_turn(ch->poller);
}

void channel_interest(Channel *ch, bool read, bool write) {
        uint32_t want = (read && !ch->eof ? EPOLLIN | EPOLLRDHUP : 0) |
                        (write || queue_len(&ch->wire) > 0 ? EPOLLOUT : 0);
        if (want == ch->events || ch->dead)
                return;
        struct epoll_event e = { .events = want, .data.ptr = ch };
        if (epoll_ctl(ch->poller->fd, EPOLL_CTL_MOD, ch->fd, &e) >= 0)
                ch->events = want;
}

static ssize_t sock_read(Channel *ch, void *to, size_t n) {
        ssize_t r = recv(ch->fd, to, n, 0);
        if (r < 0)
                r = errno == EINTR ? -EAGAIN : -errno;
        else if (r == 0)
                ch->eof = true;
        return r;
}

ssize_t channel_read(Channel *ch, char *to, size_t n) {
        if (!ch->tls)
                return sock_read(ch, to, n);
        ssize_t plain = tls_session_read(ch->tls, to, n);
        if (plain != -EAGAIN)
                return plain;
        char raw[16U << 10];
        ssize_t r = sock_read(ch, raw, sizeof(raw));
        if (r <= 0)
                return r;
        tls_session_feed(ch->tls, raw, (size_t) r);
        plain = tls_session_read(ch->tls, to, n);
        tls_session_take_output(ch->tls, &ch->wire);
        if (queue_len(&ch->wire) > 0)
                channel_mark_dirty(ch);
        return plain;
}

bool channel_has_buffered(const Channel *ch) {
        return ch->tls && tls_session_has_plain(ch->tls);
}

static ssize_t sock_write(Channel *ch, const void *p, size_t n) {
        ssize_t r = send(ch->fd, p, n, MSG_NOSIGNAL);
        if (r < 0)
                r = errno == EINTR ? -EAGAIN : -errno;
        return r;
}

/* Sends what waits of the TLS records: 0 when all is gone. */
static ssize_t flush_wire(Channel *ch) {
        while (queue_len(&ch->wire) > 0) {
                ssize_t r = sock_write(ch, queue_data(&ch->wire), queue_len(&ch->wire));
                if (r < 0)
                        return r;
                queue_drop(&ch->wire, (size_t) r);
        }
        return 0;
}

ssize_t channel_write(Channel *ch, const void *p, size_t n) {
        if (!ch->tls)
                return n > 0 ? sock_write(ch, p, n) : 0;
        ssize_t r = flush_wire(ch);
        if (r < 0 || n == 0)
                return r;
        n = MIN(n, (size_t) (64U << 10));
        r = tls_session_write(ch->tls, p, n);
        if (r < 0)
                return r;
        tls_session_take_output(ch->tls, &ch->wire);
        r = flush_wire(ch);
        return r < 0 && r != -EAGAIN ? r : (ssize_t) n;
}

void channel_shutdown_write(Channel *ch) {
        if (ch->tls && tls_session_ready(ch->tls)) {
                tls_session_close(ch->tls);
                tls_session_take_output(ch->tls, &ch->wire);
                (void) flush_wire(ch);
        }
        (void) shutdown(ch->fd, SHUT_WR);
}

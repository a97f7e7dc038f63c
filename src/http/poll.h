/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sockets in batches. sd-event dispatches one source per turn and asks the kernel before each; a server with
 * many busy connections spends half its time there. A Poller is one epoll set inside the loop: one turn
 * handles every socket that is ready, then writes what the handlers produced, then frees what died. So
 * answers to requests of one batch leave together, and nothing is freed while callbacks run.
 *
 * A Channel is one connected stream socket in a Poller, with or without TLS. Private to src/http. */

#include "base/list.h"
#include "base/queue.h"
#include "base/time.h"
#include "http/tls-session.h"

#include <systemd/sd-event.h>

#define POLL_READ_BYTES (64U << 10) /* at most, of one socket in one turn */

typedef struct Poller Poller;
typedef struct Channel Channel;

Poller *poller_new(sd_event *event);
Poller *poller_unref(Poller *p); /* channels keep a reference */
Poller *poller_ref(Poller *p);
void poller_bury(Poller *p);    /* frees killed channels now; not from inside a callback */
char *poller_buffer(Poller *p); /* POLL_READ_BYTES of scratch memory */

struct Channel {
        Poller *poller; /* reference */
        int fd;         /* owned */
        uint32_t events;
        TlsSession *tls; /* owned; NULL = plain */
        ByteQueue wire;  /* TLS records that the socket did not take yet */
        bool connecting; /* on_connected() is owed */
        bool dirty, dead, in_list, eof;
        bool hup;                     /* the kernel says that neither direction works any more */
        LIST_LINK(Channel) link;      /* of poller->dirty */
        LIST_LINK(Channel) dead_link; /* of poller->graveyard */
        /* connecting ended: r is 0 or a negative errno */
        void (*on_connected)(Channel *ch, int r);
        void (*on_readable)(Channel *ch);
        void (*on_flush)(Channel *ch); /* was marked dirty, or can be written again */
        void (*on_free)(Channel *ch);  /* after channel_kill(), outside of every callback: free the owner */
        void *user;
};

/* Begins to watch ch->fd; poller, fd, callbacks and tls must be set. */
int channel_add(Channel *ch);
/* No callback but on_free() follows. */
void channel_kill(Channel *ch);
void channel_mark_dirty(Channel *ch); /* on_flush() soon */
/* Which directions to wait for. EPOLLOUT is added by itself while TLS records wait. */
void channel_interest(Channel *ch, bool read, bool write);
/* Plain bytes. > 0; 0 = the peer closed; -EAGAIN; other negative errno: broken. */
ssize_t channel_read(Channel *ch, char *to, size_t n);
ssize_t channel_write(Channel *ch, const void *p, size_t n);
bool channel_has_buffered(const Channel *ch); /* decrypted bytes wait inside OpenSSL */
void channel_shutdown_write(Channel *ch);

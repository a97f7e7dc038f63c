/* SPDX-License-Identifier: Apache-2.0 */
#include "http/resolve.h"
#include "base/alloc.h"
#include "sys/fs.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

typedef struct Question { /* shared by the loop and the thread; the last one frees it */
        atomic_int refs;
        char host[256], port[8];
        int fd; /* eventfd: the answer is there */
        int error;
        size_t n;
        struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX];
        socklen_t lengths[RESOLVE_ADDRESSES_MAX];
} Question;

struct Resolution {
        Question *question;
        sd_event_source *io;
        ResolveDone done;
        void *user;
};

static void question_unref(Question *q) {
        if (atomic_fetch_sub(&q->refs, 1) > 1)
                return;
        (void) safe_close(q->fd);
        free(q);
}

static void *ask(void *arg) {
        Question *q = arg;
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list = NULL;
        q->error = getaddrinfo(q->host, q->port, &hints, &list);
        for (struct addrinfo *i = list; i && q->n < RESOLVE_ADDRESSES_MAX; i = i->ai_next) {
                if (i->ai_addrlen > sizeof(q->addresses[0]))
                        continue;
                memcpy(&q->addresses[q->n], i->ai_addr, i->ai_addrlen);
                q->lengths[q->n++] = i->ai_addrlen;
        }
        if (list)
                freeaddrinfo(list);
        if (q->error == 0 && q->n == 0)
                q->error = EAI_NONAME;
        uint64_t one = 1;
        (void) !write(q->fd, &one, sizeof(one));
        question_unref(q);
        return NULL;
}

static int on_answer(sd_event_source *s, int fd, uint32_t revents, void *user) {
        Resolution *r = user;
        Question *q = r->question;
        (void) sd_event_source_set_enabled(s, SD_EVENT_OFF);
        atomic_fetch_add(&q->refs, 1); /* done() may free r */
        r->done(q->error, q->addresses, q->lengths, q->n, r->user);
        question_unref(q);
        return 0;
}

int resolve_start(sd_event *event, const char *host, uint16_t port, ResolveDone done, void *user,
                  Resolution **ret) {
        pthread_t thread;
        pthread_attr_t attr;
        if (strlen(host) >= sizeof(((Question *) NULL)->host))
                return -EINVAL;
        Question *q = xnew(Question, 1);
        q->refs = 1;
        (void) snprintf(q->host, sizeof(q->host), "%s", host);
        (void) snprintf(q->port, sizeof(q->port), "%u", port);
        q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        Resolution *r = xnew(Resolution, 1);
        *r = (Resolution){ .question = q, .done = done, .user = user };
        int k = q->fd < 0 ? -errno : sd_event_add_io(event, &r->io, q->fd, EPOLLIN, on_answer, r);
        if (k >= 0 && pthread_attr_init(&attr) == 0) {
                (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
                atomic_fetch_add(&q->refs, 1);
                k = -pthread_create(&thread, &attr, ask, q);
                if (k < 0)
                        atomic_fetch_sub(&q->refs, 1);
                (void) pthread_attr_destroy(&attr);
        }
        if (k < 0) {
                resolve_free(r);
                return k;
        }
        *ret = r;
        return 0;
}

Resolution *resolve_free(Resolution *r) {
        if (!r)
                return NULL;
        sd_event_source_disable_unref(r->io);
        question_unref(r->question);
        free(r);
        return NULL;
}

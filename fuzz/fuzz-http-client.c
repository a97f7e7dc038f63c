/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "http/client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes of a server into the client, over a unix socket: the
 * first byte chooses HTTP/1.1, HTTP/2 or gRPC. Every call must end exactly once, whatever comes. */

static unsigned ended;

static void on_done(HttpCall *call, int r, void *user) {
        ended++;
        (void) http_call_header(call, "content-type");
        (void) http_call_trailer(call, "grpc-status");
}

static void on_data(HttpCall *call, void *user) {
        http_call_consume(call, call->body.len);
}

static char name[64];

static void clean_up(void) {
        (void) unlink(name);
}

static int listener(char *path, size_t n) {
        static int fd = -1;
        if (fd < 0) {
                struct sockaddr_un un = { .sun_family = AF_UNIX };
                (void) snprintf(name, sizeof(name), "/tmp/fuzz-http-client-%d", (int) getpid());
                (void) unlink(name);
                (void) atexit(clean_up);
                (void) snprintf(un.sun_path, sizeof(un.sun_path), "%s", name);
                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                if (bind(fd, (struct sockaddr *) &un, sizeof(un)) < 0 || listen(fd, 16) < 0)
                        abort();
        }
        (void) snprintf(path, n, "%s", name);
        return fd;
}

static void run_some(sd_event *event, unsigned turns) {
        for (unsigned i = 0; i < turns; i++)
                if (sd_event_run(event, 0) < 0)
                        abort();
}

static void answer(sd_event *event, int fd, const uint8_t *data, size_t size) {
        for (unsigned k = 0; k < 4; k++) { /* repeated calls come with new connections */
                run_some(event, 4);
                int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (peer < 0)
                        continue;
                size_t half = size / 2;
                (void) !send(peer, data, half, MSG_NOSIGNAL);
                run_some(event, 4);
                (void) !send(peer, data + half, size - half, MSG_NOSIGNAL);
                run_some(event, 4);
                (void) close(peer);
        }
        run_some(event, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char path[64];
        sd_event *event = NULL;
        HttpCall *call;
        if (size < 1 || size > (32U << 10))
                return 0;
        int fd = listener(path, sizeof(path));
        if (sd_event_new(&event) < 0)
                abort();
        HttpClientConfig config = { .event = event };
        HttpClient *client = http_client_new(&config);
        HttpCallConfig cc = { .method = data[0] & 8 ? "HEAD" : "GET",
                              .url = "http://h/x",
                              .unix_path = path,
                              .body_max = 1000,
                              .flags = data[0] & 1 ? HTTP_CALL_H2 : 0,
                              .on_data = data[0] & 2 ? on_data : NULL,
                              .on_done = on_done };
        ended = 0;
        for (unsigned i = 0; i < 2; i++)
                if (http_call(client, &cc, &call, NULL) < 0)
                        abort();
        answer(event, fd, data + 1, size - 1);
        http_client_free(client);
        sd_event_unref(event);
        if (ended > 2)
                abort();
        return 0;
}

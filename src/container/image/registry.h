/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A registry's client (spec C.2), in a child process of its own: it runs as nobody, without capabilities,
 * behind a system-call filter, and has only the network and the descriptors it is handed. So whatever TLS,
 * HTTP or a hostile registry does to it, the parent that writes the store sees files and messages, and
 * verifies every digest itself.
 *
 * The parent asks for a path and hands over a file descriptor to fill; answers come back in any order. Several
 * requests run at once. */

#include "base/err.h"
#include "container/image/auth.h"
#include "container/image/confine.h"

#define REGISTRY_REPLY_MAX (64U << 10) /* headers and messages in one answer */
#define REGISTRY_ATTEMPTS_MAX 5

typedef struct RegistryOptions {
        const char *domain; /* "docker.io", "127.0.0.1:5000" */
        const char *repo;   /* "library/nginx", already validated */
        Credentials credentials;
        bool insecure;      /* certificate errors and plain HTTP are accepted */
        const char *ca, *client_cert, *client_key; /* PEM texts from certs.d, or NULL */
} RegistryOptions;

typedef enum RegistryKind {
        REGISTRY_MANIFEST, /* `what`: tag or digest */
        REGISTRY_BLOB,     /* `what`: digest */
        REGISTRY_TAGS,     /* `what`: "" or the last tag of the page before */
} RegistryKind;

typedef struct RegistryEvent {
        uint32_t id;
        bool done;          /* else progress */
        uint64_t bytes;     /* in the file now; may go back when the registry makes us start over */
        int error;          /* 0, or a negative errno: -ENOENT, -EACCES, -EFBIG, -EIO, … */
        uint32_t http_code; /* of the last answer; 0 = none */
        bool more;          /* tags: there is another page */
        char content_type[128], digest[160]; /* headers; "" when absent */
        char message[1024]; /* for a failure */
} RegistryEvent;

typedef struct Registry Registry;
/* `options` is only read during the call (the child has a copy). */
int registry_start(const RegistryOptions *options, Registry **ret, Err *err);
Registry *registry_stop(Registry *r); /* also ends unfinished requests */
DEFINE_CLEANUP(Registry *, registry_stop)
/* Continues at `offset` of the file; more than `limit` bytes in all is an error (-EFBIG). */
int registry_request(Registry *r, uint32_t id, RegistryKind kind, const char *what, int fd, uint64_t offset,
                     uint64_t limit, Err *err);
/* 1 = *ret is set, 0 = nothing within timeout_ms (-1 = wait), negative = the child is gone. */
int registry_next(Registry *r, int timeout_ms, RegistryEvent *ret, Err *err);

/* The child's side. */
typedef struct RegistryWorkerArgs {
        const RegistryOptions *options;
        int socket;
} RegistryWorkerArgs;
int registry_worker(void *args, Buf *reply, Err *err);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sockets: listening ones from URLs, and small questions about them. Private to src/http. */

#include "base/err.h"

#include <sys/socket.h>

/* Listens at "http://HOST:PORT", "https://HOST:PORT" or "unix:///PATH". *ret_path is the socket's path
 * (owned), NULL for TCP. */
int socket_listen(const char *url, int *ret_fd, char **ret_path, bool *ret_secure, Err *err);
int socket_set_nonblock(int fd);
int socket_port(int fd); /* of a TCP socket, or -ENOENT */
const char *socket_peer_text(const struct sockaddr_storage *addr, char *buf, size_t n);
void socket_tune(int fd, int family); /* TCP_NODELAY and keep-alive for TCP */
/* A numeric address (or "localhost", or "" for any) and a port; -EINVAL when it is a name. */
int socket_address(const char *host, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_len);
int socket_unix_address(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Host names to addresses without stopping the loop: getaddrinfo() in a thread of its own, which outlives an
 * abandoned question. Addresses and "localhost" never come here. Private to src/http. */

#include <stdint.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#define RESOLVE_ADDRESSES_MAX 8U

typedef struct Resolution Resolution;
/* error: 0 or a getaddrinfo() code (gai_strerror). The resolution is to be freed by its owner, also inside.
 */
typedef void (*ResolveDone)(int error, const struct sockaddr_storage *addresses, const socklen_t *lengths,
                            size_t n, void *user);
int resolve_start(sd_event *event, const char *host, uint16_t port, ResolveDone done, void *user,
                  Resolution **ret);
Resolution *resolve_free(Resolution *r);

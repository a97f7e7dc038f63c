/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ROOT/network/leases: who has which address and which published ports. Pure: text to list and back. */

#include "container/run/spec.h"

typedef struct Lease {
        uint32_t ip; /* network byte order */
        char id[65];
        PortBinding *ports;
        size_t n_ports;
} Lease;

typedef struct Leases {
        Lease *items;
        size_t n, cap;
} Leases;

void leases_done(Leases *l);
/* Lines that make no sense are left out: the file is ours, a torn line is a crash's. */
void leases_parse(const char *text, Leases *ret);
void leases_write(const Leases *l, Buf *b);
Lease *leases_add(Leases *l, uint32_t ip, const char *id);
void leases_remove(Leases *l, size_t at);
const Lease *leases_find_ip(const Leases *l, uint32_t ip);
const Lease *leases_find_id(const Leases *l, const char *id);
/* Whether some lease has this host port: the same address, or either of them every address. */
const Lease *leases_find_port(const Leases *l, const PortBinding *p);
void lease_add_port(Lease *l, const PortBinding *p);
/* The lowest address of the subnet that is free; 0 when there is none. Host byte order for first and last. */
uint32_t leases_pick(const Leases *l, uint32_t first, uint32_t last);

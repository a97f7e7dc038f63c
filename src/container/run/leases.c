/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/leases.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <stdio.h>

#define LEASES_MAX 65536

static void lease_done(Lease *l) {
        for (size_t i = 0; i < l->n_ports; i++)
                free(l->ports[i].host_ip);
        free(l->ports);
}

void leases_done(Leases *l) {
        for (size_t i = 0; i < l->n; i++)
                lease_done(&l->items[i]);
        free(l->items);
        *l = (Leases){};
}

Lease *leases_add(Leases *l, uint32_t ip, const char *id) {
        GROW(l->items, l->cap, l->n + 1);
        Lease *n = &l->items[l->n++];
        *n = (Lease){ .ip = ip };
        (void) snprintf(n->id, sizeof(n->id), "%s", id);
        return n;
}

void leases_remove(Leases *l, size_t at) {
        assert(at < l->n);
        lease_done(&l->items[at]);
        l->items[at] = l->items[--l->n];
}

void lease_add_port(Lease *l, const PortBinding *p) {
        l->ports = xrealloc(l->ports, (l->n_ports + 1) * sizeof(*p));
        l->ports[l->n_ports] = *p;
        l->ports[l->n_ports++].host_ip = p->host_ip ? xstrdup(p->host_ip) : NULL;
}

/* "tcp:0.0.0.0:8080:80" */
static int parse_port(const char *word, PortBinding *ret) {
        _cleanup_strv_ char **f = strv_split(word, ":", true);
        uint32_t host, port;
        if (strv_len(f) != 4 || strlen(f[0]) > 4 || parse_u32(f[2], &host) < 0 || parse_u32(f[3], &port) < 0 ||
            host > UINT16_MAX || port > UINT16_MAX)
                return -EINVAL;
        *ret = (PortBinding){ .host_port = (uint16_t) host, .port = (uint16_t) port };
        (void) snprintf(ret->proto, sizeof(ret->proto), "%s", f[0]);
        ret->host_ip = streq(f[1], "0.0.0.0") ? NULL : xstrdup(f[1]);
        return 0;
}

void leases_parse(const char *text, Leases *ret) {
        _cleanup_strv_ char **lines = strv_split(text, "\n", false);
        STRV_FOREACH(l, lines) {
                _cleanup_strv_ char **words = strv_split(*l, " ", false);
                struct in_addr a;
                if (strv_len(words) < 2 || inet_pton(AF_INET, words[0], &a) != 1 || strlen(words[1]) != 64 ||
                    ret->n >= LEASES_MAX)
                        continue;
                Lease *lease = leases_add(ret, a.s_addr, words[1]);
                for (char **w = words + 2; *w; w++) {
                        PortBinding p;
                        if (parse_port(*w, &p) < 0)
                                continue;
                        lease_add_port(lease, &p);
                        free(p.host_ip);
                }
        }
}

void leases_write(const Leases *l, Buf *b) {
        for (size_t i = 0; i < l->n; i++) {
                char ip[INET_ADDRSTRLEN];
                buf_addf(b, "%s %s", inet_ntop(AF_INET, &l->items[i].ip, ip, sizeof(ip)), l->items[i].id);
                for (size_t k = 0; k < l->items[i].n_ports; k++) {
                        const PortBinding *p = &l->items[i].ports[k];
                        buf_addf(b, " %s:%s:%u:%u", p->proto, p->host_ip ? p->host_ip : "0.0.0.0", p->host_port, p->port);
                }
                buf_addc(b, '\n');
        }
}

const Lease *leases_find_ip(const Leases *l, uint32_t ip) {
        for (size_t i = 0; i < l->n; i++)
                if (l->items[i].ip == ip)
                        return &l->items[i];
        return NULL;
}

const Lease *leases_find_id(const Leases *l, const char *id) {
        for (size_t i = 0; i < l->n; i++)
                if (streq(l->items[i].id, id))
                        return &l->items[i];
        return NULL;
}

const Lease *leases_find_port(const Leases *l, const PortBinding *p) {
        for (size_t i = 0; i < l->n; i++)
                for (size_t k = 0; k < l->items[i].n_ports; k++) {
                        const PortBinding *q = &l->items[i].ports[k];
                        if (q->host_port == p->host_port && streq(q->proto, p->proto) &&
                            (isempty(p->host_ip) || isempty(q->host_ip) || streq(p->host_ip, q->host_ip)))
                                return &l->items[i];
                }
        return NULL;
}

uint32_t leases_pick(const Leases *l, uint32_t first, uint32_t last) {
        for (uint32_t a = first; a <= last && a != 0; a++)
                if (!leases_find_ip(l, htonl(a)))
                        return htonl(a);
        return 0;
}

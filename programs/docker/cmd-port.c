/* SPDX-License-Identifier: Apache-2.0 */
#include "each.h"

#include <stdio.h>

static int show(const Container *c, const char *wanted, Err *err) {
        const NetState *n = &c->state.net;
        _cleanup_free_ char *want = wanted && !strchr(wanted, '/') ? xasprintf("%s/tcp", wanted)
                                    : wanted                       ? xstrdup(wanted)
                                                                   : NULL;
        bool any = false;
        for (size_t i = 0; container_running(c) && i < n->n_ports; i++) {
                const PortBinding *p = &n->ports[i];
                _cleanup_free_ char *key = xasprintf("%u/%s", p->port, p->proto);
                const char *ip = isempty(p->host_ip) ? "0.0.0.0" : p->host_ip;
                if (want && !streq(key, want))
                        continue;
                any = true;
                if (want)
                        printf("%s:%u\n", ip, p->host_port);
                else
                        printf("%s -> %s:%u\n", key, ip, p->host_port);
        }
        if (want && !any)
                return err_set(err, -ENOENT, "No public port '%s' published for %s", want, c->spec->name);
        return 0;
}

int cmd_port(int argc, char **argv) {
        static const Option options[] = { {} };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("port", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        _cleanup_(container_freep) Container *c = NULL;
        if (!s)
                return 1;
        if (container_get(s, rest[0], &c, &err) < 0)
                return docker_error(&err);
        if (show(c, rest[1], &err) < 0) {
                fprintf(stderr, "Error: %s\n", err_msg(&err));
                return 1;
        }
        return 0;
}

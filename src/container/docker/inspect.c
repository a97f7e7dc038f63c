/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/inspect.h"
#include "base/str.h"
#include "base/time.h"
#include "container/run/fields.h"
#include "container/run/network.h"
#include "sys/fs.h"

#include <stdio.h>

static void write_time(JsonOut *j, const char *key, int64_t nsec) {
        char text[36];
        jo_kstr(j, key, nsec ? format_rfc3339(text, nsec, 9, true) : "0001-01-01T00:00:00Z");
}

static void write_state(const Container *c, JsonOut *j) {
        const char *status = container_status(c);
        bool running = container_running(c);
        jo_key(j, "State");
        jo_obj(j);
        jo_kstr(j, "Status", status);
        jo_kbool(j, "Running", running);
        jo_kbool(j, "Paused", running && c->state.paused);
        jo_kbool(j, "Restarting", false);
        jo_kbool(j, "OOMKilled", c->state.oom_killed);
        jo_kbool(j, "Dead", false);
        jo_kint(j, "Pid", running ? c->state.pid : 0);
        jo_kint(j, "ExitCode", running ? 0 : c->state.exit_code);
        jo_kstr(j, "Error", strempty(c->state.error));
        write_time(j, "StartedAt", c->state.started_nsec);
        write_time(j, "FinishedAt", running ? 0 : c->state.finished_nsec);
        jo_end(j);
}

static void write_path(JsonOut *j, const char *key, const Container *c, const char *name) {
        _cleanup_free_ char *path = path_join(c->dir, name);
        jo_kstr(j, key, access(path, F_OK) >= 0 ? path : "");
}

static void write_graph(const Container *c, JsonOut *j) {
        _cleanup_free_ char *lower = strv_join(c->spec->lowerdirs, ":"), *upper = path_join(c->dir, "diff"),
                            *work = path_join(c->dir, "work"), *merged = NULL;
        if (container_running(c))
                merged = xasprintf("/proc/%d/root", c->state.pid);
        jo_key(j, "GraphDriver");
        jo_obj(j);
        jo_key(j, "Data");
        jo_obj(j);
        jo_kstr(j, "LowerDir", strempty(lower));
        jo_kstr(j, "MergedDir", strempty(merged));
        jo_kstr(j, "UpperDir", upper);
        jo_kstr(j, "WorkDir", work);
        jo_end(j);
        jo_kstr(j, "Name", "overlay2");
        jo_end(j);
}

/* Mounts as the API has them: without our own notes, and without tmpfs from --tmpfs. */
static void write_mounts(const Container *c, JsonOut *j) {
        jo_key(j, "Mounts");
        jo_arr(j);
        for (size_t i = 0; i < c->spec->n_mounts; i++) {
                const MountSpec *m = &c->spec->mounts[i];
                if (streq(m->type, "tmpfs"))
                        continue;
                jo_obj(j);
                jo_kstr(j, "Type", m->type);
                if (m->name)
                        jo_kstr(j, "Name", m->name);
                jo_kstr(j, "Source", strempty(m->source));
                jo_kstr(j, "Destination", m->destination);
                if (m->name)
                        jo_kstr(j, "Driver", "local");
                jo_kstr(j, "Mode", strempty(m->mode));
                jo_kbool(j, "RW", m->rw);
                jo_kstr(j, "Propagation", strempty(m->propagation));
                jo_end(j);
        }
        jo_end(j);
}

/* Published ports with their bindings, exposed ones as null. */
static void write_ports(const Container *c, JsonOut *j) {
        const NetState *n = &c->state.net;
        jo_key(j, "Ports");
        jo_obj(j);
        if (container_running(c) && n->ip)
                STRV_FOREACH(e, c->spec->config.exposed_ports) {
                        jo_key(j, *e);
                        bool any = false;
                        for (size_t i = 0; i < n->n_ports; i++) {
                                char key[16];
                                (void) snprintf(key, sizeof(key), "%u/%s", n->ports[i].port, n->ports[i].proto);
                                if (!streq(key, *e))
                                        continue;
                                char port[8];
                                (void) snprintf(port, sizeof(port), "%u", n->ports[i].host_port);
                                if (!any)
                                        jo_arr(j);
                                any = true;
                                jo_obj(j);
                                jo_kstr(j, "HostIp", isempty(n->ports[i].host_ip) ? "0.0.0.0" : n->ports[i].host_ip);
                                jo_kstr(j, "HostPort", port);
                                jo_end(j);
                        }
                        if (any)
                                jo_end(j);
                        else
                                jo_null(j);
                }
        jo_end(j);
}

static void write_endpoint(const Container *c, const char *id, JsonOut *j) {
        const NetState *n = &c->state.net;
        bool up = container_running(c) && n->ip;
        jo_obj(j);
        static const char *const nulls[] = { "IPAMConfig", "Links", "Aliases" };
        for (size_t i = 0; i < ELEMENTSOF(nulls); i++) {
                jo_key(j, nulls[i]);
                jo_null(j);
        }
        jo_kstr(j, "NetworkID", "");
        jo_kstr(j, "EndpointID", up ? id : "");
        jo_kstr(j, "Gateway", up ? strempty(n->gateway) : "");
        jo_kstr(j, "IPAddress", up ? n->ip : "");
        jo_kint(j, "IPPrefixLen", up ? (int) n->prefix : 0);
        jo_kstr(j, "IPv6Gateway", "");
        jo_kstr(j, "GlobalIPv6Address", "");
        jo_kint(j, "GlobalIPv6PrefixLen", 0);
        jo_kstr(j, "MacAddress", up ? strempty(n->mac) : "");
        jo_key(j, "DriverOpts");
        jo_null(j);
        jo_end(j);
}

static void write_network(const Container *c, JsonOut *j) {
        const NetState *n = &c->state.net;
        bool up = container_running(c) && n->ip;
        NetworkMode mode = network_mode(c->spec->host.network_mode);
        jo_key(j, "NetworkSettings");
        jo_obj(j);
        jo_kstr(j, "Bridge", "");
        jo_kstr(j, "SandboxID", "");
        jo_kbool(j, "HairpinMode", false);
        jo_kstr(j, "LinkLocalIPv6Address", "");
        jo_kint(j, "LinkLocalIPv6PrefixLen", 0);
        write_ports(c, j);
        _cleanup_free_ char *ns = container_running(c) ? xasprintf("/proc/%d/ns/net", c->state.pid) : xstrdup("");
        jo_kstr(j, "SandboxKey", ns);
        jo_key(j, "SecondaryIPAddresses");
        jo_null(j);
        jo_key(j, "SecondaryIPv6Addresses");
        jo_null(j);
        jo_kstr(j, "EndpointID", up ? c->id : "");
        jo_kstr(j, "Gateway", up ? strempty(n->gateway) : "");
        jo_kstr(j, "GlobalIPv6Address", "");
        jo_kint(j, "GlobalIPv6PrefixLen", 0);
        jo_kstr(j, "IPAddress", up ? n->ip : "");
        jo_kint(j, "IPPrefixLen", up ? (int) n->prefix : 0);
        jo_kstr(j, "IPv6Gateway", "");
        jo_kstr(j, "MacAddress", up ? strempty(n->mac) : "");
        jo_key(j, "Networks");
        jo_obj(j);
        if (mode != NETWORK_CONTAINER) {
                jo_key(j, mode == NETWORK_HOST ? "host" : mode == NETWORK_NONE ? "none" : "bridge");
                write_endpoint(c, c->id, j);
        }
        jo_end(j);
        jo_end(j);
}

void container_write_inspect(const Store *s, const Container *c, JsonOut *j) {
        const ContainerSpec *p = c->spec;
        jo_obj(j);
        jo_kstr(j, "Id", c->id);
        write_time(j, "Created", p->created_nsec);
        jo_kstr(j, "Path", p->path);
        jo_key(j, "Args");
        json_list_write(j, p->args);
        write_state(c, j);
        _cleanup_free_ char *image = p->image ? xasprintf("sha256:%s", p->image) : xstrdup("");
        _cleanup_free_ char *name = xasprintf("/%s", p->name), *log = xasprintf("%s-json.log", c->id);
        jo_kstr(j, "Image", image);
        write_path(j, "ResolvConfPath", c, "resolv.conf");
        write_path(j, "HostnamePath", c, "hostname");
        write_path(j, "HostsPath", c, "hosts");
        _cleanup_free_ char *log_path = path_join(c->dir, log);
        jo_kstr(j, "LogPath", streq(p->host.log_driver, "json-file") ? log_path : "");
        jo_kstr(j, "Name", name);
        jo_kint(j, "RestartCount", 0);
        jo_kstr(j, "Driver", "overlay2");
        jo_kstr(j, "Platform", "linux");
        jo_kstr(j, "MountLabel", "");
        jo_kstr(j, "ProcessLabel", "");
        jo_kstr(j, "AppArmorProfile", "");
        jo_key(j, "ExecIDs");
        jo_null(j);
        jo_key(j, "HostConfig");
        host_config_write(&p->host, j);
        write_graph(c, j);
        write_mounts(c, j);
        jo_key(j, "Config");
        container_config_write(&p->config, j);
        write_network(c, j);
        jo_end(j);
}

/* ---- for people ---- */

char *human_duration(int64_t s) {
        if (s < 1)
                return xstrdup("Less than a second");
        if (s == 1)
                return xstrdup("1 second");
        if (s < 60)
                return xasprintf("%" PRId64 " seconds", s);
        int64_t m = s / 60, h = (s + 1800) / 3600;
        if (m == 1)
                return xstrdup("About a minute");
        if (m < 60)
                return xasprintf("%" PRId64 " minutes", m);
        if (h == 1)
                return xstrdup("About an hour");
        if (h < 48)
                return xasprintf("%" PRId64 " hours", h);
        if (h < 24 * 7 * 2)
                return xasprintf("%" PRId64 " days", h / 24);
        if (h < 24 * 30 * 2)
                return xasprintf("%" PRId64 " weeks", h / 24 / 7);
        if (h < 24 * 365 * 2)
                return xasprintf("%" PRId64 " months", h / 24 / 30);
        return xasprintf("%" PRId64 " years", h / 24 / 365);
}

static char *ago(int64_t now, int64_t then) {
        return human_duration((now - then) / 1000000000);
}

char *container_status_text(const Container *c, int64_t now) {
        const ContainerState *s = &c->state;
        if (container_running(c)) {
                _cleanup_free_ char *t = ago(now, s->started_nsec);
                return xasprintf("Up %s%s", t, s->paused ? " (Paused)" : "");
        }
        if (!s->started_nsec)
                return xstrdup("Created");
        _cleanup_free_ char *t = ago(now, s->finished_nsec);
        return xasprintf("Exited (%d) %s ago", s->exit_code, t);
}

static int by_port(const void *a, const void *b) {
        const PortBinding *x = a, *y = b;
        int c = strcmp(x->proto, y->proto);
        if (c == 0)
                c = strcmp(strempty(x->host_ip), strempty(y->host_ip));
        return c ? c : (int) x->port - (int) y->port;
}

static void add_port_range(Buf *b, const PortBinding *first, unsigned n) {
        const char *ip = isempty(first->host_ip) ? "0.0.0.0" : first->host_ip;
        buf_addf(b, "%s%s:%u", b->len ? ", " : "", ip, first->host_port);
        if (n > 1)
                buf_addf(b, "-%u", first->host_port + n - 1);
        buf_addf(b, "->%u", first->port);
        if (n > 1)
                buf_addf(b, "-%u", first->port + n - 1);
        buf_addf(b, "/%s", first->proto);
}

char *container_ports_text(const Container *c) {
        _cleanup_(buf_done) Buf b = {};
        const NetState *net = &c->state.net;
        if (!container_running(c) || !net->ip)
                return xstrdup("");
        size_t n = net->n_ports;
        _cleanup_free_ PortBinding *p = n ? xmemdup(net->ports, n * sizeof(*p)) : NULL;
        if (n > 0)
                qsort(p, n, sizeof(*p), by_port);
        for (size_t i = 0; i < n;) {
                size_t k = i + 1;
                while (k < n && streq(p[k].proto, p[i].proto) && streq(strempty(p[k].host_ip), strempty(p[i].host_ip)) &&
                       p[k].port == p[i].port + (k - i) && p[k].host_port == p[i].host_port + (k - i))
                        k++;
                add_port_range(&b, &p[i], (unsigned) (k - i));
                i = k;
        }
        STRV_FOREACH(e, c->spec->config.exposed_ports) {
                bool published = false;
                for (size_t i = 0; i < n; i++) {
                        char key[16];
                        (void) snprintf(key, sizeof(key), "%u/%s", p[i].port, p[i].proto);
                        published |= streq(key, *e);
                }
                if (!published)
                        buf_addf(&b, "%s%s", b.len ? ", " : "", *e);
        }
        return buf_take(&b);
}

static char *command_text(const ContainerSpec *s, bool no_trunc) {
        _cleanup_(buf_done) Buf b = {};
        buf_adds(&b, s->path);
        STRV_FOREACH(a, s->args)
                buf_addf(&b, " %s", *a);
        _cleanup_free_ char *all = buf_take(&b);
        if (no_trunc)
                return xasprintf("\"%s\"", all);
        /* At most 20 characters, the last of them an ellipsis; bytes 10xxxxxx continue a character. */
        size_t runes = 0, cut = 0, i = 0;
        for (; all[i]; i++)
                if (((unsigned char) all[i] & 0xC0) != 0x80 && ++runes == 20)
                        cut = i;
        return runes > 20 ? xasprintf("\"%.*s…\"", (int) cut, all) : xasprintf("\"%s\"", all);
}

static void set(json_t *row, const char *key, char *value) {
        (void) json_object_set_new_nocheck(row, key, str_is_utf8(value, strlen(value)) ? json_string_nocheck(value)
                                                                                      : json_string_nocheck("?"));
        free(value);
}

json_t *container_ps_row(const Container *c, int64_t now, bool no_trunc) {
        const ContainerSpec *s = c->spec;
        json_t *row = json_object();
        char created[36];
        _cleanup_free_ char *since = ago(now, s->created_nsec), *labels = strv_join(s->config.labels, ",");
        _cleanup_(buf_done) Buf mounts = {};
        for (size_t i = 0; i < s->n_mounts; i++)
                buf_addf(&mounts, "%s%s", mounts.len ? "," : "",
                         s->mounts[i].name ? s->mounts[i].name : strempty(s->mounts[i].source));
        NetworkMode mode = network_mode(s->host.network_mode);
        set(row, "ID", no_trunc ? xstrdup(c->id) : xstrndup(c->id, 12));
        set(row, "Image", xstrdup(strempty(s->config.image)));
        set(row, "Command", command_text(s, no_trunc));
        set(row, "CreatedAt", xstrdup(format_rfc3339(created, s->created_nsec, 0, false)));
        set(row, "RunningFor", xasprintf("%s ago", since));
        set(row, "Status", container_status_text(c, now));
        set(row, "State", xstrdup(container_status(c)));
        set(row, "Ports", container_ports_text(c));
        set(row, "Names", xstrdup(s->name));
        set(row, "Labels", xstrdup(strempty(labels)));
        set(row, "Mounts", xstrdup(buf_str(&mounts)));
        set(row, "Networks", xstrdup(mode == NETWORK_HOST ? "host" : mode == NETWORK_NONE ? "none" : "bridge"));
        set(row, "LocalVolumes", xstrdup("0"));
        set(row, "Size", xstrdup("0B"));
        return row;
}

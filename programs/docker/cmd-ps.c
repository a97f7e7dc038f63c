/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/inspect.h"
#include "container/run/network.h"
#include "each.h"
#include "format.h"
#include "sys/clock.h"

#include <stdio.h>

static bool arg_all, arg_quiet, arg_latest, arg_no_trunc, arg_size;
static int64_t arg_last = -1;
static char **arg_filter, *arg_format;

static const Option options[] = {
        { "all", 'a', OPT_BOOL, &arg_all, NULL, "Stopped ones too", NULL },
        { "filter", 'f', OPT_LIST, &arg_filter, "K=V", "name=, id=, status=, label=, ancestor=, exited=, network=, "
          "volume=, publish=", NULL },
        { "format", 0, OPT_STR, &arg_format, "TEMPLATE", "Go template for every container, or \"table …\"", NULL },
        { "last", 'n', OPT_INT, &arg_last, "N", "The N newest, stopped ones too", NULL },
        { "latest", 'l', OPT_BOOL, &arg_latest, NULL, "The newest, running or not", NULL },
        { "no-trunc", 0, OPT_BOOL, &arg_no_trunc, NULL, "Do not shorten", NULL },
        { "quiet", 'q', OPT_BOOL, &arg_quiet, NULL, "Only ids", NULL },
        { "size", 's', OPT_BOOL, &arg_size, NULL, NULL, NULL },
        {},
};

static const char *const headers[] = { "ID", "CONTAINER ID", "Image", "IMAGE", "Command", "COMMAND", "CreatedAt",
                                       "CREATED AT", "RunningFor", "CREATED", "Status", "STATUS", "State", "STATE",
                                       "Ports", "PORTS", "Names", "NAMES", "Labels", "LABELS", "Mounts", "MOUNTS",
                                       "Networks", "NETWORKS", "LocalVolumes", "LOCAL VOLUMES", "Size", "SIZE", NULL };
#define FORMAT_DEFAULT                                                                                        \
        "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"

static bool match_label(const Container *c, const char *want) {
        bool with_value = strchr(want, '=') != NULL;
        STRV_FOREACH(l, c->spec->config.labels) {
                const char *rest = startswith(*l, want);
                if (rest && (with_value ? !*rest : *rest == '='))
                        return true;
        }
        return false;
}

/* 1 match, 0 not, -EINVAL for a filter that there is none of. */
static int match_one(const Container *c, const char *key, const char *value) {
        if (streq(key, "name"))
                return strstr(c->spec->name, value[0] == '/' ? value + 1 : value) != NULL;
        if (streq(key, "id"))
                return startswith(c->id, value) != NULL;
        if (streq(key, "status"))
                return streq(container_status(c), value);
        if (streq(key, "label"))
                return match_label(c, value);
        if (streq(key, "ancestor"))
                return streq_ptr(c->spec->config.image, value) || startswith(strempty(c->spec->image), value);
        if (streq(key, "exited")) {
                int code = 0;
                return parse_int(value, &code) < 0 ? -EINVAL : streq(container_status(c), "exited") &&
                                                                               c->state.exit_code == code;
        }
        if (streq(key, "network")) {
                NetworkMode m = network_mode(c->spec->host.network_mode);
                return streq(value, m == NETWORK_HOST ? "host" : m == NETWORK_NONE ? "none" : "bridge");
        }
        if (streq(key, "volume")) {
                for (size_t i = 0; i < c->spec->n_mounts; i++)
                        if (streq_ptr(c->spec->mounts[i].name, value) || streq(c->spec->mounts[i].destination, value))
                                return 1;
                return 0;
        }
        if (streq(key, "publish")) {
                uint32_t port = 0;
                for (size_t i = 0; parse_u32(value, &port) >= 0 && i < c->state.net.n_ports; i++)
                        if (c->state.net.ports[i].host_port == port)
                                return 1;
                return 0;
        }
        return -EINVAL;
}

/* Filters with the same key are alternatives, different keys must all hold. */
static int match(const Container *c, Err *err) {
        STRV_FOREACH(f, arg_filter) {
                const char *eq = strchr(*f, '=');
                if (!eq)
                        return err_set(err, -EINVAL, "bad format of filter (expected name=value)");
                _cleanup_free_ char *key = xstrndup(*f, (size_t) (eq - *f));
                bool any = false;
                STRV_FOREACH(g, arg_filter) {
                        const char *value = startswith(*g, key);
                        int r = value && *value == '=' ? match_one(c, key, value + 1) : 0;
                        if (r < 0)
                                return err_set(err, -EINVAL, "Invalid filter '%s'", *g);
                        any |= r > 0;
                }
                if (!any)
                        return 0;
        }
        return 1;
}

static bool wants_stopped(void) {
        STRV_FOREACH(f, arg_filter)
                if (startswith(*f, "status=") || startswith(*f, "exited="))
                        return true;
        return arg_all || arg_latest || arg_last > 0;
}

static int collect(Container **l, size_t n, json_t *rows, Err *err) {
        int64_t limit = arg_latest ? 1 : arg_last > 0 ? arg_last : INT64_MAX, now = now_wall_nsec();
        for (size_t i = 0; i < n && limit > 0; i++) {
                if (!wants_stopped() && !container_running(l[i]))
                        continue;
                int r = match(l[i], err);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                limit--;
                (void) json_array_append_new(rows, container_ps_row(l[i], now, arg_no_trunc));
        }
        return 0;
}

int cmd_ps(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("ps", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        if (arg_size) {
                fprintf(stderr, "docker: ps --size is not supported by this engine\n");
                return 1;
        }
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        _cleanup_json_ json_t *rows = json_array();
        Container **l = NULL;
        size_t n = 0;
        if (!s)
                return 1;
        network_reconcile(s);
        r = container_list(s, &l, &n, &err);
        if (r >= 0)
                r = collect(l, n, rows, &err);
        container_list_free(l, n);
        if (r >= 0)
                r = format_rows(arg_quiet ? "{{.ID}}" : arg_format ? arg_format : FORMAT_DEFAULT, rows, headers, &err);
        return r < 0 ? docker_error(&err) : 0;
}

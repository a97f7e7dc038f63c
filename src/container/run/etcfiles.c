/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/run/engine.h"
#include "container/run/network.h"
#include "sys/fs.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>

/* /etc/hosts, /etc/hostname and /etc/resolv.conf of a container (spec C.5), and what links add to hosts and to
 * the environment (spec A.2). */

#define ETC_FILE_MAX (1U << 20)

static int write_plain(const char *dir, const char *name, const Buf *b, Err *err) {
        _cleanup_free_ char *path = path_join(dir, name);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        int r = fd < 0 ? -errno : write_all(fd, buf_str(b), b->len);
        return r < 0 ? err_errno(err, r, "cannot write %s", path) : 0;
}

static bool is_loopback(const char *server) {
        return startswith(server, "127.") || streq(server, "::1");
}

static void copy_resolv_line(const char *line, const HostConfig *h, bool host_net, bool *any, Buf *b) {
        _cleanup_free_ char *copy = xstrdup(line);
        char *word = strstrip(copy);
        if (*word == '#' || *word == ';' || !*word)
                return;
        const char *server = startswith(word, "nameserver");
        if (server) {
                while (isspace((unsigned char) *server))
                        server++;
                if (h->dns || (is_loopback(server) && !host_net))
                        return;
                *any = true;
        }
        if ((h->dns_search && (startswith(word, "search") || startswith(word, "domain"))) ||
            (h->dns_options && startswith(word, "options")))
                return;
        buf_addf(b, "%s\n", word);
}

/* The host's, without name servers on its loopback, which the container could not reach. */
static int write_resolv(const ContainerSpec *spec, const char *dir, Err *err) {
        const HostConfig *h = &spec->host;
        bool host_net = network_mode(h->network_mode) == NETWORK_HOST, any = h->dns != NULL;
        _cleanup_(buf_done) Buf host = {}, b = {};
        (void) read_file("/etc/resolv.conf", ETC_FILE_MAX, &host);
        _cleanup_strv_ char **lines = strv_split(buf_str(&host), "\n", false);
        STRV_FOREACH(l, lines)
                copy_resolv_line(*l, h, host_net, &any, &b);
        STRV_FOREACH(s, h->dns)
                buf_addf(&b, "nameserver %s\n", *s);
        if (!any)
                buf_adds(&b, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        if (h->dns_search && !(streq(h->dns_search[0], ".") && !h->dns_search[1])) {
                _cleanup_free_ char *all = strv_join(h->dns_search, " ");
                buf_addf(&b, "search %s\n", all);
        }
        if (h->dns_options) {
                _cleanup_free_ char *all = strv_join(h->dns_options, " ");
                buf_addf(&b, "options %s\n", all);
        }
        return write_plain(dir, "resolv.conf", &b, err);
}

static char *env_name(const char *alias) {
        char *s = xstrdup(alias);
        for (char *p = s; *p; p++)
                *p = isalnum((unsigned char) *p) ? (char) toupper((unsigned char) *p) : '_';
        return s;
}

static void add_link_ports(const Container *target, const char *prefix, char ***env) {
        bool first = true;
        STRV_FOREACH(e, target->spec->config.exposed_ports) {
                const char *slash = strchr(*e, '/');
                _cleanup_free_ char *port = slash ? xstrndup(*e, (size_t) (slash - *e)) : xstrdup(*e);
                const char *proto = slash ? slash + 1 : "tcp";
                _cleanup_free_ char *upper = env_name(proto);
                if (first)
                        strv_addf(env, "%s_PORT=%s://%s:%s", prefix, proto, target->state.net.ip, port);
                first = false;
                strv_addf(env, "%s_PORT_%s_%s=%s://%s:%s", prefix, port, upper, proto, target->state.net.ip, port);
                strv_addf(env, "%s_PORT_%s_%s_ADDR=%s", prefix, port, upper, target->state.net.ip);
                strv_addf(env, "%s_PORT_%s_%s_PORT=%s", prefix, port, upper, port);
                strv_addf(env, "%s_PORT_%s_%s_PROTO=%s", prefix, port, upper, proto);
        }
}

/* `link` is "/target:/me/alias", as the API has it. */
static int add_link(Store *s, const ContainerSpec *spec, const char *link, Buf *hosts, char ***env, Err *err) {
        const char *colon = strchr(link, ':');
        const char *alias = path_base(colon ? colon + 1 : link);
        _cleanup_free_ char *name = colon ? xstrndup(link, (size_t) (colon - link)) : xstrdup(link);
        _cleanup_(container_freep) Container *target = NULL;
        int r = container_get(s, name, &target, err);
        if (r < 0)
                return r;
        if (!container_running(target))
                return err_set(err, -ESRCH, "Cannot link to a non running container: %s AS %s", name, link);
        if (isempty(target->state.net.ip))
                return err_set(err, -EINVAL, "Cannot link to container %s, which has no address on the bridge", name);
        buf_addf(hosts, "%s\t%s %.12s", target->state.net.ip, alias, target->id);
        if (!streq(alias, target->spec->name))
                buf_addf(hosts, " %s", target->spec->name);
        buf_addc(hosts, '\n');
        _cleanup_free_ char *prefix = env_name(alias);
        add_link_ports(target, prefix, env);
        strv_addf(env, "%s_NAME=/%s/%s", prefix, spec->name, alias);
        STRV_FOREACH(e, target->spec->config.env)
                if (!startswith(*e, "PATH="))
                        strv_addf(env, "%s_ENV_%s", prefix, *e);
        return 0;
}

static int write_hosts(Store *s, const ContainerSpec *spec, const char *dir, char ***env, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        if (network_mode(spec->host.network_mode) == NETWORK_HOST)
                (void) read_file("/etc/hosts", ETC_FILE_MAX, &b);
        else
                buf_adds(&b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
                             "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
        STRV_FOREACH(h, spec->host.extra_hosts) {
                const char *colon = strchr(*h, ':');
                const char *ip = colon ? colon + 1 : "";
                if (streq(ip, "host-gateway"))
                        ip = network_gateway();
                buf_addf(&b, "%s\t%.*s\n", ip, (int) (colon ? colon - *h : 0), *h);
        }
        STRV_FOREACH(l, spec->host.links) {
                int r = add_link(s, spec, *l, &b, env, err);
                if (r < 0)
                        return r;
        }
        return write_plain(dir, "hosts", &b, err);
}

int etc_files_write(Store *s, const ContainerSpec *spec, const char *dir, char ***ret_env, Err *err) {
        _cleanup_strv_ char **env = NULL;
        int r = write_hosts(s, spec, dir, &env, err);
        if (r >= 0)
                r = write_resolv(spec, dir, err);
        if (r < 0)
                return r;
        _cleanup_(buf_done) Buf name = {};
        buf_addf(&name, "%s\n", strempty(spec->config.hostname));
        r = write_plain(dir, "hostname", &name, err);
        if (r >= 0)
                *ret_env = TAKE_PTR(env);
        return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/parse.h"
#include "base/str.h"
#include "container/run/store.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#define PORT_RANGE_MAX 1024

/* ---- ports ---- */

typedef struct Range {
        uint16_t first, last;
} Range;

static int parse_range(const char *s, Range *ret) {
        const char *dash = strchr(s, '-');
        _cleanup_free_ char *first = dash ? xstrndup(s, (size_t) (dash - s)) : xstrdup(s);
        uint32_t a, b;
        if (parse_u32(first, &a) < 0 || parse_u32(dash ? dash + 1 : first, &b) < 0)
                return -EINVAL;
        if (a < 1 || b > UINT16_MAX || b < a || b - a >= PORT_RANGE_MAX)
                return -EINVAL;
        *ret = (Range){ (uint16_t) a, (uint16_t) b };
        return 0;
}

static int take_proto(char *s, const char **ret) {
        char *slash = strchr(s, '/');
        *ret = "tcp";
        if (!slash)
                return 0;
        *slash = 0;
        static const char *const known[] = { "tcp", "udp", "sctp" };
        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (strcasecmp(slash + 1, known[i]) == 0) {
                        *ret = known[i];
                        return 0;
                }
        return -EINVAL;
}

/* Cuts "IP:HOST:CTR" from the right, because an IPv6 address has colons of its own. */
static int split_publish(char *s, char **ip, char **host, char **port) {
        *ip = *host = NULL;
        char *colon = strrchr(s, ':');
        *port = colon ? colon + 1 : s;
        if (!colon)
                return 0;
        *colon = 0;
        colon = s[0] == '[' && s[strlen(s) - 1] == ']' ? NULL : strrchr(s, ':');
        if (s[0] == '[' && !colon) {
                *ip = s;
        } else {
                *host = colon ? colon + 1 : s;
                if (colon) {
                        *colon = 0;
                        *ip = s;
                }
        }
        if (*ip && **ip == '[') {
                char *end = strchr(*ip, ']');
                if (!end || end[1])
                        return -EINVAL;
                *end = 0;
                (*ip)++;
        }
        return 0;
}

static int check_ip(const char *ip) {
        struct in_addr a4;
        struct in6_addr a6;
        return inet_pton(AF_INET, ip, &a4) == 1 || inet_pton(AF_INET6, ip, &a6) == 1 ? 0 : -EINVAL;
}

int parse_publish(const char *text, HostConfig *h, Err *err) {
        _cleanup_free_ char *s = xstrdup(text);
        const char *proto = NULL;
        char *ip, *host, *port;
        Range outer = {}, inner = {};
        if (take_proto(s, &proto) < 0)
                return err_set(err, -EINVAL, "Invalid proto: %s", text);
        if (split_publish(s, &ip, &host, &port) < 0 || (!isempty(ip) && check_ip(ip) < 0))
                return err_set(err, -EINVAL, "Invalid ip address: %s", text);
        if (parse_range(port, &inner) < 0)
                return err_set(err, -EINVAL, "Invalid containerPort: %s", port);
        if (!isempty(host) && parse_range(host, &outer) < 0)
                return err_set(err, -EINVAL, "Invalid hostPort: %s", host);
        unsigned n = inner.last - inner.first;
        if (outer.first && (unsigned) (outer.last - outer.first) != n)
                return err_set(err, -EINVAL, "Invalid ranges specified for container and host Ports: %s", text);
        for (unsigned i = 0; i <= n; i++) {
                PortBinding *p = host_config_add_port(h);
                p->port = (uint16_t) (inner.first + i);
                p->host_port = outer.first ? (uint16_t) (outer.first + i) : 0;
                p->host_ip = isempty(ip) ? NULL : xstrdup(ip);
                (void) snprintf(p->proto, sizeof(p->proto), "%s", proto);
        }
        return 0;
}

int parse_expose(const char *text, char ***list, Err *err) {
        _cleanup_free_ char *s = xstrdup(text);
        const char *proto = NULL;
        Range r;
        if (take_proto(s, &proto) < 0 || parse_range(s, &r) < 0)
                return err_set(err, -EINVAL, "invalid range format for --expose: %s", text);
        for (unsigned p = r.first; p <= r.last; p++) {
                char word[16];
                (void) snprintf(word, sizeof(word), "%u/%s", p, proto);
                if (!strv_contains(*list, word))
                        strv_add(list, word);
        }
        return 0;
}

/* ---- volumes ---- */

/* "/a/./b//c/" to "/a/b/c"; ".." is refused, nobody means it. */
static char *clean_path(const char *path) {
        _cleanup_strv_ char **parts = strv_split(path, "/", false);
        _cleanup_(buf_done) Buf b = {};
        STRV_FOREACH(p, parts) {
                if (streq(*p, ".."))
                        return NULL;
                if (!streq(*p, "."))
                        buf_addf(&b, "/%s", *p);
        }
        return b.len ? buf_take(&b) : xstrdup("/");
}

static int set_destination(MountSpec *m, const char *path, const char *text, Err *err) {
        m->destination = path[0] == '/' ? clean_path(path) : NULL;
        if (!m->destination)
                return err_set(err, -EINVAL, "invalid volume specification: '%s': mount path must be absolute", text);
        if (streq(m->destination, "/"))
                return err_set(err, -EINVAL, "invalid volume specification: '%s': destination can't be '/'", text);
        if (streq(m->destination, "/proc") || startswith(m->destination, "/proc/"))
                return err_set(err, -EINVAL, "\"%s\" cannot be mounted because it is inside /proc", m->destination);
        return 0;
}

static int take_options(MountSpec *m, const char *options, const char *text, Err *err) {
        static const char *const propagations[] = { "shared",  "rshared",  "slave",
                                                    "rslave",  "private",  "rprivate" };
        _cleanup_strv_ char **words = strv_split(options, ",", false);
        STRV_FOREACH(w, words) {
                bool known = false;
                for (size_t i = 0; i < ELEMENTSOF(propagations); i++)
                        if (streq(*w, propagations[i])) {
                                free(m->propagation);
                                m->propagation = xstrdup(*w);
                                known = true;
                        }
                if (streq(*w, "ro"))
                        m->rw = false;
                else if (streq(*w, "nocopy"))
                        m->no_copy = true;
                else if (!known && !streq(*w, "rw") && !streq(*w, "z") && !streq(*w, "Z") && !streq(*w, "cached") &&
                         !streq(*w, "delegated") && !streq(*w, "consistent"))
                        return err_set(err, -EINVAL, "invalid volume specification: '%s': invalid mode: %s", text, *w);
        }
        free(m->mode);
        m->mode = xstrdup(options);
        return 0;
}

static void set_source(MountSpec *m, const char *source) {
        bool bind = source[0] == '/';
        m->type = xstrdup(bind ? "bind" : "volume");
        if (bind) {
                m->source = xstrdup(source);
                m->make_source = true;
        } else
                m->name = xstrdup(source);
}

int parse_volume(const char *s, MountSpec *m, Err *err) {
        m->rw = true;
        _cleanup_strv_ char **parts = strv_split(s, ":", true);
        size_t n = strv_len(parts);
        if (n < 1 || n > 3 || isempty(parts[0]) || (n > 1 && isempty(parts[1])))
                return err_set(err, -EINVAL, "invalid volume specification: '%s'", s);
        if (n == 1) {
                m->type = xstrdup("volume");
                m->anonymous = true;
        } else
                set_source(m, parts[0]);
        int r = set_destination(m, parts[n == 1 ? 0 : 1], s, err);
        if (r >= 0 && n == 3)
                r = take_options(m, parts[2], s, err);
        if (r >= 0 && !m->propagation)
                m->propagation = xstrdup(streq(m->type, "bind") ? "rprivate" : "");
        return r;
}

static int take_mount_field(MountSpec *m, const char *key, const char *value, const char *text, Err *err) {
        char **to = NULL;
        if (streq(key, "type"))
                to = &m->type;
        else if (streq(key, "source") || streq(key, "src"))
                to = &m->source;
        else if (streq(key, "target") || streq(key, "dst") || streq(key, "destination"))
                return set_destination(m, value, text, err);
        else if (streq(key, "bind-propagation"))
                to = &m->propagation;
        else if (streq(key, "readonly") || streq(key, "ro")) {
                bool ro = true;
                if (*value && parse_bool_go(value, &ro) < 0)
                        return err_set(err, -EINVAL, "invalid value for %s: %s", key, value);
                m->rw = !ro;
                return 0;
        } else if (streq(key, "volume-nocopy")) {
                m->no_copy = !streq(value, "false");
                return 0;
        } else if (streq(key, "tmpfs-size") || streq(key, "tmpfs-mode")) {
                _cleanup_free_ char *old = m->mode;
                m->mode = xasprintf("%s%s%s=%s", strempty(old), old ? "," : "", key + 6, value);
                return 0;
        } else
                return err_set(err, -EINVAL, "unexpected key '%s' in '%s'", key, text);
        free(*to);
        *to = xstrdup(value);
        return 0;
}

int parse_mount(const char *s, MountSpec *m, Err *err) {
        m->rw = true;
        _cleanup_strv_ char **fields = strv_split(s, ",", false);
        STRV_FOREACH(f, fields) {
                const char *eq = strchr(*f, '=');
                _cleanup_free_ char *key = eq ? xstrndup(*f, (size_t) (eq - *f)) : xstrdup(*f);
                int r = take_mount_field(m, key, eq ? eq + 1 : "", s, err);
                if (r < 0)
                        return r;
        }
        if (!m->type)
                m->type = xstrdup("volume");
        if (!m->destination)
                return err_set(err, -EINVAL, "invalid mount config for type \"%s\": field Target must not be empty",
                               m->type);
        if (!streq(m->type, "bind") && !streq(m->type, "volume") && !streq(m->type, "tmpfs"))
                return err_set(err, -EINVAL, "mount type \"%s\" is unknown", m->type);
        if (streq(m->type, "bind") && (isempty(m->source) || m->source[0] != '/'))
                return err_set(err, -EINVAL, "invalid mount config for type \"bind\": invalid mount path: '%s' mount "
                               "path must be absolute", strempty(m->source));
        if (streq(m->type, "volume")) {
                m->anonymous = isempty(m->source);
                m->name = m->anonymous ? NULL : xstrdup(m->source);
                m->source = xfree(m->source);
        }
        if (!m->propagation)
                m->propagation = xstrdup(streq(m->type, "bind") ? "rprivate" : "");
        return 0;
}

/* ---- the rest ---- */

int parse_device(const char *s, DeviceSpec *d, Err *err) {
        _cleanup_strv_ char **parts = strv_split(s, ":", true);
        size_t n = strv_len(parts);
        const char *path = n > 1 && parts[1][0] == '/' ? parts[1] : n > 0 ? parts[0] : "";
        const char *permissions = n == 3 ? parts[2] : n == 2 && parts[1][0] != '/' ? parts[1] : "rwm";
        if (n < 1 || n > 3 || parts[0][0] != '/' || strspn(permissions, "rwm") != strlen(permissions) ||
            !*permissions)
                return err_set(err, -EINVAL, "invalid device specification: %s", s);
        *d = (DeviceSpec){ .host = xstrdup(parts[0]), .path = xstrdup(path), .permissions = xstrdup(permissions) };
        return 0;
}

int parse_ulimit(const char *s, UlimitSpec *u, Err *err) {
        const char *eq = strchr(s, '='), *colon = eq ? strchr(eq, ':') : NULL;
        if (!eq || eq == s)
                return err_set(err, -EINVAL, "invalid ulimit argument: %s", s);
        _cleanup_free_ char *soft = colon ? xstrndup(eq + 1, (size_t) (colon - eq - 1)) : xstrdup(eq + 1);
        int64_t a, b;
        if (parse_i64(soft, &a) < 0 || parse_i64(colon ? colon + 1 : soft, &b) < 0 || a < -1 || b < -1)
                return err_set(err, -EINVAL, "invalid ulimit argument: %s", s);
        if (b != -1 && (a == -1 || a > b))
                return err_set(err, -EINVAL, "ulimit soft limit must be less than or equal to hard limit: %" PRId64
                               " > %" PRId64, a, b);
        *u = (UlimitSpec){ .name = xstrndup(s, (size_t) (eq - s)), .soft = a, .hard = b };
        return 0;
}

int add_env(const char *s, char *const *caller, char ***env, Err *err) {
        size_t key = strcspn(s, "=");
        if (key == 0)
                return err_set(err, -EINVAL, "invalid environment variable: %s", s);
        const char *whole = s[key] ? s : NULL;
        for (char *const *c = caller; !whole && c && *c; c++)
                if (strncmp(*c, s, key) == 0 && (*c)[key] == '=')
                        whole = *c;
        if (!whole)
                return 0;
        for (char **e = *env; e && *e; e++)
                if (strncmp(*e, whole, key) == 0 && (*e)[key] == '=') {
                        free(*e);
                        *e = xstrdup(whole);
                        return 0;
                }
        strv_add(env, whole);
        return 0;
}

int parse_env_file(const char *text, char *const *caller, char ***env, Err *err) {
        _cleanup_strv_ char **lines = strv_split(text, "\n", false);
        STRV_FOREACH(l, lines) {
                char *line = *l;
                while (isspace((unsigned char) *line))
                        line++;
                size_t n = strlen(line);
                if (n > 0 && line[n - 1] == '\r')
                        line[n - 1] = 0;
                if (!*line || *line == '#')
                        continue;
                size_t key = strcspn(line, "=");
                for (size_t i = 0; i < key; i++)
                        if (isspace((unsigned char) line[i]))
                                return err_set(err, -EINVAL, "poorly formatted environment: variable '%.*s' contains "
                                               "whitespaces", (int) key, line);
                int r = add_env(line, caller, env, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

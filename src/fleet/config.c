/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "fleet/fleet.h"
#include "sys/fs.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define CONFIG_BYTES_MAX (1U << 20)

typedef enum KeyType {
        KEY_STRING,
        KEY_LIST,    /* comma list; brackets, quotes and spaces around items are dropped */
        KEY_BOOL,
        KEY_SECONDS, /* 1.5 */
        KEY_DURATION, /* "30s" */
        KEY_COUNT,
        KEY_METADATA,
        KEY_LEVEL,
        KEY_PREFIX,
        KEY_IGNORED, /* meant something once; said in the log */
        KEY_REFUSED, /* cannot be had */
} KeyType;

static const struct {
        const char *name;
        KeyType type;
        size_t offset;
} keys[] = {
        { "verbosity", KEY_LEVEL, offsetof(FleetConfig, debug) },
        { "etcd_servers", KEY_LIST, offsetof(FleetConfig, etcd_servers) },
        { "etcd_username", KEY_STRING, offsetof(FleetConfig, etcd_username) },
        { "etcd_password", KEY_STRING, offsetof(FleetConfig, etcd_password) },
        { "etcd_cafile", KEY_STRING, offsetof(FleetConfig, etcd_cafile) },
        { "etcd_certfile", KEY_STRING, offsetof(FleetConfig, etcd_certfile) },
        { "etcd_keyfile", KEY_STRING, offsetof(FleetConfig, etcd_keyfile) },
        { "etcd_key_prefix", KEY_PREFIX, offsetof(FleetConfig, prefix) },
        { "etcd_request_timeout", KEY_SECONDS, offsetof(FleetConfig, etcd_timeout) },
        { "engine_reconcile_interval", KEY_SECONDS, offsetof(FleetConfig, engine_interval) },
        { "public_ip", KEY_STRING, offsetof(FleetConfig, public_ip) },
        { "metadata", KEY_METADATA, offsetof(FleetConfig, metadata) },
        { "agent_ttl", KEY_DURATION, offsetof(FleetConfig, agent_ttl) },
        { "units_directory", KEY_STRING, offsetof(FleetConfig, units_directory) },
        { "systemd_user", KEY_BOOL, offsetof(FleetConfig, systemd_user) },
        { "token_limit", KEY_COUNT, offsetof(FleetConfig, token_limit) },
        { "disable_engine", KEY_BOOL, offsetof(FleetConfig, disable_engine) },
        { "unload_on_stop", KEY_BOOL, offsetof(FleetConfig, unload_on_stop) },
        { "listen", KEY_LIST, offsetof(FleetConfig, listen) },
        { "disable_watches", KEY_REFUSED, 0 },
        { "enable_grpc", KEY_REFUSED, 0 },
        { "verify_units", KEY_IGNORED, 0 },
        { "authorized_keys_file", KEY_IGNORED, 0 },
};

void fleet_config_defaults(FleetConfig *c) {
        *c = (FleetConfig){ .etcd_timeout = 5 * USEC_PER_SEC,
                            .engine_interval = 2 * USEC_PER_SEC,
                            .agent_ttl = 10 * USEC_PER_SEC,
                            .token_limit = 100 };
        strv_add(&c->etcd_servers, "http://127.0.0.1:2379");
        strv_add(&c->etcd_servers, "http://127.0.0.1:4001");
        c->prefix = xstrndup(FLEET_KEY_PREFIX, strlen(FLEET_KEY_PREFIX) - 1);
        c->units_directory = xstrdup(FLEET_UNITS_DIRECTORY);
        strv_add(&c->listen, FLEET_SOCKET);
}

void fleet_config_done(FleetConfig *c) {
        strv_free(c->etcd_servers);
        strv_free(c->listen);
        free(c->etcd_username);
        free(c->etcd_password);
        free(c->etcd_cafile);
        free(c->etcd_certfile);
        free(c->etcd_keyfile);
        free(c->prefix);
        free(c->public_ip);
        free(c->units_directory);
        metadata_done(&c->metadata);
        *c = (FleetConfig){};
}

static void set_list(char ***target, const char *value) {
        _cleanup_strv_ char **items = strv_split(value, ",", false);

        *target = strv_free(*target);
        STRV_FOREACH(i, items) {
                char *s = *i, *end = s + strlen(s);
                while (*s && strchr(" \t[]\"", *s))
                        s++;
                while (end > s && strchr(" \t[]\"", end[-1]))
                        *--end = 0;
                if (*s)
                        strv_add(target, s);
        }
}

static int set_seconds(Usec *target, const char *value) {
        char *end;
        double d = strtod(value, &end);
        if (end == value || *end || !isfinite(d) || d <= 0 || d > 1e6)
                return -EINVAL;
        *target = (Usec) (d * USEC_PER_SEC);
        return 0;
}

static int set_duration(Usec *target, const char *value) {
        int64_t usec;
        if (parse_duration_go(value, &usec) < 0 || usec < (int64_t) USEC_PER_SEC || usec > INT64_C(86400000000))
                return -EINVAL;
        *target = (Usec) usec;
        return 0;
}

static int set_bool(bool *target, const char *value) {
        _cleanup_free_ char *unquoted = xstrdup(value);
        return parse_bool_go(strstrip(unquoted), target);
}

static int set_metadata(Metadata *target, const char *value, char ***problems) {
        _cleanup_strv_ char **bad = NULL;
        metadata_done(target);
        metadata_parse(value, target, &bad);
        STRV_FOREACH(b, bad)
                strv_addf(problems, "metadata: \"%s\" is not of the form key=value", *b);
        return 0;
}

static int set_prefix(char **target, const char *value) {
        size_t n = strlen(value);
        while (n > 0 && value[n - 1] == '/')
                n--;
        if (n == 0 || value[0] != '/')
                return -EINVAL;
        free(*target);
        *target = xstrndup(value, n);
        return 0;
}

static int set_count(uint64_t *target, const char *value) {
        uint64_t n;
        if (parse_u64(value, &n) < 0 || n == 0 || n > 65535)
                return -EINVAL;
        *target = n;
        return 0;
}

static int set_key(FleetConfig *c, size_t k, const char *value, char ***problems) {
        void *at = (char *) c + keys[k].offset;
        uint64_t level = 0;
        bool on = false;

        switch (keys[k].type) {
        case KEY_STRING:
                free(*(char **) at);
                *(char **) at = *value ? xstrdup(value) : NULL;
                return 0;
        case KEY_LIST:
                set_list(at, value);
                return *(char ***) at ? 0 : -EINVAL;
        case KEY_BOOL:
                return set_bool(at, value);
        case KEY_SECONDS:
                return set_seconds(at, value);
        case KEY_DURATION:
                return set_duration(at, value);
        case KEY_COUNT:
                return set_count(at, value);
        case KEY_METADATA:
                return set_metadata(at, value, problems);
        case KEY_LEVEL:
                if (parse_u64(value, &level) < 0)
                        return -EINVAL;
                *(bool *) at = level > 0;
                return 0;
        case KEY_PREFIX:
                return set_prefix(at, value);
        case KEY_IGNORED:
                return 0;
        case KEY_REFUSED:
                if (set_bool(&on, value) < 0)
                        return -EINVAL;
                if (on)
                        strv_addf(problems, "%s: not available in this fleetd", keys[k].name);
                return 0;
        }
        return -EINVAL;
}

static void set_named(FleetConfig *c, const char *name, const char *value, const char *where, char ***problems) {
        for (size_t k = 0; k < ELEMENTSOF(keys); k++)
                if (strcasecmp(keys[k].name, name) == 0) {
                        if (set_key(c, k, value, problems) < 0)
                                strv_addf(problems, "%s: \"%s\" is no valid value of %s", where, value, keys[k].name);
                        return;
                }
        strv_addf(problems, "%s: unknown key \"%s\"", where, name);
}

/* Quotes that wrap the whole value go; in a value without them '#' and ';' behind white space begin a comment. */
static char *clean_value(char *s) {
        s = strstrip(s);
        if (*s == '"' || *s == '\'') {
                char *end = strrchr(s + 1, *s);
                if (end && (!end[1] || strchr("#; \t", end[1]))) {
                        *end = 0;
                        return s + 1;
                }
                return s;
        }
        for (char *p = s; *p; p++)
                if ((*p == '#' || *p == ';') && (p == s || isspace((unsigned char) p[-1]))) {
                        *p = 0;
                        break;
                }
        return strstrip(s);
}

static void config_line(FleetConfig *c, char *line, size_t number, char ***problems) {
        char *s = strstrip(line), where[32], *eq;

        if (!*s || *s == '#' || *s == ';' || *s == '[')
                return;
        (void) snprintf(where, sizeof(where), "line %zu", number);
        eq = strchr(s, '=');
        if (!eq) {
                strv_addf(problems, "%s: expected key=value", where);
                return;
        }
        *eq = 0;
        set_named(c, strstrip(s), clean_value(eq + 1), where, problems);
}

void fleet_config_parse(FleetConfig *c, const char *text, size_t n, char ***problems) {
        _cleanup_free_ char *copy = xstrndup(text, n);
        _cleanup_free_ char *joined = str_replace(copy, "\\\n", "");
        _cleanup_strv_ char **lines = strv_split(joined, "\n", true);

        for (size_t i = 0; lines && lines[i]; i++)
                config_line(c, lines[i], i + 1, problems);
}

void fleet_config_env(FleetConfig *c, char *const *env, char ***problems) {
        STRV_FOREACH(e, env) {
                const char *name = startswith(*e, "FLEET_"), *eq = name ? strchr(name, '=') : NULL;
                if (!eq)
                        continue;
                _cleanup_free_ char *key = xstrndup(name, (size_t) (eq - name)), *value = xstrdup(eq + 1);
                set_named(c, key, clean_value(value), "environment", problems);
        }
}

static void check_all(const FleetConfig *c, char ***problems) {
        if (!!c->etcd_certfile != !!c->etcd_keyfile)
                strv_add(problems, "etcd_certfile and etcd_keyfile must be given together");
        if (!!c->etcd_username != !!c->etcd_password)
                strv_add(problems, "etcd_username and etcd_password must be given together");
        if (c->etcd_username)
                strv_add(problems, "etcd_username: logging in to etcd is not supported yet, use certificates");
        if (c->units_directory && c->units_directory[0] != '/')
                strv_add(problems, "units_directory must be an absolute path");
}

int fleet_config_read(const char *path, char *const *env, FleetConfig *ret, char ***problems, Err *err) {
        _cleanup_(buf_done) Buf text = {};
        const char *file = path ? path : "/etc/fleet/fleet.conf";

        int r = read_file(file, CONFIG_BYTES_MAX, &text);
        if (r < 0 && (path || r != -ENOENT))
                return err_errno(err, r, "cannot read configuration file %s", file);
        fleet_config_defaults(ret);
        fleet_config_parse(ret, buf_str(&text), text.len, problems);
        fleet_config_env(ret, env, problems);
        check_all(ret, problems);
        return 0;
}

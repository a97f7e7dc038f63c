/* SPDX-License-Identifier: Apache-2.0 */

/* -validate: every finding with the line it stands on. The tree knows its lines, so unlike upstream a
 * repeated key is never attributed to its first occurrence. */

#include "base/alloc.h"
#include "base/str.h"
#include "cloudinit/config/cloudconfig.h"
#include "cloudinit/config/schema.h"
#include "codec/yaml.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct Report {
        Buf *out;
        unsigned n;
} Report;

static void say(Report *r, unsigned line, const char *level, const char *fmt, ...) _printf_(4, 5);
static void say(Report *r, unsigned line, const char *level, const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        char *s = NULL;
        if (vasprintf(&s, fmt, ap) < 0)
                abort();
        va_end(ap);
        buf_addf(r->out, "line %u: %s: %s\n", line, level, s);
        free(s);
        r->n++;
}

static char *normal_name(const char *key) {
        char *s = xstrdup(key);
        for (char *p = s; *p; p++)
                if (*p == '-')
                        *p = '_';
        return s;
}

static bool is_string_list(const YamlNode *n) {
        if (n->kind != YAML_SEQUENCE)
                return false;
        for (size_t i = 0; i < n->n; i++)
                if (n->values[i]->kind != YAML_SCALAR)
                        return false;
        return true;
}

static bool has_type(const YamlNode *n, const Key *k) {
        bool b;
        int64_t i;
        double d;
        if (yaml_is_null(n))
                return true;
        switch (k->kind) {
        case KEY_STR:
                return n->kind == YAML_SCALAR;
        case KEY_BOOL:
                return yaml_bool(n, &b) >= 0;
        case KEY_INT:
                return yaml_int(n, &i) >= 0;
        case KEY_FLOAT:
                return yaml_float(n, &d) >= 0;
        case KEY_STRS:
                return is_string_list(n);
        case KEY_STRUCT:
                return n->kind == YAML_MAPPING;
        case KEY_STRUCTS:
                return n->kind == YAML_SEQUENCE;
        }
        return false;
}

static bool is_allowed(const char *allowed, const char *value) {
        _cleanup_strv_ char **l = strv_split(allowed, "|", false);
        return strv_contains(l, value);
}

static bool is_permission(const char *s) {
        size_t n = strlen(s);
        return strspn(s, "01234567") == n && (n == 3 || n == 4 || (n == 5 && s[0] == '0'));
}

static void check_value(Report *r, const Key *k, const YamlNode *n) {
        const char *s = yaml_str(n);
        if (isempty(s))
                return;
        bool bad = k->allowed ? !is_allowed(k->allowed, s)
                              : streq(k->name, "permissions") && !is_permission(s);
        if (bad)
                say(r, n->line, "error", "invalid value %s", s);
}

static void check_map(Report *r, const YamlNode *map, const Key *table, unsigned depth);

static void check_key(Report *r, const YamlNode *key, const YamlNode *value, const Key *table,
                      unsigned depth) {
        _cleanup_free_ char *name = normal_name(key->kind == YAML_SCALAR ? key->text : "?");
        const Key *k = schema_find(table, name);
        if (!k) {
                say(r, key->line, "warning", "unrecognized key \"%s\"", name);
                return;
        }
        if (!has_type(value, k)) {
                say(r, key->line, "warning", "incorrect type for \"%s\" (want %s)", name,
                    schema_kind_name(k));
                return;
        }
        if (k->deprecated)
                say(r, key->line, "warning", "deprecated key \"%s\" (%s)", name, k->deprecated);
        if (k->kind == KEY_STRUCT)
                check_map(r, value, k->sub, depth + 1);
        for (size_t i = 0; k->kind == KEY_STRUCTS && i < value->n; i++) {
                if (value->values[i]->kind == YAML_MAPPING)
                        check_map(r, value->values[i], k->sub, depth + 1);
                else
                        say(r, value->values[i]->line, "warning",
                            "incorrect type for \"%s[%zu]\" (want struct)", name, i);
        }
        check_value(r, k, value);
}

static void check_map(Report *r, const YamlNode *map, const Key *table, unsigned depth) {
        for (size_t i = 0; depth < YAML_DEPTH_MAX && map->kind == YAML_MAPPING && i < map->n; i++)
                check_key(r, map->keys[i], map->values[i], table, depth);
}

static void check_files(Report *r, const YamlNode *files) {
        for (size_t i = 0; files && files->kind == YAML_SEQUENCE && i < files->n; i++) {
                const YamlNode *f = files->values[i], *content = yaml_get(f, "content");
                const char *encoding = yaml_str(yaml_get(f, "encoding")),
                           *path = yaml_str(yaml_get(f, "path"));
                _cleanup_(buf_done) Buf b = {};
                const char *s = yaml_str(content);
                if (decode_content(encoding, strempty(s), s ? content->len : 0, &b) < 0)
                        say(r, content ? content->line : f->line, "error",
                            "content cannot be decoded as \"%s\"", strempty(encoding));
                if (path && startswith(path, "/usr/"))
                        say(r, yaml_get(f, "path")->line, "error",
                            "file cannot be written to a read-only filesystem");
        }
}

static void check_discovery(Report *r, const YamlNode *section) {
        const YamlNode *n = yaml_get(section, "discovery");
        const char *s = yaml_str(n);
        if (!isempty(s) && !startswith(s, "http://") && !startswith(s, "https://"))
                say(r, n->line, "warning", "discovery URL is not valid");
}

/* What the plan would refuse although each key by itself is fine. */
static void check_plan(Report *r, const char *text, size_t n) {
        _cleanup_(cloud_plan_done) CloudPlan plan = {};
        _cleanup_(err_done) Err err = {};
        const CloudPlanInput in = { .ssh_key_name = "coreos-cloudinit", .hostname = "localhost" };
        if (r->n == 0 && cloud_plan_from_config(&plan, text, n, &in, &err) < 0) {
                buf_addf(r->out, "%s\n", err_msg(&err));
                r->n++;
        }
}

static void validate_config(Report *r, const char *text, size_t n) {
        Arena a = {};
        YamlNode *root = NULL;
        unsigned line;
        _cleanup_(err_done) Err err = {};
        if (yaml_parse(&a, text, n, &root, &line, &err) < 0)
                say(r, line, "error", "%s", err_msg(&err));
        else if (root && root->kind == YAML_MAPPING) {
                const YamlNode *coreos = yaml_get(root, "coreos");
                check_discovery(r, yaml_get(coreos, "etcd"));
                check_discovery(r, yaml_get(coreos, "etcd2"));
                check_files(r, yaml_get(root, "write_files"));
                check_map(r, root, schema_root, 0);
                if (yaml_get(coreos, "write_files"))
                        say(r, yaml_get(coreos, "write_files")->line, "info",
                            "write_files doesn't belong under coreos");
                check_plan(r, text, n);
        } else if (root && !yaml_is_null(root))
                say(r, root->line, "error", "a cloud-config is a mapping of keys");
        arena_done(&a);
}

unsigned validate_user_data(const char *text, size_t n, Buf *out) {
        Report r = { .out = out };
        switch (user_data_kind(text, n)) {
        case USER_DATA_CONFIG:
                validate_config(&r, text, n);
                break;
        case USER_DATA_IGNITION:
        case USER_DATA_UNKNOWN:
                say(&r, 1, "error", "must be \"#cloud-config\" or begin with \"#!\"");
                break;
        case USER_DATA_EMPTY:
        case USER_DATA_SCRIPT:
                break;
        }
        return r.n;
}

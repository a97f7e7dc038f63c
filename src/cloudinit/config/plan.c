/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "cloudinit/config/cloudconfig.h"
#include "cloudinit/config/schema.h"
#include "codec/yaml.h"

#include <ctype.h>
#include <stdio.h>

static Action *add(CloudPlan *p, ActionKind kind) {
        Action *a = arena_new(&p->arena, Action, 1);
        a->kind = kind;
        LIST_APPEND(&p->actions, a, link);
        return a;
}

static Action *add_file(CloudPlan *p, const char *path, const char *content, size_t n, mode_t mode) {
        Action *a = add(p, ACTION_FILE);
        a->path = arena_strdup(&p->arena, path);
        a->content = arena_strndup(&p->arena, content, n);
        a->content_len = n;
        a->mode = mode;
        return a;
}

static bool flag(const YamlNode *map, const char *key) {
        bool v = false;
        return yaml_bool(yaml_get(map, key), &v) >= 0 && v;
}

static const char *text(const YamlNode *map, const char *key) {
        return yaml_str(yaml_get(map, key));
}

static size_t n_items(const YamlNode *n) {
        return n && n->kind == YAML_SEQUENCE ? n->n : 0;
}

static int bad(const YamlNode *at, Err *err, const char *what, const char *value) {
        return err_set(err, -EINVAL, "line %u: error: %s%s%s", at->line, what, value ? " " : "",
                       strempty(value));
}

/* ---- users ---- */

static void plan_keys(CloudPlan *p, const char *user, const char *set, const YamlNode *keys) {
        if (n_items(keys) == 0)
                return;
        _cleanup_(buf_done) Buf b = {};
        for (size_t i = 0; i < keys->n; i++) {
                _cleanup_free_ char *s = xstrdup(strempty(yaml_str(keys->values[i])));
                buf_addf(&b, "%s\n", strstrip(s));
        }
        Action *a = add(p, ACTION_SSH_KEYS);
        a->name = user;
        a->argument = set;
        a->content = arena_strndup(&p->arena, b.data, b.len);
        a->content_len = b.len;
}

static void useradd_options(char ***argv, const YamlNode *u) {
        static const struct {
                const char *key, *option;
        } valued[] = { { "gecos", "--comment" },
                       { "homedir", "--home-dir" },
                       { "primary_group", "--gid" },
                       { "shell", "--shell" } },
          flags[] = { { "no_user_group", "--no-user-group" },
                      { "system", "--system" },
                      { "no_log_init", "--no-log-init" } };
        for (size_t i = 0; i < ELEMENTSOF(valued); i++)
                if (text(u, valued[i].key)) {
                        strv_add(argv, valued[i].option);
                        strv_add(argv, text(u, valued[i].key));
                }
        for (size_t i = 0; i < ELEMENTSOF(flags); i++)
                if (flag(u, flags[i].key))
                        strv_add(argv, flags[i].option);
        strv_add(argv, flag(u, "no_create_home") ? "--no-create-home" : "--create-home");
        const YamlNode *groups = yaml_get(u, "groups");
        _cleanup_strv_ char **names = NULL;
        for (size_t i = 0; i < n_items(groups); i++)
                if (yaml_str(groups->values[i]))
                        strv_add(&names, yaml_str(groups->values[i]));
        if (names) {
                strv_add(argv, "--groups");
                strv_push(argv, strv_join(names, ","));
        }
}

static int plan_users(CloudPlan *p, const YamlNode *users, const CloudPlanInput *in, Err *err) {
        for (size_t i = 0; i < n_items(users); i++) {
                const YamlNode *u = users->values[i];
                const char *name = text(u, "name");
                if (isempty(name))
                        continue;
                if (name[0] == '-' || strpbrk(name, ":/\n "))
                        return bad(u, err, "invalid user name", name);
                Action *a = add(p, ACTION_USER);
                a->name = name;
                a->argument = text(u, "passwd");
                strv_add(&a->argv, "useradd");
                strv_add(&a->argv, "--password");
                strv_add(&a->argv, a->argument ? a->argument : "*");
                useradd_options(&a->argv, u);
                strv_add(&a->argv, name);
                plan_keys(p, name, in->ssh_key_name, yaml_get(u, "ssh_authorized_keys"));
        }
        return 0;
}

/* ---- files ---- */

static int parse_mode(const YamlNode *file, mode_t *ret, Err *err) {
        const char *s = text(file, "permissions");
        uint64_t v = 0644;
        if (s && (strlen(s) < 3 || strlen(s) > 5 || parse_u64_base(s, 8, &v) < 0 || v > 07777))
                return bad(yaml_get(file, "permissions"), err, "invalid value", s);
        *ret = (mode_t) v;
        return 0;
}

static int plan_file(CloudPlan *p, const YamlNode *f, Err *err) {
        const char *path = text(f, "path"), *encoding = text(f, "encoding");
        const YamlNode *content = yaml_get(f, "content");
        mode_t mode;
        if (!path || path[0] != '/')
                return bad(f, err, "write_files entry without an absolute path", path);
        int r = parse_mode(f, &mode, err);
        if (r < 0)
                return r;
        _cleanup_(buf_done) Buf b = {};
        bool scalar = content && content->kind == YAML_SCALAR && !yaml_is_null(content);
        r = decode_content(encoding, scalar ? content->text : "", scalar ? content->len : 0, &b);
        if (r < 0)
                return err_set(err, r, "line %u: error: content cannot be decoded as \"%s\"", f->line,
                               strempty(encoding));
        Action *a = add_file(p, path, buf_str(&b), b.len, mode);
        a->owner = text(f, "owner");
        return 0;
}

static void oem_line(Buf *b, const YamlNode *oem, const char *key, const char *name, bool quoted) {
        const char *v = strempty(text(oem, key));
        buf_addf(b, quoted ? "%s=\"%s\"\n" : "%s=%s\n", name, v);
}

static void plan_oem(CloudPlan *p, const YamlNode *oem) {
        if (!text(oem, "id"))
                return;
        _cleanup_(buf_done) Buf b = {};
        oem_line(&b, oem, "id", "ID", false);
        oem_line(&b, oem, "version_id", "VERSION_ID", false);
        oem_line(&b, oem, "name", "NAME", true);
        oem_line(&b, oem, "home_url", "HOME_URL", true);
        oem_line(&b, oem, "bug_report_url", "BUG_REPORT_URL", true);
        (void) add_file(p, "/etc/oem-release", b.data, b.len, 0644);
}

static void plan_update_conf(CloudPlan *p, const YamlNode *update) {
        _cleanup_(buf_done) Buf b = {};
        static const char *const keys[][2] = { { "reboot_strategy", "REBOOT_STRATEGY" },
                                               { "group", "GROUP" },
                                               { "server", "SERVER" } };
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (text(update, keys[i][0]))
                        buf_addf(&b, "%s=%s\n", keys[i][1], text(update, keys[i][0]));
        if (b.len == 0)
                return;
        Action *a = add(p, ACTION_SETTINGS);
        a->path = "/etc/coreos/update.conf";
        a->argument = "/usr/share/coreos/update.conf";
        a->content = arena_strndup(&p->arena, b.data, b.len);
        a->content_len = b.len;
}

static int plan_hosts(CloudPlan *p, const YamlNode *root, const CloudPlanInput *in, Err *err) {
        const char *how = text(root, "manage_etc_hosts"), *host = text(root, "hostname");
        if (!how)
                return 0;
        if (!streq(how, "localhost"))
                return bad(yaml_get(root, "manage_etc_hosts"), err,
                           "invalid value for manage_etc_hosts (only "
                           "\"localhost\" is known):",
                           how);
        /* The names of the loopback itself stay resolvable, which upstream forgot. */
        _cleanup_free_ char *s = xasprintf("127.0.0.1 localhost\n127.0.0.1 %s\n::1 localhost\n",
                                           host ? host : strempty(in->hostname));
        (void) add_file(p, "/etc/hosts", s, strlen(s), 0644);
        return 0;
}

/* ---- sections that become environment ---- */

/* One K=V for each key of the table that is set to something other than its zero value. */
static char **section_env(const YamlNode *section, const Key *table, const char *prefix) {
        char **env = NULL;
        for (const Key *k = table; k->name; k++) {
                const YamlNode *n = yaml_get(section, k->name);
                _cleanup_free_ char *value = NULL,
                                    *key = k->env ? xstrdup(k->env) : xasprintf("%s%s", prefix, k->name);
                bool b;
                int64_t i;
                double d;
                for (char *c = key; *c; c++)
                        *c = (char) toupper((unsigned char) *c);
                if (k->kind == KEY_STR && !isempty(yaml_str(n)))
                        value = xstrdup(yaml_str(n));
                else if (k->kind == KEY_BOOL && yaml_bool(n, &b) >= 0 && b)
                        value = xstrdup("true");
                else if (k->kind == KEY_INT && yaml_int(n, &i) >= 0 && i != 0)
                        value = xasprintf("%" PRId64, i);
                else if (k->kind == KEY_FLOAT && yaml_float(n, &d) >= 0 && (d > 0 || d < 0))
                        value = xasprintf("%.15g", d);
                if (value)
                        strv_addf(&env, "%s=%s", key, value);
        }
        return env;
}

static void plan_flannel(CloudPlan *p, const YamlNode *section) {
        _cleanup_strv_ char **env = section_env(section, schema_flannel, "FLANNELD_");
        _cleanup_free_ char *s = strv_join(env, "\n");
        if (env)
                (void) add_file(p, "/run/flannel/options.env", s, strlen(s), 0644);
}

static void plan_drop_in(CloudPlan *p, const YamlNode *section, const Key *table, const char *prefix,
                         const char *service) {
        _cleanup_strv_ char **env = section_env(section, table, prefix);
        if (!env)
                return;
        _cleanup_(buf_done) Buf b = {};
        buf_adds(&b, "[Service]\n");
        STRV_FOREACH(i, env) {
                /* systemd reads C escapes and %-specifiers inside the quotes. */
                buf_adds(&b, "Environment=\"");
                for (const char *c = *i; *c; c++) {
                        if (*c == '"' || *c == '\\')
                                buf_addc(&b, '\\');
                        if (*c == '%')
                                buf_addc(&b, '%');
                        buf_addc(&b, *c == '\n' ? ' ' : *c);
                }
                buf_adds(&b, "\"\n");
        }
        _cleanup_free_ char *path = xasprintf("/run/systemd/system/%s.d/20-cloudinit.conf", service);
        (void) add_file(p, path, b.data, b.len, 0644);
        p->units_written = true;
}

/* ---- units ---- */

static bool is_network_unit(const char *name) {
        return endswith(name, ".network") || endswith(name, ".netdev") || endswith(name, ".link");
}

static int plan_unit_files(CloudPlan *p, const YamlNode *u, const char *name, Err *err) {
        bool runtime = flag(u, "runtime");
        _cleanup_free_ char *dest = xasprintf("%s/systemd/%s/%s", runtime ? "/run" : "/etc",
                                              is_network_unit(name) ? "network" : "system", name);
        const YamlNode *content = yaml_get(u, "content"), *drop_ins = yaml_get(u, "drop_ins");
        if (!isempty(yaml_str(content))) {
                (void) add_file(p, dest, content->text, content->len, 0644);
                p->units_written = true;
        }
        for (size_t i = 0; i < n_items(drop_ins); i++) {
                const YamlNode *d = drop_ins->values[i];
                const char *dname = text(d, "name"), *dtext = text(d, "content");
                if (isempty(dname) || isempty(dtext))
                        continue;
                if (strchr(dname, '/'))
                        return bad(d, err, "invalid drop-in name", dname);
                _cleanup_free_ char *path = xasprintf("%s.d/%s", dest, dname);
                (void) add_file(p, path, dtext, strlen(dtext), 0644);
                p->units_written = true;
        }
        return 0;
}

static int plan_unit(CloudPlan *p, const YamlNode *u, Err *err) {
        const char *name = text(u, "name");
        if (isempty(name) || strchr(name, '/') || name[0] == '.')
                return bad(u, err, "invalid unit name", name);
        int r = plan_unit_files(p, u, name, err);
        if (r < 0)
                return r;
        bool runtime = flag(u, "runtime");
        if (flag(u, "mask") || runtime) {
                Action *a = add(p, flag(u, "mask") ? ACTION_MASK : ACTION_UNMASK);
                a->name = name;
                a->runtime = runtime;
        }
        if (flag(u, "enable") && !is_network_unit(name))
                add(p, ACTION_ENABLE)->name = name;
        return 0;
}

static void plan_command(CloudPlan *p, const char *unit, const char *command) {
        Action *a = add(p, ACTION_COMMAND);
        a->name = unit;
        a->argument = command;
}

static int check_command(const YamlNode *u, Err *err) {
        const char *command = text(u, "command");
        static const char *const known[] = { "start",
                                             "stop",
                                             "restart",
                                             "reload",
                                             "try-restart",
                                             "reload-or-restart",
                                             "reload-or-try-restart" };
        for (size_t i = 0; command && i < ELEMENTSOF(known); i++)
                if (streq(command, known[i]))
                        return 1;
        return isempty(command) ? 0 : bad(yaml_get(u, "command"), err, "invalid value", command);
}

static int plan_units(CloudPlan *p, const YamlNode *coreos, Err *err) {
        const YamlNode *units = yaml_get(coreos, "units"), *update = yaml_get(coreos, "update");
        bool network = false;
        for (size_t i = 0; i < n_items(units); i++) {
                int r = check_command(units->values[i], err);
                if (r >= 0)
                        r = plan_unit(p, units->values[i], err);
                if (r < 0)
                        return r;
                network = network || is_network_unit(text(units->values[i], "name"));
        }
        plan_drop_in(p, yaml_get(coreos, "etcd"), schema_etcd, "ETCD_", "etcd.service");
        plan_drop_in(p, yaml_get(coreos, "etcd2"), schema_etcd2, "ETCD_", "etcd2.service");
        plan_drop_in(p, yaml_get(coreos, "fleet"), schema_fleet, "FLEET_", "fleet.service");
        plan_drop_in(p, yaml_get(coreos, "locksmith"), schema_locksmith, "LOCKSMITHD_",
                     "locksmithd.service");
        if (p->units_written)
                (void) add(p, ACTION_RELOAD);
        if (network)
                plan_command(p, "systemd-networkd.service", "restart");
        for (size_t i = 0; i < n_items(units); i++) {
                const char *name = text(units->values[i], "name"),
                           *command = text(units->values[i], "command");
                if (!isempty(command) && !is_network_unit(name))
                        plan_command(p, name, command);
        }
        const char *strategy = text(update, "reboot_strategy");
        if (strategy)
                plan_command(p, "locksmithd.service", streq(strategy, "off") ? "stop" : "restart");
        if (text(update, "group") || text(update, "server"))
                plan_command(p, "update-engine.service", "restart");
        return 0;
}

/* ---- the whole ---- */

static bool writes_path(const CloudPlan *p, const char *path) {
        LIST_FOREACH(a, &p->actions, link)
                if (a->path && streq(a->path, path))
                        return true;
        return false;
}

static void plan_environment(CloudPlan *p, const CloudPlanInput *in) {
        const struct {
                const char *key, *value;
        } vars[] = { { "COREOS_PRIVATE_IPV4", in->addresses.private_ipv4 },
                     { "COREOS_PRIVATE_IPV6", in->addresses.private_ipv6 },
                     { "COREOS_PUBLIC_IPV4", in->addresses.public_ipv4 },
                     { "COREOS_PUBLIC_IPV6", in->addresses.public_ipv6 } };
        _cleanup_(buf_done) Buf b = {};
        for (size_t i = 0; i < ELEMENTSOF(vars); i++)
                if (!isempty(vars[i].value))
                        buf_addf(&b, "%s=%s\n", vars[i].key, vars[i].value);
        if (b.len == 0 || writes_path(p, "/etc/environment"))
                return;
        Action *a = add(p, ACTION_SETTINGS);
        a->path = "/etc/environment";
        a->content = arena_strndup(&p->arena, b.data, b.len);
        a->content_len = b.len;
}

int cloud_plan_from_config(CloudPlan *p, const char *config, size_t n, const CloudPlanInput *in, Err *err) {
        YamlNode *root = NULL;
        unsigned line;
        _cleanup_(err_done) Err e = {};
        int r = yaml_parse(&p->arena, config, n, &root, &line, &e);
        if (r < 0)
                return err_set(err, r, "line %u: error: %s", line, err_msg(&e));
        if (root && root->kind != YAML_MAPPING && !yaml_is_null(root))
                return bad(root, err, "a cloud-config is a mapping of keys", NULL);
        const YamlNode *coreos = yaml_get(root, "coreos"), *files = yaml_get(root, "write_files");
        if (text(root, "hostname"))
                add(p, ACTION_HOSTNAME)->name = text(root, "hostname");
        r = plan_users(p, yaml_get(root, "users"), in, err);
        if (r < 0)
                return r;
        plan_keys(p, "core", in->ssh_key_name, yaml_get(root, "ssh_authorized_keys"));
        for (size_t i = 0; i < n_items(files); i++) {
                r = plan_file(p, files->values[i], err);
                if (r < 0)
                        return r;
        }
        plan_oem(p, yaml_get(coreos, "oem"));
        plan_update_conf(p, yaml_get(coreos, "update"));
        r = plan_hosts(p, root, in, err);
        if (r < 0)
                return r;
        plan_flannel(p, yaml_get(coreos, "flannel"));
        plan_environment(p, in);
        return plan_units(p, coreos, err);
}

void cloud_plan_done(CloudPlan *p) {
        LIST_FOREACH(a, &p->actions, link)
                a->argv = strv_free(a->argv);
        arena_done(&p->arena);
        *p = (CloudPlan){};
}

void cloud_plan_print(const CloudPlan *p, Buf *out) {
        static const char *const names[_ACTION_KIND_MAX] = {
                [ACTION_HOSTNAME] = "hostname",    [ACTION_USER] = "user",
                [ACTION_SSH_KEYS] = "ssh-keys",    [ACTION_FILE] = "write",
                [ACTION_SETTINGS] = "settings",    [ACTION_MASK] = "mask",
                [ACTION_UNMASK] = "unmask",        [ACTION_ENABLE] = "enable",
                [ACTION_RELOAD] = "daemon-reload", [ACTION_COMMAND] = "systemctl",
        };
        LIST_FOREACH(a, &p->actions, link) {
                buf_adds(out, names[a->kind]);
                if (a->kind == ACTION_COMMAND)
                        buf_addf(out, " %s", a->argument);
                if (a->name)
                        buf_addf(out, " %s", a->name);
                if (a->path)
                        buf_addf(out, " %s", a->path);
                if (a->kind == ACTION_FILE)
                        buf_addf(out, " mode=%04o owner=%s bytes=%zu", (unsigned) a->mode,
                                 a->owner ? a->owner : "root", a->content_len);
                if (a->runtime)
                        buf_adds(out, " runtime");
                buf_addc(out, '\n');
        }
}

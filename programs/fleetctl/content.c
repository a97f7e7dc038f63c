/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetctl.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "fleet/plan/name.h"
#include "sys/fs.h"

/* Where a unit's content comes from (spec/fleet.md 1.3): a local file, a template in the registry, a template file. */

/* 1 = read, 0 = there is no such file. */
static int read_local(const char *path, UnitFile *ret, Err *err) {
        _cleanup_(buf_done) Buf text = {};

        int r = read_file(path, UNITFILE_BYTES_MAX, &text);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r < 0)
                return err_errno(err, r, "cannot read %s", path);
        r = unitfile_parse(buf_str(&text), text.len, 0, ret, err);
        return r < 0 ? r : 1;
}

static char *template_path(const char *path, const char *name) {
        _cleanup_free_ char *template = unit_name_template(name);
        const char *slash = strrchr(path, '/');
        if (!unit_name_is_instance(name))
                return NULL;
        return slash ? xasprintf("%.*s/%s", (int) (slash - path), path, template) : xstrdup(template);
}

static char *full_path(const char *arg) {
        return unit_name_recognised(arg) ? xstrdup(arg) : xasprintf("%s.service", arg);
}

static bool same_content(const UnitFile *a, const UnitFile *b) {
        _cleanup_free_ char *x = unitfile_hash(a), *y = unitfile_hash(b);
        return streq(x, y);
}

static int validate(const char *name, const UnitFile *u, Err *err) {
        _cleanup_(xfleet_done) XFleet x = {};
        const char *unknown = xfleet_unknown(u);
        _cleanup_free_ char *ignored = xfleet_ignored_metadata(u);

        int r = unit_name_validate(name, err);
        if (r < 0)
                return r;
        if (unknown)
                say_error("WARN Unit %s: unrecognized requirement in [X-Fleet] section: \"%s\"", name, unknown);
        if (ignored)
                say_error("WARN Unit %s: MachineMetadata \"%s\" is not of the form key=value and constrains nothing",
                          name, ignored);
        xfleet_read(u, name, &x);
        return xfleet_validate(&x, err);
}

/* What stands beside the argument: the file itself, or its template. 1 = *ret is filled. */
static int local_content(const char *path, const char *name, UnitFile *ret, char **ret_from, Err *err) {
        _cleanup_free_ char *template = template_path(path, name);

        int r = read_local(path, ret, err);
        if (r != 0) {
                if (r > 0)
                        *ret_from = xstrdup(path);
                return r < 0 ? err_wrap(err, r, "failed getting Unit(%s) from file", name) : r;
        }
        if (!template)
                return 0;
        r = read_local(template, ret, err);
        if (r < 0)
                return err_wrap(err, r, "failed getting Unit(%s) from template", name);
        if (r > 0)
                *ret_from = TAKE_PTR(template);
        return r;
}

static int warn_different(const Unit *there, const char *path, Err *err) {
        _cleanup_(unitfile_done) UnitFile local = {};
        _cleanup_free_ char *from = NULL;

        int r = local_content(path, there->name, &local, &from, err);
        if (r <= 0 || same_content(&local, &there->options))
                return r;
        bool is_template = !streq(from, path);
        say_error("WARNING: Unit %s in registry differs from local %sunit file %s. Add --replace to override.",
                  there->name, is_template ? "template " : "", from);
        return 0;
}

/* 1 = something was written. */
static int replace(const Unit *there, const char *path, unsigned replaceable, Err *err) {
        _cleanup_(unitfile_done) UnitFile local = {};
        _cleanup_free_ char *from = NULL;

        int r = local_content(path, there->name, &local, &from, err);
        if (r < 0)
                return r;
        if (r == 0)
                return 0;
        if (same_content(&local, &there->options)) {
                say("Found same Unit(%s) in Registry, nothing to do", there->name);
                return 0;
        }
        if (!(replaceable & (1U << there->desired))) {
                say_error("Warning: can not replace Unit(%s) in state '%s', use the appropriate command", there->name,
                          unit_state_to_string(there->desired));
                return 0;
        }
        r = validate(there->name, &local, err);
        if (r >= 0)
                r = unit_create(there->name, &local, err);
        return r < 0 ? r : 1;
}

/* The content for a unit that is not in the registry. */
static int find_content(const char *path, const char *name, UnitFile *ret, Err *err) {
        _cleanup_free_ char *template = unit_name_is_instance(name) ? unit_name_template(name) : NULL, *from = NULL;

        int r = read_local(path, ret, err);
        if (r != 0)
                return r < 0 ? err_wrap(err, r, "failed getting Unit(%s) from file", name) : 0;
        if (!template)
                return err_set(err, -ENOENT, "unable to find Unit(%s) in Registry or on filesystem", name);
        _cleanup_(unit_done) Unit stored = {};
        r = unit_get(template, &stored, err);
        if (r < 0)
                return r;
        if (r > 0) {
                _cleanup_free_ char *beside = template_path(path, name);
                (void) warn_different(&stored, beside, NULL);
                unitfile_copy(&stored.options, ret);
                return 0;
        }
        r = local_content(path, name, ret, &from, err);
        if (r == 0)
                return err_set(err, -ENOENT,
                               "failed getting Unit(%s) from template: unable to find template Unit(%s) in Registry or "
                               "on filesystem", name, template);
        return r < 0 ? r : 0;
}

/* 1 = created or replaced, 0 = left as it was. */
static int create_one(const char *arg, const char *name, unsigned replaceable, Err *err) {
        _cleanup_free_ char *path = full_path(arg);
        _cleanup_(unit_done) Unit there = {};
        _cleanup_(unitfile_done) UnitFile content = {};

        int r = unit_get(name, &there, err);
        if (r < 0)
                return r;
        if (r > 0)
                return arg_replace ? replace(&there, path, replaceable, err) : warn_different(&there, path, err);
        r = find_content(path, name, &content, err);
        if (r >= 0)
                r = validate(name, &content, err);
        if (r >= 0)
                r = unit_create(name, &content, err);
        return r < 0 ? r : 1;
}

int lazy_create(char **args, unsigned replaceable, char ***ret_names, Err *err) {
        _cleanup_strv_ char **names = NULL, **created = NULL;

        STRV_FOREACH(arg, args) {
                _cleanup_free_ char *name = unit_name_mangle(*arg);
                int r = create_one(*arg, name, replaceable, err);
                if (r < 0)
                        return r;
                if (r > 0)
                        strv_add(&created, name);
                strv_add(&names, name);
        }
        if (created) {
                int r = wait_units(created, UNIT_INACTIVE, NULL, err);
                if (r < 0)
                        return r;
        }
        *ret_names = TAKE_PTR(names);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetctl.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "fleet/table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* list-units, list-unit-files, list-machines */

static const Field *find_field(const Field *fields, const char *name) {
        for (const Field *f = fields; f->name; f++)
                if (streq(f->name, name))
                        return f;
        return NULL;
}

static char *upper(const char *s) {
        char *u = xstrdup(s);
        for (char *c = u; *c; c++)
                *c = (char) toupper((unsigned char) *c);
        return u;
}

static int print_json(const Field *fields, char **chosen, const void *const *items, size_t n, const Machines *machines) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut o = { .buf = &b, .indent = 2, .plain = true };

        jo_arr(&o);
        for (size_t i = 0; i < n; i++) {
                jo_obj(&o);
                STRV_FOREACH(c, chosen) {
                        _cleanup_free_ char *cell = find_field(fields, *c)->cell(items[i], machines);
                        jo_kstr(&o, *c, streq(cell, "-") ? "" : cell);
                }
                jo_end(&o);
        }
        jo_end(&o);
        printf("%s\n", buf_str(&b));
        return 0;
}

int print_table(const Field *fields, const char *chosen, const void *const *items, size_t n, const Machines *machines) {
        _cleanup_strv_ char **names = strv_split(chosen, ",", false);
        _cleanup_(table_done) Table t = {};

        if (!names) {
                say_error("Must define output format");
                return 1;
        }
        STRV_FOREACH(c, names)
                if (!find_field(fields, *c)) {
                        say_error("Invalid key in output format: \"%s\"", *c);
                        return 1;
                }
        if (streq(arg_output, "json"))
                return print_json(fields, names, items, n, machines);
        if (!streq(arg_output, "table")) {
                say_error("Unknown output format \"%s\": table or json", arg_output);
                return 1;
        }
        t.columns = strv_len(names);
        STRV_FOREACH(c, names)
                if (!arg_no_legend)
                        table_add(&t, upper(*c));
        for (size_t i = 0; i < n; i++)
                STRV_FOREACH(c, names)
                        table_add(&t, find_field(fields, *c)->cell(items[i], machines));
        _cleanup_free_ char *text = table_text(&t);
        (void) fputs(text, stdout);
        return 0;
}

/* ---- cells ---- */

static char *or_dash(const char *s) {
        return xstrdup(isempty(s) ? "-" : s);
}

static char *cell_machine(const char *id, const Machines *machines) {
        return isempty(id) ? xstrdup("-") : machine_label(machines, id, arg_full);
}

static char *cell_hash(const char *hash) {
        if (isempty(hash))
                return xstrdup("-");
        return arg_full ? xstrdup(hash) : xasprintf("%.7s", hash);
}

/* ---- list-units: from states ---- */

#define STATE_CELL(fn, key)                                                                                   \
        static char *fn(const void *item, const Machines *machines) {                                         \
                return or_dash(ji_str(item, key));                                                            \
        }
STATE_CELL(state_unit, "name")
STATE_CELL(state_active, "systemdActiveState")
STATE_CELL(state_load, "systemdLoadState")
STATE_CELL(state_sub, "systemdSubState")
static char *state_hash(const void *item, const Machines *machines) {
        return cell_hash(ji_str(item, "hash"));
}
static char *state_machine(const void *item, const Machines *machines) {
        return cell_machine(ji_str(item, "machineID"), machines);
}

static const Field state_fields[] = {
        { "active", state_active }, { "hash", state_hash }, { "load", state_load }, { "machine", state_machine },
        { "sub", state_sub },       { "unit", state_unit }, {},
};

int cmd_list_units(char **args) {
        _cleanup_json_ json_t *all = NULL;
        _cleanup_(machines_done) Machines machines = {};
        _cleanup_(err_done) Err err = {};
        size_t i;
        json_t *o;

        if (args[0])
                return say_error("list-units takes no arguments"), 1;
        if (api_list("state", "states", &all, &err) < 0 || machines_get(&machines, &err) < 0) {
                say_error("Error retrieving list of units from repository: %s", err_msg(&err));
                return 1;
        }
        _cleanup_free_ const void **items = (const void **) xcalloc(json_array_size(all) + 1, sizeof(void *));
        json_array_foreach(all, i, o)
                items[i] = o;
        return print_table(state_fields, arg_fields ? arg_fields : "unit,machine,active,sub", items,
                           json_array_size(all), &machines);
}

/* ---- list-unit-files ---- */

static char *unit_name_cell(const void *item, const Machines *machines) {
        return xstrdup(((const Unit *) item)->name);
}
static char *unit_desc(const void *item, const Machines *machines) {
        return or_dash(unitfile_get(&((const Unit *) item)->options, "Unit", "Description"));
}
static char *unit_dstate(const void *item, const Machines *machines) {
        return xstrdup(unit_state_to_string(((const Unit *) item)->desired));
}
static char *unit_global(const void *item, const Machines *machines) {
        return xstrdup(((const Unit *) item)->req.global ? "true" : "false");
}
static char *unit_hash(const void *item, const Machines *machines) {
        _cleanup_free_ char *hash = unitfile_hash(&((const Unit *) item)->options);
        return cell_hash(hash);
}
static char *unit_state_cell(const void *item, const Machines *machines) {
        const Unit *u = item;
        return xstrdup(u->req.global || !u->has_current ? "-" : unit_state_to_string(u->current));
}
static char *unit_target(const void *item, const Machines *machines) {
        const Unit *u = item;
        return u->req.global ? xstrdup("global") : cell_machine(u->machine, machines);
}
static char *unit_tmachine(const void *item, const Machines *machines) {
        static bool warned;
        if (!warned)
                say_error("WARNING: the \"tmachine\" field is deprecated. Use \"target\" instead");
        warned = true;
        return unit_target(item, machines);
}

static const Field unit_fields[] = {
        { "desc", unit_desc },
        { "dstate", unit_dstate },
        { "global", unit_global },
        { "hash", unit_hash },
        { "state", unit_state_cell },
        { "target", unit_target },
        { "tmachine", unit_tmachine },
        { "unit", unit_name_cell },
        {},
};

int cmd_list_unit_files(char **args) {
        _cleanup_json_ json_t *all = NULL;
        _cleanup_(machines_done) Machines machines = {};
        _cleanup_(err_done) Err err = {};
        size_t i, n = 0;
        json_t *o;
        int r;

        if (args[0])
                return say_error("list-unit-files takes no arguments"), 1;
        r = api_list("units", "units", &all, &err);
        if (r >= 0)
                r = machines_get(&machines, &err);
        _cleanup_free_ Unit *units = xnew(Unit, all ? json_array_size(all) + 1 : 1);
        _cleanup_free_ const void **items = (const void **) xcalloc(all ? json_array_size(all) + 1 : 1, sizeof(void *));
        if (r >= 0)
                json_array_foreach(all, i, o) {
                        r = unit_from_json(o, &units[n], &err);
                        if (r < 0)
                                break;
                        items[n] = &units[n];
                        n++;
                }
        if (r >= 0)
                r = print_table(unit_fields, arg_fields ? arg_fields : "unit,hash,dstate,state,target", items, n,
                                &machines);
        else {
                say_error("Error retrieving list of units from repository: %s", err_msg(&err));
                r = 1;
        }
        for (i = 0; i < n; i++)
                unit_done(&units[i]);
        return r;
}

/* ---- list-machines ---- */

static char *machine_id(const void *item, const Machines *machines) {
        const Machine *m = item;
        return arg_full ? xstrdup(m->id) : xasprintf("%.8s...", m->id);
}
static char *machine_ip(const void *item, const Machines *machines) {
        return or_dash(((const Machine *) item)->ip);
}
static char *machine_metadata(const void *item, const Machines *machines) {
        _cleanup_free_ char *text = metadata_text(&((const Machine *) item)->metadata);
        return or_dash(text);
}

static const Field machine_fields[] = {
        { "machine", machine_id }, { "ip", machine_ip }, { "metadata", machine_metadata }, {},
};

int cmd_list_machines(char **args) {
        _cleanup_(machines_done) Machines machines = {};
        _cleanup_(err_done) Err err = {};

        if (args[0])
                return say_error("list-machines takes no arguments"), 1;
        if (machines_get(&machines, &err) < 0) {
                say_error("Error retrieving list of active machines from fleet API (%s)", err_msg(&err));
                say_error("Is fleetd running on this machine, and does it reach etcd (systemctl status fleet etcd)?");
                say_error("From a workstation, say where to ask: --endpoint=http://HOST:PORT or --tunnel=HOST,");
                say_error("or set FLEETCTL_ENDPOINT or FLEETCTL_TUNNEL.");
                return 1;
        }
        _cleanup_free_ const void **items = (const void **) xcalloc(machines.n + 1, sizeof(void *));
        for (size_t i = 0; i < machines.n; i++)
                items[i] = &machines.list[i];
        return print_table(machine_fields, arg_fields ? arg_fields : "machine,ip,metadata", items, machines.n,
                           &machines);
}

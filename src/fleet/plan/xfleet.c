/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/plan/xfleet.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "fleet/plan/glob.h"
#include "fleet/plan/name.h"

#define SECTION "X-Fleet"

static const char *const known_keys[] = {
        "MachineID",  "X-ConditionMachineID", "X-ConditionMachineBootID",   "MachineOf", "X-ConditionMachineOf",
        "Conflicts",  "X-Conflicts",          "MachineMetadata",            "X-ConditionMachineMetadata",
        "Global",     "Replaces",
};

/* A line that begins and ends with a quote holds several values: quotes toggle, spaces outside them separate
 * (and several spaces give empty values, as in fleet). Any other line is one value. */
static void split_quoted(const char *s, char ***out) {
        size_t n = strlen(s);
        _cleanup_(buf_done) Buf part = {};
        bool quoted = false;

        if (n < 2 || s[0] != '"' || s[n - 1] != '"') {
                strv_add(out, s);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                if (s[i] == '"')
                        quoted = !quoted;
                else if (s[i] == ' ' && !quoted) {
                        strv_add(out, buf_str(&part));
                        buf_clear(&part);
                } else
                        buf_addc(&part, s[i]);
        }
        strv_add(out, buf_str(&part));
}

/* All values of a key, specifiers replaced, appended to *out. */
static void values_of(const UnitFile *u, const char *name, const char *key, char ***out) {
        for (size_t i = 0; i < u->n; i++) {
                const UnitOption *o = &u->options[i];
                if (!streq(o->section, SECTION) || !streq(o->name, key))
                        continue;
                _cleanup_free_ char *v = unit_specifiers(o->value, name);
                split_quoted(v, out);
        }
}

static void read_machine_id(const UnitFile *u, const char *name, XFleet *x) {
        static const char *const keys[] = { "MachineID", "X-ConditionMachineID", "X-ConditionMachineBootID" };

        for (size_t i = 0; i < ELEMENTSOF(keys) && !x->machine_id; i++) {
                _cleanup_strv_ char **v = NULL;
                values_of(u, name, keys[i], &v);
                if (v && !isempty(v[0]))
                        x->machine_id = xstrdup(v[0]);
        }
}

static void read_conflicts(const UnitFile *u, const char *name, XFleet *x) {
        _cleanup_strv_ char **v = NULL;

        values_of(u, name, "X-Conflicts", &v);
        values_of(u, name, "Conflicts", &v);
        STRV_FOREACH(i, v) {
                _cleanup_strv_ char **words = strv_split(*i, " \t\n\r\v\f", false);
                STRV_FOREACH(w, words)
                        strv_add(&x->conflicts, *w);
        }
}

/* Exactly one '=' with something on both sides. */
static char *metadata_split(const char *pair, const char **ret_value) {
        const char *eq = strchr(pair, '=');
        if (!eq || eq == pair || !eq[1] || strchr(eq + 1, '='))
                return NULL;
        *ret_value = eq + 1;
        return xstrndup(pair, (size_t) (eq - pair));
}

static void read_metadata(const UnitFile *u, const char *name, Metadata *ret, char **ret_ignored) {
        _cleanup_strv_ char **v = NULL;

        values_of(u, name, "X-ConditionMachineMetadata", &v);
        values_of(u, name, "MachineMetadata", &v);
        STRV_FOREACH(i, v) {
                const char *value;
                _cleanup_free_ char *key = metadata_split(*i, &value);
                if (key)
                        metadata_add(ret, key, value);
                else if (ret_ignored && !*ret_ignored && **i)
                        *ret_ignored = xstrdup(*i);
        }
}

static bool is_true(const char *s) {
        static const char *const words[] = { "true", "yes", "1", "on", "t" };
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcasecmp(s, words[i]) == 0)
                        return true;
        return false;
}

void xfleet_read(const UnitFile *u, const char *name, XFleet *ret) {
        assert(u && name && ret);
        _cleanup_strv_ char **global = NULL;

        *ret = (XFleet){};
        read_machine_id(u, name, ret);
        values_of(u, name, "X-ConditionMachineOf", &ret->peers);
        values_of(u, name, "MachineOf", &ret->peers);
        read_conflicts(u, name, ret);
        values_of(u, name, "Replaces", &ret->replaces);
        read_metadata(u, name, &ret->metadata, NULL);
        values_of(u, name, "Global", &global);
        if (global)
                ret->global = is_true(global[strv_len(global) - 1]);
}

void xfleet_done(XFleet *x) {
        free(x->machine_id);
        strv_free(x->peers);
        strv_free(x->conflicts);
        strv_free(x->replaces);
        metadata_done(&x->metadata);
        *x = (XFleet){};
}

void xfleet_copy(const XFleet *from, XFleet *ret) {
        assert(!ret->machine_id && !ret->peers && !ret->conflicts && !ret->replaces);
        ret->global = from->global;
        ret->machine_id = from->machine_id ? xstrdup(from->machine_id) : NULL;
        ret->peers = strv_copy(from->peers);
        ret->conflicts = strv_copy(from->conflicts);
        ret->replaces = strv_copy(from->replaces);
        metadata_copy(&from->metadata, &ret->metadata);
}

int xfleet_validate(const XFleet *x, Err *err) {
        STRV_FOREACH(peer, x->peers) {
                STRV_FOREACH(c, x->conflicts)
                        if (glob_matches(*c, *peer))
                                return err_set(err, -EINVAL,
                                               "unresolvable requirements: peer \"%s\" matches conflict \"%s\"",
                                               *peer, *c);
                STRV_FOREACH(c, x->replaces)
                        if (glob_matches(*c, *peer))
                                return err_set(err, -EINVAL,
                                               "unresolvable requirements: peer \"%s\" matches replace \"%s\"",
                                               *peer, *c);
        }
        const struct {
                bool both;
                const char *message;
        } rules[] = {
                { x->machine_id && x->peers, "MachineID cannot be used with Peers" },
                { x->machine_id && x->conflicts, "MachineID cannot be used with Conflicts" },
                { x->machine_id && x->global, "MachineID cannot be used with Global" },
                { x->machine_id && x->replaces, "MachineID cannot be used with Replaces" },
                { x->global && x->peers, "Global cannot be used with Peers" },
                { x->global && x->replaces, "Global cannot be used with Replaces" },
                { x->conflicts && x->replaces, "Conflicts cannot be used with Replaces" },
        };
        for (size_t i = 0; i < ELEMENTSOF(rules); i++)
                if (rules[i].both)
                        return err_set(err, -EINVAL, "%s", rules[i].message);
        return 0;
}

const char *xfleet_unknown(const UnitFile *u) {
        for (size_t i = 0; i < u->n; i++) {
                bool known = !streq(u->options[i].section, SECTION);
                for (size_t k = 0; k < ELEMENTSOF(known_keys) && !known; k++)
                        known = streq(u->options[i].name, known_keys[k]);
                if (!known)
                        return u->options[i].name;
        }
        return NULL;
}

char *xfleet_ignored_metadata(const UnitFile *u) {
        Metadata m = {};
        char *ignored = NULL;
        read_metadata(u, "x.service", &m, &ignored);
        metadata_done(&m);
        return ignored;
}

static bool names_any(char **globs, const char *name) {
        STRV_FOREACH(g, globs)
                if (glob_matches(*g, name))
                        return true;
        return false;
}

bool xfleet_conflict(const char *a, const XFleet *xa, const char *b, const XFleet *xb) {
        if (streq(a, b))
                return false;
        return names_any(xa->conflicts, b) || names_any(xb->conflicts, a);
}

bool xfleet_metadata_ok(const XFleet *x, const Metadata *machine, char **ret_lacks) {
        const Metadata *want = &x->metadata;

        for (size_t i = 0; want->keys && want->keys[i]; i++) {
                const char *has = metadata_get(machine, want->keys[i]);
                bool ok = false;
                for (size_t k = 0; want->keys[k] && !ok; k++)
                        ok = streq(want->keys[k], want->keys[i]) && streq_ptr(has, want->values[k]);
                if (ok)
                        continue;
                if (ret_lacks)
                        *ret_lacks = xasprintf("%s=%s", want->keys[i], want->values[i]);
                return false;
        }
        return true;
}

bool xfleet_machine_id_ok(const XFleet *x, const char *machine_id) {
        if (!x->machine_id)
                return true;
        return streq(x->machine_id, machine_id) ||
               (strlen(x->machine_id) == 8 && startswith(machine_id, x->machine_id));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/plan/name.h"

#include "base/alloc.h"
#include "base/str.h"

static const char *const unit_types[] = {
        "automount", "busname", "device", "mount", "path", "scope", "service",
        "slice", "snapshot", "socket", "swap", "target", "timer",
};
static const char *const template_types[] = { "path", "service", "socket", "target", "timer" };
static const char *const file_suffixes[] = { ".service", ".socket", ".timer",    ".path",
                                             ".device",  ".mount",  ".automount" };

static bool is_one_of(const char *s, const char *const *set, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (streq(s, set[i]))
                        return true;
        return false;
}

static bool valid_char(char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               (c && strchr(":_.\\@-", c));
}

int unit_name_validate(const char *name, Err *err) {
        assert(name);
        const char *dot = strrchr(name, '.');

        if (!*name)
                return err_set(err, -EINVAL, "unit name cannot be empty");
        if (strlen(name) > UNIT_NAME_MAX)
                return err_set(err, -EINVAL, "unit name exceeds maximum length (%d)", UNIT_NAME_MAX);
        if (!dot)
                return err_set(err, -EINVAL, "unit name must contain \".\"");
        if (!dot[1])
                return err_set(err, -EINVAL, "unit name cannot end in \".\"");
        if (!is_one_of(dot + 1, unit_types, ELEMENTSOF(unit_types)))
                return err_set(err, -EINVAL, "invalid unit type: \"%s\"", dot + 1);
        if (strchr(name, '@') && !is_one_of(dot + 1, template_types, ELEMENTSOF(template_types)))
                return err_set(err, -EINVAL, "invalid unit type for template: \"%s\"", dot + 1);
        for (const char *c = name; c < dot; c++)
                if (!valid_char(*c)) {
                        int n = 1; /* the whole UTF-8 character, for the message */
                        while (((unsigned char) c[n] & 0xc0) == 0x80)
                                n++;
                        return err_set(err, -EINVAL, "invalid character '%.*s' in unit name", n, c);
                }
        if (name[0] == '@')
                return err_set(err, -EINVAL, "unit name cannot start in \"@\"");
        return 0;
}

char *unit_name_prefix(const char *name) {
        const char *end = strchr(name, '@');
        if (!end)
                end = strrchr(name, '.');
        return end ? xstrndup(name, (size_t) (end - name)) : xstrdup("");
}

char *unit_name_instance(const char *name) {
        const char *at = strchr(name, '@'), *dot = strrchr(name, '.');
        if (!at || !dot || dot < at)
                return NULL;
        return xstrndup(at + 1, (size_t) (dot - at - 1));
}

char *unit_name_template(const char *name) {
        const char *at = strchr(name, '@'), *dot = strrchr(name, '.');
        if (!at || !dot || dot < at)
                return NULL;
        return xasprintf("%.*s@%s", (int) (at - name), name, dot);
}

bool unit_name_is_instance(const char *name) {
        _cleanup_free_ char *i = unit_name_instance(name);
        return !isempty(i);
}

bool unit_name_is_template(const char *name) {
        _cleanup_free_ char *i = unit_name_instance(name);
        return i && !*i;
}

bool unit_name_recognised(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(file_suffixes); i++)
                if (endswith(name, file_suffixes[i]))
                        return true;
        return false;
}

char *unit_name_mangle(const char *arg) {
        const char *slash = strrchr(arg, '/'), *base = slash ? slash + 1 : arg;
        return unit_name_recognised(base) ? xstrdup(base) : xasprintf("%s.service", base);
}

char *unit_specifiers(const char *text, const char *name) {
        const char *dot = strrchr(name, '.');
        _cleanup_free_ char *bare = dot ? xstrndup(name, (size_t) (dot - name)) : xstrdup(name);
        _cleanup_free_ char *prefix = unit_name_prefix(name), *instance = unit_name_instance(name);
        const char *from[] = { "%n", "%N", "%p", "%i" };
        const char *to[] = { name, bare, prefix, strempty(instance) };
        char *now = xstrdup(text);

        for (size_t i = 0; i < ELEMENTSOF(from); i++) {
                char *next = str_replace(now, from[i], to[i]);
                free(now);
                now = next;
        }
        return now;
}

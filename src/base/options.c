/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"

#include <ctype.h>

static bool is_end(const Option *o) {
        return !o->name && !o->shrt;
}

static bool takes_value(const Option *o) {
        return o->type == OPT_CALL ? o->metavar != NULL : o->type != OPT_BOOL;
}

const Option *options_find(const Option *options, const char *name, size_t n) {
        for (const Option *o = options; !is_end(o); o++)
                if (o->name && strlen(o->name) == n && strncmp(o->name, name, n) == 0)
                        return o;
        return NULL;
}

static const Option *find_short(const Option *options, char c) {
        for (const Option *o = options; !is_end(o); o++)
                if (o->shrt == c)
                        return o;
        return NULL;
}

static int bad_value(const Option *o, const char *value, Err *err) {
        return err_set(err, -EINVAL, "invalid argument \"%s\" for \"%s%s\" flag", value,
                       o->name ? "--" : "-", o->name ? o->name : (char[]){ o->shrt, 0 });
}

static int set_option(const Option *o, const char *value, Err *err) {
        int r = 0;
        switch (o->type) {
        case OPT_BOOL:
                r = parse_bool_go(value, o->target);
                break;
        case OPT_STR: {
                char **p = o->target;
                free(*p);
                *p = xstrdup(value);
                break;
        }
        case OPT_LIST:
                strv_add(o->target, value);
                break;
        case OPT_INT:
                r = parse_i64(value, o->target);
                break;
        case OPT_UINT:
                r = parse_u64(value, o->target);
                break;
        case OPT_DURATION:
                r = parse_duration_go(value, o->target);
                break;
        case OPT_CALL:
                r = o->call(o->name, value, err);
                break;
        }
        return r < 0 ? bad_value(o, value, err) : 0;
}

typedef struct Args {
        char **argv;
        int argc, at;
} Args;

/* `word` is "name" or "name=value" without the dashes. */
static int parse_long(const Option *options, const char *word, const char *shown, Args *a, Err *err) {
        size_t n = strcspn(word, "=");
        const Option *o = options_find(options, word, n);
        if (!o)
                return err_set(err, -EINVAL, "unknown flag: %.*s", (int) (n + (size_t) (word - shown)),
                               shown);
        if (word[n] == '=')
                return set_option(o, word + n + 1, err);
        if (!takes_value(o))
                return set_option(o, "true", err);
        if (a->at >= a->argc)
                return err_set(err, -EINVAL, "flag needs an argument: %s", shown);
        return set_option(o, a->argv[a->at++], err);
}

static int parse_short(const Option *options, const char *word, Args *a, Err *err) {
        for (const char *p = word; *p; p++) {
                const Option *o = find_short(options, *p);
                if (!o)
                        return err_set(err, -EINVAL, "unknown shorthand flag: '%c' in -%s", *p, word);
                if (!takes_value(o) && p[1] != '=') {
                        int r = set_option(o, "true", err);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (p[1])
                        return set_option(o, p[1] == '=' ? p + 2 : p + 1, err);
                if (a->at >= a->argc)
                        return err_set(err, -EINVAL, "flag needs an argument: '%c' in -%s", *p, word);
                return set_option(o, a->argv[a->at++], err);
        }
        return 0;
}

static int parse_word(const Option *options, OptionsFlags flags, const char *w, Args *a, Err *err) {
        if (w[1] == '-')
                return parse_long(options, w + 2, w, a, err);
        if ((flags & OPTIONS_SINGLE_DASH_LONG) && w[2] && options_find(options, w + 1, strcspn(w + 1, "=")))
                return parse_long(options, w + 1, w, a, err);
        return parse_short(options, w + 1, a, err);
}

int options_parse(const Option *options, OptionsFlags flags, int argc, char **argv, char ***ret_rest,
                  Err *err) {
        _cleanup_free_ char **rest = xnew(char *, (size_t) argc + 1);
        size_t n = 0;
        Args a = { .argv = argv, .argc = argc, .at = 1 };
        while (a.at < argc) {
                char *w = argv[a.at++];
                if (streq(w, "--"))
                        break;
                if (w[0] != '-' || !w[1]) {
                        rest[n++] = w;
                        if (flags & OPTIONS_STOP_AT_ARG)
                                break;
                        continue;
                }
                int r = parse_word(options, flags, w, &a, err);
                if (r < 0)
                        return r;
        }
        while (a.at < argc)
                rest[n++] = argv[a.at++];
        *ret_rest = TAKE_PTR(rest);
        return 0;
}

static const char *find_env(char *const *env, const char *key) {
        STRV_FOREACH(i, env) {
                const char *v = startswith(*i, key);
                if (v && *v == '=')
                        return v + 1;
        }
        return NULL;
}

int options_from_env(const Option *options, const char *prefix, char *const *env, Err *err) {
        for (const Option *o = options; !is_end(o); o++) {
                if (!o->name)
                        continue;
                _cleanup_free_ char *key = xasprintf("%s%s", prefix, o->name);
                for (char *p = key; *p; p++)
                        *p = *p == '-' ? '_' : (char) toupper((unsigned char) *p);
                const char *v = find_env(env, key);
                if (isempty(v))
                        continue;
                int r = set_option(o, v, err);
                if (r < 0)
                        return err_wrap(err, r, "environment variable %s", key);
        }
        return 0;
}

static char *option_left(const Option *o) {
        Buf b = {};
        if (o->shrt)
                buf_addf(&b, "  -%c%s", o->shrt, o->name ? ", " : "");
        else
                buf_adds(&b, "      ");
        if (o->name)
                buf_addf(&b, "--%s", o->name);
        if (o->metavar)
                buf_addf(&b, " %s", o->metavar);
        return buf_take(&b);
}

char *options_help(const Option *options) {
        size_t width = 0;
        for (const Option *o = options; !is_end(o); o++) {
                _cleanup_free_ char *left = o->help ? option_left(o) : xstrdup("");
                width = MAX(width, MIN(strlen(left), (size_t) 34));
        }
        Buf b = {};
        for (const Option *o = options; !is_end(o); o++) {
                if (!o->help)
                        continue;
                _cleanup_free_ char *left = option_left(o);
                if (strlen(left) > width)
                        buf_addf(&b, "%s\n%*s", left, (int) width, "");
                else
                        buf_addf(&b, "%-*s", (int) width, left);
                buf_addf(&b, "   %s\n", o->help);
        }
        return buf_take(&b);
}

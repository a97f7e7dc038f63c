/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/config/config.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/options.h"
#include "base/str.h"
#include "etcd/config/flags.h"

#include <ctype.h>
#include <stdlib.h>

static void *field(EtcdConfig *c, const EtcdFlag *f) {
        return (char *) c + f->offset;
}

void etcd_config_done(EtcdConfig *c) {
        for (const EtcdFlag *f = etcd_flags; f->name; f++)
                if (f->type == FLAG_STR)
                        free(*(char **) field(c, f));
        strv_free(c->listen_peer_urls);
        strv_free(c->listen_client_urls);
        strv_free(c->listen_metrics_urls);
        strv_free(c->advertise_peer_urls);
        strv_free(c->advertise_client_urls);
        strv_free(c->cors_origins);
        strv_free(c->warnings);
        *c = (EtcdConfig){};
}

static const EtcdFlag *flag_find(const char *name) {
        for (const EtcdFlag *f = etcd_flags; f->name; f++)
                if (f->type != FLAG_HEADING && streq(f->name, name))
                        return f;
        return NULL;
}

static bool value_accepted(const EtcdFlag *f, const char *value) {
        if (f->type == FLAG_UNBUILT_BOOL) {
                bool b;
                return parse_bool_go(value, &b) >= 0 && !b;
        }
        _cleanup_strv_ char **l = strv_split(f->accepted, "|", true);
        return (!*f->accepted && !*value) || strv_contains(l, value);
}

static int refuse_unbuilt(const char *name, const char *value, Err *err) {
        const EtcdFlag *f = flag_find(name);
        assert(f);
        if (value_accepted(f, value))
                return 0;
        return err_set(err, -EOPNOTSUPP,
                       "--%s=%s asks for something this etcd does not have; leave the flag out to run without it",
                       name, value);
}

static int set_initial(EtcdConfig *c, const EtcdFlag *f) {
        switch (f->type) {
        case FLAG_BOOL:
                return parse_bool_go(f->initial, field(c, f));
        case FLAG_STR:
                *(char **) field(c, f) = f->initial ? xstrdup(f->initial) : NULL;
                return 0;
        case FLAG_UINT:
                return parse_u64(f->initial, field(c, f));
        case FLAG_DURATION:
                return parse_duration_go(f->initial, field(c, f));
        case FLAG_UNBUILT_BOOL:
        case FLAG_UNBUILT:
        case FLAG_HEADING:
                return 0;
        }
        return 0;
}

static OptionType option_type(EtcdFlagType t) {
        switch (t) {
        case FLAG_BOOL:
                return OPT_BOOL;
        case FLAG_STR:
                return OPT_STR;
        case FLAG_UINT:
                return OPT_UINT;
        case FLAG_DURATION:
                return OPT_DURATION;
        case FLAG_UNBUILT_BOOL:
        case FLAG_UNBUILT:
        case FLAG_HEADING:
                return OPT_CALL;
        }
        return OPT_CALL;
}

static Option *options_of(EtcdConfig *c) {
        size_t n = 0;
        while (etcd_flags[n].name)
                n++;
        Option *o = xnew(Option, n + 3);
        size_t at = 0;
        for (const EtcdFlag *f = etcd_flags; f->name; f++) {
                if (f->type == FLAG_HEADING)
                        continue;
                bool is_bool = f->type == FLAG_BOOL || f->type == FLAG_UNBUILT_BOOL;
                o[at++] = (Option){ .name = f->name,
                                    .type = option_type(f->type),
                                    .target = field(c, f),
                                    .metavar = is_bool ? NULL : "VALUE",
                                    .call = refuse_unbuilt };
        }
        o[at++] = (Option){ .name = "help", .shrt = 'h', .type = OPT_BOOL, .target = &c->help };
        o[at++] = (Option){ .name = "version", .type = OPT_BOOL, .target = &c->version };
        return o;
}

static void warn_unknown_env(EtcdConfig *c, char *const *env) {
        STRV_FOREACH(i, env) {
                const char *p = startswith(*i, "ETCD_");
                if (!p)
                        continue;
                _cleanup_free_ char *name = xstrndup(p, strcspn(p, "="));
                for (char *q = name; *q; q++)
                        *q = *q == '_' ? '-' : (char) tolower((unsigned char) *q);
                if (!flag_find(name))
                        strv_addf(&c->warnings, "unrecognized environment variable %s", *i);
        }
}

int etcd_config_parse(EtcdConfig *c, int argc, char **argv, char *const *env, Err *err) {
        *c = (EtcdConfig){};
        for (const EtcdFlag *f = etcd_flags; f->name; f++) {
                int r = set_initial(c, f);
                assert(r >= 0);
        }
        _cleanup_free_ Option *options = options_of(c);
        _cleanup_free_ char **rest = NULL;
        int r = options_from_env(options, "ETCD_", env, err);
        if (r < 0)
                return r;
        warn_unknown_env(c, env);
        r = options_parse(options, OPTIONS_SINGLE_DASH_LONG, argc, argv, &rest, err);
        if (r < 0)
                return r;
        if (rest[0])
                return err_set(err, -EINVAL, "'%s' is not a valid flag", rest[0]);
        return 0;
}

char *etcd_config_help(void) {
        Buf b = {};
        buf_adds(&b, "Usage: etcd [flags]\n\n"
                     "Start an etcd server: a replicated store behind the v2 (HTTP, JSON) and v3 (gRPC) APIs.\n"
                     "Each flag --my-flag can also be given as the environment variable ETCD_MY_FLAG.\n\n"
                     "  --version\n    Show the version of etcd.\n  -h, --help\n    Show this text.\n");
        for (const EtcdFlag *f = etcd_flags; f->name; f++) {
                if (!f->help)
                        continue;
                if (f->type == FLAG_HEADING)
                        buf_addf(&b, "\n%s\n", f->help);
                else
                        buf_addf(&b, "  --%s '%s'\n    %s\n", f->name, strempty(f->initial), f->help);
        }
        return buf_take(&b);
}

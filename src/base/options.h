/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Command-line options from one table, which also gives --help and shell completion their text.
 *
 *   static const Option options[] = {
 *           { "name", 'n', OPT_STR, &arg_name, "NAME", "Give the container this name" },
 *           { "env", 'e', OPT_LIST, &arg_env, "K=V", "Set an environment variable (repeatable)" },
 *           {},
 *   };
 *   r = options_parse(options, OPTIONS_STOP_AT_ARG, argc, argv, &rest, &err);
 *
 * Accepted: --name VALUE, --name=VALUE, -n VALUE, -nVALUE, clustered -it, and -name as --name when
 * OPTIONS_SINGLE_DASH_LONG is set (Go programs; old docker units). A boolean takes --flag,
 * --flag=true|false.
 * "--" ends the options. */

#include "base/err.h"

typedef enum OptionType {
        OPT_BOOL,     /* bool * */
        OPT_STR,      /* char ** : owned; the earlier value is freed */
        OPT_LIST,     /* char *** : strv, appended */
        OPT_INT,      /* int64_t * */
        OPT_UINT,     /* uint64_t * */
        OPT_DURATION, /* Usec-like int64_t *, Go duration syntax */
        OPT_CALL,     /* OptionCall: the value is handed over; metavar NULL = takes no value (gets "true") */
} OptionType;

typedef int (*OptionCall)(const char *name, const char *value, Err *err);

typedef struct Option {
        const char *name; /* long name; NULL with shrt 0 ends the table */
        char shrt;        /* 0 = none */
        OptionType type;
        void *target;
        const char *metavar; /* NULL for booleans */
        const char *help;    /* NULL hides the option from --help */
        OptionCall call;     /* OPT_CALL only */
} Option;

typedef enum OptionsFlags {
        OPTIONS_STOP_AT_ARG = 1 << 0,      /* the first word that is no option ends them */
        OPTIONS_SINGLE_DASH_LONG = 1 << 1, /* -name means --name */
} OptionsFlags;

/* Parses argv[1..]; *ret_rest is a new array (free() it, not the strings) of what is left, NULL-terminated.
 * -EINVAL with a message such as "unknown flag: --foo" (docker's wording). */
int options_parse(const Option *options, OptionsFlags flags, int argc, char **argv, char ***ret_rest,
                  Err *err);
/* Sets every option whose environment variable PREFIX + NAME (upper case, '-' as '_') is in `env` (a strv of
 * K=V): programs pass environ. To be called before options_parse(), so that the command line wins. */
int options_from_env(const Option *options, const char *prefix, char *const *env, Err *err);
/* The options, aligned, one per line, as text for --help; owned by the caller. */
char *options_help(const Option *options);
const Option *options_find(const Option *options, const char *name, size_t n);

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/log.h"
#include "each.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <stdio.h>
#include <unistd.h>

static bool arg_follow, arg_timestamps;
static char *arg_tail, *arg_since, *arg_until;

static const Option options[] = {
        { "follow", 'f', OPT_BOOL, &arg_follow, NULL, "Go on with what comes", NULL },
        { "since", 0, OPT_STR, &arg_since, "TIME", "From this time on (RFC 3339, or 10m)", NULL },
        { "tail", 'n', OPT_STR, &arg_tail, "N", "Only the last N lines", NULL },
        { "timestamps", 't', OPT_BOOL, &arg_timestamps, NULL, "Show times", NULL },
        { "until", 0, OPT_STR, &arg_until, "TIME", "Up to this time", NULL },
        {},
};

/* A point in time, seconds since 1970, or a duration before now. */
static int parse_when(const char *s, int64_t *ret, Err *err) {
        int64_t usec;
        uint64_t seconds;
        if (!s)
                return 0;
        if (parse_rfc3339(s, ret) >= 0)
                return 0;
        if (parse_u64(s, &seconds) >= 0 && seconds < INT64_MAX / 1000000000)
                *ret = (int64_t) seconds * 1000000000;
        else if (parse_duration_go(s, &usec) >= 0)
                *ret = now_wall_nsec() - usec * 1000;
        else
                return err_set(err, -EINVAL, "invalid value for a time: \"%s\"", s);
        return 0;
}

typedef struct Target {
        Store *store;
        const Container *c;
} Target;

static int print_line(const LogLine *line, void *userdata) {
        FILE *f = line->stream == 2 ? stderr : stdout;
        if (arg_timestamps) {
                char time[36];
                fprintf(f, "%s ", format_rfc3339(time, line->nsec, 9, false));
        }
        (void) fwrite(line->text, 1, line->n, f);
        /* Both streams may go to one place: keep them in order. */
        return fflush(f) == EOF ? -EPIPE : 0;
}

static bool is_alive(void *userdata) {
        const Target *t = userdata;
        return container_is_alive(t->store, t->c->id) > 0;
}

static int logs(const char *name, Err *err) {
        _cleanup_(container_store_closep) Store *s = open_store();
        if (!s)
                return 1;
        LogReadOptions o = { .follow = arg_follow, .timestamps = arg_timestamps, .out = true, .err = true, .tail = -1 };
        if (arg_tail && !streq(arg_tail, "all") && parse_i64(arg_tail, &o.tail) < 0)
                o.tail = -1;
        _cleanup_(container_freep) Container *c = NULL;
        int r = parse_when(arg_since, &o.since_nsec, err);
        if (r >= 0)
                r = parse_when(arg_until, &o.until_nsec, err);
        if (r >= 0)
                r = container_get(s, name, &c, err);
        if (r >= 0 && !streq(c->spec->host.log_driver, "json-file"))
                r = err_set(err, -EOPNOTSUPP, "configured logging driver does not support reading: %s",
                            c->spec->host.log_driver);
        Target t = { .store = s, .c = c };
        if (r >= 0)
                r = log_read(c->dir, c->id, &o, print_line, is_alive, &t, err);
        return r < 0 ? docker_error(err) : 0;
}

int cmd_logs(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("logs", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        return logs(rest[0], &err);
}

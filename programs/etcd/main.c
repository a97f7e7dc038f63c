/* SPDX-License-Identifier: Apache-2.0 */

/* etcd: see docs/man/etcd.1 and src/etcd/server.h. */

#include "base/alloc.h"
#include "base/hash.h"
#include "base/str.h"
#include "etcd/server.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static void set_log_level(const EtcdConfig *c) {
        static const struct {
                const char *name;
                int level;
        } levels[] = { { "debug", LOG_DEBUG }, { "info", LOG_INFO }, { "warn", LOG_WARNING } };
        int level = LOG_ERR;
        for (size_t i = 0; i < ELEMENTSOF(levels); i++)
                if (streq(c->log_level, levels[i].name))
                        level = levels[i].level;
        log_set_level(c->debug ? LOG_DEBUG : level);
}

/* Each client is a descriptor; the soft limit of a shell is far below what a server may use. */
static void raise_fd_limit(void) {
        struct rlimit l;
        if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
                l.rlim_cur = l.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &l);
        }
}

/* The loop reads signals itself, and threads must not take them from it. */
static void block_signals(void) {
        sigset_t set;
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGPIPE);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
}

static int serve(EtcdConfig *c) {
        _cleanup_(err_done) Err err = {};
        sd_event *event = NULL;
        EtcdServer *server = NULL;
        uint8_t seed[16];
        random_bytes(seed, sizeof(seed));
        hash_seed(seed);
        raise_fd_limit();
        block_signals();
        int r = sd_event_default(&event);
        if (r < 0)
                return log_err(r, "cannot make the event loop") < 0;
        (void) sd_event_set_watchdog(event, true);
        r = etcd_server_start(c, event, &server, &err);
        if (r >= 0)
                r = sd_event_loop(event);
        else
                log_error("%s", err_msg(&err));
        etcd_server_free(server);
        sd_event_unref(event);
        return r < 0 ? 1 : r;
}

int main(int argc, char **argv) {
        _cleanup_(etcd_config_done) EtcdConfig c = {};
        _cleanup_(err_done) Err err = {};
        log_open("etcd");
        int r = etcd_config_parse(&c, argc, argv, environ, &err);
        if (r >= 0 && c.help) {
                _cleanup_free_ char *help = etcd_config_help();
                fputs(help, stdout);
                return 0;
        }
        if (r >= 0 && c.version) {
                printf("etcd Version: %s\nCoracle Version: %s\n", ETCD_VERSION, CORACLE_VERSION);
                return 0;
        }
        if (r >= 0)
                r = etcd_config_check(&c, &err);
        if (r < 0) {
                fprintf(stderr, "etcd: error verifying flags, %s. See 'etcd --help'.\n", err_msg(&err));
                return 1;
        }
        set_log_level(&c);
        STRV_FOREACH(w, c.warnings)
                log_warning("%s", *w);
        return serve(&c);
}

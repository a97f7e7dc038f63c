/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/options.h"
#include "base/str.h"
#include "fleet/server.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define LISTEN_FDS_MAX 64

static char *arg_config;
static bool arg_version, arg_help;

static const Option options[] = {
        { "config", 0, OPT_STR, &arg_config, "PATH", "Read this file instead of /etc/fleet/fleet.conf" },
        { "version", 0, OPT_BOOL, &arg_version, NULL, "Print the version and exit" },
        { "help", 'h', OPT_BOOL, &arg_help, NULL, "Show this help" },
        {},
};

static int read_config(FleetConfig *ret) {
        _cleanup_(err_done) Err err = {};
        _cleanup_strv_ char **problems = NULL;

        int r = fleet_config_read(arg_config, environ, ret, &problems, &err);
        STRV_FOREACH(p, problems)
                log_error("configuration: %s", *p);
        if (r < 0)
                log_error("%s", err_msg(&err));
        return r;
}

static int on_term(sd_event_source *s, const struct signalfd_siginfo *si, void *user) {
        server_stop(user);
        return 0;
}

static int on_hup(sd_event_source *s, const struct signalfd_siginfo *si, void *user) {
        FleetConfig config = {};
        (void) sd_notify(false, "RELOADING=1");
        if (read_config(&config) >= 0)
                server_reload(user, &config);
        (void) sd_notify(false, "READY=1");
        return 0;
}

static int on_usr1(sd_event_source *s, const struct signalfd_siginfo *si, void *user) {
        _cleanup_free_ char *line = server_dump(user);
        printf("%s\n", line);
        (void) fflush(stdout);
        return 0;
}

static int add_signals(sd_event *event, Server *server) {
        static const struct {
                int signal;
                sd_event_signal_handler_t handler;
        } signals[] = {
                { SIGTERM, on_term }, { SIGINT, on_term }, { SIGHUP, on_hup }, { SIGUSR1, on_usr1 },
        };
        int r = 0;
        for (size_t i = 0; i < ELEMENTSOF(signals) && r >= 0; i++)
                r = sd_event_add_signal(event, NULL, signals[i].signal, signals[i].handler, server);
        return r;
}

static int block_signals(void) {
        sigset_t set;
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGHUP);
        (void) sigaddset(&set, SIGUSR1);
        (void) signal(SIGPIPE, SIG_IGN);
        return RET_NERRNO(sigprocmask(SIG_BLOCK, &set, NULL));
}

static int run(void) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(server_freep) Server *server = NULL;
        _cleanup_(fleet_config_done) FleetConfig config = {};
        _cleanup_(err_done) Err err = {};
        int fds[LISTEN_FDS_MAX];

        int r = read_config(&config);
        if (r < 0)
                return r;
        log_set_level(config.debug ? LOG_DEBUG : LOG_INFO);
        int n = sd_listen_fds(true);
        if (n < 0)
                return log_err(n, "Cannot take over the sockets from systemd");
        n = MIN(n, LISTEN_FDS_MAX);
        for (int i = 0; i < n; i++)
                fds[i] = SD_LISTEN_FDS_START + i;
        r = block_signals();
        if (r >= 0)
                r = sd_event_default(&event);
        if (r < 0)
                return log_err(r, "Cannot make an event loop");
        r = server_new(event, &config, fds, (size_t) n, &server, &err);
        if (r < 0) {
                log_error("%s", err_msg(&err));
                return r;
        }
        r = add_signals(event, server);
        if (r < 0)
                return log_err(r, "Cannot handle signals");
        (void) sd_event_set_watchdog(event, true);
        (void) sd_notify(false, "READY=1");
        log_info("fleetd %s", CORACLE_VERSION);
        r = sd_event_loop(event);
        return r < 0 ? log_err(r, "The event loop failed") : 0;
}

static void usage(FILE *f) {
        _cleanup_free_ char *text = options_help(options);
        fprintf(f,
                "Usage: fleetd [--config PATH]\n\n"
                "Runs units on the machines of a cluster, one daemon on each machine. Configuration comes from\n"
                "/etc/fleet/fleet.conf and from FLEET_* in the environment, see fleetd(8).\n\n%s",
                text);
}

int main(int argc, char **argv) {
        _cleanup_(err_done) Err err = {};
        _cleanup_free_ char **rest = NULL;
        uint8_t seed[16];

        log_open("fleetd");
        random_bytes(seed, sizeof(seed));
        hash_seed(seed);
        if (options_parse(options, OPTIONS_SINGLE_DASH_LONG, argc, argv, &rest, &err) < 0) {
                fprintf(stderr, "fleetd: %s\n", err_msg(&err));
                usage(stderr);
                return 1;
        }
        if (arg_help) {
                usage(stdout);
                return 0;
        }
        if (arg_version || (rest[0] && streq(rest[0], "version") && !rest[1])) {
                printf("fleetd version %s\n", CORACLE_VERSION);
                return 0;
        }
        if (rest[0]) {
                usage(stderr);
                return 1;
        }
        int r = run();
        free(arg_config);
        return r < 0 ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */

/* sim: runs seeds. Speaks TAP; exit 1 when a seed failed. */

#include "base/options.h"
#include "base/str.h"
#include "sim/sim.h"
#include "sys/clock.h"

#include <signal.h>
#include <stdio.h>

static volatile uint64_t seed_now;

static void tell_seed(int sig) {
        fprintf(stderr,
                "\nsim: seed %" PRIu64 " ended by signal %d; replay it with: sim --seed %" PRIu64 " -v\n",
                seed_now, sig, seed_now);
        (void) signal(sig, SIG_DFL);
        (void) raise(sig);
}

static void add(SimReport *to, const SimReport *r) {
        to->events += r->events;
        to->entries += r->entries;
        to->operations += r->operations;
        to->open_operations += r->open_operations;
        to->elections += r->elections;
        to->crashes += r->crashes;
        to->snapshots += r->snapshots;
        to->installs += r->installs;
        to->recoveries += r->recoveries;
        to->disk_faults += r->disk_faults;
        to->conf_changes += r->conf_changes;
        to->undecided += r->undecided;
}

static void print_sums(const SimReport *r, uint64_t seeds, Usec took) {
        printf("# %" PRIu64 " seeds in %.1f s: %" PRIu64 " events, %" PRIu64 " entries applied, %" PRIu64
               " operations (%" PRIu64 " of unknown end), %" PRIu64 " elections, %" PRIu64
               " crashes, %" PRIu64 " starts, %" PRIu64 " snapshots, %" PRIu64 " installed, %" PRIu64
               " membership changes, %" PRIu64 " keys undecided\n",
               seeds, (double) took / 1e6, r->events, r->entries, r->operations, r->open_operations,
               r->elections, r->crashes, r->recoveries, r->snapshots, r->installs, r->conf_changes,
               r->undecided);
}

static bool run_one(uint64_t seed, bool verbose, SimReport *sum) {
        SimOptions options = { .seed = seed, .verbose = verbose };
        SimReport r;
        seed_now = seed;
        sim_run(&options, &r);
        add(sum, &r);
        if (isempty(r.failure))
                return true;
        fflush(stdout);
        fprintf(stderr, "sim: seed %" PRIu64 ": %s\n     replay it with: sim --seed %" PRIu64 " -v\n", seed,
                r.failure, seed);
        return false;
}

/* Seeds that once failed, one per line, with a comment behind. */
static int run_file(const char *path, SimReport *sum, uint64_t *ran, uint64_t *failed) {
        FILE *f = fopen(path, "re");
        if (!f)
                return -errno;
        char line[256];
        while (fgets(line, sizeof(line), f)) {
                line[strcspn(line, " #\n")] = 0;
                uint64_t seed;
                if (parse_u64(line, &seed) < 0)
                        continue;
                ++*ran;
                *failed += !run_one(seed, false, sum);
        }
        (void) fclose(f);
        return 0;
}

int main(int argc, char **argv) {
        static char *seed_text, *seeds_file;
        static bool verbose, help;
        static uint64_t first = 1, count = 1;
        const Option options[] = {
                { "seed", 's', OPT_STR, &seed_text, "N", "Run this seed only" },
                { "from", 0, OPT_UINT, &first, "N", "The first seed (1)" },
                { "count", 'n', OPT_UINT, &count, "N", "How many seeds (1)" },
                { "file", 0, OPT_STR, &seeds_file, "PATH", "First run the seeds in this file" },
                { "verbose", 'v', OPT_BOOL, &verbose, NULL, "Say everything that happens" },
                { "help", 'h', OPT_BOOL, &help, NULL, "Show this" },
                {},
        };
        _cleanup_free_ char **rest = NULL;
        _cleanup_(err_done) Err err = {};
        if (options_parse(options, 0, argc, argv, &rest, &err) < 0 || (rest && rest[0]) ||
            (seed_text && parse_u64(seed_text, &first) < 0)) {
                fprintf(stderr, "sim: %s\n", err.msg ?: "see sim --help");
                return 2;
        }
        if (help) {
                _cleanup_free_ char *text = options_help(options);
                printf("Usage: sim [OPTIONS]\n\nRuns a simulated cluster, seed by seed.\n\n%s", text);
                return 0;
        }
        (void) signal(SIGABRT, tell_seed);
        SimReport sum = {};
        uint64_t ran = 0, failed = 0;
        Usec begin = now_monotonic();
        int r = seeds_file ? run_file(seeds_file, &sum, &ran, &failed) : 0;
        if (r < 0) {
                fprintf(stderr, "sim: cannot read %s: %s\n", seeds_file, strerror(-r));
                return 2;
        }
        for (uint64_t i = 0; i < (seed_text ? 1 : count); i++, ran++)
                failed += !run_one(first + i, verbose, &sum);
        print_sums(&sum, ran, now_monotonic() - begin);
        printf("%s 1 - simulated clusters\n1..1\n", failed == 0 ? "ok" : "not ok");
        return failed > 0;
}

/* SPDX-License-Identifier: Apache-2.0 */

/* sim-faults: does the simulator see anything at all? For each planted fault it runs seeds until one fails,
 * and fails itself when none does. The same sources as sim, built with -DCORACLE_FAULTS together with raft,
 * replica and disk. Speaks TAP. */

#include "base/options.h"
#include "base/str.h"
#include "sim/sim.h"
#include "sys/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Fault {
        const char *name, *what;
        unsigned raft, replica, host;
        bool hunt; /* shows only when leaders follow each other fast */
} Fault;

static const Fault faults[] = {
        { "commit-old-term", "counts replicas of entries of old terms", .raft = RAFT_FAULT_COMMIT_OLD_TERM,
          .hunt = true },
        { "no-noop", "a new leader begins without an entry of its own", .raft = RAFT_FAULT_NO_NOOP },
        { "vote-not-saved", "votes leave before they are durable", .raft = RAFT_FAULT_VOTE_NOT_SAVED,
          .hunt = true },
        { "read-unconfirmed", "reads are served without ReadIndex", .raft = RAFT_FAULT_READ_UNCONFIRMED },
        { "no-log-matching", "appends without looking at the entry before",
          .raft = RAFT_FAULT_NO_LOG_MATCHING },
        { "ack-before-sync", "a follower acknowledges before its disk does",
          .raft = RAFT_FAULT_ACK_BEFORE_SYNC },
        { "count-self-early", "a leader counts itself before its disk does",
          .raft = RAFT_FAULT_COUNT_SELF_EARLY, .hunt = true },
        { "double-vote", "votes for several candidates in one term", .raft = RAFT_FAULT_DOUBLE_VOTE },
        { "apply-twice", "applies an entry twice after a restart", .replica = REPLICA_FAULT_APPLY_TWICE },
        { "read-too-early", "a confirmed read does not wait for its index",
          .replica = REPLICA_FAULT_READ_TOO_EARLY },
        { "snapshot-short", "a snapshot lacks its last entry", .replica = REPLICA_FAULT_SNAPSHOT_SHORT },
        { "thread-lies", "the log's thread reports success before the sync",
          .host = HOST_FAULT_ACK_BEFORE_SYNC },
        { "no-truncate", "conflicting entries stay in the log on disk", .host = HOST_FAULT_NO_TRUNCATE },
        { "no-hard-state", "term and vote are never written", .host = HOST_FAULT_LOSE_HARD_STATE },
};

static _noreturn_ void run_child(const Fault *f, uint64_t seed, bool verbose, int to) {
        /* A failed assertion says so on stderr; that is as good a finding as a checker's. */
        if (!verbose && dup2(to, STDERR_FILENO) < 0)
                abort();
        SimOptions options = { .seed = seed,
                               .verbose = verbose,
                               .hunt = f->hunt,
                               .raft_faults = f->raft,
                               .replica_faults = f->replica,
                               .host_faults = f->host };
        SimReport r;
        sim_run(&options, &r);
        fflush(stdout);
        ssize_t n = write(to, r.failure, strlen(r.failure));
        _exit(n < 0 || r.failure[0] ? 1 : 0);
}

/* In a child, because a fault may well end in an assertion. *ret_why is the first line of what it said. */
static bool caught(const Fault *f, uint64_t seed, bool verbose, char why[static 512]) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                abort();
        fflush(stdout);
        pid_t pid = fork();
        if (pid < 0)
                abort();
        if (pid == 0)
                run_child(f, seed, verbose, fds[1]);
        (void) close(fds[1]);
        _cleanup_(buf_done) Buf said = {};
        char piece[4096];
        for (ssize_t n; (n = read(fds[0], piece, sizeof(piece))) > 0;)
                if (said.len < sizeof(piece))
                        buf_add(&said, piece, (size_t) n);
        (void) close(fds[0]);
        int status = 0;
        (void) waitpid(pid, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return false;
        const char *text = buf_str(&said), *assertion = strstr(text, "Assertion ");
        (void) snprintf(why, 512, "%.*s", (int) strcspn(assertion ?: text, "\n"), assertion ?: text);
        return true;
}

static bool hunt(const Fault *f, uint64_t first, uint64_t count, bool verbose, unsigned number) {
        Usec begin = now_monotonic();
        char why[512];
        for (uint64_t seed = first; seed < first + count; seed++) {
                if (!caught(f, seed, verbose, why))
                        continue;
                printf("ok %u - %s: caught at seed %" PRIu64 " after %.1f s: %s\n", number, f->name, seed,
                       (double) (now_monotonic() - begin) / 1e6, why);
                return true;
        }
        printf("not ok %u - %s (%s): not caught in %" PRIu64 " seeds\n", number, f->name, f->what, count);
        return false;
}

int main(int argc, char **argv) {
        static char *only;
        static bool verbose, help;
        static uint64_t first = 1, count = 300;
        const Option options[] = {
                { "fault", 'f', OPT_STR, &only, "NAME", "This fault only" },
                { "from", 0, OPT_UINT, &first, "N", "The first seed (1)" },
                { "count", 'n', OPT_UINT, &count, "N", "Give up after so many seeds (300)" },
                { "verbose", 'v', OPT_BOOL, &verbose, NULL, "Say everything that happens" },
                { "help", 'h', OPT_BOOL, &help, NULL, "Show this" },
                {},
        };
        _cleanup_free_ char **rest = NULL;
        _cleanup_(err_done) Err err = {};
        if (options_parse(options, 0, argc, argv, &rest, &err) < 0 || (rest && rest[0])) {
                fprintf(stderr, "sim-faults: %s\n", err.msg ?: "see sim-faults --help");
                return 2;
        }
        if (help) {
                _cleanup_free_ char *text = options_help(options);
                printf("Usage: sim-faults [OPTIONS]\n\nChecks that the simulator catches planted "
                       "faults:\n\n");
                for (size_t i = 0; i < ELEMENTSOF(faults); i++)
                        printf("  %-18s %s\n", faults[i].name, faults[i].what);
                printf("\n%s", text);
                return 0;
        }
        unsigned number = 0, missed = 0;
        for (size_t i = 0; i < ELEMENTSOF(faults); i++)
                if (!only || streq(only, faults[i].name))
                        missed += !hunt(&faults[i], first, count, verbose, ++number);
        printf("1..%u\n", number);
        return missed > 0 || number == 0;
}

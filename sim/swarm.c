/* SPDX-License-Identifier: Apache-2.0 */

/* The seed chooses not only when things go wrong but which things can: a run with all misfortunes at once
 * finds less than many runs with few ("swarm testing"). */

#include "sim/sim.h"

static bool half(Rng *rng) {
        return rng_below(rng, 2) == 0;
}

static bool quarter(Rng *rng) {
        return rng_below(rng, 4) == 0;
}

static uint64_t pick(Rng *rng, const uint64_t *of, size_t n) {
        return of[rng_below(rng, n)];
}
#define PICK(rng, ...)                                                                                      \
        pick((rng), (const uint64_t[]){ __VA_ARGS__ },                                                      \
             sizeof((uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

static void choose_sizes(Swarm *s, Rng *rng) {
        s->nodes = (unsigned) PICK(rng, 1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5);
        s->clients = (unsigned) rng_range(rng, 2, 6);
        s->keys = (unsigned) rng_range(rng, 1, 5);
        s->heartbeat = PICK(rng, 20, 50, 100) * USEC_PER_MSEC;
        s->election = s->heartbeat * PICK(rng, 5, 10);
        s->segment_size = PICK(rng, 4096, 16384, 65536);
        s->snapshot_entries = PICK(rng, 5, 20, 50, 100000);
        s->keep_entries = PICK(rng, 1, 5, 50);
        s->batch_bytes = (uint32_t) PICK(rng, 1, 2000, 0);
        s->inflight = (uint32_t) PICK(rng, 1, 4, 0);
        s->think = PICK(rng, 20, 50, 150) * USEC_PER_MSEC;
        s->nemesis_pause = PICK(rng, 100, 300, 800) * USEC_PER_MSEC;
}

void swarm_choose(Swarm *s, Rng *rng, bool hunt) {
        *s = (Swarm){};
        choose_sizes(s, rng);
        s->latency = PICK(rng, 100, 500, 2000, 10000);
        s->jitter = half(rng) ? s->latency * PICK(rng, 1, 5, 20) : 0;
        s->loss = half(rng) ? (uint32_t) PICK(rng, 1000, 20000, 200000) : 0;
        s->duplicate = half(rng) ? (uint32_t) PICK(rng, 1000, 50000, 300000) : 0;
        s->sync_latency = PICK(rng, 100, 1000, 5000, 20000);
        /* Whoever sets timers shorter than his network and disk allow has no leader, by his own choice. */
        Usec least = 8 * (s->latency + s->jitter + s->sync_latency);
        while (s->election < least) {
                s->election *= 2;
                s->heartbeat *= 2;
        }
        s->chaos = 10 * s->election + 6 * USEC_PER_SEC;
        s->partitions = half(rng);
        s->one_way = quarter(rng);
        s->clogs = quarter(rng);
        s->crashes = half(rng);
        s->disk_cuts = half(rng);
        s->pauses = quarter(rng);
        s->clock_jumps = quarter(rng);
        s->clock_drift = quarter(rng);
        s->membership = quarter(rng);
        s->transfers = quarter(rng);
        s->slow_disks = quarter(rng);
        s->disk_errors = quarter(rng);
        s->hunts = quarter(rng) || hunt;
        if (s->hunts) {
                s->partitions = s->one_way = s->clogs = s->crashes = s->disk_cuts = s->pauses = false;
                s->membership = s->transfers = s->clock_jumps = false;
                /* Short reigns that leave different entries behind, sent one by one: Raft's figure 8. */
                if (half(rng)) {
                        s->batch_bytes = s->inflight = 1;
                        s->chaos *= 2;
                }
        }
        s->calm = 12 * s->election + 20 * s->think;
        /* One entry per round trip: whoever was away needs a while. */
        if (s->batch_bytes == 1)
                s->calm += 500 * (2 * s->latency + s->jitter + s->sync_latency);
        if (s->disk_errors) {
                s->enospc = (uint32_t) PICK(rng, 0, 200, 1000);
                s->eio = (uint32_t) PICK(rng, 0, 100, 500);
        }
        /* Production has both on; without them the core must be as safe, and its elections are wilder. Only
         * a member that was removed and does not know it may then disturb for ever, so not together with
         * membership changes. */
        s->pre_vote = s->membership || !quarter(rng);
        s->check_quorum = s->membership || !quarter(rng);
}

char *swarm_describe(const Swarm *s) {
        return xasprintf("%u nodes, %u clients, %u keys, election %" PRIu64 " ms, latency %" PRIu64
                         "+%" PRIu64 " us, sync %" PRIu64 " us, segments %" PRIu64
                         ", snapshot every %" PRIu64 ", keep %" PRIu64
                         "; loss %u, duplicates %u%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s",
                         s->nodes, s->clients, s->keys, s->election / USEC_PER_MSEC, s->latency, s->jitter,
                         s->sync_latency, s->segment_size, s->snapshot_entries, s->keep_entries, s->loss,
                         s->duplicate, s->partitions ? ", partitions" : "",
                         s->one_way ? ", one-way cuts" : "", s->clogs ? ", clogs" : "",
                         s->crashes ? ", crashes" : "", s->disk_cuts ? ", cuts at disk operations" : "",
                         s->pauses ? ", pauses" : "", s->clock_jumps ? ", clock jumps" : "",
                         s->clock_drift ? ", clock drift" : "", s->membership ? ", membership changes" : "",
                         s->transfers ? ", transfers" : "", s->slow_disks ? ", slow disks" : "",
                         s->disk_errors ? ", disk errors" : "", s->hunts ? ", hunted leaders" : "",
                         s->pre_vote ? "" : ", no pre-vote", s->check_quorum ? "" : ", no check-quorum");
}

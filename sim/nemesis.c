/* SPDX-License-Identifier: Apache-2.0 */

/* What goes wrong, and when. */

#include "sim/sim.h"

static unsigned any_node(Sim *sim) {
        return (unsigned) rng_below(&sim->rng_nemesis, sim->n_nodes);
}

static unsigned leader_or_any(Sim *sim) {
        if (rng_below(&sim->rng_nemesis, 2) == 0)
                for (unsigned i = 0; i < sim->n_nodes; i++)
                        if (sim->nodes[i].up &&
                            raft_role(replica_raft(sim->nodes[i].replica)) == RAFT_LEADER)
                                return i;
        return any_node(sim);
}

static void heal_links(Sim *sim) {
        for (unsigned i = 0; i < SIM_NODES_MAX; i++)
                for (unsigned k = 0; k < SIM_NODES_MAX; k++)
                        sim->links[i][k].cut = false;
}

static void partition(Sim *sim) {
        Rng *rng = &sim->rng_nemesis;
        heal_links(sim);
        if (rng_below(rng, 3) == 0)
                return;
        bool one_way = sim->swarm.one_way && rng_below(rng, 2) == 0;
        unsigned kind = (unsigned) rng_below(rng, 3), alone = leader_or_any(sim);
        uint64_t side = rng_next(rng);
        for (unsigned i = 0; i < sim->n_nodes; i++)
                for (unsigned k = 0; k < sim->n_nodes; k++) {
                        bool cut = kind == 0   ? (side >> i & 1) != (side >> k & 1) /* two halves */
                                   : kind == 1 ? i == alone || k == alone           /* one is alone */
                                               : rng_below(rng, 3) == 0;            /* any links */
                        if (one_way && i > k)
                                cut = false;
                        sim->links[i][k].cut = cut && i != k;
                }
        sim_trace(sim, "the network is partitioned (%u%s)", kind, one_way ? ", one way" : "");
}

/* Links stop one after the other and come back in another order (FoundationDB's swizzle). */
static void clog_links(Sim *sim) {
        Rng *rng = &sim->rng_nemesis;
        uint64_t some = rng_next(rng);
        for (unsigned i = 0; i < sim->n_nodes; i++) {
                if (!(some >> i & 1))
                        continue;
                for (unsigned k = 0; k < sim->n_nodes; k++) {
                        Usec until = sim->now + rng_below(rng, sim->swarm.election * 3);
                        sim->links[i][k].clogged_until = until;
                        if (rng_below(rng, 2) == 0)
                                sim->links[k][i].clogged_until = until;
                }
        }
        sim_trace(sim, "links are clogged");
}

static void pause_node(Sim *sim) {
        unsigned n = leader_or_any(sim);
        Node *node = &sim->nodes[n];
        if (!node->up || node->paused)
                return;
        node->paused = true;
        Usec span = rng_range(&sim->rng_nemesis, sim->swarm.election / 2, sim->swarm.election * 4);
        sim_trace(sim, "node %" PRIu64 " is paused", node->id);
        sim_at(sim, sim->now + span, EVENT_RESUME, n, node->epoch, NULL);
}

static void crash(Sim *sim) {
        unsigned n = leader_or_any(sim);
        if (sim->nodes[n].up)
                node_crash(sim, n, rng_below(&sim->rng_nemesis, 3) == 0);
}

static void disk_cut(Sim *sim) {
        Node *node = &sim->nodes[leader_or_any(sim)];
        if (node->member)
                sim_disk_cut_at(node->disk, 1 + rng_below(&sim->rng_nemesis, 60));
}

static void disk_error(Sim *sim) {
        Node *node = &sim->nodes[any_node(sim)];
        sim_disk_fail_at(node->disk, 1 + rng_below(&sim->rng_nemesis, 60),
                         rng_below(&sim->rng_nemesis, 2) == 0 ? -EIO : -ENOSPC,
                         rng_below(&sim->rng_nemesis, 4) == 0);
        sim->report->disk_faults++;
}

static void clock_jump(Sim *sim) {
        Node *node = &sim->nodes[leader_or_any(sim)];
        node->clock_offset += rng_below(&sim->rng_nemesis, sim->swarm.election * 3);
        node->armed = 0;
        sim_trace(sim, "the clock of node %" PRIu64 " jumps", node->id);
        if (node->up)
                sim_at(sim, node->armed = sim->now + 1, EVENT_TIMER, (unsigned) (node - sim->nodes),
                       node->epoch, NULL);
}

static void transfer(Sim *sim) {
        unsigned n = leader_or_any(sim);
        Node *node = &sim->nodes[n];
        if (!node->up || node->paused)
                return;
        ReplicaEvent ev = { .type = REPLICA_EV_TRANSFER, .now = node_clock(sim, node) };
        if (rng_below(&sim->rng_nemesis, 2) == 0)
                ev.peer = sim->nodes[any_node(sim)].id;
        node_event(sim, n, &ev);
}

/* Before its first message arrives anywhere, while the first entries are under way, or any time after. */
void nemesis_new_leader(Sim *sim, unsigned n) {
        Rng *rng = &sim->rng_nemesis;
        const Swarm *s = &sim->swarm;
        if (!s->hunts || sim->calm || rng_below(rng, 8) == 0)
                return;
        const Usec spans[] = { s->latency, 4 * (s->latency + s->jitter + s->sync_latency), s->election * 2 };
        Usec span = spans[rng_below(rng, ELEMENTSOF(spans))];
        sim_at(sim, sim->now + rng_below(rng, span), EVENT_HUNT, n, 0, NULL);
}

static void isolate(Sim *sim, unsigned n, bool both_ways) {
        for (unsigned i = 0; i < sim->n_nodes; i++) {
                sim->links[n][i].cut = i != n;
                sim->links[i][n].cut = i != n && both_ways;
        }
}

void nemesis_hunt(Sim *sim, unsigned n) {
        Rng *rng = &sim->rng_nemesis;
        uint64_t dice = rng_below(rng, 12);
        sim_trace(sim, "node %" PRIu64 " is hunted (%" PRIu64 ")", sim->nodes[n].id, dice);
        /* Whoever was cut off before comes back, so that old and new leaders meet. */
        if (dice < 9 && rng_below(rng, 8) > 0)
                heal_links(sim);
        if (dice < 3) {
                /* The one who may know more is out of reach when the others elect. */
                unsigned other = any_node(sim);
                if (sim->nodes[n].up)
                        node_crash(sim, n, false);
                if (other != n)
                        isolate(sim, other, true);
        } else if (dice < 8) {
                isolate(sim, n, true);
        } else if (dice < 9) {
                isolate(sim, n, false);
        } else if (dice < 10) {
                sim_disk_cut_at(sim->nodes[n].disk, 1 + rng_below(rng, 4));
        } else {
                /* Somebody who has just voted for it forgets what it did not save. */
                unsigned other = any_node(sim);
                if (sim->nodes[other].up)
                        node_crash(sim, other, false);
        }
}

typedef struct Misfortune {
        bool on;
        void (*strike)(Sim *sim);
} Misfortune;

void nemesis_strike(Sim *sim) {
        const Swarm *s = &sim->swarm;
        const Misfortune all[] = {
                { s->partitions, partition },   { s->clogs, clog_links },   { s->pauses, pause_node },
                { s->crashes, crash },          { s->disk_cuts, disk_cut }, { s->disk_errors, disk_error },
                { s->clock_jumps, clock_jump }, { s->transfers, transfer },
        };
        const Misfortune *chosen = &all[rng_below(&sim->rng_nemesis, ELEMENTSOF(all))];
        if (chosen->on)
                chosen->strike(sim);
        Usec pause = chosen->on ? s->nemesis_pause : s->nemesis_pause / 8;
        sim_at(sim, sim->now + rng_range(&sim->rng_nemesis, pause / 4, pause * 2), EVENT_NEMESIS, 0, 0,
               NULL);
}

void nemesis_heal(Sim *sim) {
        sim->calm = true;
        sim_trace(sim, "the faults end");
        heal_links(sim);
        sim->swarm.loss = sim->swarm.duplicate = 0;
        for (unsigned i = 0; i < sim->n_nodes; i++) {
                Node *node = &sim->nodes[i];
                for (unsigned k = 0; k < sim->n_nodes; k++)
                        sim->links[i][k].clogged_until = 0;
                sim_disk_cut_at(node->disk, 0);
                sim_disk_fail_at(node->disk, 0, 0, false);
                sim_disk_fail_chance(node->disk, 0, 0);
        }
}

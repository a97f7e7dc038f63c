/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim.h"

#include <stdarg.h>
#include <stdio.h>

#define EVENTS_MAX 400000U
#define CHECK_LOGS_EVERY 64U

void sim_trace_line(Sim *sim, const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        printf("[%10.6f] ", (double) sim->now / 1e6);
        vprintf(fmt, ap);
        printf("\n");
        va_end(ap);
}

void sim_fail(Sim *sim, const char *fmt, ...) {
        if (sim->stop)
                return;
        sim->stop = true;
        va_list ap;
        va_start(ap, fmt);
        (void) vsnprintf(sim->report->failure, sizeof(sim->report->failure), fmt, ap);
        va_end(ap);
        sim_trace(sim, "VIOLATION: %s", sim->report->failure);
}

/* ---- the queue: a heap by time, then by order of scheduling ---- */

static bool sooner(const SimEvent *a, const SimEvent *b) {
        return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void heap_push(Sim *sim, SimEvent e) {
        GROW(sim->heap, sim->cap_heap, sim->n_heap + 1);
        size_t i = sim->n_heap++;
        for (; i > 0 && sooner(&e, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
                sim->heap[i] = sim->heap[(i - 1) / 2];
        sim->heap[i] = e;
}

static SimEvent heap_pop(Sim *sim) {
        assert(sim->n_heap > 0);
        SimEvent top = sim->heap[0], e = sim->heap[--sim->n_heap];
        size_t i = 0;
        for (;;) {
                size_t c = 2 * i + 1;
                if (c >= sim->n_heap)
                        break;
                if (c + 1 < sim->n_heap && sooner(&sim->heap[c + 1], &sim->heap[c]))
                        c++;
                if (!sooner(&sim->heap[c], &e))
                        break;
                sim->heap[i] = sim->heap[c];
                i = c;
        }
        sim->heap[i] = e;
        return top;
}

void sim_at(Sim *sim, Usec at, EventKind kind, unsigned node, uint64_t epoch, void *p) {
        assert(at >= sim->now);
        heap_push(sim, (SimEvent){ .at = at,
                                   .order = sim->next_order++,
                                   .kind = kind,
                                   .node = node,
                                   .epoch = epoch,
                                   .p = p });
}

static void event_done(SimEvent *e) {
        if (e->kind == EVENT_MESSAGE)
                packet_free(e->p);
        else if (e->kind == EVENT_STREAM)
                stream_free(e->p);
        e->p = NULL;
}

Node *sim_leader(Sim *sim) {
        Node *leader = NULL;
        uint64_t term = 0;
        for (unsigned i = 0; i < sim->n_nodes; i++) {
                Node *node = &sim->nodes[i];
                if (!node->up || !node->replica || raft_role(replica_raft(node->replica)) != RAFT_LEADER)
                        continue;
                if (raft_term(replica_raft(node->replica)) >= term) {
                        term = raft_term(replica_raft(node->replica));
                        leader = node;
                }
        }
        return leader;
}

/* ---- handling ---- */

static void resume(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        node->paused = false;
        sim_trace(sim, "node %" PRIu64 " goes on", node->id);
        for (size_t i = 0; i < node->n_held; i++) {
                SimEvent e = node->held[i];
                sim_at(sim, sim->now + 1, e.kind, n, e.epoch, e.p);
        }
        node->n_held = 0;
        sim_at(sim, node->armed = sim->now + 1, EVENT_TIMER, n, node->epoch, NULL);
}

static void hold(Node *node, SimEvent *e) {
        GROW(node->held, node->cap_held, node->n_held + 1);
        node->held[node->n_held++] = *e;
        e->p = NULL;
}

static void handle_node(Sim *sim, SimEvent *e) {
        Node *node = &sim->nodes[e->node];
        bool current = e->kind == EVENT_MESSAGE || e->epoch == node->epoch;
        if (!current || (!node->up && e->kind != EVENT_START))
                return;
        if (node->paused && e->kind != EVENT_RESUME) {
                if (e->kind != EVENT_TIMER)
                        hold(node, e);
                return;
        }
        switch (e->kind) {
        case EVENT_TIMER:
                node_timer(sim, e->node);
                break;
        case EVENT_MESSAGE:
                node_message(sim, e->node, e->p);
                break;
        case EVENT_SYNC:
                host_sync(sim, e->node);
                break;
        case EVENT_SAVE:
                host_save_step(sim, e->node);
                break;
        case EVENT_START:
                if (!node->up && !node->retired)
                        node_start(sim, e->node);
                break;
        case EVENT_RESUME:
                resume(sim, e->node);
                break;
        case EVENT_STREAM:
        case EVENT_CLIENT:
        case EVENT_NEMESIS:
        case EVENT_HUNT:
        case EVENT_HEAL:
                assert(false);
        }
}

static void handle(Sim *sim, SimEvent *e) {
        switch (e->kind) {
        case EVENT_STREAM:
                net_stream_step(sim, TAKE_PTR(e->p));
                break;
        case EVENT_CLIENT:
                client_act(sim, &sim->clients[e->node]);
                break;
        case EVENT_NEMESIS:
                if (!sim->calm)
                        nemesis_strike(sim);
                break;
        case EVENT_HUNT:
                if (!sim->calm)
                        nemesis_hunt(sim, e->node);
                break;
        case EVENT_HEAL:
                nemesis_heal(sim);
                break;
        case EVENT_TIMER:
        case EVENT_MESSAGE:
        case EVENT_SYNC:
        case EVENT_SAVE:
        case EVENT_START:
        case EVENT_RESUME:
                handle_node(sim, e);
                break;
        }
        event_done(e);
        for (unsigned i = 0; i < sim->n_nodes; i++)
                node_reap(sim, i);
}

/* ---- a run ---- */

static void set_up(Sim *sim) {
        Rng rng = rng_new(sim->options.seed), swarm = rng_fork(&rng);
        swarm_choose(&sim->swarm, &swarm, sim->options.hunt);
        sim->rng_net = rng_fork(&rng);
        sim->rng_nemesis = rng_fork(&rng);
        sim->rng_client = rng_fork(&rng);
        sim->rng_boot = rng_fork(&rng);
        sim->founders = sim->swarm.nodes;
        sim->n_nodes = sim->swarm.membership ? MIN(sim->founders + 3, SIM_NODES_MAX) : sim->founders;
        for (unsigned i = 0; i < sim->n_nodes; i++) {
                Node *node = &sim->nodes[i];
                *node = (Node){ .id = 1 + i, .sim = sim, .member = i < sim->founders, .clock_ppm = 1000000 };
                node->rng = rng_fork(&rng);
                node->slowness = sim->swarm.slow_disks && rng_below(&node->rng, 3) == 0 ? 6 : 1;
                node->disk = sim_disk_new(rng_fork(&rng));
                node->clock_offset = rng_below(&node->rng, 1000 * USEC_PER_SEC);
                if (sim->swarm.clock_drift)
                        node->clock_ppm = (uint32_t) rng_range(&node->rng, 900000, 1100000);
                sim_disk_fail_chance(node->disk, sim->swarm.enospc, sim->swarm.eio);
                if (node->member)
                        sim_at(sim, rng_below(&node->rng, 10000), EVENT_START, i, 0, NULL);
        }
        for (unsigned i = 0; i < sim->swarm.clients; i++) {
                sim->clients[i].number = i;
                sim_at(sim, 20000, EVENT_CLIENT, i, 0, NULL);
        }
        sim_at(sim, sim->swarm.election * 2, EVENT_NEMESIS, 0, 0, NULL);
        sim_at(sim, sim->swarm.chaos, EVENT_HEAL, 0, 0, NULL);
        if (!sim->options.verbose)
                return;
        _cleanup_free_ char *text = swarm_describe(&sim->swarm);
        sim_trace(sim, "seed %" PRIu64 ": %s", sim->options.seed, text);
}

static void tear_down(Sim *sim) {
        for (unsigned i = 0; i < sim->n_nodes; i++) {
                Node *node = &sim->nodes[i];
                node_release(sim, i);
                sim_disk_free(node->disk);
                for (size_t k = 0; k < node->n_held; k++)
                        event_done(&node->held[k]);
                free(node->held);
                free(node->jobs);
        }
        for (size_t i = 0; i < sim->n_heap; i++)
                event_done(&sim->heap[i]);
        free(sim->heap);
        history_done(&sim->history);
        checks_done(&sim->checks);
        map_done(&sim->requests);
}

/* In the calm every client must get through, again and again. */
static void check_progress(Sim *sim, size_t from) {
        size_t done = 0;
        for (size_t i = from; i < sim->history.n; i++)
                done += sim->history.ops[i].returned != USEC_NEVER;
        if (done < sim->swarm.clients)
                sim_fail(sim, "the faults are over, and the clients get nothing done");
}

void sim_run(const SimOptions *options, SimReport *ret) {
        *ret = (SimReport){};
        Sim *sim = xnew(Sim, 1);
        sim->options = *options;
        sim->report = ret;
        set_up(sim);
        Usec end = sim->swarm.chaos + sim->swarm.calm,
             late = end - sim->swarm.election * 4 - sim->swarm.think * 14;
        size_t late_ops = 0;
        while (!sim->stop && sim->n_heap > 0 && sim->heap[0].at < end) {
                SimEvent e = heap_pop(sim);
                if (sim->now < late && e.at >= late)
                        late_ops = sim->history.n;
                sim->now = e.at;
                handle(sim, &e);
                if (++ret->events % CHECK_LOGS_EVERY == 0 && !sim->stop)
                        check_logs(sim);
                if (ret->events > EVENTS_MAX)
                        sim_fail(sim, "more than %u events: something spins", EVENTS_MAX);
        }
        if (!sim->stop)
                check_logs(sim);
        if (!sim->stop)
                check_end(sim);
        if (!sim->stop)
                check_progress(sim, late_ops);
        tear_down(sim);
        free(sim);
}

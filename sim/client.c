/* SPDX-License-Identifier: Apache-2.0 */

/* The clients: each asks one thing at a time, of any node, and writes down what it saw. */

#include "sim/sim.h"

#define COMPACTION SIZE_MAX /* in SimClient.op */

static void again(Sim *sim, SimClient *c, Usec pause) {
        sim_at(sim, sim->now + pause, EVENT_CLIENT, c->number, 0, NULL);
}

static Usec think(Sim *sim) {
        Usec t = sim->swarm.think * (sim->calm ? 3 : 1);
        return rng_range(&sim->rng_client, t / 4, t * 2);
}

/* When all is well again, clients know who is a member. */
static bool is_useful(Sim *sim, const Node *node, const RaftConf *conf) {
        if (!node->up || node->paused || node->dying || node->retired)
                return false;
        return !sim->calm || !conf || raft_conf_is_voter(conf, node->id) ||
               raft_conf_is_learner(conf, node->id);
}

static unsigned some_node_up(Sim *sim) {
        const Node *leader = sim_leader(sim);
        const RaftConf *conf = leader ? raft_conf(replica_raft(leader->replica)) : NULL;
        unsigned start = (unsigned) rng_below(&sim->rng_client, sim->n_nodes);
        for (unsigned i = 0; i < sim->n_nodes; i++) {
                unsigned n = (start + i) % sim->n_nodes;
                if (is_useful(sim, &sim->nodes[n], conf))
                        return n;
        }
        return SIM_NODES_MAX;
}

static void begin(Sim *sim, SimClient *c, unsigned n, ReplicaEventType type, ReplicaRequest *q,
                  bool recorded) {
        Node *node = &sim->nodes[n];
        c->node = n;
        c->request = q->id = ++sim->next_request;
        c->is_read = type == REPLICA_EV_READ;
        c->unrecorded = !recorded;
        q->deadline = node_clock(sim, node) + sim->swarm.election * rng_range(&sim->rng_client, 2, 6);
        (void) map_putu(&sim->requests, q->id, c);
        ReplicaEvent ev = { .type = type, .now = node_clock(sim, node), .request = *q };
        node_event(sim, n, &ev);
}

/* A serializable read needs nobody: it must show a state that was once everybody's. */
static void read_locally(Sim *sim, unsigned n) {
        const Node *node = &sim->nodes[n];
        uint64_t at = machine_applied(node->machine);
        if (at > 0 &&
            (at >= sim->checks.n_applied || sim->checks.applied[at].state != machine_hash(node->machine)))
                sim_fail(sim, "a serializable read of node %" PRIu64 " shows a state that never was",
                         node->id);
}

static uint64_t last_value(Sim *sim, uint32_t key) {
        for (size_t i = sim->history.n; i > 0 && i + 40 > sim->history.n; i--) {
                const Operation *o = &sim->history.ops[i - 1];
                if (o->op.key == key && o->op.code != OP_CODE_GET && rng_below(&sim->rng_client, 2) == 0)
                        return o->op.value;
        }
        return 0;
}

static void change_membership(Sim *sim, SimClient *c, unsigned n) {
        const RaftConf *conf = raft_conf(replica_raft(sim->nodes[n].replica));
        unsigned target = (unsigned) rng_below(&sim->rng_client, sim->n_nodes);
        Node *node = &sim->nodes[target];
        RaftConfChange change = { .id = node->id };
        bool in = raft_conf_is_voter(conf, node->id);
        if (node->retired)
                change = (RaftConfChange){ .type = RAFT_CONF_UPDATE, .id = sim->nodes[n].id };
        else if (in && conf->n_voters > 2)
                change.type = RAFT_CONF_REMOVE;
        else if (in)
                change.type = RAFT_CONF_UPDATE;
        else if (rng_below(&sim->rng_client, 2) == 0 && !raft_conf_is_learner(conf, node->id))
                change.type = RAFT_CONF_ADD_LEARNER;
        else
                change.type = RAFT_CONF_ADD_VOTER;
        sim_trace(sim, "client %u asks node %" PRIu64 " for membership change %d of %" PRIu64, c->number,
                  sim->nodes[n].id, (int) change.type, change.id);
        if (!node->member) {
                node->member = true;
                sim_at(sim, sim->now + 1000, EVENT_START, target, node->epoch, NULL);
        }
        c->op = change.type == RAFT_CONF_REMOVE ? target : SIM_NODES_MAX;
        ReplicaRequest q = { .conf = &change };
        begin(sim, c, n, REPLICA_EV_CONF_CHANGE, &q, false);
}

/* Its outcome shows in the state hash, not in the history. */
static bool compact(Sim *sim, SimClient *c, unsigned n) {
        _cleanup_(buf_done) Buf b = {};
        if (!machine_compact_encode(sim->nodes[n].machine, ++sim->next_value, &b))
                return false;
        c->op = COMPACTION;
        ReplicaRequest q = { .data = b.data, .len = b.len };
        begin(sim, c, n, REPLICA_EV_PROPOSE, &q, false);
        return true;
}

void client_act(Sim *sim, SimClient *c) {
        if (c->request != 0)
                return;
        unsigned n = some_node_up(sim);
        if (n == SIM_NODES_MAX) {
                again(sim, c, sim->swarm.election / 4);
                return;
        }
        Rng *rng = &sim->rng_client;
        uint64_t dice = rng_below(rng, 100);
        if (sim->swarm.membership && !sim->calm && c->number == 0 && dice < 8) {
                change_membership(sim, c, n);
                return;
        }
        if (dice == 99 && compact(sim, c, n))
                return;
        MachineOp op = { .key = (uint32_t) rng_below(rng, sim->swarm.keys), .uid = ++sim->next_value };
        op.code = dice < 40 ? OP_CODE_PUT : dice < 60 ? OP_CODE_CAS : OP_CODE_GET;
        if (dice >= 95) {
                read_locally(sim, n);
                again(sim, c, think(sim));
                return;
        }
        if (op.code != OP_CODE_GET)
                op.value = op.uid;
        if (op.code == OP_CODE_CAS)
                op.expected = last_value(sim, op.key);
        _cleanup_(buf_done) Buf b = {};
        machine_op_encode(&op, &b);
        c->op = history_invoke(&sim->history, c->number, &op, sim->now);
        sim->report->operations++;
        ReplicaRequest q = { .data = b.data, .len = b.len };
        begin(sim, c, n, op.code == OP_CODE_GET ? REPLICA_EV_READ : REPLICA_EV_PROPOSE, &q, true);
}

static void conf_done(Sim *sim, const SimClient *c, const ReplicaDone *done) {
        if (done->error < 0 || done->refused)
                return;
        if (c->op == COMPACTION)
                return;
        sim->report->conf_changes++;
        if (c->op < SIM_NODES_MAX)
                sim->nodes[c->op].retired = true;
}

void client_done(Sim *sim, unsigned n, const ReplicaDone *done) {
        SimClient *c = map_delu(&sim->requests, done->id);
        if (!c || c->request != done->id || c->node != n) {
                sim_fail(sim, "node %" PRIu64 " answers request %" PRIu64 ", which waits for nothing",
                         sim->nodes[n].id, done->id);
                return;
        }
        c->request = 0;
        again(sim, c, think(sim));
        if (c->unrecorded) {
                conf_done(sim, c, done);
                return;
        }
        const MachineOp *op = &sim->history.ops[c->op].op;
        if (done->error == 0) {
                MachineResult res = { .seen = c->is_read ? machine_read(sim->nodes[n].machine, op->key)
                                                         : 0 };
                if (!c->is_read)
                        res = *(const MachineResult *) done->result;
                if (op->code == OP_CODE_CAS && res.ok)
                        res.seen = op->expected;
                history_return(&sim->history, c->op, &res, sim->now);
                if (!c->is_read)
                        sim->checks.acked = MAX(sim->checks.acked, done->index);
                return;
        }
        /* Refused means: nothing happened. Otherwise nobody knows, and the history keeps it open. */
        if (c->is_read || done->error == -EBUSY || done->error == -EINVAL || done->error == -EALREADY)
                history_drop(&sim->history, c->op);
        else
                sim->report->open_operations++;
}

void clients_node_died(Sim *sim, unsigned n) {
        for (unsigned i = 0; i < sim->swarm.clients; i++) {
                SimClient *c = &sim->clients[i];
                if (c->request == 0 || c->node != n)
                        continue;
                (void) map_delu(&sim->requests, c->request);
                c->request = 0;
                if (!c->unrecorded && c->is_read)
                        history_drop(&sim->history, c->op);
                else if (!c->unrecorded)
                        sim->report->open_operations++;
                again(sim, c, think(sim));
        }
}

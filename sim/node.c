/* SPDX-License-Identifier: Apache-2.0 */

/* A node: the production replica, log and snapshots on one simulated disk, behind one clock. */

#include "sim/sim.h"

unsigned node_number(const Sim *sim, uint64_t id) {
        for (unsigned i = 0; i < sim->n_nodes; i++)
                if (sim->nodes[i].id == id)
                        return i;
        return SIM_NODES_MAX;
}

Usec node_clock(const Sim *sim, const Node *node) {
        return node->clock_offset + sim->now * node->clock_ppm / 1000000U;
}

/* When the node's clock will show `local`. */
static Usec node_when(const Sim *sim, const Node *node, Usec local) {
        Usec clock = node_clock(sim, node);
        if (local <= clock)
                return sim->now;
        return sim->now + (local - clock) * 1000000U / node->clock_ppm + 1;
}

static void arm(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        Usec deadline = replica_deadline(node->replica);
        if (deadline == USEC_NEVER)
                return;
        Usec at = node_when(sim, node, deadline);
        /* Requests gather for a moment, as they do while a loop is busy. */
        if (at == sim->now)
                at += 1 + rng_below(&node->rng, 300);
        if (node->armed > sim->now && node->armed <= at)
                return;
        node->armed = at;
        sim_at(sim, at, EVENT_TIMER, n, node->epoch, NULL);
}

void node_timer(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        if (node->armed != sim->now)
                return;
        node->armed = 0;
        ReplicaEvent ev = { .type = REPLICA_EV_TICK, .now = node_clock(sim, node) };
        node_event(sim, n, &ev);
}

void node_message(Sim *sim, unsigned n, Packet *p) {
        Node *node = &sim->nodes[n];
        if (sim->links[p->from][n].cut)
                return; /* it was on the way when the link was cut */
        _cleanup_(raft_block_unrefp) RaftBlock *block = raft_block_dup(p->bytes.data, p->bytes.len);
        RaftMsg m = {};
        int r = raft_msg_decode(block, block->bytes, block->size, &m);
        if (r < 0) {
                sim_fail(sim, "a message from %" PRIu64 " cannot be read: %s", sim->nodes[p->from].id,
                         strerror(-r));
                return;
        }
        ReplicaEvent ev = { .type = REPLICA_EV_RECEIVE, .now = node_clock(sim, node), .msg = &m };
        node_event(sim, n, &ev);
        raft_msg_done(&m);
}

/* ---- doing what the replica says ---- */

static void persist(Sim *sim, unsigned n, const RaftPersist *p) {
        RaftPersist copy = *p;
        if (sim->options.host_faults & HOST_FAULT_LOSE_HARD_STATE)
                copy.hs = (RaftHardState){ .term = 1 };
        if ((sim->options.host_faults & HOST_FAULT_NO_TRUNCATE) && p->truncate_from > 0) {
                copy.truncate_from = 0;
                copy.n_entries = 0;
        }
        _cleanup_(buf_done) Buf b = {};
        wal_batch_persist(&b, &copy);
        host_submit(sim, n, &b, p->seq, p->must_sync, false);
}

static void perform(Sim *sim, unsigned n, const ReplicaActions *a) {
        Node *node = &sim->nodes[n];
        if (a->persist)
                persist(sim, n, a->persist);
        for (size_t i = 0; i < a->n_messages; i++)
                net_send(sim, n, &a->messages[i]);
        for (size_t i = 0; i < a->n_snapshot_sends; i++)
                net_send_snapshot(sim, n, &a->snapshot_sends[i]);
        if (a->restore && !node->dying)
                host_restore(sim, n, a->restore);
        if (a->mark && !node->dying) {
                _cleanup_(buf_done) Buf b = {};
                wal_batch_snapshot(&b, a->mark->index, a->mark->term);
                host_submit(sim, n, &b, 0, true, true);
        }
        if (a->snapshot && node->dying)
                machine_view_free(a->snapshot_view);
        else if (a->snapshot)
                host_save_begin(sim, n, a->snapshot, a->snapshot_view);
        for (size_t i = 0; i < a->n_done; i++) {
                /* A machine without power answers nobody. */
                if (!node->dying)
                        client_done(sim, n, &a->done[i]);
                free(a->done[i].result);
        }
        if (a->conf_changed && raft_conf(replica_raft(node->replica))->n_voters > 0) {
                const RaftConf *conf = raft_conf(replica_raft(node->replica));
                if (sim->nodes[n].member && !raft_conf_is_voter(conf, node->id) &&
                    !raft_conf_is_learner(conf, node->id) && node->retired)
                        node->dying = true; /* it has learned that it was removed */
        }
}

void node_event(Sim *sim, unsigned n, const ReplicaEvent *ev) {
        Node *node = &sim->nodes[n];
        assert(node->up);
        if (node->dying || sim->stop)
                return;
        uint64_t early = 0;
        ReplicaActions a = { .more = true };
        for (const ReplicaEvent *e = ev; a.more && !sim->stop && !node->dying; e = NULL) {
                replica_step(node->replica, e, &a);
                if (a.persist && (sim->options.host_faults & HOST_FAULT_ACK_BEFORE_SYNC))
                        early = a.persist->seq;
                perform(sim, n, &a);
                check_node(sim, n);
        }
        if (node->dying || node->storage_failed || sim->stop)
                return;
        arm(sim, n);
        if (early > 0) {
                ReplicaEvent done = { .type = REPLICA_EV_PERSISTED,
                                      .now = node_clock(sim, node),
                                      .seq = early };
                node_event(sim, n, &done);
        }
}

/* ---- life and death ---- */

void node_release(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        node->replica = replica_free(node->replica);
        node->wal = wal_free(node->wal);
        /* Nobody cleans up after a dead process. */
        sim_disk_detach(node->disk, true);
        node->writer = snap_writer_free(node->writer);
        node->sink = snap_sink_free(node->sink);
        node->view = machine_view_free(node->view);
        node->machine = machine_free(node->machine);
        for (size_t i = 0; i < node->n_jobs; i++)
                buf_done(&node->jobs[i].batch);
        node->n_jobs = 0;
        node->busy = node->paused = node->dying = node->storage_failed = false;
        node->armed = 0;
        node->sink_stream = 0;
        node->up = false;
}

void node_crash(Sim *sim, unsigned n, bool kill) {
        Node *node = &sim->nodes[n];
        assert(node->up);
        bool off = sim_disk_is_off(node->disk);
        sim_trace(sim, "node %" PRIu64 " %s", node->id, kill && !off ? "is killed" : "loses power");
        sim->report->crashes++;
        node->epoch++;
        node_release(sim, n);
        clients_node_died(sim, n);
        SimDiskCut how = (SimDiskCut) rng_below(&node->rng, _SIM_CUT_MAX);
        if (!kill || off)
                sim_disk_power_cut(node->disk, how);
        sim_disk_detach(node->disk, false);
        if (node->retired)
                return;
        Usec pause = rng_range(&node->rng, sim->swarm.election / 20,
                               sim->swarm.election * (sim->swarm.hunts ? 1 : 3));
        sim_at(sim, sim->now + pause, EVENT_START, n, node->epoch, NULL);
}

void node_reap(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        if (!node->up || sim->stop)
                return;
        if (node->storage_failed && !node->dying) {
                node->storage_failed = false;
                ReplicaEvent failed = { .type = REPLICA_EV_STORAGE_FAILED, .now = node_clock(sim, node) };
                node_event(sim, n, &failed);
                node->dying = true;
        }
        if (!node->dying)
                return;
        /* After an error of the disk nobody knows what is on it: half the time like a power cut. */
        node_crash(sim, n, rng_below(&node->rng, 2) == 0);
}

static void applied(void *ctx, uint64_t index, uint64_t term, uint64_t content, uint64_t uid,
                    uint64_t state) {
        Node *node = ctx;
        node->sim->report->entries++;
        uint64_t now = node->replica ? raft_term(replica_raft(node->replica)) : term;
        check_applied(node->sim, node->id, index, term, content, uid, state, now);
}

static int create_log(Sim *sim, Node *node, const WalConfig *config, Wal **ret, Err *err) {
        _cleanup_(buf_done) Buf first = {};
        unsigned n = (unsigned) (node - sim->nodes);
        if (n < sim->founders) {
                RaftConfChange members[SIM_NODES_MAX] = {};
                for (unsigned i = 0; i < sim->founders; i++)
                        members[i] = (RaftConfChange){ .type = RAFT_CONF_ADD_VOTER, .id = sim->nodes[i].id };
                RaftEntry *entries = replica_bootstrap(members, sim->founders);
                RaftPersist p = { .seq = 1,
                                  .hs = { .term = 1, .commit = sim->founders },
                                  .entries = entries,
                                  .n_entries = sim->founders };
                wal_batch_persist(&first, &p);
                raft_entries_free(entries, sim->founders);
        }
        return wal_create(sim_disk_ops(node->disk), config, 7, node->id, &first, ret, err);
}

static void raft_line(void *ctx, const char *line) {
        Node *node = ctx;
        sim_trace(node->sim, "node %" PRIu64 ": %s", node->id, line);
}

static int start_replica(Sim *sim, Node *node, const Recovered *rec, Err *err) {
        const Swarm *s = &sim->swarm;
        ReplicaConfig config = {
                .raft = { .id = node->id,
                          .seed = rng_next(&sim->rng_boot),
                          .now = node_clock(sim, node),
                          .election_timeout = s->election,
                          .heartbeat_interval = s->heartbeat,
                          .pre_vote = s->pre_vote,
                          .check_quorum = s->check_quorum,
                          .max_batch_bytes = s->batch_bytes,
                          .max_inflight = s->inflight,
                          .trace = sim->options.verbose ? raft_line : NULL,
                          .trace_ctx = node },
                .snapshot_entries = s->snapshot_entries,
                .keep_entries = s->keep_entries,
        };
#ifdef CORACLE_FAULTS
        config.raft.faults = sim->options.raft_faults;
        config.faults = sim->options.replica_faults;
#endif
        ReplicaInitial initial = { .raft = rec->initial, .snapshot = rec->meta };
        ReplicaMachine machine = machine_interface(node->machine);
        node->replica = replica_new(&config, &initial, &machine, err);
        return node->replica ? 0 : -EINVAL;
}

static int boot(Sim *sim, unsigned n, Err *err) {
        Node *node = &sim->nodes[n];
        WalConfig config = { .segment_size = sim->swarm.segment_size };
        _cleanup_(recovered_done) Recovered rec = {};
        int r = disk_recover(sim_disk_ops(node->disk), &config, &rec, err);
        if (r == -ENOENT) {
                err_done(err);
                *err = (Err){};
                _cleanup_(wal_freep) Wal *w = NULL;
                r = create_log(sim, node, &config, &w, err);
                w = wal_free(w);
                if (r == 0)
                        r = disk_recover(sim_disk_ops(node->disk), &config, &rec, err);
        }
        if (r < 0)
                return r;
        node->machine = machine_new(applied, node);
        if (rec.snapshot)
                r = host_load(sim, n, rec.snapshot, err);
        if (r < 0 || sim->stop)
                return r;
        r = start_replica(sim, node, &rec, err);
        node->wal = TAKE_PTR(rec.wal);
        return r;
}

void node_start(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        assert(!node->up && !node->replica);
        node->leader_term = 0;
        _cleanup_(err_done) Err err = {};
        int r = boot(sim, n, &err);
        node->up = true;
        if (sim->stop)
                return;
        if (r < 0) {
                if (!sim_disk_is_off(node->disk) && !sim_disk_has_failed(node->disk)) {
                        sim_fail(sim, "node %" PRIu64 " does not start: %s", node->id, err_msg(&err));
                        return;
                }
                sim_trace(sim, "node %" PRIu64 " does not start: %s", node->id, err_msg(&err));
                node_crash(sim, n, !sim_disk_is_off(node->disk));
                return;
        }
        sim->report->recoveries++;
        sim_trace(sim, "node %" PRIu64 " starts at %" PRIu64 " of %" PRIu64 ", term %" PRIu64, node->id,
                  replica_applied(node->replica), raft_last_index(replica_raft(node->replica)),
                  raft_term(replica_raft(node->replica)));
        check_node(sim, n);
        arm(sim, n);
}

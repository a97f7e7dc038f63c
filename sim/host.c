/* SPDX-License-Identifier: Apache-2.0 */

/* What the server does with threads: writing the log in groups, and snapshots beside the work. Here each
 * step is an event, so that anything may happen between two of them. */

#include "sim/sim.h"

void host_disk_failed(Sim *sim, unsigned n, const char *what, int error, const Err *err) {
        (void) error;
        Node *node = &sim->nodes[n];
        sim_trace(sim, "node %" PRIu64 " cannot %s: %s", node->id, what, err_msg(err));
        if (sim_disk_is_off(node->disk))
                node->dying = true;
        else if (sim_disk_has_failed(node->disk))
                node->storage_failed = true;
        else
                sim_fail(sim, "node %" PRIu64 " cannot %s without any fault of the disk: %s", node->id, what,
                         err_msg(err));
}

/* ---- the log's thread ---- */

static Usec sync_time(Sim *sim, Node *node) {
        Usec t = sim->swarm.sync_latency * (sim->calm ? 1 : node->slowness);
        Usec d = t / 2 + rng_below(&node->rng, t + 1);
        if (sim->swarm.slow_disks && !sim->calm && rng_ppm(&node->rng, 20000))
                d += rng_below(&node->rng, sim->swarm.election * 2);
        return d;
}

static void persisted(Sim *sim, unsigned n, uint64_t seq) {
        Node *node = &sim->nodes[n];
        if (seq == 0)
                return;
        ReplicaEvent ev = { .type = REPLICA_EV_PERSISTED, .now = node_clock(sim, node), .seq = seq };
        node_event(sim, n, &ev);
}

/* Writes all that waits; the sync comes later. */
static void write_group(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        if (node->busy || node->n_jobs == 0 || node->dying)
                return;
        _cleanup_(buf_done) Buf b = {};
        node->writing = 0;
        node->write_must_sync = node->write_purges = false;
        for (size_t i = 0; i < node->n_jobs; i++) {
                WalJob *j = &node->jobs[i];
                buf_add(&b, j->batch.data, j->batch.len);
                buf_done(&j->batch);
                node->writing = j->seq ?: node->writing;
                node->write_must_sync |= j->must_sync || j->purge;
                node->write_purges |= j->purge;
        }
        node->n_jobs = 0;
        node->busy = true;
        _cleanup_(err_done) Err err = {};
        int r = wal_write(node->wal, &b, &err);
        if (r < 0) {
                host_disk_failed(sim, n, "write the log", r, &err);
                return;
        }
        sim_at(sim, sim->now + sync_time(sim, node), EVENT_SYNC, n, node->epoch, NULL);
}

void host_submit(Sim *sim, unsigned n, Buf *batch, uint64_t seq, bool must_sync, bool purge) {
        Node *node = &sim->nodes[n];
        GROW(node->jobs, node->cap_jobs, node->n_jobs + 1);
        node->jobs[node->n_jobs++] =
                        (WalJob){ .batch = *batch, .seq = seq, .must_sync = must_sync, .purge = purge };
        *batch = (Buf){};
        write_group(sim, n);
}

void host_sync(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        _cleanup_(err_done) Err err = {};
        int r = node->write_must_sync ? wal_sync(node->wal, &err) : 0;
        if (r == 0 && node->write_purges) {
                r = wal_purge(node->wal, &err);
                if (r == 0)
                        r = snap_purge(sim_disk_ops(node->disk), wal_oldest_mark(node->wal), &err);
        }
        if (r < 0) {
                host_disk_failed(sim, n, "sync the log", r, &err);
                return;
        }
        node->busy = false;
        uint64_t epoch = node->epoch;
        if (!(sim->options.host_faults & HOST_FAULT_ACK_BEFORE_SYNC))
                persisted(sim, n, node->writing);
        if (node->up && node->epoch == epoch)
                write_group(sim, n);
}

/* ---- our own snapshots ---- */

static void save_ended(Sim *sim, unsigned n, bool ok) {
        Node *node = &sim->nodes[n];
        node->writer = snap_writer_free(node->writer);
        node->view = machine_view_free(node->view);
        if (node->dying)
                return;
        ReplicaEvent ev = { .type = REPLICA_EV_SNAPSHOT_SAVED, .now = node_clock(sim, node) };
        ev.saved.index = node->saving.index;
        ev.saved.ok = ok;
        if (ok)
                sim->report->snapshots++;
        node_event(sim, n, &ev);
}

void host_save_begin(Sim *sim, unsigned n, const RaftSnapMeta *meta, void *view) {
        Node *node = &sim->nodes[n];
        assert(!node->writer && !node->view);
        node->saving = *meta;
        node->view = view;
        sim_trace(sim, "node %" PRIu64 " takes snapshot %" PRIu64, node->id, meta->index);
        _cleanup_(err_done) Err err = {};
        int r = snap_writer_open(sim_disk_ops(node->disk), meta, &node->writer, &err);
        if (r < 0 && (r != -ENOSPC || sim_disk_is_off(node->disk)))
                host_disk_failed(sim, n, "begin a snapshot", r, &err);
        Usec pause = rng_below(&node->rng, sim->swarm.election / 2 + 1);
        sim_at(sim, sim->now + pause, EVENT_SAVE, n, node->epoch, NULL);
}

void host_save_step(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        _cleanup_(buf_done) Buf piece = {};
        _cleanup_(err_done) Err err = {};
        int more = machine_view_next(node->view, &piece);
        int r = !node->writer ? -ENOSPC : snap_writer_add(node->writer, piece.data, piece.len, &err);
        if (r == 0 && more > 0) {
                sim_at(sim, sim->now + rng_below(&node->rng, 5000), EVENT_SAVE, n, node->epoch, NULL);
                return;
        }
        if (r == 0)
                r = snap_writer_finish(node->writer, &err);
        if (r < 0 && (r != -ENOSPC || sim_disk_is_off(node->disk))) /* a full disk costs the snapshot only */
                host_disk_failed(sim, n, "write a snapshot", r, &err);
        save_ended(sim, n, r == 0);
}

/* Loads a snapshot file into the machine of a node, and looks whether it is what was applied up to there. */
static int load(Sim *sim, Node *node, SnapReader *reader, Err *err) {
        const void *p;
        size_t k;
        int r;
        machine_restore_begin(node->machine);
        while ((r = snap_reader_next(reader, &p, &k, err)) > 0) {
                r = machine_restore_add(node->machine, p, k);
                if (r < 0)
                        return err_set(err, r, "the state machine refuses the snapshot");
        }
        if (r == 0 && machine_restore_end(node->machine) < 0)
                return err_set(err, -EBADMSG, "the state machine refuses the snapshot");
        if (r < 0)
                return r;
        uint64_t index = snap_reader_meta(reader)->index;
        const Checks *c = &sim->checks;
        if (machine_applied(node->machine) != index)
                sim_fail(sim, "the snapshot at %" PRIu64 " on node %" PRIu64 " holds the state of %" PRIu64,
                         index, node->id, machine_applied(node->machine));
        else if (index >= c->n_applied || c->applied[index].state != machine_hash(node->machine))
                sim_fail(sim, "the snapshot at %" PRIu64 " on node %" PRIu64 " holds another state", index,
                         node->id);
        return 0;
}

int host_load(Sim *sim, unsigned n, SnapReader *reader, Err *err) {
        return load(sim, &sim->nodes[n], reader, err);
}

void host_restore(Sim *sim, unsigned n, const RaftSnapMeta *meta) {
        Node *node = &sim->nodes[n];
        sim_trace(sim, "node %" PRIu64 " installs snapshot %" PRIu64, node->id, meta->index);
        sim->report->installs++;
        _cleanup_(err_done) Err err = {};
        _cleanup_(snap_reader_freep) SnapReader *reader = NULL;
        int r = snap_reader_open(sim_disk_ops(node->disk), meta->index, meta->term, &reader, &err);
        if (r == 0)
                r = load(sim, node, reader, &err);
        if (r < 0)
                host_disk_failed(sim, n, "load a snapshot", r, &err);
        if (r < 0)
                node->dying = true; /* as the server: nothing may be applied to, or answered from, the state it has */
}

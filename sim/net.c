/* SPDX-License-Identifier: Apache-2.0 */

/* The network: every pair of nodes has a link in each direction that loses, delays, repeats, reorders, clogs
 * or is cut. Messages travel in their wire form. Snapshots travel as streams that break with the link. */

#include "sim/sim.h"

#define STREAM_PIECE 4096U

Packet *packet_free(Packet *p) {
        if (!p)
                return NULL;
        buf_done(&p->bytes);
        free(p);
        return NULL;
}

static void deliver_later(Sim *sim, unsigned from, unsigned to, const Buf *bytes, bool ordered) {
        Link *link = &sim->links[from][to];
        const Swarm *s = &sim->swarm;
        Usec at = sim->now + s->latency + (s->jitter > 0 ? rng_below(&sim->rng_net, s->jitter) : 0);
        if (link->clogged_until > at)
                at = link->clogged_until + rng_below(&sim->rng_net, 1000);
        if (ordered)
                at = MAX(at, link->last + 1);
        link->last = MAX(link->last, at);
        Packet *p = xnew(Packet, 1);
        p->from = from;
        buf_add(&p->bytes, bytes->data, bytes->len);
        sim_at(sim, at, EVENT_MESSAGE, to, 0, p);
}

void net_send(Sim *sim, unsigned from, const RaftMsg *m) {
        unsigned to = node_number(sim, m->to);
        assert(m->from == sim->nodes[from].id);
        if (to == SIM_NODES_MAX || to == from || sim->links[from][to].cut ||
            rng_ppm(&sim->rng_net, sim->swarm.loss))
                return;
        _cleanup_(buf_done) Buf b = {};
        raft_msg_encode(m, &b);
        deliver_later(sim, from, to, &b, sim->swarm.jitter == 0);
        /* A stream connection does not repeat; raft does not mind, but a forwarded proposal must come once.
         */
        if (m->type != RAFT_MSG_PROP && rng_ppm(&sim->rng_net, sim->swarm.duplicate))
                deliver_later(sim, from, to, &b, false);
}

Stream *stream_free(Stream *s) {
        if (!s)
                return NULL;
        snap_source_free(s->source);
        free(s);
        return NULL;
}

void net_send_snapshot(Sim *sim, unsigned from, const RaftMsg *head) {
        Node *node = &sim->nodes[from];
        unsigned to = node_number(sim, head->to);
        Stream *s = xnew(Stream, 1);
        s->from = from;
        s->to = to;
        s->from_epoch = node->epoch;
        s->id = ++sim->next_stream;
        s->meta = *head->snap;
        s->head = *head;
        s->head.snap = &s->meta;
        if (to < SIM_NODES_MAX)
                s->to_epoch = sim->nodes[to].epoch;
        sim_trace(sim, "node %" PRIu64 " streams snapshot %" PRIu64 " to %" PRIu64, node->id, s->meta.index,
                  head->to);
        _cleanup_(err_done) Err err = {};
        int r = snap_source_open(sim_disk_ops(node->disk), s->meta.index, s->meta.term, &s->source, &err);
        if (r < 0)
                host_disk_failed(sim, from, "open a snapshot to send", r, &err);
        sim_at(sim, sim->now + sim->swarm.latency, EVENT_STREAM, 0, 0, s);
}

static void stream_end(Sim *sim, Stream *s, bool ok) {
        Node *from = &sim->nodes[s->from];
        if (!from->up || from->epoch != s->from_epoch || sim->stop)
                return;
        ReplicaEvent ev = { .type = REPLICA_EV_SNAPSHOT_SENT, .now = node_clock(sim, from) };
        ev.sent.peer = s->head.to;
        ev.sent.index = s->meta.index;
        ev.sent.ok = ok;
        node_event(sim, s->from, &ev);
}

static bool stream_broken(const Sim *sim, const Stream *s) {
        if (s->to >= SIM_NODES_MAX || !s->source)
                return true;
        const Node *from = &sim->nodes[s->from], *to = &sim->nodes[s->to];
        return !from->up || from->epoch != s->from_epoch || !to->up || to->epoch != s->to_epoch ||
               to->paused || from->paused || sim->links[s->from][s->to].cut;
}

static void sink_close(Node *to) {
        to->sink = snap_sink_free(to->sink);
        to->sink_stream = 0;
}

/* The receiving side: 1 when it is complete, 0 when more must come, negative when it refuses. */
static int receive_piece(Sim *sim, Stream *s, const void *p, size_t n, bool last) {
        Node *to = &sim->nodes[s->to];
        _cleanup_(err_done) Err err = {};
        int r = 0;
        if (s->offset == 0) {
                if (!raft_wants_snapshot(replica_raft(to->replica), &s->head))
                        return -ECANCELED;
                sink_close(to);
                r = snap_sink_open(sim_disk_ops(to->disk), &s->meta, &to->sink, &err);
                to->sink_stream = s->id;
        }
        if (r == 0 && to->sink_stream != s->id)
                return -ECANCELED; /* a newer stream took its place */
        if (r == 0)
                r = snap_sink_add(to->sink, p, n, &err);
        if (r == 0 && last)
                r = snap_sink_finish(to->sink, &err);
        if (r == -ENOSPC && !sim_disk_is_off(to->disk))
                sink_close(to); /* not fatal: the leader will try again */
        else if (r < 0)
                host_disk_failed(sim, s->to, "stage a snapshot", r, &err);
        else if (last)
                sink_close(to);
        return r < 0 ? r : last;
}

static int stream_piece(Sim *sim, Stream *s) {
        uint8_t piece[STREAM_PIECE];
        _cleanup_(err_done) Err err = {};
        ssize_t n = snap_source_read(s->source, s->offset, piece, sizeof(piece), &err);
        if (n < 0) {
                host_disk_failed(sim, s->from, "read a snapshot to send", (int) n, &err);
                return (int) n;
        }
        bool last = s->offset + (uint64_t) n >= snap_source_size(s->source);
        int r = receive_piece(sim, s, piece, (size_t) n, last);
        s->offset += (uint64_t) n;
        return r;
}

void net_stream_step(Sim *sim, Stream *s) {
        Link *link = s->to < SIM_NODES_MAX ? &sim->links[s->from][s->to] : NULL;
        if (link && link->clogged_until > sim->now && !stream_broken(sim, s)) {
                sim_at(sim, link->clogged_until + 1, EVENT_STREAM, 0, 0, s);
                return;
        }
        int r = stream_broken(sim, s) ? -EPIPE : stream_piece(sim, s);
        if (r == 0) {
                sim_at(sim, sim->now + sim->swarm.latency / 2 + 1, EVENT_STREAM, 0, 0, s);
                return;
        }
        if (r > 0) {
                ReplicaEvent ev = { .type = REPLICA_EV_RECEIVE,
                                    .now = node_clock(sim, &sim->nodes[s->to]),
                                    .msg = &s->head };
                node_event(sim, s->to, &ev);
        }
        stream_end(sim, s, r > 0);
        stream_free(s);
}

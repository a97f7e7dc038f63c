/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim.h"

#define LOG_CHECK_DEPTH 64U
#define COMPLETENESS_DEPTH 256U

void checks_done(Checks *c) {
        free(c->applied);
        map_done(&c->leaders);
        map_done(&c->uids);
}

void check_applied(Sim *sim, uint64_t id, uint64_t index, uint64_t term, uint64_t content, uint64_t uid,
                   uint64_t state, uint64_t now) {
        Checks *c = &sim->checks;
        size_t old = c->cap_applied;
        GROW(c->applied, c->cap_applied, index + 1);
        if (c->cap_applied > old)
                memset(c->applied + old, 0, (c->cap_applied - old) * sizeof(*c->applied));
        Applied *at = &c->applied[index];
        if (at->term == 0) {
                *at = (Applied){ .term = term, .content = content, .state = state, .known = now };
                c->n_applied = MAX(c->n_applied, index + 1);
                uint64_t other = (uint64_t) (uintptr_t) map_getu(&c->uids, uid);
                if (uid > 0 && other > 0)
                        sim_fail(sim, "request %" PRIu64 " was applied twice: at %" PRIu64 " and %" PRIu64,
                                 uid, other, index);
                else if (uid > 0)
                        (void) map_putu(&c->uids, uid, (void *) (uintptr_t) index);
                return;
        }
        if (at->term != term || at->content != content)
                sim_fail(sim,
                         "node %" PRIu64 " applied another entry at %" PRIu64 " (term %" PRIu64
                         ", before: %" PRIu64 ")",
                         id, index, term, at->term);
        else if (at->state != state)
                sim_fail(sim, "node %" PRIu64 " has another state after applying %" PRIu64, id, index);
}

static void check_leader(Sim *sim, Node *node) {
        Checks *c = &sim->checks;
        const Raft *raft = replica_raft(node->replica);
        uint64_t term = raft_term(raft);
        uint64_t known = (uint64_t) (uintptr_t) map_getu(&c->leaders, term);
        if (known > 0 && known != node->id) {
                sim_fail(sim, "two leaders in term %" PRIu64 ": %" PRIu64 " and %" PRIu64, term, known,
                         node->id);
                return;
        }
        if (node->leader_term == term)
                return;
        node->leader_term = term;
        if (known == 0) {
                (void) map_putu(&c->leaders, term, (void *) (uintptr_t) node->id);
                sim->report->elections++;
                nemesis_new_leader(sim, (unsigned) (node - sim->nodes));
        }
        sim_trace(sim, "node %" PRIu64 " leads term %" PRIu64, node->id, term);
        uint64_t last = c->n_applied > 0 ? c->n_applied - 1 : 0;
        uint64_t first = last > COMPLETENESS_DEPTH ? last - COMPLETENESS_DEPTH : 1;
        for (uint64_t i = first; i <= last; i++) {
                uint64_t t = 0;
                int r = raft_term_at(raft, i, &t);
                /* A leader of the past may come into office late, by votes that were long under way. */
                if (r == -ENODATA || c->applied[i].term == 0 || c->applied[i].known >= term)
                        continue;
                if (r < 0 || t != c->applied[i].term) {
                        sim_fail(sim,
                                 "the leader of term %" PRIu64 ", node %" PRIu64
                                 ", lacks the committed entry %" PRIu64,
                                 term, node->id, i);
                        return;
                }
        }
}

void check_node(Sim *sim, unsigned n) {
        Node *node = &sim->nodes[n];
        if (!node->up || !node->replica)
                return;
        replica_check(node->replica);
        if (raft_role(replica_raft(node->replica)) == RAFT_LEADER)
                check_leader(sim, node);
}

/* Same term at an index means: the same entry, and the same log before it. */
static void check_pair(Sim *sim, const Node *a, const Node *b) {
        const Raft *x = replica_raft(a->replica), *y = replica_raft(b->replica);
        uint64_t last = MIN(raft_last_index(x), raft_last_index(y));
        bool same = false;
        for (uint64_t i = last; i > 0 && i + LOG_CHECK_DEPTH > last; i--) {
                uint64_t s, t;
                if (raft_term_at(x, i, &s) < 0 || raft_term_at(y, i, &t) < 0)
                        return;
                if (same && s != t) {
                        sim_fail(sim,
                                 "the logs of %" PRIu64 " and %" PRIu64 " differ at %" PRIu64
                                 " and agree behind it",
                                 a->id, b->id, i);
                        return;
                }
                same |= s == t;
                const RaftEntry *e = raft_entry_at(x, i), *f = raft_entry_at(y, i);
                if (s == t && e && f &&
                    (e->len != f->len || e->type != f->type ||
                     (e->len > 0 && memcmp(e->data, f->data, e->len) != 0))) {
                        sim_fail(sim,
                                 "the logs of %" PRIu64 " and %" PRIu64
                                 " hold different entries of term %" PRIu64 " at %" PRIu64,
                                 a->id, b->id, s, i);
                        return;
                }
        }
}

/* What a leader believes its followers to have, they have. */
static void check_matches(Sim *sim, const Node *leader) {
        RaftStatus st;
        raft_status(replica_raft(leader->replica), &st);
        for (size_t i = 0; i < st.n_peers; i++) {
                unsigned n = node_number(sim, st.peers[i].id);
                if (n == SIM_NODES_MAX || !sim->nodes[n].up)
                        continue;
                const Raft *peer = replica_raft(sim->nodes[n].replica);
                if (raft_term(peer) == st.hs.term && raft_last_index(peer) < st.peers[i].match)
                        sim_fail(sim, "node %" PRIu64 " had acknowledged %" PRIu64 " and has %" PRIu64,
                                 st.peers[i].id, st.peers[i].match, raft_last_index(peer));
        }
}

void check_logs(Sim *sim) {
        for (unsigned i = 0; i < sim->n_nodes; i++)
                if (sim->nodes[i].up && raft_role(replica_raft(sim->nodes[i].replica)) == RAFT_LEADER)
                        check_matches(sim, &sim->nodes[i]);
        for (unsigned i = 0; i < sim->n_nodes; i++)
                for (unsigned k = i + 1; k < sim->n_nodes; k++)
                        if (sim->nodes[i].up && sim->nodes[k].up && !sim->stop)
                                check_pair(sim, &sim->nodes[i], &sim->nodes[k]);
}

void check_end(Sim *sim) {
        const Node *leader = sim_leader(sim);
        if (!leader) {
                sim_fail(sim, "the faults are over, and there is no leader");
                return;
        }
        const RaftConf *conf = raft_conf(replica_raft(leader->replica));
        uint64_t last = sim->checks.n_applied - 1;
        for (unsigned i = 0; i < sim->n_nodes; i++) {
                const Node *node = &sim->nodes[i];
                if (!raft_conf_is_voter(conf, node->id) && !raft_conf_is_learner(conf, node->id))
                        continue;
                /* Requests go on, so the last few entries may still be on their way. */
                uint64_t slack = 32;
                if (!node->up)
                        sim_fail(sim, "the faults are over, and node %" PRIu64 " is not up", node->id);
                else if (replica_applied(node->replica) + slack < last)
                        sim_fail(sim,
                                 "the faults are over, and node %" PRIu64 " has applied %" PRIu64
                                 " of %" PRIu64,
                                 node->id, replica_applied(node->replica), last);
        }
        uint64_t end = raft_last_index(replica_raft(leader->replica));
        if (end < sim->checks.acked)
                sim_fail(sim, "entry %" PRIu64 " was acknowledged; the log ends at %" PRIu64,
                         sim->checks.acked, end);
        uint32_t key = 0;
        Verdict v = history_check(&sim->history, &key, &sim->report->undecided);
        if (v == NOT_LINEARIZABLE && !sim->stop) {
                if (sim->options.verbose)
                        history_print(&sim->history, key);
                sim_fail(sim, "what the clients saw of key %u is not linearizable", key);
        }
}

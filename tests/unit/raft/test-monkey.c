/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

/* A small in-process monkey: random events on a small cluster, with the invariants of raft_check() after
 * each step and the cluster's own (one leader per term, equal state machines, committed never lost). The
 * simulator in sim/ is the thorough one, with the production disk; this one runs where the core is built and
 * needs no other part, so that a mistake shows within seconds. A failure names its seed: CORACLE_SEED
 * replays it with its text. */

static uint64_t rng_state;

static uint64_t rng(uint64_t n) {
        uint64_t z = (rng_state += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return (z ^ (z >> 31)) % n;
}

typedef struct Monkey {
        Cluster *c;
        unsigned n; /* nodes */
        unsigned proposals;
        uint64_t reads;     /* last context */
        uint64_t committed; /* highest index anybody applied */
        bool faults, pre_vote;
} Monkey;

static Node *pick(Monkey *m) {
        return &m->c->nodes[1 + rng(m->n)];
}

static void propose_some(Monkey *m, Node *n) {
        RaftProposal items[4];
        size_t count = 1 + rng(4);
        for (size_t i = 0; i < count; i++) {
                char text[32];
                int len = snprintf(text, sizeof(text), "p%u", ++m->proposals);
                RaftBlock *b = raft_block_dup(text, (size_t) len);
                items[i] = (RaftProposal){ .block = b, .data = b->bytes, .len = (uint32_t) len };
        }
        RaftEvent ev = { .type = RAFT_EV_PROPOSE, .propose = { .items = items, .n = count } };
        step(m->c, n, &ev);
        for (size_t i = 0; i < count; i++)
                raft_block_unref(items[i].block);
}

static void change_conf(Monkey *m, Node *n) {
        RaftConfChange change = { .type = 1 + rng(RAFT_CONF_UPDATE), .id = 1 + rng(m->n) };
        if (change.type == RAFT_CONF_REMOVE && !m->pre_vote)
                return; /* a removed member that forgot it disturbs for ever without pre-vote: known and
                           documented */
        RaftEvent ev = { .type = RAFT_EV_CONF_CHANGE, .conf = &change };
        step(m->c, n, &ev);
}

static void trouble(Monkey *m) {
        Cluster *c = m->c;
        Node *n = pick(m);
        switch (rng(8)) {
        case 0:
                if (n->raft)
                        node_crash(n);
                break;
        case 1: {
                uint64_t a = 1 + rng(m->n), b = 1 + rng(m->n);
                c->cut[a][b] = true;
                if (rng(2))
                        c->cut[b][a] = true;
                break;
        }
        case 2:
                n->hold_disk = true;
                break;
        case 3:
                n->hold_apply = true;
                break;
        case 4:
                if (rng(3) == 0)
                        n->now -= MIN(n->now, rng(5000) * USEC_PER_MSEC); /* a clock that jumps back */
                else
                        n->now += rng(3000) * USEC_PER_MSEC;
                break;
        case 5:
                (void) deliver(c, n->id, 0, 0, 1 + rng(5), true);
                break;
        case 6: {
                RaftEvent ev = { .type = RAFT_EV_TRANSFER, .peer = 1 + rng(m->n) };
                step(c, n, &ev);
                break;
        }
        case 7: {
                RaftEvent ev = { .type = RAFT_EV_UNREACHABLE, .peer = 1 + rng(m->n) };
                step(c, n, &ev);
                break;
        }
        }
}

static void relief(Monkey *m) {
        Cluster *c = m->c;
        Node *n = pick(m);
        switch (rng(4)) {
        case 0:
                if (!n->raft)
                        node_start(c, n);
                break;
        case 1:
                memset(c->cut, 0, sizeof(c->cut));
                break;
        case 2:
                n->hold_disk = false;
                persist(c, n, 1 + rng(3));
                break;
        case 3:
                n->hold_apply = false;
                if (n->raft)
                        apply(c, n);
                break;
        }
}

/* A message that arrives again later, or overtakes others. */
static void shuffle(Monkey *m) {
        Cluster *c = m->c;
        if (c->n_net < 2)
                return;
        size_t a = rng(c->n_net), b = rng(c->n_net);
        if (rng(2)) {
                Envelope t = c->net[a];
                c->net[a] = c->net[b];
                c->net[b] = t;
        } else if (c->net[a].m.type != RAFT_MSG_SNAP && c->n_net < 10000) {
                GROW(c->net, c->net_cap, c->n_net + 1);
                c->net[c->n_net] = c->net[a];
                c->net[c->n_net].m = raft_msg_copy(&c->net[a].m);
                c->n_net++;
        }
}

static void pass_time(Monkey *m, Usec by) {
        for (unsigned id = 1; id <= m->n; id++) {
                Node *n = &m->c->nodes[id];
                n->now += by;
                RaftEvent tick = { .type = RAFT_EV_TICK };
                step(m->c, n, &tick);
        }
}

static void act(Monkey *m) {
        Cluster *c = m->c;
        Node *n = pick(m);
        switch (rng(16)) {
        case 0:
        case 1:
                propose_some(m, n);
                break;
        case 2:
                if (m->faults)
                        trouble(m);
                break;
        case 3:
        case 4:
                relief(m);
                break;
        case 5:
                shuffle(m);
                break;
        case 6:
                if (rng(4) == 0)
                        change_conf(m, n);
                break;
        case 7:
                if (n->raft && n->applied > n->base && rng(4) == 0)
                        node_compact(c, n, n->base + 1 + rng(n->applied - n->base));
                break;
        case 8: {
                RaftEvent ev = { .type = RAFT_EV_READ_INDEX, .read_context = ++m->reads };
                if (m->reads < READS_MAX)
                        c->read_floor[m->reads] = c->max_applied;
                step(c, n, &ev);
                break;
        }
        case 9:
        case 10:
                pass_time(m, rng(100) * USEC_PER_MSEC);
                break;
        default:
                (void) deliver(c, 0, rng(2) ? n->id : 0, 0, 1 + rng(20), false);
                break;
        }
}

static bool level(Monkey *m, Node *leader, bool complain) {
        const RaftConf *conf = raft_conf(leader->raft);
        bool all = true;
        for (uint32_t i = 0; i < conf->n_voters; i++) {
                Node *n = &m->c->nodes[conf->voters[i]];
                if (n->applied == raft_last_index(leader->raft))
                        continue;
                all = false;
                if (complain)
                        violation(m->c, "a voter lags behind after the faults ended", n->id, n->applied);
        }
        return all;
}

static Node *leader_of(Monkey *m) {
        Node *leader = NULL;
        for (unsigned id = 1; id <= m->n; id++) {
                Node *n = &m->c->nodes[id];
                if (raft_role(n->raft) == RAFT_LEADER &&
                    (!leader || raft_term(leader->raft) < raft_term(n->raft)))
                        leader = n;
        }
        return leader;
}

/* Everything works again: within a few election timeouts there is a leader, and all voters are equal. */
static void settle(Monkey *m) {
        Cluster *c = m->c;
        memset(c->cut, 0, sizeof(c->cut));
        for (unsigned id = 1; id <= m->n; id++) {
                Node *n = &c->nodes[id];
                if (!n->raft)
                        node_start(c, n);
                n->hold_disk = n->hold_apply = false;
                persist(c, n, SIZE_MAX);
                apply(c, n);
        }
        cluster_run(c, 15 * USEC_PER_SEC, 20 * USEC_PER_MSEC);
        Node *leader = leader_of(m);
        if (!leader) {
                violation(c, "no leader after the faults ended", 0, 0);
                return;
        }
        propose_some(m, leader);
        for (unsigned i = 0; i < 60 && !(leader && level(m, leader, false)); i++) {
                cluster_run(c, USEC_PER_SEC, 20 * USEC_PER_MSEC); /* a backlog may drain one entry a round */
                leader = leader_of(m);
        }
        if (!leader || !level(m, leader, true))
                violation(c, "not level after the faults ended", 0, 0);
}

static void play(uint64_t seed, bool show) {
        rng_state = seed;
        _cleanup_(buf_done) Buf out = {};
        Cluster *c = xnew(Cluster, 1);
        c->out = &out;
        c->quiet = !show;
        Monkey m = { .c = c, .n = 1 + (unsigned) rng(5), .faults = rng(8) != 0 };
        RaftConfChange members[5];
        for (unsigned i = 0; i < m.n; i++)
                members[i] = (RaftConfChange){ .type = RAFT_CONF_ADD_VOTER, .id = i + 1 };
        size_t founders = 1 + rng(m.n);
        RaftEntry *e = raft_bootstrap(members, founders);
        bool check_quorum = rng(4) != 0;
        m.pre_vote = rng(4) != 0;
        uint32_t inflight = 1 + (uint32_t) rng(8), batch = rng(2) ? 1 : 200;
        for (unsigned id = 1; id <= m.n; id++) {
                Node *n = &c->nodes[id];
                n->id = id;
                n->now = USEC_PER_SEC * rng(100);
                n->cfg = (RaftConfig){ .id = id,
                                       .seed = seed * 16 + id,
                                       .election_timeout = 1000 * USEC_PER_MSEC,
                                       .heartbeat_interval = 100 * USEC_PER_MSEC,
                                       .pre_vote = m.pre_vote,
                                       .check_quorum = check_quorum,
                                       .max_inflight = inflight,
                                       .max_batch_bytes = batch,
                                       .max_apply_bytes = rng(2) ? 1 : 1000 };
#ifdef CORACLE_FAULTS
                const char *faults = getenv("CORACLE_FAULTS");
                uint32_t bits = 0;
                if (faults)
                        ASSERT_OK(parse_u32(faults, &bits));
                n->cfg.faults = bits;
#endif
                if (id <= founders) {
                        disk_append(n, e, founders);
                        n->hs = (RaftHardState){ .term = 1, .commit = founders };
                }
                node_start(c, n);
        }
        raft_entries_free(e, founders);
        size_t steps = 200 + rng(3000);
        for (size_t i = 0; i < steps && c->violations == 0; i++)
                act(&m);
        if (c->violations == 0)
                settle(&m);
        unsigned violations = c->violations;
        cluster_free(c);
        if (show)
                (void) fwrite(out.data, 1, out.len, stdout);
        if (violations > 0)
                test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": %s", seed, buf_str(&out));
}

TEST(monkey) {
        const char *one = getenv("CORACLE_SEED"), *many = getenv("CORACLE_SEEDS");
        uint64_t seed = 0, count = 150;
        if (one && parse_u64(one, &seed) >= 0) {
                play(seed, true);
                return;
        }
        if (many)
                ASSERT_OK(parse_u64(many, &count));
        const char *from = getenv("CORACLE_SEED_FROM");
        uint64_t first = 1;
        if (from)
                ASSERT_OK(parse_u64(from, &first));
        for (seed = first; seed < first + count; seed++)
                play(seed, false);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/fs.h"

#include "cluster.h"

/* Plays the scripts in tests/transcripts/raft/: lines that begin with "> " are commands, '#' comments,
 * everything else is what happened. Any difference fails; `raft-test-transcripts --update` rewrites the
 * files.
 *
 *      nodes N [voters=1,2,3] [seed=S] [no-pre-vote] [no-check-quorum] [no-forward] [inflight=N]
 * [batch=BYTES] [uncommitted=BYTES] [hold=BYTES]       makes nodes 1..N with a fixed initial membership
 * bootstrap N ... the same, with the membership in the first log entries join ID one more node that knows
 * nothing campaign ID | tick ID DURATION | run DURATION [quiet] | stabilize propose ID TEXT... |
 * propose-many ID COUNT | read ID CONTEXT | transfer ID TO conf ID add-voter|add-learner|remove|update OTHER
 *      deliver / drop [from=ID] [to=ID] [type=NAME] [limit=N]
 *      cut A B | mend A B | isolate ID | heal
 *      hold-disk ID | free-disk ID | persist ID COUNT | hold-apply ID | free-apply ID
 *      crash ID | restart ID | fail-disk ID | compact ID INDEX | unreachable ID PEER
 *      status [ID] | log ID | net */

#define WORDS_MAX 16

static const char *option(char **words, const char *name) {
        for (size_t i = 1; words[i]; i++) {
                const char *rest = startswith(words[i], name);
                if (rest && *rest == '=')
                        return rest + 1;
                if (rest && !*rest)
                        return rest;
        }
        return NULL;
}

static uint64_t number(const char *s) {
        uint64_t v = 0;
        if (!s || parse_u64(s, &v) < 0)
                test_fail(__FILE__, __LINE__, "a number is expected, not '%s'", strempty(s));
        return v;
}

static uint64_t option_number(char **words, const char *name, uint64_t fallback) {
        const char *s = option(words, name);
        return s ? number(s) : fallback;
}

static Usec duration(const char *s) {
        int64_t usec;
        if (!s || parse_duration_go(s, &usec) < 0 || usec < 0)
                test_fail(__FILE__, __LINE__, "a duration is expected, not '%s'", strempty(s));
        return (Usec) usec;
}

static Node *node_of(Cluster *c, const char *s) {
        uint64_t id = number(s);
        ASSERT_TRUE(id >= 1 && id <= NODES_MAX);
        return &c->nodes[id];
}

static int msg_type(const char *name) {
        for (int t = 1; name && t < _RAFT_MSG_TYPE_MAX; t++)
                if (streq(raft_msg_type_name(t), name))
                        return t;
        if (name)
                test_fail(__FILE__, __LINE__, "no such message type: %s", name);
        return 0;
}

/* ---- commands ---- */

static RaftConfig config_from(char **w) {
        return (RaftConfig){ .seed = option_number(w, "seed", 1),
                             .election_timeout = 1000 * USEC_PER_MSEC,
                             .heartbeat_interval = 100 * USEC_PER_MSEC,
                             .pre_vote = !option(w, "no-pre-vote"),
                             .check_quorum = !option(w, "no-check-quorum"),
                             .no_forward = option(w, "no-forward"),
                             .max_inflight = (uint32_t) option_number(w, "inflight", 0),
                             .max_batch_bytes = (uint32_t) option_number(w, "batch", 0),
                             .max_uncommitted_bytes = option_number(w, "uncommitted", 0),
                             .max_hold_bytes = option_number(w, "hold", 0) };
}

static RaftConf conf_from(char **w, uint64_t n) {
        RaftConf conf = {};
        const char *list = option(w, "voters");
        if (!list)
                for (uint64_t id = 1; id <= n; id++)
                        conf.voters[conf.n_voters++] = id;
        for (const char *s = list; s && *s; s += strcspn(s, ",") + (s[strcspn(s, ",")] == ','))
                conf.voters[conf.n_voters++] = (uint64_t) (*s - '0');
        return conf;
}

static void node_prepare(Node *n, uint64_t id, const RaftConfig *cfg) {
        n->id = id;
        n->cfg = *cfg;
        n->cfg.id = id;
        n->cfg.seed = cfg->seed * 1000 + id;
}

static void do_nodes(Cluster *c, char **w) {
        uint64_t count = number(w[1]);
        ASSERT_TRUE(count >= 1 && count <= NODES_MAX);
        RaftConfig cfg = config_from(w);
        for (uint64_t id = 1; id <= count; id++) {
                Node *n = &c->nodes[id];
                node_prepare(n, id, &cfg);
                n->saved.conf = conf_from(w, count);
                node_start(c, n);
        }
}

static void do_bootstrap(Cluster *c, char **w) {
        uint64_t count = number(w[1]);
        RaftConfig cfg = config_from(w);
        RaftConfChange members[NODES_MAX];
        for (uint64_t i = 0; i < count; i++)
                members[i] = (RaftConfChange){ .type = RAFT_CONF_ADD_VOTER, .id = i + 1 };
        RaftEntry *e = raft_bootstrap(members, count);
        for (uint64_t id = 1; id <= count; id++) {
                Node *n = &c->nodes[id];
                node_prepare(n, id, &cfg);
                disk_append(n, e, count);
                n->hs = (RaftHardState){ .term = 1, .commit = count };
                node_start(c, n);
        }
        raft_entries_free(e, count);
}

static void do_join(Cluster *c, char **w) {
        Node *n = node_of(c, w[1]);
        RaftConfig cfg = config_from(w);
        node_prepare(n, number(w[1]), &cfg);
        node_start(c, n);
}

static void do_propose(Cluster *c, char **w) {
        RaftProposal items[WORDS_MAX];
        size_t n = 0;
        for (; w[2 + n]; n++) {
                RaftBlock *b = raft_block_dup(w[2 + n], strlen(w[2 + n]));
                items[n] = (RaftProposal){ .block = b, .data = b->bytes, .len = (uint32_t) b->size };
        }
        RaftEvent ev = { .type = RAFT_EV_PROPOSE, .propose = { .items = items, .n = n } };
        step(c, node_of(c, w[1]), &ev);
        for (size_t i = 0; i < n; i++)
                raft_block_unref(items[i].block);
}

static void do_propose_many(Cluster *c, char **w) {
        uint64_t count = number(w[2]);
        for (uint64_t i = 0; i < count; i++) {
                char text[32];
                (void) snprintf(text, sizeof(text), "m%" PRIu64, i);
                char *words[] = { w[0], w[1], text, NULL };
                do_propose(c, words);
        }
}

static void do_conf(Cluster *c, char **w) {
        static const char *const names[] = { "", "add-voter", "add-learner", "remove", "update" };
        RaftConfChange change = { .id = number(w[3]) };
        for (unsigned t = 1; t < ELEMENTSOF(names); t++)
                if (streq(names[t], w[2]))
                        change.type = t;
        ASSERT_TRUE(change.type != 0);
        RaftEvent ev = { .type = RAFT_EV_CONF_CHANGE, .conf = &change };
        step(c, node_of(c, w[1]), &ev);
}

static void do_event(Cluster *c, char **w) {
        Node *n = node_of(c, w[1]);
        RaftEvent ev = { .type = RAFT_EV_CAMPAIGN };
        if (streq(w[0], "read"))
                ev = (RaftEvent){ .type = RAFT_EV_READ_INDEX, .read_context = number(w[2]) };
        else if (streq(w[0], "transfer"))
                ev = (RaftEvent){ .type = RAFT_EV_TRANSFER, .peer = number(w[2]) };
        else if (streq(w[0], "unreachable"))
                ev = (RaftEvent){ .type = RAFT_EV_UNREACHABLE, .peer = number(w[2]) };
        else if (streq(w[0], "fail-disk"))
                ev = (RaftEvent){ .type = RAFT_EV_STORAGE_FAILED };
        else if (streq(w[0], "tick")) {
                ev = (RaftEvent){ .type = RAFT_EV_TICK };
                n->now += duration(w[2]);
        }
        step(c, n, &ev);
}

static void do_deliver(Cluster *c, char **w) {
        (void) deliver(c, option_number(w, "from", 0), option_number(w, "to", 0),
                       msg_type(option(w, "type")), option_number(w, "limit", SIZE_MAX),
                       streq(w[0], "drop"));
}

static void do_run(Cluster *c, char **w) {
        c->quiet = w[2] && streq(w[2], "quiet");
        cluster_run(c, duration(w[1]), 10 * USEC_PER_MSEC);
        c->quiet = false;
}

static void do_cut(Cluster *c, char **w) {
        bool cut = !streq(w[0], "mend") && !streq(w[0], "heal");
        if (streq(w[0], "cut") || streq(w[0], "mend")) {
                uint64_t a = number(w[1]), b = number(w[2]);
                c->cut[a][b] = c->cut[b][a] = cut;
                return;
        }
        for (uint64_t a = 1; a <= NODES_MAX; a++)
                for (uint64_t b = 1; b <= NODES_MAX; b++)
                        if (!w[1] || a == number(w[1]) || b == number(w[1]))
                                c->cut[a][b] = cut && a != b;
}

static void do_hold(Cluster *c, char **w) {
        Node *n = node_of(c, w[1]);
        bool hold = startswith(w[0], "hold");
        if (endswith(w[0], "disk")) {
                n->hold_disk = hold;
                if (!hold)
                        persist(c, n, SIZE_MAX);
        } else {
                n->hold_apply = hold;
                if (!hold)
                        apply(c, n);
        }
}

static void do_life(Cluster *c, char **w) {
        Node *n = node_of(c, w[1]);
        if (streq(w[0], "crash"))
                node_crash(n);
        else if (streq(w[0], "restart"))
                node_start(c, n);
        else if (streq(w[0], "compact"))
                node_compact(c, n, number(w[2]));
        else if (streq(w[0], "persist"))
                persist(c, n, number(w[2]));
}

static void conf_text(const RaftConf *conf, Buf *b) {
        buf_adds(b, " voters");
        for (uint32_t i = 0; i < conf->n_voters; i++)
                buf_addf(b, "%c%" PRIu64, i ? ',' : ' ', conf->voters[i]);
        for (uint32_t i = 0; i < conf->n_learners; i++)
                buf_addf(b, "%s%" PRIu64, i ? "," : " learners ", conf->learners[i]);
}

static void do_status(Cluster *c, char **w) {
        for (uint64_t id = 1; id <= NODES_MAX; id++) {
                Node *n = &c->nodes[id];
                if ((w[1] && id != number(w[1])) || !n->raft)
                        continue;
                RaftStatus s;
                raft_status(n->raft, &s);
                _cleanup_(buf_done) Buf b = {};
                buf_addf(&b,
                         "%" PRIu64 " %s term %" PRIu64 " vote %" PRIu64 " leader %" PRIu64 " log %" PRIu64
                         "..%" PRIu64 " stable %" PRIu64 " commit %" PRIu64 " applied %" PRIu64,
                         id, raft_role_name(s.role), s.hs.term, s.hs.vote, s.leader, s.first_index,
                         s.last_index, s.stable_index, s.hs.commit, s.applied);
                conf_text(raft_conf(n->raft), &b);
                say(c, "%s", b.data);
                for (size_t i = 0; i < s.n_peers; i++)
                        say(c, "  peer %" PRIu64 "%s %s match %" PRIu64 " next %" PRIu64 " inflight %u%s",
                            s.peers[i].id, s.peers[i].learner ? " (learner)" : "",
                            raft_progress_name(s.peers[i].state), s.peers[i].match, s.peers[i].next,
                            s.peers[i].inflight, s.peers[i].active ? "" : " inactive");
        }
}

static void do_show(Cluster *c, char **w) {
        if (streq(w[0], "net")) {
                for (size_t i = 0; i < c->n_net; i++) {
                        _cleanup_(buf_done) Buf b = {};
                        msg_text(&c->net[i].m, &b);
                        say(c, "%s", b.data);
                }
                return;
        }
        Node *n = node_of(c, w[1]);
        RaftStatus s;
        raft_status(n->raft, &s);
        for (uint64_t i = s.first_index; i <= s.last_index; i++) {
                const RaftEntry *e = raft_entry_at(n->raft, i);
                char t[64];
                say(c, "%" PRIu64 ".%" PRIu64 " %s", e->term, e->index, entry_text(e, t, sizeof(t)));
        }
}

static void do_stabilize(Cluster *c, char **w) {
        cluster_stabilize(c, 1000);
}

static const struct {
        const char *name;
        int words; /* at least, with the name */
        void (*run)(Cluster *c, char **w);
} commands[] = {
        { "nodes", 2, do_nodes },
        { "bootstrap", 2, do_bootstrap },
        { "join", 2, do_join },
        { "campaign", 2, do_event },
        { "tick", 3, do_event },
        { "read", 3, do_event },
        { "transfer", 3, do_event },
        { "unreachable", 3, do_event },
        { "fail-disk", 2, do_event },
        { "propose", 3, do_propose },
        { "conf", 4, do_conf },
        { "propose-many", 3, do_propose_many },
        { "deliver", 1, do_deliver },
        { "drop", 1, do_deliver },
        { "run", 2, do_run },
        { "cut", 3, do_cut },
        { "mend", 3, do_cut },
        { "isolate", 2, do_cut },
        { "heal", 1, do_cut },
        { "hold-disk", 2, do_hold },
        { "free-disk", 2, do_hold },
        { "hold-apply", 2, do_hold },
        { "free-apply", 2, do_hold },
        { "crash", 2, do_life },
        { "restart", 2, do_life },
        { "compact", 3, do_life },
        { "persist", 3, do_life },
        { "status", 1, do_status },
        { "log", 2, do_show },
        { "net", 1, do_show },
        { "stabilize", 1, do_stabilize },
};

static void command(Cluster *c, const char *line) {
        _cleanup_strv_ char **w = strv_split(line, " ", false);
        size_t n = strv_len(w);
        ASSERT_TRUE(n > 0 && n < WORDS_MAX);
        for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
                if (!streq(commands[i].name, w[0]))
                        continue;
                if (n < (size_t) commands[i].words)
                        test_fail(__FILE__, __LINE__, "too few words: %s", line);
                commands[i].run(c, w);
                return;
        }
        test_fail(__FILE__, __LINE__, "no such command: %s", line);
}

/* The script again, with what happens now. */
static char *play(const char *script) {
        _cleanup_(buf_done) Buf out = {};
        Cluster *c = xnew(Cluster, 1);
        c->out = &out;
        _cleanup_strv_ char **lines = strv_split(script, "\n", true);
        for (size_t i = 0; lines[i] && (lines[i + 1] || *lines[i]); i++) {
                if (*lines[i] == '#' || !*lines[i])
                        buf_addf(&out, "%s\n", lines[i]);
                const char *cmd = startswith(lines[i], "> ");
                if (!cmd)
                        continue;
                buf_addf(&out, "%s\n", lines[i]);
                command(c, cmd);
        }
        unsigned violations = c->violations;
        cluster_free(c);
        if (violations > 0)
                test_fail(__FILE__, __LINE__, "%u violations:\n%s", violations, buf_str(&out));
        return buf_take(&out);
}

static void transcript(const char *name) {
        _cleanup_free_ char *path = xasprintf("%s/raft/%s.txt", test_data("transcripts"), name);
        _cleanup_(buf_done) Buf file = {};
        ASSERT_OK(read_file(path, 1U << 20, &file));
        const char *want = buf_str(&file);
        _cleanup_free_ char *got = play(want);
        if (streq(got, want))
                return;
        if (!test_update) {
                size_t same = 0, line = 1;
                for (; got[same] == want[same]; same++)
                        line += got[same] == '\n';
                while (same > 0 && got[same - 1] != '\n')
                        same--;
                test_fail(path, (int) line,
                          "differs (run with --update, then look at the diff)\n  want %.*s\n  got  %.*s",
                          (int) strcspn(want + same, "\n"), want + same, (int) strcspn(got + same, "\n"),
                          got + same);
        }
        ASSERT_OK(write_file_atomic(path, got, strlen(got), 0644));
}

/* One test for each file, by name, so that a missing file is noticed as well. */
#define TRANSCRIPT(n)                                                                                       \
        TEST(n) {                                                                                           \
                transcript(#n);                                                                             \
        }
TRANSCRIPT(elect_and_replicate)
TRANSCRIPT(one_node)
TRANSCRIPT(figure8)
TRANSCRIPT(vote_persistence)
TRANSCRIPT(noop)
TRANSCRIPT(stale_leader_read)
TRANSCRIPT(read_index)
TRANSCRIPT(pre_vote)
TRANSCRIPT(rivals)
TRANSCRIPT(check_quorum)
TRANSCRIPT(slow_follower_snapshot)
TRANSCRIPT(snapshot_races)
TRANSCRIPT(compact_hold)
TRANSCRIPT(two_snapshots)
TRANSCRIPT(membership)
TRANSCRIPT(membership_gap)
TRANSCRIPT(remove_leader)
TRANSCRIPT(transfer)
TRANSCRIPT(divergent_log)
TRANSCRIPT(async_disk)
TRANSCRIPT(flow_control)
TRANSCRIPT(disk_failure)

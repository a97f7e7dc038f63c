/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* raft: the consensus core. One pure step function: raft_step(r, event) -> update. The core reads no clock,
 * opens no file, sends no byte; time comes in with every event, randomness is a seed in the object.
 *
 * Semantics follow the Raft thesis (Ongaro 2014) and etcd-io/raft: pre-vote, check-quorum with a leader
 * lease, no-op on election, commit by counting own-term entries only, ReadIndex, probe / replicate /
 * snapshot progress with an inflight window, learners, one membership change at a time that takes effect
 * when it is applied, leader transfer, proposal forwarding.
 *
 * The life of a driver (see replica in etcd/disk for the real one):
 *      for each event (tick, message, proposal, disk completion):
 *              raft_step(r, &ev, &u)
 *              if (u.persist.seq)  queue u.persist for the WAL; when it is durable: RAFT_EV_PERSISTED{seq}
 *              send each of u.messages now
 *              apply u.committed in order; when applied: RAFT_EV_APPLIED{index}
 *              answer u.reads; look at u.state_changed; arm a timer at raft_deadline(r)
 *
 * Decisions that shape it:
 *  - The core itself holds back every message that must not overtake the disk (votes, append answers, our
 * own vote for ourselves) until PERSISTED tells that the write it depends on is durable. So *every* message
 * in u.messages may be sent at once, and a driver cannot get that order wrong. Rejected: handing out "send
 *    later" lists, which each driver would have to keep in order by itself.
 *  - Writes are numbered (seq 1, 2, 3 ...). Any number may be in flight; they must become durable in order,
 *    and one PERSISTED{seq} confirms all writes up to seq (group commit). A leader sends entries to the
 *    followers while its own disk still writes them, but counts itself only for what PERSISTED confirmed;
 *    a one-node cluster thus commits only after its own fsync.
 *  - Entries are handed out for applying only when they are committed *and* durable here.
 *  - hs.commit is a hint for faster restarts: it rides along with other writes. It causes one only when it
 * passes a membership change.
 *  - The whole log since the last compaction is in memory (as in etcd); payloads are never copied, they are
 *    slices of ref-counted blocks. The driver bounds memory by RAFT_EV_COMPACT (see RaftStatus.log_bytes).
 *
 * Ownership: see RaftBlock. Everything an update points to belongs to the core and is valid until the next
 * raft_step() or raft_free() on that object. What an event points to stays the caller's; the core takes its
 * own references. Objects are not thread-safe and references are not atomic: a WAL thread may read payload
 * bytes of blocks on which the loop thread holds a reference, but only the loop thread refs and unrefs. */

#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"

/* ---- limits ---- */
#define RAFT_MEMBERS_MAX 32              /* voters, and learners, each */
#define RAFT_ENTRY_BYTES_MAX (64U << 20) /* one entry's payload */
#define RAFT_MSG_ENTRIES_MAX 65536U      /* entries in one message */
#define RAFT_READS_PENDING_MAX 65536U    /* unconfirmed ReadIndex requests at a leader */
#define RAFT_HELD_MESSAGES_MAX                                                                              \
        65536U /* answers waiting for the disk; more are dropped (as by a network)                          \
                */
#define RAFT_MSG_BYTES_MAX (RAFT_ENTRY_BYTES_MAX + (1U << 16)) /* an encoded message, without framing */
#define RAFT_INFLIGHT_LIMIT 4096U                              /* highest RaftConfig.max_inflight */

/* ---- payload memory ---- */

/* A ref-counted, immutable-once-shared piece of memory that holds one or many payloads: a received message
 * is read into one block and its entries are slices of it. Non-atomic count. */
typedef struct RaftBlock {
        uint32_t refs;
        size_t size;
        uint8_t bytes[];
} RaftBlock;

RaftBlock *raft_block_new(size_t size); /* one reference; NULL when memory is short; bytes not initialised */
RaftBlock *raft_block_dup(const void *p, size_t n);
RaftBlock *raft_block_ref(RaftBlock *b); /* NULL is allowed */
RaftBlock *raft_block_unref(RaftBlock *b);
DEFINE_CLEANUP(RaftBlock *, raft_block_unref)

typedef enum RaftEntryType {
        RAFT_ENTRY_NORMAL = 0, /* data may be empty: the no-op of a new leader; the state machine skips it */
        RAFT_ENTRY_CONF = 1,   /* data: raft_conf_change_decode() */
        _RAFT_ENTRY_TYPE_MAX,
} RaftEntryType;

typedef struct RaftEntry {
        uint64_t term;
        uint64_t index;
        uint32_t type; /* RaftEntryType */
        uint32_t len;
        const void *data; /* len bytes inside block; NULL when len is 0 */
        RaftBlock *block; /* a reference, or NULL when len is 0 */
} RaftEntry;

/* A copy of the array with a reference on each block (no payload is copied); free with raft_entries_free().
 */
RaftEntry *raft_entries_copy(const RaftEntry *e, size_t n);
RaftEntry *raft_entries_free(RaftEntry *e, size_t n);

/* ---- membership ---- */

typedef struct RaftConf {
        uint32_t n_voters, n_learners;
        uint64_t voters[RAFT_MEMBERS_MAX];   /* ascending */
        uint64_t learners[RAFT_MEMBERS_MAX]; /* ascending; disjoint from voters */
} RaftConf;

bool raft_conf_is_voter(const RaftConf *c, uint64_t id);
bool raft_conf_is_learner(const RaftConf *c, uint64_t id);
bool raft_conf_equal(const RaftConf *a, const RaftConf *b);

typedef enum RaftConfChangeType {
        RAFT_CONF_ADD_VOTER = 1, /* also promotes a learner */
        RAFT_CONF_ADD_LEARNER,
        RAFT_CONF_REMOVE,
        RAFT_CONF_UPDATE, /* membership stays; carries context (new addresses) through the log */
        _RAFT_CONF_CHANGE_MAX,
} RaftConfChangeType;

typedef struct RaftConfChange {
        RaftConfChangeType type;
        uint64_t id;         /* not 0 */
        const void *context; /* weak; opaque to the core (etcd: the member's name and URLs) */
        size_t context_len;
} RaftConfChange;

/* Applies one change; 0, or -EINVAL when it would leave no voter, -E2BIG above RAFT_MEMBERS_MAX, -EALREADY
 * when it changes nothing. `c` is untouched on failure. */
int raft_conf_apply(RaftConf *c, const RaftConfChange *change);
void raft_conf_change_encode(const RaftConfChange *change, Buf *to);
/* ret->context points into data. -EBADMSG. */
int raft_conf_change_decode(const void *data, size_t n, RaftConfChange *ret);

/* ---- persistent state ---- */

typedef struct RaftHardState {
        uint64_t term;
        uint64_t vote; /* 0: none in this term */
        uint64_t commit;
} RaftHardState;

/* Names a state-machine snapshot: everything up to index, whose entry had this term, and the membership
 * then. */
typedef struct RaftSnapMeta {
        uint64_t index;
        uint64_t term;
        RaftConf conf;
} RaftSnapMeta;

/* ---- messages ---- */

typedef enum RaftMsgType {
        RAFT_MSG_PROP = 1, /* proposals forwarded to the leader: entries (term, index unset) */
        RAFT_MSG_APP,      /* index, log_term: the entry before; entries; commit */
        /* index: matched, commit: durably known; or reject: index rejected, hint + log_term: conflict hint
         */
        RAFT_MSG_APP_RESP,
        RAFT_MSG_PRE_VOTE,      /* index, log_term: of the candidate's last entry; force: leader transfer */
        RAFT_MSG_PRE_VOTE_RESP, /* reject; all four: commit, and its term in hint */
        RAFT_MSG_VOTE,
        RAFT_MSG_VOTE_RESP,
        RAFT_MSG_HEARTBEAT,       /* commit (never above the follower's match), context: ReadIndex round */
        RAFT_MSG_HEARTBEAT_RESP,  /* context, commit: durably known */
        RAFT_MSG_SNAP,            /* see "snapshots" below */
        RAFT_MSG_READ_INDEX,      /* follower to leader: context */
        RAFT_MSG_READ_INDEX_RESP, /* context, index; reject: ask again */
        RAFT_MSG_TIMEOUT_NOW,     /* leader transfer: campaign at once */
        RAFT_MSG_TRANSFER,        /* transfer request forwarded to the leader; context: the transferee */
        _RAFT_MSG_TYPE_MAX,
} RaftMsgType;

typedef struct RaftMsg {
        RaftMsgType type;
        bool reject;
        bool force;
        uint64_t from, to;
        uint64_t term;
        uint64_t index;
        uint64_t log_term;
        uint64_t commit;
        uint64_t hint;
        uint64_t context;
        const RaftEntry *entries; /* in an update: borrowed; in a decoded or copied message: owned */
        size_t n_entries;
        const RaftSnapMeta *snap; /* RAFT_MSG_SNAP as received: required; as emitted by the core: NULL */
} RaftMsg;

/* Deep copy that shares the payload blocks; free with raft_msg_done(). */
RaftMsg raft_msg_copy(const RaftMsg *m);
void raft_msg_done(RaftMsg *m);

/* Wire form: version byte 1, then fixed little-endian fields, then entries (src/raft/codec.c says it byte by
 * byte). Encoding appends to `to`. Decoding is bounded and never reads outside [p, p + n), which must lie in
 * `block`: the entries become slices of it. -EBADMSG (malformed), -EPROTONOSUPPORT (other version), -E2BIG.
 */
void raft_msg_encode(const RaftMsg *m, Buf *to);
int raft_msg_decode(RaftBlock *block, const void *p, size_t n, RaftMsg *ret);
const char *raft_msg_type_name(RaftMsgType t);

/* One entry in the same form as inside a message (for WAL records): self-delimiting. Decoding advances rd.
 */
void raft_entry_encode(const RaftEntry *e, Buf *to);
int raft_entry_decode(RaftBlock *block, Rd *rd, RaftEntry *ret);
void raft_conf_encode(const RaftConf *c, Buf *to);
int raft_conf_decode(Rd *rd, RaftConf *ret); /* sorted, unique, bounded; or -EBADMSG */

/* ---- configuration and start ---- */

#ifdef CORACLE_FAULTS
/* Deliberate faults, so that the simulator can prove that it would notice. They exist only when *all* code
 * that includes this header is compiled with -DCORACLE_FAULTS (the field changes RaftConfig): build src/raft
 * and its drivers a second time, as their own library, from sim/meson.build. Production objects have neither
 * the field nor the branches (tests/tools/test-raft-production checks that "raft_fault_names" is absent).
 * How soon random runs of three to five nodes show them: within tens of seeds, except COMMIT_OLD_TERM, which
 * is Figure 8 and wants max_batch_bytes = 1 (an old entry then travels without the no-op behind it), five
 * nodes, and leaders that crash soon after their election. */
typedef enum RaftFault {
        RAFT_FAULT_COMMIT_OLD_TERM = 1 << 0,  /* commits entries of earlier terms by counting replicas */
        RAFT_FAULT_NO_NOOP = 1 << 1,          /* no empty entry on election, and reads do not wait for one */
        RAFT_FAULT_VOTE_NOT_SAVED = 1 << 2,   /* votes do not wait for the disk, and never reach it */
        RAFT_FAULT_READ_UNCONFIRMED = 1 << 3, /* ReadIndex answered without asking a quorum */
        RAFT_FAULT_NO_LOG_MATCHING = 1 << 4,  /* follower appends without checking the preceding entry */
        RAFT_FAULT_COUNT_SELF_EARLY = 1
                                      << 5, /* own entries count, and are applied, before they are durable */
        RAFT_FAULT_ACK_BEFORE_SYNC = 1 << 6, /* follower answers appends before they are durable */
        RAFT_FAULT_APPLY_TWICE = 1 << 7,     /* now and then hands out the same committed entry twice */
        RAFT_FAULT_DOUBLE_VOTE = 1 << 8,     /* votes for anybody whose log is good, again and again */
} RaftFault;
extern const char *const raft_fault_names[]; /* by bit number, NULL at the end */
#endif

/* One line per decision ("became leader at term 3", ...). `line` has no newline and is valid during the
 * call. */
typedef void (*RaftTraceFn)(void *ctx, const char *line);

typedef struct RaftConfig {
        uint64_t id;           /* own member id, not 0 */
        uint64_t seed;         /* of the PRNG for election timeouts */
        Usec now;              /* time of creation; monotonic clock from here on */
        Usec election_timeout; /* randomised in [t, 1.5 t) + one heartbeat; also the check-quorum period and
                                  leader lease */
        Usec heartbeat_interval; /* below election_timeout */
        bool pre_vote;
        bool check_quorum;
        bool no_forward;          /* drop proposals at followers instead of sending them to the leader */
        uint32_t max_batch_bytes; /* payload bytes of one append message; 0: 1 MiB. One entry always fits */
        uint32_t max_inflight;    /* unanswered append messages per follower; 0: 256 */
        uint64_t max_uncommitted_bytes; /* leader refuses proposals beyond; 0: 64 MiB */
        uint64_t max_hold_bytes;  /* COMPACT keeps what a follower needs behind its snapshot, up to this; 0:
                                     128 MiB */
        uint64_t max_apply_bytes; /* payload handed out and not yet APPLIED; 0: 16 MiB */
        RaftTraceFn trace;        /* NULL: none */
        void *trace_ctx;
#ifdef CORACLE_FAULTS
        unsigned faults; /* RaftFault */
#endif
} RaftConfig;

/* What survived. For a new member of an existing cluster: all zero. For the first start of a new cluster:
 * see raft_bootstrap(), or (fixed membership, tests) all zero except the same conf on every node. */
typedef struct RaftInitial {
        RaftHardState hs;
        uint64_t snap_index, snap_term; /* the log starts after this entry (last compaction or installed
                                           snapshot) */
        uint64_t applied;               /* the state machine has applied up to here; >= snap_index */
        RaftConf conf;                  /* membership as of `applied` */
        const RaftEntry *entries;       /* weak; snap_index + 1 ... contiguous; blocks are referenced */
        size_t n_entries;
} RaftInitial;

typedef struct Raft Raft;

/* NULL with err when the parts contradict each other (a damaged disk): -EINVAL, -EUCLEAN. The first election
 * timeout starts at config->now. */
Raft *raft_new(const RaftConfig *config, const RaftInitial *initial, Err *err);
Raft *raft_free(Raft *r);
DEFINE_CLEANUP(Raft *, raft_free)

/* The initial log of a new cluster, identical on every founding member: one ADD_VOTER entry for each, term
 * 1, in the given order (sort by id). The caller persists it with hs {term 1, vote 0, commit n} and starts
 * with applied 0, conf empty. Returns n entries (free with raft_entries_free()). */
RaftEntry *raft_bootstrap(const RaftConfChange *members, size_t n);

/* ---- events ---- */

typedef enum RaftEventType {
        RAFT_EV_TICK = 1,  /* only time passed: send when raft_deadline() is reached (early or late is fine)
                            */
        RAFT_EV_RECEIVE,   /* msg */
        RAFT_EV_PERSISTED, /* seq: all writes up to this one are durable */
        RAFT_EV_STORAGE_FAILED, /* a write or fsync failed: steps down, then answers to nothing ever again */
        RAFT_EV_APPLIED,        /* applied: the state machine applied up to index */
        RAFT_EV_PROPOSE,        /* propose: payloads */
        RAFT_EV_CONF_CHANGE,    /* conf: proposes a membership change */
        RAFT_EV_READ_INDEX,     /* read: batch of reads with one context chosen by the driver, not 0 */
        RAFT_EV_TRANSFER,       /* peer: make it leader */
        RAFT_EV_CAMPAIGN,       /* stand for election now */
        RAFT_EV_UNREACHABLE,    /* peer: the transport lost messages to it */
        RAFT_EV_SNAPSHOT_STATUS, /* snapshot: a stream that RAFT_MSG_SNAP asked for has ended */
        RAFT_EV_COMPACT, /* index: entries up to it are not needed any more; <= applied. A leader may keep
                            some that a follower needs behind its snapshot; ask again later */
        _RAFT_EVENT_MAX,
} RaftEventType;

typedef struct RaftProposal {
        RaftBlock *block; /* weak; the core takes its own reference */
        const void *data; /* inside block */
        uint32_t len;     /* not 0, <= RAFT_ENTRY_BYTES_MAX */
} RaftProposal;

typedef struct RaftEvent {
        RaftEventType type;
        Usec now; /* may not be USEC_NEVER; a step backwards counts as no time passed */
        union {
                const RaftMsg *msg;
                uint64_t seq;
                uint64_t peer;
                uint64_t index;
                uint64_t read_context;
                const RaftConfChange *conf;
                struct {
                        const RaftProposal *items;
                        size_t n;
                } propose;
                struct {
                        uint64_t index;
                        bool conf_veto; /* the conf entry at index was refused by the state machine: no
                                           change */
                } applied;
                struct {
                        uint64_t peer;
                        uint64_t index; /* of the snapshot that was sent */
                        bool ok;        /* the peer has received it (it may still refuse it) */
                } snapshot;
        };
} RaftEvent;

/* ---- update ---- */

typedef enum RaftRole {
        RAFT_FOLLOWER,
        RAFT_PRE_CANDIDATE,
        RAFT_CANDIDATE,
        RAFT_LEADER,
        _RAFT_ROLE_MAX
} RaftRole;
const char *raft_role_name(RaftRole role);

/* One write. In this order, as one atomic record if possible, at least so that a later part is never durable
 * without an earlier one: install the snapshot, drop log entries >= truncate_from, append the entries, save
 * hs. */
typedef struct RaftPersist {
        uint64_t seq;                 /* 0: nothing to write */
        bool must_sync;               /* false: PERSISTED may follow without fsync */
        RaftHardState hs;             /* always complete */
        const RaftSnapMeta *snapshot; /* NULL, or: switch to the received snapshot; the log restarts empty
                                         after it */
        uint64_t truncate_from;       /* 0: none */
        const RaftEntry *entries;     /* contiguous */
        size_t n_entries;
} RaftPersist;

typedef struct RaftRead {
        uint64_t context;
        uint64_t index; /* serve the read once the state machine has applied this */
        bool dropped;   /* no leader, or leadership was lost: ask again or fail; index is 0 */
} RaftRead;

typedef enum RaftDrop {
        RAFT_DROP_NONE,
        RAFT_DROP_NO_LEADER,
        RAFT_DROP_TRANSFER,     /* leadership is being handed over */
        RAFT_DROP_FULL,         /* max_uncommitted_bytes or another limit */
        RAFT_DROP_CONF_PENDING, /* an earlier membership change is not applied yet */
        RAFT_DROP_INVALID,      /* the change makes no sense for the present membership */
        RAFT_DROP_STOPPED,      /* after RAFT_EV_STORAGE_FAILED */
        _RAFT_DROP_MAX,
} RaftDrop;
const char *raft_drop_name(RaftDrop d);

typedef struct RaftUpdate {
        RaftPersist persist;
        const RaftMsg *messages; /* all may be sent at once; losing them is allowed; keep per-peer order for
                                    speed */
        size_t n_messages;
        /* Apply in order, then RAFT_EV_APPLIED. Every entry comes out exactly once. A conf entry is always
         * the last of a batch, and the next batch comes only after it was applied: it takes effect in the
         * core at that RAFT_EV_APPLIED. */
        const RaftEntry *committed;
        size_t n_committed;
        const RaftRead *reads;
        size_t n_reads;
        RaftDrop dropped; /* PROPOSE, CONF_CHANGE, TRANSFER: why it was not accepted (all of it or nothing)
                           */
        uint64_t first_index; /* PROPOSE, CONF_CHANGE at the leader: where the first one went; 0 when
                                 forwarded */
        bool state_changed;   /* role, term or leader is different from before the step */
        bool conf_changed;    /* raft_conf() is different from before the step */
} RaftUpdate;

/* Feeds one event. The update is overwritten, never NULL. Cannot fail: impossible calls (PERSISTED for a seq
 * that was never handed out, APPLIED beyond what was handed out) are bugs of the driver and assert; nonsense
 * in received messages is dropped. */
void raft_step(Raft *r, const RaftEvent *ev, RaftUpdate *ret);

/* When to send RAFT_EV_TICK at the latest; USEC_NEVER when stopped. */
Usec raft_deadline(const Raft *r);

/* ---- snapshots ----
 * Leader: when a follower needs entries that were compacted, the core emits RAFT_MSG_SNAP {to, term, index:
 * the snapshot must reach at least this index} and stops sending entries to it. The driver streams its
 * newest snapshot: it fills snap = {index, raft_term_at(index), conf as of index}, sends this message
 * (raft_msg_encode) as the head of the stream, then the data, then reports RAFT_EV_SNAPSHOT_STATUS (ok or
 * not; always). Follower: ask raft_wants_snapshot() with the head before reading gigabytes. Stage the data
 * durably beside the live state; then give the head to the core as RAFT_EV_RECEIVE. If the core accepts it,
 * the update has persist.snapshot: switch to the staged state with that write. Otherwise throw the staged
 * data away. After PERSISTED of that write the core regards snapshot.index as applied. Entries handed out
 * for applying before the switch may be skipped by the driver if their index is <= snapshot.index. */
bool raft_wants_snapshot(const Raft *r, const RaftMsg *head);

/* ---- looking inside ---- */

typedef enum RaftProgressState {
        RAFT_PROBE,
        RAFT_REPLICATE,
        RAFT_SNAPSHOT,
        _RAFT_PROGRESS_MAX
} RaftProgressState;
const char *raft_progress_name(RaftProgressState s);

typedef struct RaftPeerStatus {
        uint64_t id;
        bool learner;
        bool active; /* heard from within the last election timeout */
        RaftProgressState state;
        uint64_t match, next;
        uint32_t inflight;
} RaftPeerStatus;

typedef struct RaftStatus {
        uint64_t id;
        RaftRole role;
        uint64_t leader; /* 0: unknown */
        RaftHardState hs;
        uint64_t first_index; /* of the log in memory; snap_index + 1 */
        uint64_t last_index;
        uint64_t stable_index; /* durable up to here */
        uint64_t applied;
        uint64_t log_bytes;  /* payload bytes in memory */
        uint64_t transferee; /* 0: none */
        size_t n_peers;      /* leader only; without itself */
        RaftPeerStatus peers[2 * RAFT_MEMBERS_MAX];
} RaftStatus;

void raft_status(const Raft *r, RaftStatus *ret);
RaftRole raft_role(const Raft *r);
uint64_t raft_leader(const Raft *r); /* 0: unknown */
uint64_t raft_term(const Raft *r);
uint64_t raft_commit(const Raft *r);
uint64_t raft_last_index(const Raft *r);
const RaftConf *raft_conf(const Raft *r); /* valid until the next step */
/* Term of the entry at index; 0 for index 0; -ENODATA below the log, -ERANGE above. */
int raft_term_at(const Raft *r, uint64_t index, uint64_t *ret);
/* The entry, borrowed until the next step, or NULL when it is not in the log. */
const RaftEntry *raft_entry_at(const Raft *r, uint64_t index);

/* Asserts every invariant of the object; O(members + a few entries). raft_step() ends with it in sanitizer
 * builds; the simulator calls it too. */
void raft_check(const Raft *r);

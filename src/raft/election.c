/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/raft-internal.h"

/* Elections: thesis chapter 3.4, pre-vote 9.6, disruptive servers 4.2.3, leader transfer 3.10. */

static uint64_t next_random(Raft *r) {
        uint64_t z = (r->random += 0x9e3779b97f4a7c15ULL); /* splitmix64 */
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
}

/* Narrower than the [t, 2t) of others, so that a leader's death is over within two timeouts nearly always:
 *  - not before t + one heartbeat, as a vote is ignored by whoever heard the leader less than t ago, and the
 * last heartbeat may have reached another member one interval later than us;
 *  - the few members that time out together are kept apart by the tie-break in raft_on_vote();
 *  - a pre-vote costs nothing, so one that failed is repeated sooner. A real candidacy waits in full: with a
 * slow disk its votes may need that long. */
void raft_reset_election_timer(Raft *r) {
        Usec t = r->cfg.election_timeout, half = MAX(t / 2, (Usec) 1);
        Usec wait = t + r->cfg.heartbeat_interval + next_random(r) % half;
        if (r->role == RAFT_PRE_CANDIDATE)
                wait = half + next_random(r) % half;
        r->election_deadline = usec_add(r->now, wait);
}

bool raft_promotable(const Raft *r) {
        return !r->stopped && raft_conf_is_voter(&r->conf, r->cfg.id);
}

/* Check-quorum turns regular contact with a leader into a promise: nobody can be elected meanwhile. */
bool raft_in_lease(const Raft *r) {
        if (!r->cfg.check_quorum || r->leader == 0)
                return false;
        return r->role == RAFT_LEADER || usec_sub(r->now, r->last_contact) < r->cfg.election_timeout;
}

void raft_become_follower(Raft *r, uint64_t term, uint64_t leader) {
        assert(term >= r->hs.term);
        bool was = r->role == RAFT_FOLLOWER && r->hs.term == term && r->leader == leader;
        if (r->role == RAFT_LEADER)
                raft_leader_done(r);
        if (term > r->hs.term)
                r->hs = (RaftHardState){ .term = term, .commit = r->hs.commit };
        r->role = RAFT_FOLLOWER;
        r->leader = leader;
        r->n_votes = 0;
        if (leader != 0)
                r->last_contact = r->now;
        raft_reset_election_timer(r);
        if (!was)
                TRACE(r, "became follower at term %" PRIu64 " of %" PRIu64, term, leader);
}

typedef enum Tally { TALLY_OPEN, TALLY_WON, TALLY_LOST } Tally;

static Tally tally(const Raft *r) {
        uint32_t granted = 0, rejected = 0, n = r->conf.n_voters;
        bool own = false;
        for (uint32_t i = 0; i < r->n_votes; i++) {
                if (!raft_conf_is_voter(&r->conf, r->votes[i].id))
                        continue;
                own |= r->votes[i].id == r->cfg.id;
                if (r->votes[i].granted)
                        granted++;
                else
                        rejected++;
        }
        assert(granted + rejected <= n);
        /* Not before our own vote is durable, even if others voted without having been asked. */
        if (granted > n / 2 && own)
                return TALLY_WON;
        return n - rejected <= n / 2 ? TALLY_LOST : TALLY_OPEN;
}

static void count_vote(Raft *r, uint64_t id, bool granted) {
        for (uint32_t i = 0; i < r->n_votes; i++)
                if (r->votes[i].id == id)
                        return; /* the first answer counts */
        if (!raft_conf_is_voter(&r->conf, id) || r->n_votes >= RAFT_MEMBERS_MAX)
                return;
        r->votes[r->n_votes++] = (Vote){ .id = id, .granted = granted };
        bool pre = r->role == RAFT_PRE_CANDIDATE;
        switch (tally(r)) {
        case TALLY_OPEN:
                return;
        case TALLY_WON:
                if (pre)
                        raft_campaign(r, false, false);
                else
                        raft_become_leader(r);
                return;
        case TALLY_LOST:
                TRACE(r, "lost the %s at term %" PRIu64, pre ? "pre-vote" : "election", r->hs.term);
                raft_become_follower(r, r->hs.term, 0);
                return;
        }
}

/* Votes and answers carry the sender's commit index and the term of that entry. Whoever has the same entry
 * knows then that it is committed. This is what gets a cluster of two out of this corner: A was removed,
 * knows it and will not campaign, but has the longer log; B has the removal in its log without knowing that
 * it is committed, and asks A for a vote that A must refuse. */
static void tell_commit(const Raft *r, RaftMsg *m) {
        m->commit = r->hs.commit;
        m->hint = raft_log_term(&r->log, r->hs.commit);
}

static bool conf_unapplied(const Raft *r) {
        if (r->log.last_conf == 0)
                return false;
        for (uint64_t i = r->hs.commit; i > MAX(r->applied, r->log.snap_index); i--)
                if (raft_log_at(&r->log, i)->type == RAFT_ENTRY_CONF)
                        return true;
        return false;
}

static void learn_commit(Raft *r, const RaftMsg *m) {
        if (r->role == RAFT_LEADER || m->commit <= r->hs.commit || m->hint == 0 ||
            raft_log_term(&r->log, m->commit) != m->hint)
                return;
        TRACE(r, "learns from %" PRIu64 " that %" PRIu64 " is committed", m->from, m->commit);
        raft_commit_to(r, m->commit);
        if (r->role != RAFT_FOLLOWER && conf_unapplied(r))
                raft_become_follower(r, r->hs.term, 0);
}

static void become_candidate(Raft *r, bool pre) {
        assert(r->role != RAFT_LEADER);
        r->role = pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE;
        r->leader = 0;
        r->n_votes = 0;
        r->campaign_at = r->now;
        if (!pre) {
                r->hs.term++;
                r->hs.vote = r->cfg.id;
        }
        raft_reset_election_timer(r);
        TRACE(r, "became %s at term %" PRIu64, raft_role_name(r->role), r->hs.term);
}

void raft_campaign(Raft *r, bool pre, bool transfer) {
        become_candidate(r, pre);
        uint64_t term = r->hs.term + (pre ? 1 : 0);
        for (uint32_t i = 0; i < r->conf.n_voters; i++) {
                uint64_t id = r->conf.voters[i];
                if (id == r->cfg.id)
                        continue;
                RaftMsg m = { .type = pre ? RAFT_MSG_PRE_VOTE : RAFT_MSG_VOTE,
                              .to = id,
                              .term = term,
                              .index = raft_log_last(&r->log),
                              .log_term = raft_log_last_term(&r->log),
                              .force = transfer };
                tell_commit(r, &m);
                raft_send(r, m, WAIT_HARD_STATE, 0);
        }
        /* Our own vote is a vote like others: it counts once it is durable (and so is the log it speaks
         * for). */
        if (pre || HAS_FAULT(r, VOTE_NOT_SAVED))
                count_vote(r, r->cfg.id, true);
        else
                raft_send(r, (RaftMsg){ .type = RAFT_MSG_VOTE_RESP, .to = r->cfg.id }, WAIT_ALL, 0);
}

/* Stands for election, if that is allowed. A membership change that is committed and not yet applied forbids
 * it: the old membership must not elect anybody any more (see follower.c, prove_commit()). */
void raft_hup(Raft *r, bool transfer) {
        raft_reset_election_timer(r);
        if (r->role == RAFT_LEADER)
                return;
        if (!raft_promotable(r)) {
                if (r->role != RAFT_FOLLOWER) /* removed while it campaigned */
                        raft_become_follower(r, r->hs.term, 0);
                return;
        }
        if (r->applied < r->log.snap_index) {
                TRACE(r, "does not campaign: a snapshot is being installed");
                return;
        }
        if (conf_unapplied(r)) {
                TRACE(r, "does not campaign: a committed membership change is not applied");
                return;
        }
        raft_campaign(r, r->cfg.pre_vote && !transfer, transfer);
}

/* Two that ask at the same time would refuse each other's votes in the next phase: the higher id insists,
 * for a moment only (it may itself be unable to win), and only if it is as good. */
static bool rivals(const Raft *r, const RaftMsg *m) {
        return r->role == RAFT_PRE_CANDIDATE && m->from < r->cfg.id &&
               usec_sub(r->now, r->campaign_at) < r->cfg.heartbeat_interval &&
               m->index == raft_log_last(&r->log) && m->log_term == raft_log_last_term(&r->log);
}

void raft_on_vote(Raft *r, const RaftMsg *m) {
        bool pre = m->type == RAFT_MSG_PRE_VOTE;
        assert(pre ? m->term >= r->hs.term : m->term == r->hs.term);
        learn_commit(r, m);
        uint64_t last = raft_log_last(&r->log), last_term = raft_log_last_term(&r->log);
        bool free_to_vote = r->hs.vote == m->from || (r->hs.vote == 0 && r->leader == 0) ||
                            (pre && m->term > r->hs.term) ||
                            (HAS_FAULT(r, DOUBLE_VOTE) && r->role == RAFT_FOLLOWER);
        bool up_to_date = m->log_term > last_term || (m->log_term == last_term && m->index >= last);
        bool grant = free_to_vote && up_to_date && !(pre && rivals(r, m));
        TRACE(r,
              "%s %s for %" PRIu64 " at term %" PRIu64 " (its log %" PRIu64 ".%" PRIu64 ", mine %" PRIu64
              ".%" PRIu64 ", vote %" PRIu64 ")",
              grant ? "grants" : "rejects", pre ? "pre-vote" : "vote", m->from, m->term, m->log_term,
              m->index, last_term, last, r->hs.vote);
        RaftMsg resp = { .type = pre ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP,
                         .to = m->from,
                         .term = grant ? m->term : r->hs.term,
                         .reject = !grant };
        tell_commit(r, &resp);
        if (grant && !pre) {
                r->hs.vote = m->from;
                raft_reset_election_timer(r);
        }
        Wait wait = pre ? WAIT_HARD_STATE : WAIT_ALL;
        raft_send(r, resp, !pre && HAS_FAULT(r, VOTE_NOT_SAVED) ? WAIT_NOTHING : wait, 0);
}

void raft_on_vote_resp(Raft *r, const RaftMsg *m) {
        RaftMsgType expect = r->role == RAFT_PRE_CANDIDATE ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP;
        if ((r->role != RAFT_PRE_CANDIDATE && r->role != RAFT_CANDIDATE) || m->type != expect)
                return;
        if (r->role == RAFT_PRE_CANDIDATE && !m->reject && m->term != r->hs.term + 1)
                return; /* for an earlier attempt */
        learn_commit(r, m);
        if (r->role != RAFT_FOLLOWER)
                count_vote(r, m->from, !m->reject);
}

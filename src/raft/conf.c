/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft.h"

/* Membership: two sorted, disjoint sets of ids, and the one-step changes between them. */

static bool set_has(const uint64_t *ids, uint32_t n, uint64_t id) {
        for (uint32_t i = 0; i < n; i++)
                if (ids[i] == id)
                        return true;
        return false;
}

static void set_add(uint64_t *ids, uint32_t *n, uint64_t id) {
        assert(*n < RAFT_MEMBERS_MAX);
        uint32_t at = *n;
        for (; at > 0 && ids[at - 1] > id; at--)
                ids[at] = ids[at - 1];
        ids[at] = id;
        (*n)++;
}

static void set_del(uint64_t *ids, uint32_t *n, uint64_t id) {
        uint32_t to = 0;
        for (uint32_t i = 0; i < *n; i++)
                if (ids[i] != id)
                        ids[to++] = ids[i];
        for (uint32_t i = to; i < *n; i++)
                ids[i] = 0;
        *n = to;
}

bool raft_conf_is_voter(const RaftConf *c, uint64_t id) {
        return set_has(c->voters, c->n_voters, id);
}

bool raft_conf_is_learner(const RaftConf *c, uint64_t id) {
        return set_has(c->learners, c->n_learners, id);
}

bool raft_conf_equal(const RaftConf *a, const RaftConf *b) {
        return a->n_voters == b->n_voters && a->n_learners == b->n_learners &&
               memcmp(a->voters, b->voters, a->n_voters * sizeof(uint64_t)) == 0 &&
               memcmp(a->learners, b->learners, a->n_learners * sizeof(uint64_t)) == 0;
}

int raft_conf_apply(RaftConf *c, const RaftConfChange *change) {
        uint64_t id = change->id;
        bool voter = raft_conf_is_voter(c, id), learner = raft_conf_is_learner(c, id);
        assert(!(voter && learner));
        if (id == 0)
                return -EINVAL;
        switch (change->type) {
        case RAFT_CONF_ADD_VOTER:
                if (voter)
                        return -EALREADY;
                if (c->n_voters >= RAFT_MEMBERS_MAX)
                        return -E2BIG;
                set_del(c->learners, &c->n_learners, id);
                set_add(c->voters, &c->n_voters, id);
                return 0;
        case RAFT_CONF_ADD_LEARNER:
                if (learner)
                        return -EALREADY;
                if (voter) /* a demotion could take the quorum away under the leader's feet */
                        return -EINVAL;
                if (c->n_learners >= RAFT_MEMBERS_MAX)
                        return -E2BIG;
                set_add(c->learners, &c->n_learners, id);
                return 0;
        case RAFT_CONF_REMOVE:
                if (!voter && !learner)
                        return -EALREADY;
                if (voter && c->n_voters == 1)
                        return -EINVAL;
                set_del(c->voters, &c->n_voters, id);
                set_del(c->learners, &c->n_learners, id);
                return 0;
        case RAFT_CONF_UPDATE:
                return voter || learner ? 0 : -EINVAL;
        case _RAFT_CONF_CHANGE_MAX:
                break;
        }
        return -EINVAL;
}

/* Entry payload of a membership change: version 1, type, id, then the context to the end. */
#define CONF_CHANGE_VERSION 1

void raft_conf_change_encode(const RaftConfChange *change, Buf *to) {
        buf_addc(to, CONF_CHANGE_VERSION);
        buf_addc(to, (char) change->type);
        buf_add_le64(to, change->id);
        buf_add(to, change->context, change->context_len);
}

int raft_conf_change_decode(const void *data, size_t n, RaftConfChange *ret) {
        Rd rd = rd_new(data, n);
        uint8_t version, type;
        uint64_t id;
        if (rd_u8(&rd, &version) < 0 || rd_u8(&rd, &type) < 0 || rd_le64(&rd, &id) < 0)
                return -EBADMSG;
        if (version != CONF_CHANGE_VERSION || type < RAFT_CONF_ADD_VOTER || type >= _RAFT_CONF_CHANGE_MAX ||
            id == 0)
                return -EBADMSG;
        *ret = (RaftConfChange){ .type = type, .id = id, .context = rd.p, .context_len = rd.left };
        return 0;
}

static int ids_decode(Rd *rd, uint64_t *ids, uint32_t *n) {
        uint8_t count;
        if (rd_u8(rd, &count) < 0 || count > RAFT_MEMBERS_MAX)
                return -EBADMSG;
        for (uint32_t i = 0; i < count; i++) {
                if (rd_le64(rd, &ids[i]) < 0 || ids[i] == 0 || (i > 0 && ids[i] <= ids[i - 1]))
                        return -EBADMSG;
        }
        *n = count;
        return 0;
}

void raft_conf_encode(const RaftConf *c, Buf *to) {
        assert(c->n_voters <= RAFT_MEMBERS_MAX && c->n_learners <= RAFT_MEMBERS_MAX);
        buf_addc(to, (char) c->n_voters);
        for (uint32_t i = 0; i < c->n_voters; i++)
                buf_add_le64(to, c->voters[i]);
        buf_addc(to, (char) c->n_learners);
        for (uint32_t i = 0; i < c->n_learners; i++)
                buf_add_le64(to, c->learners[i]);
}

int raft_conf_decode(Rd *rd, RaftConf *ret) {
        RaftConf c = {};
        Rd at = *rd;
        if (ids_decode(&at, c.voters, &c.n_voters) < 0 || ids_decode(&at, c.learners, &c.n_learners) < 0)
                return -EBADMSG;
        for (uint32_t i = 0; i < c.n_learners; i++)
                if (raft_conf_is_voter(&c, c.learners[i]))
                        return -EBADMSG;
        *rd = at;
        *ret = c;
        return 0;
}

RaftEntry *raft_bootstrap(const RaftConfChange *members, size_t n) {
        RaftEntry *e = xnew(RaftEntry, n);
        for (size_t i = 0; i < n; i++) {
                _cleanup_(buf_done) Buf b = {};
                raft_conf_change_encode(&members[i], &b);
                RaftBlock *block = raft_block_dup(b.data, b.len);
                assert(block);
                e[i] = (RaftEntry){ .term = 1,
                                    .index = i + 1,
                                    .type = RAFT_ENTRY_CONF,
                                    .len = (uint32_t) b.len,
                                    .data = block->bytes,
                                    .block = block };
        }
        return e;
}

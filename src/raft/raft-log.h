/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The log in memory: a gapless array of entries after a base (snap_index, snap_term). Slices handed out are
 * contiguous pointers; appending may move them, so updates resolve their slices at the end of a step. */

#include "raft/raft.h"

typedef struct RaftLog {
        RaftEntry *v; /* owned; live entries are v[head, head + n), each holding a reference */
        size_t cap, head, n;
        uint64_t snap_index, snap_term;
        uint64_t bytes;     /* payload of the live entries */
        uint64_t last_conf; /* index of the last membership entry, 0: none */
} RaftLog;

void raft_log_done(RaftLog *l);
static inline uint64_t raft_log_last(const RaftLog *l) {
        return l->snap_index + l->n;
}
static inline RaftEntry *raft_log_at(const RaftLog *l, uint64_t index) {
        assert(index > l->snap_index && index <= raft_log_last(l));
        return &l->v[l->head + (index - l->snap_index - 1)];
}
/* 0 when the index is outside of what the log knows (terms of real entries are never 0). */
static inline uint64_t raft_log_term(const RaftLog *l, uint64_t index) {
        if (index == l->snap_index)
                return l->snap_term;
        return index > l->snap_index && index <= raft_log_last(l) ? raft_log_at(l, index)->term : 0;
}
static inline uint64_t raft_log_last_term(const RaftLog *l) {
        return raft_log_term(l, raft_log_last(l));
}
/* (0, 0) and everything below the base count as known: the base is committed. */
bool raft_log_matches(const RaftLog *l, uint64_t index, uint64_t term);
/* Takes a reference on the block of e. e->index must be last + 1. */
void raft_log_append(RaftLog *l, const RaftEntry *e);
void raft_log_truncate(RaftLog *l, uint64_t from);
void raft_log_compact(RaftLog *l, uint64_t to);
void raft_log_reset(RaftLog *l, uint64_t index, uint64_t term);
/* The largest index <= `index` whose term is <= `term` (or lies at or below the base). */
uint64_t raft_log_conflict(const RaftLog *l, uint64_t index, uint64_t term);

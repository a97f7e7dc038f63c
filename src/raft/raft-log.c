/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/raft-log.h"

#include "base/alloc.h"

static void entry_drop(RaftLog *l, RaftEntry *e) {
        assert(l->bytes >= e->len);
        l->bytes -= e->len;
        e->block = raft_block_unref(e->block);
}

void raft_log_done(RaftLog *l) {
        for (size_t i = 0; i < l->n; i++)
                entry_drop(l, &l->v[l->head + i]);
        free(l->v);
        *l = (RaftLog){};
}

bool raft_log_matches(const RaftLog *l, uint64_t index, uint64_t term) {
        if (index < l->snap_index)
                return true;
        if (index > raft_log_last(l))
                return false;
        return raft_log_term(l, index) == term;
}

void raft_log_append(RaftLog *l, const RaftEntry *e) {
        assert(e->index == raft_log_last(l) + 1);
        assert(e->term > 0 && e->term >= raft_log_last_term(l));
        if (l->head + l->n == l->cap) {
                if (l->head > l->cap / 2) {
                        memmove(l->v, l->v + l->head, l->n * sizeof(*l->v));
                        l->head = 0;
                } else
                        GROW(l->v, l->cap, l->head + l->n + 1);
        }
        l->v[l->head + l->n++] = *e;
        raft_block_ref(e->block);
        l->bytes += e->len;
        if (e->type == RAFT_ENTRY_CONF)
                l->last_conf = e->index;
}

void raft_log_truncate(RaftLog *l, uint64_t from) {
        assert(from > l->snap_index);
        while (raft_log_last(l) >= from)
                entry_drop(l, &l->v[l->head + --l->n]);
        if (l->last_conf < from)
                return;
        uint64_t i = raft_log_last(l);
        while (i > l->snap_index && raft_log_at(l, i)->type != RAFT_ENTRY_CONF)
                i--;
        l->last_conf = i > l->snap_index ? i : 0;
}

void raft_log_compact(RaftLog *l, uint64_t to) {
        assert(to > l->snap_index && to <= raft_log_last(l));
        uint64_t term = raft_log_term(l, to);
        while (l->snap_index < to) {
                entry_drop(l, &l->v[l->head]);
                l->head++;
                l->n--;
                l->snap_index++;
        }
        l->snap_term = term;
        if (l->last_conf <= to)
                l->last_conf = 0;
        if (l->n == 0)
                l->head = 0;
        if (l->cap > 4096 && l->n < l->cap / 8) { /* give memory back after a burst */
                size_t cap = MAX(l->n * 2, (size_t) 1024);
                RaftEntry *v = xnew(RaftEntry, cap);
                memcpy(v, l->v + l->head, l->n * sizeof(*v));
                free(l->v);
                l->v = v;
                l->cap = cap;
                l->head = 0;
        }
}

void raft_log_reset(RaftLog *l, uint64_t index, uint64_t term) {
        for (size_t i = 0; i < l->n; i++)
                entry_drop(l, &l->v[l->head + i]);
        l->head = l->n = 0;
        l->snap_index = index;
        l->snap_term = term;
        l->last_conf = 0;
        assert(l->bytes == 0);
}

uint64_t raft_log_conflict(const RaftLog *l, uint64_t index, uint64_t term) {
        index = MIN(index, raft_log_last(l));
        while (index > l->snap_index && raft_log_term(l, index) > term)
                index--;
        return index;
}

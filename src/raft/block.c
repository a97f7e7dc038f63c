/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "raft/raft.h"

RaftBlock *raft_block_new(size_t size) {
        RaftBlock *b = try_alloc(sizeof(RaftBlock) + size, SIZE_MAX / 2);
        if (!b)
                return NULL;
        b->refs = 1;
        b->size = size;
        return b;
}

RaftBlock *raft_block_dup(const void *p, size_t n) {
        RaftBlock *b = raft_block_new(n);
        if (b && n > 0)
                memcpy(b->bytes, p, n);
        return b;
}

RaftBlock *raft_block_ref(RaftBlock *b) {
        if (!b)
                return NULL;
        assert(b->refs > 0);
        assert(b->refs < UINT32_MAX);
        b->refs++;
        return b;
}

RaftBlock *raft_block_unref(RaftBlock *b) {
        if (!b)
                return NULL;
        assert(b->refs > 0);
        if (--b->refs == 0)
                free(b);
        return NULL;
}

RaftEntry *raft_entries_copy(const RaftEntry *e, size_t n) {
        if (n == 0)
                return NULL;
        RaftEntry *copy = xnew(RaftEntry, n);
        memcpy(copy, e, n * sizeof(RaftEntry));
        for (size_t i = 0; i < n; i++)
                raft_block_ref(copy[i].block);
        return copy;
}

RaftEntry *raft_entries_free(RaftEntry *e, size_t n) {
        for (size_t i = 0; i < n; i++)
                raft_block_unref(e[i].block);
        return xfree(e);
}

RaftMsg raft_msg_copy(const RaftMsg *m) {
        RaftMsg copy = *m;
        copy.entries = raft_entries_copy(m->entries, m->n_entries);
        if (m->snap)
                copy.snap = xmemdup(m->snap, sizeof(*m->snap));
        return copy;
}

void raft_msg_done(RaftMsg *m) {
        raft_entries_free((RaftEntry *) m->entries, m->n_entries);
        free((RaftSnapMeta *) m->snap);
        *m = (RaftMsg){};
}

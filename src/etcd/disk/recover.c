/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/disk/recover.h"

#include "base/alloc.h"

void recovered_done(Recovered *r) {
        wal_free(r->wal);
        wal_state_done(&r->state);
        snap_reader_free(r->snapshot);
        free(r->warning);
        *r = (Recovered){};
}

/* The newest of the marked snapshots that can be read and from which the log goes on. */
static int find_snapshot(Disk *d, Recovered *r, Err *err) {
        const WalState *s = &r->state;
        _cleanup_(err_done) Err first = {};
        int k = 0;
        for (size_t i = 0; i < WAL_MARKS; i++) {
                const WalMark *m = &s->marks[i];
                if (m->index == 0 || s->first_index > m->index + 1)
                        continue;
                _cleanup_(err_done) Err e = {};
                k = snap_reader_open(d, m->index, m->term, &r->snapshot, &e);
                if (k == 0) {
                        r->meta = *snap_reader_meta(r->snapshot);
                        return 0;
                }
                if (k != -EUCLEAN && k != -ENOENT)
                        return err_set(err, k, "%s", err_msg(&e));
                if (first.code == 0)
                        (void) err_set(&first, k, "%s", err_msg(&e));
                r->fell_back = true;
        }
        if (s->first_index == 1)
                return 0; /* the log holds everything */
        return err_set(err, -EUCLEAN,
                       "%s, and the log begins only at %" PRIu64
                       "; remove this member from the cluster, empty its "
                       "data folder, and add it again",
                       first.code < 0 ? err_msg(&first) : "no snapshot is recorded", s->first_index);
}

/* The log that raft keeps in memory begins at the older snapshot, for followers that are behind. */
static int fill_initial(Recovered *r, Err *err) {
        const WalState *s = &r->state;
        RaftInitial *in = &r->initial;
        in->hs = s->hs;
        in->applied = r->meta.index;
        in->conf = r->meta.conf;
        in->snap_index = r->meta.index;
        in->snap_term = r->meta.term;
        const WalMark *older = &s->marks[WAL_MARKS - 1];
        if (older->index > 0 && older->index < r->meta.index && s->first_index <= older->index + 1) {
                in->snap_index = older->index;
                in->snap_term = older->term;
        }
        uint64_t last = wal_state_last_index(s);
        if (last < r->meta.index)
                return err_set(err, -EUCLEAN, "the log ends at %" PRIu64 ", before the snapshot at %" PRIu64,
                               last, r->meta.index);
        size_t skip = (size_t) (in->snap_index + 1 - s->first_index);
        in->entries = s->entries ? s->entries + skip : NULL;
        in->n_entries = s->n_entries - skip;
        /* The commit index is written as a hint only; what a snapshot holds was committed. */
        in->hs.commit = MAX(in->hs.commit, r->meta.index);
        in->hs.commit = MIN(in->hs.commit, last);
        return 0;
}

int disk_recover(Disk *d, const WalConfig *config, Recovered *ret, Err *err) {
        _cleanup_(recovered_done) Recovered r = {};
        int k = wal_open(d, config, &r.wal, &r.state, err);
        if (k == 0)
                k = snap_clean(d, err);
        if (k == 0)
                k = find_snapshot(d, &r, err);
        if (k == 0)
                k = fill_initial(&r, err);
        if (k < 0)
                return k;
        if (r.fell_back)
                r.warning = xasprintf("the newest snapshot cannot be read; starting from index %" PRIu64
                                      " and the log behind it",
                                      r.meta.index);
        *ret = r;
        r = (Recovered){};
        return 0;
}

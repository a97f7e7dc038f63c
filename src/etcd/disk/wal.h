/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The write-ahead log: numbered, preallocated segments of chained records on a Disk (bytes: wal-record.h and
 * docs/formats/wal.md). One user at a time, no thread of its own: wal-thread.h puts it behind one writer
 * thread, the simulator calls it directly.
 *
 * Invariants:
 *  - A batch (wal_batch_*) is atomic: after a crash it is there wholly or not at all.
 *  - What was written before a successful wal_sync() is found again, or wal_open() refuses. Only a tail that
 * was never synced is cut off; damage in front of that is an error that names the file and the offset.
 *  - A segment gets its final name when its head is durable, and only when its predecessor is durable as a
 * whole.
 *  - An error of any write or sync makes the log unusable: every later call returns the same error. The one
 *    exception is -ENOSPC of wal_write(): nothing of the batch was written, it may be tried again.
 *
 * Rejected: records without `synced` (cannot tell a torn tail from damage), reusing old segments (their old
 * bytes look like records), one file (purging needs holes). */

#include "etcd/disk/disk.h"
#include "etcd/disk/wal-record.h"
#include "raft/raft.h"

#define WAL_SEGMENT_SIZE_DEFAULT ((uint64_t) 16 << 20)
#define WAL_MARKS 2U /* snapshots that recovery may start from: the newest, and the one before it */

/* ---- batches (pure; may be built on any thread) ---- */

/* Adds what raft wants persisted as one batch to b: snapshot reset, truncation and entries, hard state. */
void wal_batch_persist(Buf *b, const RaftPersist *p);
/* Adds the fact that the snapshot file at (index, term) is durable. To be written after
 * snap_writer_finish(). */
void wal_batch_snapshot(Buf *b, uint64_t index, uint64_t term);

/* ---- contents ---- */

typedef struct WalMark {
        uint64_t index, term;
} WalMark;

/* What the log says, folded record by record. */
typedef struct WalState {
        uint64_t cluster_id, node_id;
        RaftHardState hs;
        WalMark marks[WAL_MARKS]; /* newest first; index 0: none. Only marked snapshots count */
        uint64_t first_index;     /* of entries; they are contiguous */
        RaftEntry *entries;       /* owned */
        size_t n_entries, cap_entries;
} WalState;

void wal_state_done(WalState *s);
/* Adds one record to what is known. Pure. -EBADMSG with a message when it contradicts what came before. */
int wal_state_fold(WalState *s, const WalRecord *rec, Err *err);
static inline uint64_t wal_state_last_index(const WalState *s) {
        return s->first_index + s->n_entries - 1;
}

/* ---- the log ---- */

typedef struct Wal Wal;

typedef struct WalConfig {
        uint64_t segment_size; /* 0: WAL_SEGMENT_SIZE_DEFAULT; a larger batch gets a larger segment */
} WalConfig;

/* Whether the disk holds a log. 1, 0 or an error. */
int wal_exists(Disk *d, Err *err);
/* A new log that begins with the batches in `first` (NULL: none), e.g. raft_bootstrap()'s: after a crash
 * they are there, or there is no log at all. Durable when it returns. -EEXIST. */
int wal_create(Disk *d, const WalConfig *config, uint64_t cluster_id, uint64_t node_id, Buf *first,
               Wal **ret, Err *err);
/* Reads the log, cuts off a torn tail, opens it for appending. -ENOENT; -EUCLEAN with a message when it is
 * damaged. ret_state is the caller's to wal_state_done(). */
int wal_open(Disk *d, const WalConfig *config, Wal **ret, WalState *ret_state, Err *err);
/* Closes without syncing. */
Wal *wal_free(Wal *w);
DEFINE_CLEANUP(Wal *, wal_free)

/* Appends one or more whole batches, starting a new segment when they do not fit. Fills in headers inside b.
 */
int wal_write(Wal *w, Buf *b, Err *err);
/* Makes all of it durable. Never to be called again after an error. */
int wal_sync(Wal *w, Err *err);
/* Removes segments that recovery cannot need any more, judged by the marks that are synced. */
int wal_purge(Wal *w, Err *err);
/* The oldest snapshot that must be kept (see snap_purge()); 0: none is marked. */
uint64_t wal_oldest_mark(const Wal *w);

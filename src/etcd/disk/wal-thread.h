/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Group commit: the loop thread hands batches over, one writer thread writes all that are waiting, syncs
 * once, and says so through an eventfd. All functions are for the loop thread. Completion is in order of
 * submission. */

#include "etcd/disk/wal.h"

typedef struct WalThread WalThread;

/* Takes the log over. */
int wal_thread_start(Wal *w, WalThread **ret, Err *err);
/* Writes what is still waiting, ends the thread, frees the log. */
WalThread *wal_thread_stop(WalThread *t);
DEFINE_CLEANUP(WalThread *, wal_thread_stop)
/* Readable when wal_thread_completed() has news. */
int wal_thread_fd(const WalThread *t);
/* Takes b's content (b is empty after). seq: RaftPersist.seq, or 0 for a batch nobody waits for. must_sync
 * false: may count as done when written (RaftPersist.must_sync). purge: wal_purge() afterwards, for snapshot
 * marks. */
void wal_thread_submit(WalThread *t, Buf *b, uint64_t seq, bool must_sync, bool purge);
/* Highest seq that is durable; 0: none yet. An error is final: the process must stop, nothing may be
 * acknowledged any more. */
int wal_thread_completed(WalThread *t, uint64_t *ret_seq, Err *err);
/* wal_oldest_mark() as of the last purge. */
uint64_t wal_thread_oldest_mark(WalThread *t);
/* Batches and bytes waiting, for backpressure and metrics. */
void wal_thread_queue(WalThread *t, size_t *ret_batches, size_t *ret_bytes);
/* Latency of syncs, for /metrics: count, sum, largest since the start (microseconds). */
typedef struct WalThreadStats {
        uint64_t syncs, bytes, batches, sync_usec_sum, sync_usec_max;
} WalThreadStats;
void wal_thread_stats(WalThread *t, WalThreadStats *ret);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Snapshot files: the state machine at one index, written in chunks, each with a chained CRC-32C, closed by
 * a trailer, and named only when whole and durable: snap-<index>-<term>.snap, both in 16 hex digits. While
 * it is written or received it is called *.tmp, and opening a data folder removes such leftovers
 * (snap_clean()).
 *
 * A follower receives the very bytes of the leader's file (snap_source_*), stages them (snap_sink_*), and
 * they are checked as a whole before they get a name. Bytes: docs/formats/wal.md. */

#include "etcd/disk/disk.h"
#include "raft/raft.h"

#define SNAP_CHUNK_MAX (1U << 20)

/* ---- writing our own ---- */

typedef struct SnapWriter SnapWriter;

int snap_writer_open(Disk *d, const RaftSnapMeta *meta, SnapWriter **ret, Err *err);
/* Any sizes; they are gathered into chunks. */
int snap_writer_add(SnapWriter *w, const void *p, size_t n, Err *err);
/* Trailer, fdatasync, rename, fsyncdir. The file counts only when the log is told: wal_batch_snapshot(). */
int snap_writer_finish(SnapWriter *w, Err *err);
SnapWriter *snap_writer_free(SnapWriter *w); /* removes the file when it was not finished */
DEFINE_CLEANUP(SnapWriter *, snap_writer_free)

/* ---- reading ---- */

typedef struct SnapReader SnapReader;

/* Opens and checks the whole file. -ENOENT, -EUCLEAN (damaged, with a message). */
int snap_reader_open(Disk *d, uint64_t index, uint64_t term, SnapReader **ret, Err *err);
const RaftSnapMeta *snap_reader_meta(const SnapReader *r);
uint64_t snap_reader_payload_size(const SnapReader *r);
/* The next piece of the payload, valid until the next call; 0 at the end. */
int snap_reader_next(SnapReader *r, const void **ret, size_t *ret_n, Err *err);
SnapReader *snap_reader_free(SnapReader *r);
DEFINE_CLEANUP(SnapReader *, snap_reader_free)

/* ---- moving whole files between members ---- */

typedef struct SnapSource SnapSource;
int snap_source_open(Disk *d, uint64_t index, uint64_t term, SnapSource **ret, Err *err);
uint64_t snap_source_size(const SnapSource *s);
ssize_t snap_source_read(SnapSource *s, uint64_t offset, void *p, size_t n, Err *err);
SnapSource *snap_source_free(SnapSource *s);
DEFINE_CLEANUP(SnapSource *, snap_source_free)

typedef struct SnapSink SnapSink;
/* meta: from the head of the stream; the file must agree with it. One at a time: free the old one first. */
int snap_sink_open(Disk *d, const RaftSnapMeta *meta, SnapSink **ret, Err *err);
int snap_sink_add(SnapSink *s, const void *p, size_t n, Err *err);
/* Durable, checked (-EUCLEAN) and named. Counts only when the log has RaftPersist.snapshot; if raft does not
 * accept it, leave it: snap_purge() takes it away. */
int snap_sink_finish(SnapSink *s, Err *err);
SnapSink *snap_sink_free(SnapSink *s); /* removes what was not finished */
DEFINE_CLEANUP(SnapSink *, snap_sink_free)

/* ---- housekeeping ---- */

/* Removes temporary files. */
int snap_clean(Disk *d, Err *err);
/* Removes snapshots older than `oldest` (wal_oldest_mark()). */
int snap_purge(Disk *d, uint64_t oldest, Err *err);

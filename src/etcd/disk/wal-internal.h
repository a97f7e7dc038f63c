/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "etcd/disk/wal.h"

#define WAL_TEMPORARY "wal-next.tmp"
#define WAL_VERSION 1U
#define WAL_NAME_MAX 32U

/* What a segment's first record says. */
typedef struct WalSegmentHead {
        uint64_t cluster_id, node_id;
        uint64_t seq;         /* of the segment, as in its name */
        uint64_t first_index; /* the first entry that is not in an earlier segment */
} WalSegmentHead;

int wal_segment_head_decode(const WalRecord *rec, WalSegmentHead *ret);

/* The part of the state that the head of the next segment repeats. */
typedef struct WalTip {
        RaftHardState hs;
        WalMark marks[WAL_MARKS];
        uint64_t last_index;
} WalTip;

int wal_tip_fold(WalTip *t, const WalRecord *rec);
/* The batch at the head of a segment. */
void wal_batch_head(Buf *b, const WalSegmentHead *head, const WalTip *tip);

typedef struct WalSegment {
        uint64_t seq, first_index;
} WalSegment;

struct Wal {
        Disk *disk; /* weak */
        uint64_t segment_size;
        WalSegmentHead head;       /* of the segment that is written now */
        WalTip tip;                /* as of what was written */
        WalMark synced[WAL_MARKS]; /* marks that are durable */
        WalSegment *segments;      /* owned; all there are, oldest first; the last is `file` */
        size_t n_segments, cap_segments;
        DiskFile *file; /* owned */
        uint64_t offset, durable, size;
        uint32_t crc; /* of the last record */
        int failed;   /* sticky */
};

void wal_segment_name(uint64_t seq, char ret[static WAL_NAME_MAX]);
int wal_segment_parse_name(const char *name, uint64_t *ret_seq);
/* Makes the next segment (head and, for a new log, first batches), durable and named, and switches to it. */
int wal_cut(Wal *w, Buf *first, size_t room, Err *err);

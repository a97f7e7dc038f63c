/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The records of a snapshot (docs/formats/snapshot.md), for writer and reader. */

#define SNAPSHOT_MAGIC "CORASNAP"
#define SNAPSHOT_MAGIC_BYTES 8
#define SNAPSHOT_RECORD_MAX ((size_t) 64 << 20)

typedef enum SnapshotRecord {
        REC_META = 1,
        REC_EXTRA,
        REC_ATTR,
        REC_ALARM,
        REC_LEASE,
        REC_KEY, /* the key that the versions behind it belong to */
        REC_VERSION,
        REC_V2_NODE, /* anywhere behind REC_META, in any order */
        REC_V2_EVENT,
        REC_END,
        _REC_MAX,
} SnapshotRecord;

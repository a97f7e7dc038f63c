/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The bytes of a snapshot file, apart from all files. Pure; this is what the fuzzer feeds.
 *
 *   8 bytes   SNAP_MAGIC
 *   frames:   le32 len, le32 crc, len bytes. crc continues that of the frame before it over len and bytes.
 *             The first holds the meta data, the others the state, at most SNAP_CHUNK_MAX bytes each
 *   the end:  le32 0, le32 crc, le64 bytes of state in all; the crc covers the 0 and the count; nothing
 * follows */

#include "etcd/disk/snap.h"

#define SNAP_MAGIC "CRCLSNP1"
#define SNAP_NAME_MAX 48U
#define SNAP_FRAME_BYTES 8U
#define SNAP_META_MAX 4096U

typedef struct SnapScan {
        uint32_t crc;
        uint64_t total; /* bytes of state so far */
        bool begun, done;
        bool has_meta;
        RaftSnapMeta meta;
} SnapScan;

/* Reads one frame from rd: 1 and the piece of state (borrowed), 0 = more bytes are needed (rd stands where
 * it stood) or, with s->done, the end was reached; -EBADMSG. Bytes behind the end are an error. */
int snap_scan_next(SnapScan *s, Rd *rd, const void **ret, size_t *ret_n);

void snap_encode_begin(const RaftSnapMeta *meta, uint32_t *crc, Buf *to);
void snap_encode_chunk(const void *p, size_t n, uint32_t *crc, Buf *to);
void snap_encode_end(uint64_t total, uint32_t *crc, Buf *to);

void snap_name(uint64_t index, uint64_t term, char ret[static SNAP_NAME_MAX]);
int snap_parse_name(const char *name, uint64_t *ret_index, uint64_t *ret_term);

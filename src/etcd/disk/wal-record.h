/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The bytes of the write-ahead log, apart from all files (docs/formats/wal.md). Pure: this is what the
 * fuzzer feeds. A record is a header of 24 bytes, its payload, and zeros up to a multiple of 8:
 *
 *   le32 crc      CRC-32C over all that follows in header and payload
 *   le32 prev     the crc of the record before it, also across segments: the chain
 *   le32 len      payload bytes
 *   u8   type     WalRecordType
 *   u8   flags    WAL_LAST on the last record of a batch; a batch counts wholly or not at all
 *   le16 0
 *   le64 synced   this offset of the segment and everything before it was durable when the record was
 * written
 *
 * `synced` is what tells a torn tail from damage: a bad record may only be cut off when nothing valid that
 * is found behind it says that it had been durable. */

#include "base/buf.h"
#include "base/err.h"

#define WAL_HEADER_BYTES 24U
#define WAL_ALIGN 8U
#define WAL_PAYLOAD_MAX (65U << 20) /* the largest raft entry and its frame */
#define WAL_LAST 1U

typedef enum WalRecordType {
        WAL_SEGMENT = 1,  /* head of a segment: version, ids, sequence, index of its first entry */
        WAL_HARD = 2,     /* term, vote, commit */
        WAL_ENTRIES = 3,  /* entries; what stood at their indexes and behind is thereby forgotten */
        WAL_SNAPSHOT = 4, /* a snapshot at (index, term) is durable */
        WAL_RESET = 5,    /* the same, and it came from the leader: the log begins anew behind it */
        _WAL_RECORD_MAX,
} WalRecordType;

typedef struct WalRecord {
        uint32_t crc, prev, len;
        WalRecordType type;
        bool last;
        uint64_t synced;
        const uint8_t *payload; /* weak: into the parsed bytes */
        size_t size;            /* header, payload and padding */
} WalRecord;

static inline size_t wal_record_size(size_t payload) {
        return (WAL_HEADER_BYTES + payload + WAL_ALIGN - 1) / WAL_ALIGN * WAL_ALIGN;
}
/* Reads the record at p. 1 = here it is, its own CRC is right (the chain is the caller's business); 0 = no
 * record begins here, the header is all zeros or fewer bytes than a header are left; -EBADMSG = damaged or
 * cut short. */
int wal_record_parse(const void *p, size_t n, WalRecord *ret);

/* Building: begin, append the payload to b, end. prev, synced and crc stay empty until wal_record_seal(). */
size_t wal_record_begin(Buf *b, WalRecordType type);
void wal_record_end(Buf *b, size_t begin, bool last);
/* Fills in the chain, `synced` and the CRC of every record of b; returns the crc of the last one. */
uint32_t wal_records_seal(char *p, size_t n, uint32_t prev, uint64_t synced);

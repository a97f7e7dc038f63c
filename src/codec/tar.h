/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* tar, read and written as a stream. Pure: bytes come from a callback and go to a Buf.
 *
 * Read: ustar, GNU long names (L, K), pax (path, linkpath, size, uid, gid, mtime, SCHILY.xattr.*), base-256
 * numbers, v7. Refused with a message: sparse files (GNU and pax), multi-volume archives, unknown types, and
 * everything that does not add up; archives are hostile input. What an entry's path may be is the extractor's
 * business: this codec only promises that a path is not empty and holds no NUL.
 *
 * Written: ustar, with a pax header before it where ustar does not suffice. Where readers differ (sizes of
 * links, one zero block, global pax headers) this follows Go's archive/tar, which defines what an image is. */

#include "base/buf.h"
#include "base/err.h"

#define TAR_BLOCK 512
#define TAR_PATH_MAX 4096                 /* bytes in a path or link target */
#define TAR_HEADER_DATA_MAX (1U << 20)    /* bytes in one pax header or long name */
#define TAR_XATTRS_MAX 64                 /* per entry */

typedef enum TarType {
        TAR_FILE,
        TAR_HARDLINK,
        TAR_SYMLINK,
        TAR_CHAR,
        TAR_BLOCK_DEVICE,
        TAR_DIR,
        TAR_FIFO,
        _TAR_TYPE_MAX,
} TarType;

typedef struct TarXattr {
        char *name; /* owned, without the "SCHILY.xattr." prefix */
        char *value; /* owned; len bytes, may hold NULs */
        size_t len;
} TarXattr;

typedef struct TarEntry {
        TarType type;
        char *path; /* owned; as in the archive */
        char *link; /* owned; target of a link, "" otherwise */
        uint64_t size; /* bytes of content that follow; 0 unless TAR_FILE */
        uint32_t mode; /* permission bits, 07777 */
        uint32_t uid, gid;
        int64_t mtime_sec;
        uint32_t mtime_nsec;
        uint32_t dev_major, dev_minor;
        TarXattr *xattrs; /* n_xattrs of them */
        size_t n_xattrs;
} TarEntry;

void tar_entry_done(TarEntry *e);

/* Fills `buf` with up to n bytes; fewer than n only at the end of the stream; negative errno on failure. */
typedef int64_t (*TarSource)(void *userdata, void *buf, size_t n, Err *err);

typedef struct TarReader {
        TarSource source;
        void *userdata;
        uint64_t left; /* bytes of the current entry's content not yet read */
        uint32_t padding; /* zero bytes behind it */
        bool ended;
} TarReader;

/* The next entry (skipping what is left of the current one). 1 = *ret is set (tar_entry_done() it), 0 = end of
 * the archive, -EBADMSG with a message = broken or refused, or the source's error. */
int tar_next(TarReader *t, TarEntry *ret, Err *err);
/* Up to n bytes of the current entry's content; 0 = no more. -EBADMSG when the archive is cut short. */
int64_t tar_read(TarReader *t, void *buf, size_t n, Err *err);

/* Appends the header (with a pax header before it when needed) of an entry; the caller adds e->size bytes of
 * content and then tar_write_padding(). */
void tar_write_header(Buf *b, const TarEntry *e);
void tar_write_padding(Buf *b, uint64_t size);
void tar_write_end(Buf *b);

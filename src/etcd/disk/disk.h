/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The disk as the write-ahead log and the snapshots see it: one folder of flat names, and a table of the few
 * operations they need. The table has two implementations: disk_open() below does real system calls,
 * sim/sim-disk.c keeps sectors in memory and loses, tears, delays and fails them by seed.
 *
 * Invariants the users of the table may rely on, and nothing more:
 *  - what was pwritten is durable only after fdatasync() of that file returned 0;
 *  - a name (create, rename, unlink) is durable only after fsyncdir() returned 0;
 *  - a 512-byte sector is written wholly or not at all; sectors of one write reach the medium in any order;
 *  - after a failed fdatasync() nothing is known about the file any more: stop, never try it again.
 *
 * Rejected: a stdio-like layer (hides what is synced), io_uring (blocked by common seccomp profiles; may
 * become a third implementation), one table per folder kind (the flat folder keeps fsyncdir obvious). */

#include "base/err.h"

#include <sys/types.h>

typedef struct Disk Disk;
typedef struct DiskFile DiskFile;

#define DISK_SECTOR 512U

typedef enum DiskOpenFlags {
        DISK_OPEN_CREATE = 1 << 0,   /* make it when it is not there; an existing file is emptied */
        DISK_OPEN_READONLY = 1 << 1, /* pwrite and the like give -EBADF */
} DiskOpenFlags;

/* All return 0 or a negative errno. pread() returns the count, short only at the end of the file; pwrite()
 * writes all or fails (a failure may have written a part). */
typedef struct DiskOps {
        int (*open)(Disk *d, const char *name, DiskOpenFlags flags, DiskFile **ret);
        void (*close)(DiskFile *f); /* NULL is allowed */
        ssize_t (*pread)(DiskFile *f, void *p, size_t n, uint64_t offset);
        int (*pwrite)(DiskFile *f, const void *p, size_t n, uint64_t offset);
        int (*fdatasync)(DiskFile *f);
        int (*fallocate)(DiskFile *f,
                         uint64_t size); /* size becomes at least that; new bytes read as zeros */
        int (*truncate)(DiskFile *f, uint64_t size);
        int (*size)(DiskFile *f, uint64_t *ret);
        int (*rename)(Disk *d, const char *from, const char *to); /* replaces `to` */
        int (*unlink)(Disk *d, const char *name);
        int (*list)(Disk *d, char ***ret); /* strv, sorted */
        int (*fsyncdir)(Disk *d);
        void (*free)(Disk *d);
} DiskOps;

struct Disk {
        const DiskOps *ops;
};
struct DiskFile {
        Disk *disk; /* weak */
};

/* The real thing, below `path`, which is made (mode 0700) when it is not there and locked against a second
 * process: -EBUSY with a message. */
int disk_open_folder(const char *path, Disk **ret, Err *err);

static inline int disk_open(Disk *d, const char *name, DiskOpenFlags flags, DiskFile **ret) {
        return d->ops->open(d, name, flags, ret);
}
static inline ssize_t disk_pread(DiskFile *f, void *p, size_t n, uint64_t offset) {
        return f->disk->ops->pread(f, p, n, offset);
}
static inline int disk_pwrite(DiskFile *f, const void *p, size_t n, uint64_t offset) {
        return f->disk->ops->pwrite(f, p, n, offset);
}
static inline int disk_fdatasync(DiskFile *f) {
        return f->disk->ops->fdatasync(f);
}
static inline int disk_fallocate(DiskFile *f, uint64_t size) {
        return f->disk->ops->fallocate(f, size);
}
static inline int disk_truncate(DiskFile *f, uint64_t size) {
        return f->disk->ops->truncate(f, size);
}
static inline int disk_size(DiskFile *f, uint64_t *ret) {
        return f->disk->ops->size(f, ret);
}
static inline int disk_rename(Disk *d, const char *from, const char *to) {
        return d->ops->rename(d, from, to);
}
static inline int disk_unlink(Disk *d, const char *name) {
        return d->ops->unlink(d, name);
}
static inline int disk_list(Disk *d, char ***ret) {
        return d->ops->list(d, ret);
}
static inline int disk_fsyncdir(Disk *d) {
        return d->ops->fsyncdir(d);
}
static inline Disk *disk_free(Disk *d) {
        if (d)
                d->ops->free(d);
        return NULL;
}
DEFINE_CLEANUP(Disk *, disk_free)
static inline DiskFile *disk_close(DiskFile *f) {
        if (f)
                f->disk->ops->close(f);
        return NULL;
}
DEFINE_CLEANUP(DiskFile *, disk_close)

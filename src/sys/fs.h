/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Files. Every descriptor is O_CLOEXEC; every function returns a negative errno on failure. */

#include "base/alloc.h"
#include "base/buf.h"

#include <sys/types.h>
#include <unistd.h>

static inline int safe_close(int fd) {
        if (fd >= 0)
                (void) close(fd);
        return -EBADF;
}
static inline void closep(int *fd) {
        (void) safe_close(*fd);
}
#define _cleanup_close_ _cleanup_(closep)

int write_all(int fd, const void *p, size_t n);
/* The whole file; -EFBIG above `limit` bytes. */
int read_file(const char *path, size_t limit, Buf *ret);
int read_file_at(int dirfd, const char *path, size_t limit, Buf *ret);
/* First line without its newline, owned. */
int read_line_file(const char *path, char **ret);
/* Atomic and durable: temporary file beside it, fsync, rename, fsync of the folder. */
int write_file_atomic(const char *path, const void *p, size_t n, mode_t mode);
/* Writes to an existing file (sysfs, cgroupfs): one write. */
int write_existing(const char *path, const char *s);
int mkdir_p(const char *path, mode_t mode); /* 0 also when it is there */
int rm_rf(const char *path);                /* does not follow links nor cross into them; 0 when absent */
int fsync_dir(const char *path);
char *path_join(const char *a, const char *b); /* owned; one slash between */
const char *path_base(const char *path);       /* after the last slash, weak */

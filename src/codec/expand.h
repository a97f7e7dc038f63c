/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Decompression of a stream whose kind is found from its first bytes: gzip (any number of members), zstd
 * (frames and skippable frames), bzip2, xz, or plain. Pure: bytes come from a callback. Input is hostile, so
 * the memory a decoder may take and the ratio of output to input are limited. */

#include "base/err.h"

typedef enum ExpandKind { EXPAND_PLAIN, EXPAND_GZIP, EXPAND_ZSTD, EXPAND_BZIP2, EXPAND_XZ } ExpandKind;

#define EXPAND_WINDOW_LOG_MAX 27               /* zstd: 128 MiB of window, the format's recommended maximum */
#define EXPAND_XZ_MEMORY_MAX (UINT64_C(160) << 20)

typedef struct ExpandLimits {
        uint64_t bytes_max;  /* output; 0 = no limit */
        uint64_t ratio_max;  /* output per input byte, watched once ratio_from bytes came out; 0 = no limit */
        uint64_t ratio_from;
} ExpandLimits;

/* Fills `buf` with up to n bytes; 0 only at the end of the stream; negative errno on failure. */
typedef int64_t (*ExpandSource)(void *userdata, void *buf, size_t n, Err *err);

typedef struct Expander Expander;
Expander *expander_new(ExpandSource source, void *userdata, const ExpandLimits *limits);
Expander *expander_free(Expander *x);
DEFINE_CLEANUP(Expander *, expander_free)
/* Fills buf with n bytes, fewer only at the end. -EBADMSG: broken or cut short; -E2BIG: over a limit. */
int64_t expander_read(Expander *x, void *buf, size_t n, Err *err);
/* What it turned out to be; valid after the first read. */
ExpandKind expander_kind(const Expander *x);
uint64_t expander_bytes_in(const Expander *x);

ExpandKind expand_detect(const void *p, size_t n); /* from at least 6 bytes */

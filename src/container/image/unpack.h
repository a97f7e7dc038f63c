/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Unpacking one layer blob, compressed in whatever way, into a new folder: the extractor in its confined
 * child, and the finishing touches that need privileges. */

#include "base/err.h"

typedef struct LayerResult {
        char diff_id[65];     /* sha256 of the uncompressed tar, hex */
        uint64_t bytes;       /* of file content */
        uint64_t tar_bytes;   /* of the uncompressed tar */
        uint64_t entries, devices_skipped;
        bool opaque_root;     /* nothing of the layers below shows */
} LayerResult;

#define LAYER_RATIO_MAX 400                      /* unpacked bytes per compressed byte … */
#define LAYER_RATIO_FROM (UINT64_C(256) << 20)   /* … watched from here on: files of zeros do occur */

typedef struct LayerUnpack {
        int blob_fd;           /* a regular file; the caller may watch its offset for progress */
        const char *target;    /* folder to make; must not exist */
        char *const *lower;    /* fs folders of the layers below, topmost first: they lend implicit folders
                                * their owner and mode */
        void (*tick)(void *userdata); /* called about ten times a second while the child works; may be NULL */
        void *userdata;
} LayerUnpack;

/* On failure the target may be left half-made: it is the caller's to remove. */
int layer_unpack(const LayerUnpack *u, LayerResult *ret, Err *err);

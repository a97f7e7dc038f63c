/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writing one layer's tar into an empty folder, in the form overlayfs wants for a lower layer (spec C.3, E.3).
 *
 * The archive is hostile. Rules:
 *  - every parent folder is opened with openat2(RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS | NO_XDEV) and
 *    every file is created with O_EXCL | O_NOFOLLOW by its last name in that folder: a symbolic link is never
 *    followed, not even one that stays inside; an entry behind one is an error;
 *  - ".." anywhere in a path is an error; absolute paths are taken relative to the layer;
 *  - the last entry of a path wins; a folder over a folder merges;
 *  - whiteouts hide what LOWER layers have: a char device 0:0, or the folder joins `opaque`;
 *  - device nodes are left out and counted: containers get their /dev from the runtime, a block device in an
 *    image would be the host's (spec E.2), and a char 0:0 from the archive would be a forged whiteout;
 *  - of extended attributes security.capability, user.* and ACLs are kept; trusted.overlay.* above all is not;
 *  - owner before mode before attributes (chown clears setuid bits and capabilities), folder times last.
 *
 * It runs inside the confined child of unpack.h, which cannot set trusted.* attributes nor see lower layers;
 * so opaque folders and folders without an entry of their own are reported, and the parent finishes them. */

#include "codec/tar.h"

typedef struct ExtractLimits {
        uint64_t bytes_max;   /* of file content */
        uint64_t entries_max;
        unsigned depth_max;   /* components of a path */
} ExtractLimits;

#define EXTRACT_BYTES_MAX (UINT64_C(64) << 30)
#define EXTRACT_ENTRIES_MAX 2000000
#define EXTRACT_DEPTH_MAX 256
#define EXTRACT_NAMES_MAX (128U << 20) /* bytes of paths that must be remembered up to the end */

typedef struct ExtractResult {
        uint64_t bytes, entries, devices_skipped;
        bool opaque_root; /* overlayfs does not look at the root's attribute: the store leaves out lower layers */
        char **opaque;    /* strv of folders, relative to the layer */
        char **implicit;  /* likewise: made because an entry needed them, without an entry of their own */
} ExtractResult;

void extract_result_done(ExtractResult *r);
/* Extracts all entries of `t` below rootfd. -EBADMSG, -ELOOP, -E2BIG, … with a message naming the entry. */
int extract_layer(TarReader *t, int rootfd, const ExtractLimits *limits, ExtractResult *ret, Err *err);

/* Opens `path` beneath rootfd without following anything; `flags` as open(2). */
int open_beneath(int rootfd, const char *path, int flags);

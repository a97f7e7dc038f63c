/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Copies of folders: modes, times, extended attributes, symlinks as symlinks, hard links as separate files. Nothing
 * is followed out of either folder; device nodes and sockets are left out. */

#include "base/macro.h"

typedef enum CopyFlags {
        COPY_OWNER = 1 << 0, /* keep owner and group; otherwise everything belongs to the caller */
} CopyFlags;

bool dir_is_empty(int dirfd);
/* Copies what is in the folder `from` into the folder `to`, and gives `to` the mode (and owner) of `from`. */
int copy_tree_content(int from, int to, CopyFlags flags);
/* Copies one thing `name` of folder `from` to `to_name` of folder `to`; existing files are replaced, existing
 * folders are merged into. */
int copy_tree_entry(int from, const char *name, int to, const char *to_name, CopyFlags flags);
/* Copies the regular file `in`, replacing what is at its new place. */
int copy_tree_file(int in, int to, const char *to_name, CopyFlags flags);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Copies of folders as they are: modes, owners, times, extended attributes, symlinks as symlinks, hard links as
 * separate files. Nothing is followed out of either folder. */

#include "base/macro.h"

bool dir_is_empty(int dirfd);
/* Copies what is in the folder `from` into the folder `to`, and gives `to` the owner and mode of `from`. */
int copy_tree_content(int from, int to);
/* Copies one thing `name` of folder `from` to `to_name` of folder `to`; existing files are replaced, existing
 * folders are merged into. */
int copy_tree_entry(int from, const char *name, int to, const char *to_name);

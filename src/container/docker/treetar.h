/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Folders as tar streams, for `docker cp` with "-". */

#include "base/err.h"
#include "sys/copytree.h"

/* Writes `name` of folder `dir` (or the file `file`, when >= 0) under the path `as` to fd. */
int tree_to_tar(int dir, const char *name, int file, const char *as, int fd);
/* Unpacks into `folder`; paths that leave it, or go through symlinks, are errors; devices are left out. */
int tar_to_tree(int fd, int folder, CopyFlags flags, Err *err);

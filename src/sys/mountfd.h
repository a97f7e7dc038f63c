/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Mounting by descriptors: the fsopen()/open_tree()/move_mount() family and openat2(), as thin wrappers that
 * return a descriptor or 0, or a negative errno. A path that a container can influence is first opened with
 * openat2() below its root; what is mounted goes onto that descriptor, never onto a path. */

#include "base/macro.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/types.h>

/* openat2(2); O_CLOEXEC is added. */
int sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
/* A descriptor (O_PATH unless flags say otherwise) for `path` as a process with the root `rootfd` sees it. */
int open_in_root(int rootfd, const char *path, int flags);
/* Opens or creates the directory `path` below rootfd, with its parents, never leaving rootfd. O_PATH. */
int mkdir_in_root(int rootfd, const char *path, mode_t mode);
/* Opens `path` below rootfd as O_PATH; makes an empty file (and the parents) where nothing is. */
int mkfile_in_root(int rootfd, const char *path, mode_t mode);

/* A detached mount of a new file system. `options` are "key=value" or "flag" words, NULL-terminated list or
 * NULL; `attr` are MOUNT_ATTR_*. */
int fs_mount_new(const char *type, const char *const *options, uint64_t attr);
/* A detached copy of what is mounted at `path`; recursive takes the mounts below along. */
int mount_clone(int dirfd, const char *path, bool recursive);
/* mount_setattr(2) on a mount descriptor. `propagation` is 0 or MS_PRIVATE, MS_SLAVE, MS_SHARED. */
int mount_attr(int mountfd, bool recursive, uint64_t set, uint64_t clear, uint64_t propagation);
/* Puts a detached mount onto the place that `targetfd` (O_PATH) is. */
int mount_attach(int mountfd, int targetfd);
int mount_attach_at(int mountfd, int dirfd, const char *path);
int sys_pivot_root(const char *new_root, const char *put_old);

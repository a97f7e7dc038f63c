/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* docker cp. Both sides are a root folder and a path in it; a container's side is only ever walked with openat2()
 * below its root, so that its symlinks mean what they mean inside (CVE-2018-15664), and nothing of it is executed
 * (CVE-2019-14271). */

#include "container/run/store.h"
#include "sys/copytree.h"

/* A descriptor of the container's root: of its running processes, or mounted for us alone when it is stopped (then
 * *ret_lock keeps it from being started). May move the calling process into a mount namespace of its own. */
int container_root_open(Store *s, const Container *c, int *ret_root, int *ret_lock, Err *err);

typedef struct CopySide {
        int root;
        const char *path; /* absolute */
        const char *name; /* for messages */
} CopySide;
/* With docker's rules about existing folders and trailing "/" and "/." */
int container_copy(const CopySide *from, const CopySide *to, bool follow_link, CopyFlags flags, Err *err);
/* A tar of one file or folder to a descriptor, and a tar unpacked into an existing folder. */
int container_copy_out(const CopySide *from, bool follow_link, int fd, Err *err);
int container_copy_in(int fd, const CopySide *to, CopyFlags flags, Err *err);

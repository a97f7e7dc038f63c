/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who a container's process runs as: "user|uid[:group|gid]" looked up in the IMAGE's passwd and group files (spec
 * C.4). Pure: the texts are passed in. Unknown names are errors, unknown numbers are allowed. The files are
 * hostile input: lines of any length and garbage numbers are skipped. */

#include "base/err.h"

#include <sys/types.h>

#define USER_GROUPS_MAX 256

typedef struct UserIds {
        uid_t uid;
        gid_t gid;
        gid_t groups[USER_GROUPS_MAX]; /* supplementary */
        size_t n_groups;
        char *home; /* never NULL after success; owned */
} UserIds;

void user_ids_done(UserIds *u);
/* `user` NULL or "" is uid 0. `group_add` are more group names or numbers. -ENOENT with docker's wording. */
int user_resolve(const char *passwd, const char *group, const char *user, char *const *group_add, UserIds *ret,
                 Err *err);

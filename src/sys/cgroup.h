/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Control groups of either version behind one interface: a CgroupSet is one group seen through every hierarchy
 * that matters (v1: memory, cpu, cpuacct, pids, devices, freezer, each perhaps mounted together; v2: one).
 *
 * Entering: a single-threaded process moves itself by writing "0" to v1's `tasks`. That skips the kernel's
 * threadgroup lock, whose first taker waits for an RCU grace period (measured: 14 ms against 0.08 ms for writing
 * a pid to cgroup.procs). In v2 the process is born inside (clone3 with CLONE_INTO_CGROUP), for the same reason. */

#include "base/err.h"

#include <sys/types.h>

typedef enum CgroupController {
        CGROUP_MEMORY = 1 << 0,
        CGROUP_CPU = 1 << 1,
        CGROUP_CPUACCT = 1 << 2,
        CGROUP_PIDS = 1 << 3,
        CGROUP_DEVICES = 1 << 4,
        CGROUP_FREEZER = 1 << 5,
        CGROUP_CPUSET = 1 << 6,
        CGROUP_V2 = 1 << 7, /* the unified hierarchy itself */
} CgroupController;

#define CGROUP_DIRS_MAX 8

typedef struct CgroupDir {
        unsigned controllers; /* CgroupController bits */
        char *mount;          /* mount point of the hierarchy */
        char *dir;            /* the group's folder */
        int enter_fd;         /* v1: `tasks` open for writing; v2: the folder; -EBADF = not made by us */
} CgroupDir;

typedef struct CgroupSet {
        CgroupDir dirs[CGROUP_DIRS_MAX];
        size_t n;
} CgroupSet;

void cgroup_set_done(CgroupSet *s);
/* Where process `pid` (0 = the caller) is. An empty set when no hierarchy is mounted. */
int cgroup_of(pid_t pid, CgroupSet *ret, Err *err);
/* Makes the group `name` below each folder of `parent`. With `limits`, v2 gets the controllers switched on, for
 * which the processes of the parent may be moved into a leaf of their own (v2 has no processes in inner groups).
 * A hierarchy that refuses is left out. */
int cgroup_make(const CgroupSet *parent, const char *name, bool limits, CgroupSet *ret, Err *err);
/* Opens an existing group below `parent` again; hierarchies without it are left out. */
int cgroup_open(const CgroupSet *parent, const char *name, CgroupSet *ret);

const CgroupDir *cgroup_dir(const CgroupSet *s, CgroupController c); /* NULL when not there */
/* The descriptor for CLONE_INTO_CGROUP, or -EBADF. */
int cgroup_clone_fd(const CgroupSet *s);
/* Moves the calling, single-threaded process into the v1 groups (and v2, unless born there). */
int cgroup_enter_self(const CgroupSet *s, bool born_in_v2);
/* Writes `value` to `file` of the hierarchy with controller c; -ENOENT when that is not there. */
int cgroup_write(const CgroupSet *s, CgroupController c, const char *file, const char *value);
int cgroup_read_u64(const CgroupSet *s, CgroupController c, const char *file, uint64_t *ret);
/* The number behind `key` in a "key value" file such as memory.events. */
int cgroup_read_key(const CgroupSet *s, CgroupController c, const char *file, const char *key, uint64_t *ret);
/* The processes in the group (of any one hierarchy); *ret is an array for the caller to free. */
int cgroup_pids(const CgroupSet *s, pid_t **ret, size_t *ret_n);
/* Sends SIGKILL until nobody is left (gives up after about a second). */
void cgroup_kill(const CgroupSet *s);
/* Removes the group's folders; waits a little for dying processes to leave. */
void cgroup_remove(const CgroupSet *s);

typedef struct CgroupLimits {
        int64_t memory;      /* bytes, 0 = none */
        int64_t memory_swap; /* memory plus swap; 0 = twice the memory, -1 = no limit */
        int64_t memory_reservation;
        uint64_t cpu_shares; /* v1 scale, 0 = none */
        int64_t cpu_quota, cpu_period; /* microseconds */
        int64_t pids;                  /* 0 = none */
        const char *cpuset_cpus, *cpuset_mems;
} CgroupLimits;
bool cgroup_limits_any(const CgroupLimits *l);
/* A limit that no hierarchy can hold is an error, not ignored. */
int cgroup_apply(const CgroupSet *s, const CgroupLimits *l, Err *err);
/* How often the kernel's OOM killer took somebody in the group. */
uint64_t cgroup_oom_kills(const CgroupSet *s);

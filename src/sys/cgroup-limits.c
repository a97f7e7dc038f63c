/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "sys/cgroup.h"
#include "sys/fs.h"

/* Resource limits, in the words of each version of the kernel's interface. */

bool cgroup_limits_any(const CgroupLimits *l) {
        return l->memory > 0 || l->memory_reservation > 0 || l->cpu_shares > 0 || l->cpu_quota > 0 || l->pids > 0 ||
               !isempty(l->cpuset_cpus) || !isempty(l->cpuset_mems);
}

static bool is_v2(const CgroupSet *s) {
        return cgroup_clone_fd(s) >= 0;
}

static int set_number(const CgroupSet *s, CgroupController c, const char *file, int64_t v, const char *what,
                      Err *err) {
        _cleanup_free_ char *text = v < 0 ? xstrdup(is_v2(s) ? "max" : "-1") : xasprintf("%" PRId64, v);
        int r = cgroup_write(s, c, file, text);
        return r < 0 ? err_errno(err, r, "cannot limit %s (%s) for the container", what, file) : 0;
}

static int apply_memory(const CgroupSet *s, const CgroupLimits *l, Err *err) {
        bool v2 = is_v2(s);
        int r = set_number(s, CGROUP_MEMORY, v2 ? "memory.max" : "memory.limit_in_bytes", l->memory, "memory", err);
        if (r < 0)
                return r;
        int64_t both = l->memory_swap == 0 ? 2 * l->memory : l->memory_swap;
        int64_t v = v2 && both > 0 ? both - l->memory : both;
        _cleanup_free_ char *text = v < 0 ? xstrdup(v2 ? "max" : "-1") : xasprintf("%" PRId64, v);
        r = cgroup_write(s, CGROUP_MEMORY, v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes", text);
        /* Kernels without swap accounting: as docker does, only an explicit wish is worth an error. */
        if (r < 0 && l->memory_swap > 0 && l->memory_swap != l->memory)
                return err_errno(err, r, "cannot limit swap for the container");
        return 0;
}

static int apply_cpu(const CgroupSet *s, const CgroupLimits *l, Err *err) {
        bool v2 = is_v2(s);
        if (l->cpu_shares > 0) {
                uint64_t shares = MIN(MAX(l->cpu_shares, (uint64_t) 2), (uint64_t) 262144);
                /* The usual mapping of 2..262144 onto cgroup v2's 1..10000. */
                int64_t v = (int64_t) (v2 ? 1 + (shares - 2) * 9999 / 262142 : shares);
                int r = set_number(s, CGROUP_CPU, v2 ? "cpu.weight" : "cpu.shares", v, "cpu shares", err);
                if (r < 0)
                        return r;
        }
        if (l->cpu_quota <= 0)
                return 0;
        int64_t period = l->cpu_period > 0 ? l->cpu_period : 100000;
        if (v2) {
                _cleanup_free_ char *text = xasprintf("%" PRId64 " %" PRId64, l->cpu_quota, period);
                int r = cgroup_write(s, CGROUP_CPU, "cpu.max", text);
                return r < 0 ? err_errno(err, r, "cannot limit cpu time for the container") : 0;
        }
        int r = set_number(s, CGROUP_CPU, "cpu.cfs_period_us", period, "cpu time", err);
        return r < 0 ? r : set_number(s, CGROUP_CPU, "cpu.cfs_quota_us", l->cpu_quota, "cpu time", err);
}

/* A v1 cpuset group is unusable until both its lists are filled. */
static int apply_cpuset(const CgroupSet *s, const CgroupLimits *l, Err *err) {
        const CgroupDir *d = cgroup_dir(s, CGROUP_CPUSET);
        static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
        const char *wish[] = { l->cpuset_cpus, l->cpuset_mems };
        bool wanted = !isempty(wish[0]) || !isempty(wish[1]);
        if (!d)
                return wanted ? err_set(err, -ENOENT, "this kernel has no cpuset control group") : 0;
        for (size_t i = 0; i < 2; i++) {
                _cleanup_free_ char *inherited = NULL;
                if (isempty(wish[i]) && d->controllers != CGROUP_V2) {
                        _cleanup_free_ char *up = xasprintf("%s/../%s", d->dir, files[i]);
                        (void) read_line_file(up, &inherited);
                }
                const char *v = isempty(wish[i]) ? inherited : wish[i];
                int r = isempty(v) ? 0 : cgroup_write(s, CGROUP_CPUSET, files[i], v);
                if (r < 0 && (wanted || d->controllers != CGROUP_V2))
                        return err_errno(err, r, "cannot set %s of the container to \"%s\"", files[i], v);
        }
        return 0;
}

int cgroup_apply(const CgroupSet *s, const CgroupLimits *l, Err *err) {
        int r = l->memory > 0 ? apply_memory(s, l, err) : 0;
        if (r >= 0 && l->memory_reservation > 0)
                r = set_number(s, CGROUP_MEMORY, is_v2(s) ? "memory.low" : "memory.soft_limit_in_bytes",
                               l->memory_reservation, "memory", err);
        if (r >= 0)
                r = apply_cpu(s, l, err);
        if (r >= 0 && l->pids > 0)
                r = set_number(s, CGROUP_PIDS, "pids.max", l->pids, "processes", err);
        if (r >= 0 && cgroup_limits_any(l))
                r = apply_cpuset(s, l, err);
        return r;
}

uint64_t cgroup_oom_kills(const CgroupSet *s) {
        uint64_t n = 0;
        (void) cgroup_read_key(s, CGROUP_MEMORY, is_v2(s) ? "memory.events" : "memory.oom_control", "oom_kill", &n);
        return n;
}

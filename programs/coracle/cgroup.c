/* SPDX-License-Identifier: Apache-2.0 */

/* Each node lives in a cgroup of its own in every hierarchy of the host, so that the systemd inside can set
 * limits on its units and so that nothing of it survives unseen. Works on cgroup v1, hybrid and v2 hosts. */

#include "base/alloc.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/fs.h"

#include <dirent.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"

bool cgroup_is_v2(void) {
        struct statfs s;
        return statfs(ROOT, &s) == 0 && s.f_type == CGROUP2_SUPER_MAGIC;
}

/* The mounted hierarchies: v1 controllers, or the one of v2. Links such as "cpu,cpuacct" are passed over. */
static char **hierarchies(void) {
        char **l = NULL;
        if (cgroup_is_v2()) {
                strv_add(&l, ROOT);
                return l;
        }
        DIR *d = opendir(ROOT);
        for (struct dirent *e; d && (e = readdir(d));) {
                _cleanup_free_ char *procs = xasprintf(ROOT "/%s/cgroup.procs", e->d_name);
                if (e->d_name[0] != '.' && e->d_type == DT_DIR && access(procs, F_OK) == 0)
                        strv_addf(&l, ROOT "/%s", e->d_name);
        }
        if (d)
                (void) closedir(d);
        return l;
}

static void copy_setting(const char *from_dir, const char *to_dir, const char *name) {
        _cleanup_free_ char *from = path_join(from_dir, name), *to = path_join(to_dir, name), *v = NULL;
        if (read_line_file(from, &v) >= 0)
                (void) write_existing(to, v);
}

int cgroup_enter(const char *name) {
        _cleanup_strv_ char **l = hierarchies();
        STRV_FOREACH(h, l) {
                _cleanup_free_ char *dir = path_join(*h, name), *procs = path_join(dir, "cgroup.procs");
                if (mkdir(dir, 0755) < 0 && errno != EEXIST)
                        return -errno;
                if (endswith(*h, "/cpuset")) {
                        copy_setting(*h, dir, "cpuset.cpus");
                        copy_setting(*h, dir, "cpuset.mems");
                        _cleanup_free_ char *clone = path_join(dir, "cgroup.clone_children");
                        (void) write_existing(clone, "1");
                }
                int r = write_existing(procs, "0");
                if (r < 0)
                        return r;
        }
        return 0;
}

static void remove_tree(const char *dir, unsigned depth) {
        DIR *d = depth > 32 ? NULL : opendir(dir);
        for (struct dirent *e; d && (e = readdir(d));) {
                if (e->d_type != DT_DIR || e->d_name[0] == '.')
                        continue;
                _cleanup_free_ char *sub = path_join(dir, e->d_name);
                remove_tree(sub, depth + 1);
        }
        if (d)
                (void) closedir(d);
        (void) rmdir(dir);
}

int cgroup_remove(const char *name) {
        _cleanup_strv_ char **l = hierarchies();
        int r = 0;
        STRV_FOREACH(h, l) {
                _cleanup_free_ char *dir = path_join(*h, name);
                remove_tree(dir, 0);
                if (access(dir, F_OK) == 0)
                        r = -EBUSY;
        }
        return r;
}

/* SPDX-License-Identifier: Apache-2.0 */

/* An image registry on the bridge's address. Nodes reach it as 127.0.0.1:5000 through a socket proxy of
 * their own, so that image names are the same on every machine and plain HTTP stays on loopback and the
 * bridge. */

#include "base/alloc.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static pid_t registry_pid(const Cluster *c) {
        _cleanup_free_ char *path = path_join(c->dir, "registry.pid"), *line = NULL, *exe = NULL;
        int pid;
        if (read_line_file(path, &line) < 0 || parse_int(line, &pid) < 0 || pid <= 1)
                return 0;
        char target[256];
        _cleanup_free_ char *link = xasprintf("/proc/%d/exe", pid);
        ssize_t n = readlink(link, target, sizeof(target) - 1);
        if (n <= 0)
                return 0;
        target[n] = 0;
        return endswith(target, "/docker-registry") ? pid : 0;
}

static int write_config(const Cluster *c, const char *path) {
        _cleanup_free_ char *gw = cluster_gateway(c);
        _cleanup_free_ char *text =
                        xasprintf("version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n"
                                  "    rootdirectory: %s/registry\n  delete:\n    enabled: true\n"
                                  "http:\n  addr: %s:5000\n",
                                  c->dir, gw);
        return write_file_atomic(path, text, strlen(text), 0644);
}

int registry_start(const Cluster *c, Err *err) {
        if (registry_pid(c) > 0)
                return 0;
        _cleanup_free_ char *config = path_join(c->dir, "registry.yml"),
                            *log = path_join(c->dir, "registry.log"),
                            *pid_path = path_join(c->dir, "registry.pid");
        int r = write_config(c, config);
        if (r < 0)
                return err_errno(err, r, "cannot write %s", config);
        pid_t pid = fork();
        if (pid < 0)
                return err_errno(err, -errno, "cannot fork");
        if (pid == 0) {
                (void) setsid();
                int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
                (void) dup2(in, 0);
                (void) dup2(out, 1);
                (void) dup2(out, 2);
                (void) close_range(3, ~0U, 0);
                execlp("docker-registry", "docker-registry", "serve", config, NULL);
                _exit(127);
        }
        _cleanup_free_ char *text = xasprintf("%d\n", pid);
        r = write_file_atomic(pid_path, text, strlen(text), 0644);
        return r < 0 ? err_errno(err, r, "cannot write %s", pid_path) : 0;
}

int registry_stop(const Cluster *c, Err *err) {
        pid_t pid = registry_pid(c);
        if (pid > 0 && kill(pid, SIGTERM) < 0 && errno != ESRCH)
                return err_errno(err, -errno, "cannot stop the registry (pid %d)", pid);
        for (int i = 0; i < 100 && registry_pid(c) > 0; i++)
                (void) poll(NULL, 0, 50);
        if (registry_pid(c) > 0)
                (void) kill(pid, SIGKILL);
        _cleanup_free_ char *path = path_join(c->dir, "registry.pid");
        (void) unlink(path);
        return 0;
}

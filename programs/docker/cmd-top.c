/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/table.h"
#include "each.h"
#include "sys/cgroup.h"
#include "sys/fs.h"

#include <ctype.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* docker top: the host's ps, its rows for the processes of the container's control group. */

#define PS_OUTPUT_MAX (4U << 20)

static int run_ps(char **ps_args, Buf *out, Err *err) {
        static char *fallback[] = { (char *) "-ef", NULL };
        _cleanup_free_ char **args = xnew(char *, strv_len(ps_args) + 3);
        args[0] = (char *) "ps";
        char **from = *ps_args ? ps_args : fallback;
        for (size_t i = 0; from[i]; i++)
                args[i + 1] = from[i];
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return err_errno(err, -errno, "cannot run ps");
        _cleanup_close_ int in = fds[0];
        posix_spawn_file_actions_t actions;
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
        pid_t pid;
        int r = posix_spawnp(&pid, "ps", &actions, NULL, args, environ), status = 0;
        (void) posix_spawn_file_actions_destroy(&actions);
        (void) close(fds[1]);
        if (r)
                return err_errno(err, -r, "cannot run ps");
        for (char part[8192]; out->len < PS_OUTPUT_MAX;) {
                ssize_t n = read(in, part, sizeof(part));
                if (n <= 0)
                        break;
                buf_add(out, part, (size_t) n);
        }
        (void) waitpid(pid, &status, 0);
        return status ? err_set(err, -EINVAL, "ps failed") : 0;
}

/* Up to n - 1 words, then the rest of the line. */
static char **split_line(const char *line, size_t n) {
        char **cells = NULL;
        while (isspace((unsigned char) *line))
                line++;
        while (*line && strv_len(cells) + 1 < n) {
                size_t len = strcspn(line, " \t");
                strv_push(&cells, xstrndup(line, len));
                line += len;
                while (isspace((unsigned char) *line))
                        line++;
        }
        if (*line)
                strv_add(&cells, line);
        return cells;
}

static int container_pids(const Container *c, pid_t **ret, size_t *ret_n, Err *err) {
        CgroupSet set = {};
        STRV_FOREACH(dir, c->state.cgroups)
                if (set.n < CGROUP_DIRS_MAX)
                        set.dirs[set.n++] = (CgroupDir){ .dir = xstrdup(*dir), .enter_fd = -EBADF };
        int r = cgroup_pids(&set, ret, ret_n);
        cgroup_set_done(&set);
        return r < 0 ? err_errno(err, r, "cannot list the processes of container %s", c->id) : 0;
}

static int show(const Buf *ps, const pid_t *pids, size_t n_pids, Err *err) {
        _cleanup_strv_ char **lines = strv_split(buf_str(ps), "\n", false), **head = NULL;
        if (!lines || !*lines)
                return err_set(err, -EINVAL, "ps printed nothing");
        head = split_line(lines[0], SIZE_MAX);
        size_t columns = strv_len(head), pid_column = SIZE_MAX;
        for (size_t i = 0; i < columns; i++)
                if (streq(head[i], "PID"))
                        pid_column = i;
        if (pid_column == SIZE_MAX)
                return err_set(err, -EINVAL, "Couldn't find PID field in ps output");
        _cleanup_(docker_table_done) DockerTable t = {};
        docker_table_row(&t, (const char *const *) head, columns);
        for (char **l = lines + 1; *l; l++) {
                _cleanup_strv_ char **cells = split_line(*l, columns);
                int pid = 0;
                if (strv_len(cells) <= pid_column || parse_int(cells[pid_column], &pid) < 0)
                        continue;
                for (size_t i = 0; i < n_pids; i++)
                        if (pids[i] == pid)
                                docker_table_row(&t, (const char *const *) cells, strv_len(cells));
        }
        _cleanup_(buf_done) Buf out = {};
        docker_table_write(&t, &out);
        (void) fwrite(buf_str(&out), 1, out.len, stdout);
        return 0;
}

int cmd_top(int argc, char **argv) {
        static const Option options[] = { {} };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("top", options, OPTIONS_STOP_AT_ARG, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        _cleanup_(container_freep) Container *c = NULL;
        _cleanup_(buf_done) Buf ps = {};
        _cleanup_free_ pid_t *pids = NULL;
        size_t n = 0;
        if (!s)
                return 1;
        r = container_get(s, rest[0], &c, &err);
        if (r >= 0 && !container_running(c))
                r = err_set(&err, -ESRCH, "Container %s is not running", c->id);
        if (r >= 0)
                r = container_pids(c, &pids, &n, &err);
        if (r >= 0)
                r = run_ps(rest + 1, &ps, &err);
        if (r >= 0)
                r = show(&ps, pids, n, &err);
        return r < 0 ? docker_error(&err) : 0;
}

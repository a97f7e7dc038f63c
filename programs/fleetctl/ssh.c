/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetctl.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Machines are reached by the system's ssh program, with its agent, identity files and algorithms; only the file of
 * known hosts, the user and the time limit are fleetctl's own. */

static char *tunnel_dir; /* owned */
static pid_t tunnel_pid;

/* ---- arguments ---- */

static char *known_hosts_path(void) {
        const char *home = secure_getenv("HOME");
        const char *rest = arg_known_hosts[0] == '~' && arg_known_hosts[1] == '/' ? arg_known_hosts + 1 : NULL;
        char *path = rest && home ? xasprintf("%s%s", home, rest) : xstrdup(arg_known_hosts);
        const char *slash = strrchr(path, '/');

        if (slash && slash > path) {
                _cleanup_free_ char *dir = xstrndup(path, (size_t) (slash - path));
                (void) mkdir_p(dir, 0700);
        }
        return path;
}

static void add_options(char ***argv) {
        _cleanup_free_ char *known = known_hosts_path();

        strv_add(argv, "-o");
        strv_addf(argv, "UserKnownHostsFile=%s", known);
        strv_add(argv, "-o");
        strv_addf(argv, "StrictHostKeyChecking=%s", arg_strict_host_keys ? "ask" : "no");
        strv_add(argv, "-o");
        strv_addf(argv, "ConnectTimeout=%llu", (unsigned long long) MAX(arg_ssh_timeout / USEC_PER_SEC, (Usec) 1));
        strv_add(argv, "-o");
        strv_add(argv, "LogLevel=ERROR");
}

/* "HOST[:PORT]" to the last two arguments: -p PORT USER@HOST. */
static void add_target(char ***argv, const char *where, int64_t port) {
        const char *colon = strrchr(where, ':');
        bool has_port = colon && !strchr(where, ']') && strchr(where, ':') == colon;
        _cleanup_free_ char *host = has_port ? xstrndup(where, (size_t) (colon - where)) : xstrdup(where);

        strv_add(argv, "-p");
        if (has_port)
                strv_add(argv, colon + 1);
        else
                strv_addf(argv, "%lld", (long long) port);
        strv_addf(argv, "%s@%s", arg_ssh_username, host);
}

/* For one word of a shell command line. */
static void add_quoted(Buf *b, const char *s) {
        buf_addc(b, '\'');
        for (; *s; s++)
                if (*s == '\'')
                        buf_adds(b, "'\\''");
                else
                        buf_addc(b, *s);
        buf_addc(b, '\'');
}

static char *shell_line(char *const *words) {
        Buf b = {};
        STRV_FOREACH(w, words) {
                if (b.len > 0)
                        buf_addc(&b, ' ');
                add_quoted(&b, *w);
        }
        return buf_take(&b);
}

static char *proxy_command(void) {
        _cleanup_strv_ char **argv = NULL;

        strv_add(&argv, "ssh");
        add_options(&argv);
        strv_add(&argv, "-W");
        strv_add(&argv, "[%h]:%p");
        add_target(&argv, arg_tunnel, 22);
        return shell_line(argv);
}

/* ---- running ---- */

static int wait_for(pid_t pid) {
        int status;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return 255;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_here(char *const *command) {
        (void) fflush(NULL);
        pid_t pid = fork();
        if (pid < 0) {
                say_error("cannot fork: %s", strerror(errno));
                return 255;
        }
        if (pid == 0) {
                (void) execvp(command[0], command);
                fprintf(stderr, "cannot run %s: %s\n", command[0], strerror(errno));
                _exit(127);
        }
        return wait_for(pid);
}

bool machine_is_local(const char *id) {
        _cleanup_free_ char *mine = NULL;
        return read_line_file("/etc/machine-id", &mine) >= 0 && streq(strstrip(mine), id);
}

int run_on_machine(const Machine *m, char *const *command, bool forward_agent, bool as_typed) {
        _cleanup_strv_ char **argv = NULL;

        if (isempty(m->ip)) {
                say_error("Could not determine address of machine.");
                return 1;
        }
        strv_add(&argv, "ssh");
        add_options(&argv);
        if (forward_agent)
                strv_add(&argv, "-A");
        if (arg_tunnel) {
                _cleanup_free_ char *proxy = proxy_command();
                strv_add(&argv, "-o");
                strv_addf(&argv, "ProxyCommand=%s", proxy);
        }
        add_target(&argv, m->ip, arg_ssh_port);
        if (command && command[0]) {
                strv_add(&argv, "--");
                strv_push(&argv, as_typed ? strv_join(command, " ") : shell_line(command));
        }
        return run_here(argv);
}

/* ---- the tunnel: a local socket that ssh forwards to where the endpoint is ---- */

static pid_t spawn(char *const *argv) {
        (void) fflush(NULL);
        pid_t parent = getpid(), pid = fork();
        if (pid != 0)
                return pid;
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(1);
        (void) execvp(argv[0], argv);
        fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

static int await_socket(const char *path, Err *err) {
        Usec limit = now_monotonic() + arg_ssh_timeout + 60 * USEC_PER_SEC; /* a question may have to be answered */

        while (access(path, F_OK) < 0) {
                int status;
                if (waitpid(tunnel_pid, &status, WNOHANG) == tunnel_pid) {
                        tunnel_pid = 0;
                        return err_set(err, -ECONNREFUSED, "cannot open a tunnel through %s", arg_tunnel);
                }
                if (now_monotonic() > limit)
                        return err_set(err, -ETIMEDOUT, "timed out while initiating SSH connection");
                pause_usec(20 * USEC_PER_MSEC);
        }
        return 0;
}

int tunnel_open(const char *host, const char *unix_path, char **ret_socket, Err *err) {
        _cleanup_strv_ char **argv = NULL;
        char dir[] = "/tmp/fleetctl-XXXXXX";

        assert(!!host != !!unix_path);
        if (!mkdtemp(dir))
                return err_errno(err, -errno, "cannot make a temporary folder");
        tunnel_dir = xstrdup(dir);
        _cleanup_free_ char *path = path_join(dir, "api.sock");
        strv_add(&argv, "ssh");
        add_options(&argv);
        strv_add(&argv, "-o");
        strv_add(&argv, "ExitOnForwardFailure=yes");
        strv_add(&argv, "-N");
        strv_add(&argv, "-L");
        strv_addf(&argv, "%s:%s%s", path, unix_path ? unix_path : host,
                  host && !strchr(host, ':') ? ":80" : "");
        add_target(&argv, arg_tunnel, 22);
        tunnel_pid = spawn(argv);
        if (tunnel_pid < 0)
                return err_errno(err, -errno, "cannot start ssh");
        int r = await_socket(path, err);
        if (r < 0)
                return r;
        *ret_socket = TAKE_PTR(path);
        return 0;
}

void tunnel_close(void) {
        if (tunnel_pid > 0) {
                (void) kill(tunnel_pid, SIGTERM);
                (void) wait_for(tunnel_pid);
        }
        if (tunnel_dir)
                (void) rm_rf(tunnel_dir);
        tunnel_dir = xfree(tunnel_dir);
}

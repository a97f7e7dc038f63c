/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "cluster.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int node_init(Node *n, const Cluster *c, unsigned number) {
        *n = (Node){ .cluster = c,
                     .number = number,
                     .name = xasprintf("n%u", number),
                     .ip = xasprintf("%s.%u", c->subnet, 10 + number),
                     .dir = xasprintf("%s/nodes/n%u", c->dir, number),
                     .netns = xasprintf("%s-n%u", c->name, number) };
        return 0;
}

int node_find(Node *n, const Cluster *c, const char *name, Err *err) {
        uint32_t number;
        const char *digits = name && name[0] == 'n' ? name + 1 : strempty(name);
        if (parse_u32(digits, &number) < 0 || number < 1 || number > c->n_nodes)
                return err_set(err, -ENOENT, "no such node: %s (there are n1 to n%u)", strempty(name),
                               c->n_nodes);
        return node_init(n, c, number);
}

void node_done(Node *n) {
        free(n->name);
        free(n->ip);
        free(n->dir);
        free(n->netns);
        *n = (Node){};
}

static bool same_netns(pid_t pid, const char *netns) {
        _cleanup_free_ char *a = xasprintf("/proc/%d/ns/net", pid), *b = xasprintf("/run/netns/%s", netns);
        struct stat x, y;
        return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

/* A zombie that nobody reaps counts as gone: it has no program any more. */
static bool is_alive(pid_t pid) {
        _cleanup_free_ char *path = xasprintf("/proc/%d/exe", pid);
        char target[8];
        return pid > 0 && readlink(path, target, sizeof(target)) > 0;
}

static pid_t nspawn_pid(const Node *n) {
        _cleanup_free_ char *path = path_join(n->dir, "pid"), *line = NULL;
        int pid;
        return read_line_file(path, &line) >= 0 && parse_int(line, &pid) >= 0 && pid > 1 ? pid : 0;
}

/* PID 1 is the child of systemd-nspawn that lives in the node's network namespace; the pid file may be stale
 * and its number reused, which the namespace tells. */
pid_t node_leader(const Node *n) {
        pid_t parent = nspawn_pid(n);
        if (parent == 0)
                return 0;
        _cleanup_free_ char *path = xasprintf("/proc/%d/task/%d/children", parent, parent), *line = NULL;
        if (read_line_file(path, &line) < 0)
                return 0;
        _cleanup_strv_ char **pids = strv_split(line, " ", false);
        STRV_FOREACH(p, pids) {
                int pid;
                if (parse_int(*p, &pid) >= 0 && same_netns(pid, n->netns))
                        return pid;
        }
        return 0;
}

static int write_in_upper(const Node *n, const char *path, const char *text, mode_t mode, Err *err) {
        _cleanup_free_ char *full = xasprintf("%s/upper%s", n->dir, path), *dir = xstrdup(full);
        *strrchr(dir, '/') = 0;
        int r = mkdir_p(dir, 0755);
        if (r >= 0)
                r = write_file_atomic(full, text, strlen(text), mode);
        return r < 0 ? err_errno(err, r, "cannot write %s", full) : 0;
}

int node_create(const Node *n, const char *user_data, Err *err) {
        static const char *const folders[] = { "upper", "work", "root", "data" };
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *p = path_join(n->dir, folders[i]);
                int r = mkdir_p(p, 0755);
                if (r < 0)
                        return err_errno(err, r, "cannot make %s", p);
        }
        uint8_t id[16];
        random_bytes(id, sizeof(id));
        _cleanup_free_ char *hex = hex_encode(id, sizeof(id)), *line = xasprintf("%s\n", hex);
        int r = write_in_upper(n, "/etc/machine-id", line, 0444, err);
        return r < 0 ? r : write_in_upper(n, "/var/lib/coreos-install/user_data", user_data, 0600, err);
}

static bool is_mounted(const Node *n) {
        _cleanup_free_ char *init = path_join(n->dir, "root/usr");
        return access(init, F_OK) == 0;
}

static int mount_root(const Node *n, Err *err) {
        if (is_mounted(n))
                return 0;
        _cleanup_free_ char *root = path_join(n->dir, "root");
        _cleanup_free_ char *opts = xasprintf("lowerdir=%s/layer:%s/tree,upperdir=%s/upper,workdir=%s/work",
                                              n->cluster->dir, n->cluster->home, n->dir, n->dir);
        if (mount("coracle-node", root, "overlay", 0, opts) < 0)
                return err_errno(err, -errno, "cannot mount the overlay of %s", n->name);
        return 0;
}

static bool host_runs_systemd(void) {
        struct stat st;
        return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where systemd is PID 1 of the host it owns the cgroup tree: it makes the node's group, delegated. */
static char **nspawn_argv(const Node *n) {
        char **a = NULL;
        if (host_runs_systemd()) {
                strv_add(&a, "systemd-run");
                strv_addf(&a, "--unit=coracle-%s", n->netns);
                static const char *const run[] = { "--quiet", "--scope", "--collect",
                                                   "--property=Delegate=yes" };
                for (size_t i = 0; i < ELEMENTSOF(run); i++)
                        strv_add(&a, run[i]);
        }
        strv_add(&a, "systemd-nspawn");
        strv_addf(&a, "--directory=%s/root", n->dir);
        strv_addf(&a, "--machine=%s", n->netns);
        strv_addf(&a, "--hostname=%s", n->name);
        strv_addf(&a, "--network-namespace-path=/run/netns/%s", n->netns);
        strv_addf(&a, "--bind=%s/data:/var/lib/coracle", n->dir);
        static const char *const rest[] = { "--quiet",
                                            "--register=no",
                                            "--keep-unit",
                                            "--resolv-conf=off",
                                            "--timezone=off",
                                            "--link-journal=no",
                                            "--console=pipe",
                                            "--capability=all",
                                            "--system-call-filter=bpf keyctl add_key",
                                            "--kill-signal=SIGRTMIN+3",
                                            "/usr/lib/coracle/node-init" };
        for (size_t i = 0; i < ELEMENTSOF(rest); i++)
                strv_add(&a, rest[i]);
        return a;
}

static _noreturn_ void become_nspawn(const Node *n) {
        _cleanup_free_ char *log = path_join(n->dir, "console.log");
        (void) setsid();
        int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        (void) dup2(in, 0);
        (void) dup2(out, 1);
        (void) dup2(out, 2);
        (void) close_range(3, ~0U, 0);
        int r = host_runs_systemd() ? 0 : cgroup_enter(n->netns);
        if (r < 0) {
                dprintf(2, "cannot enter the node's cgroups: %s\n", strerror(-r));
                _exit(1);
        }
        char **argv = nspawn_argv(n);
        execvp(argv[0], argv);
        dprintf(2, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

int node_start(const Node *n, Err *err) {
        if (node_leader(n) > 0)
                return 0;
        int r = node_net_up(n, err);
        if (r >= 0)
                r = mount_root(n, err);
        if (r < 0)
                return r;
        pid_t pid = fork();
        if (pid < 0)
                return err_errno(err, -errno, "cannot fork");
        if (pid == 0)
                become_nspawn(n);
        _cleanup_free_ char *path = path_join(n->dir, "pid"), *text = xasprintf("%d\n", pid);
        r = write_file_atomic(path, text, strlen(text), 0644);
        if (r < 0)
                return err_errno(err, r, "cannot write %s", path);
        for (int i = 0; i < 500; i++) {
                if (node_leader(n) > 0)
                        return 0;
                if (!is_alive(pid))
                        break;
                (void) poll(NULL, 0, 10);
        }
        return err_set(err, -EIO, "node %s did not start; %s/console.log says why", n->name, n->dir);
}

int node_kill(const Node *n, Err *err) {
        pid_t leader = node_leader(n), parent = nspawn_pid(n);
        if (leader > 0 && kill(leader, SIGKILL) < 0 && errno != ESRCH)
                return err_errno(err, -errno, "cannot kill node %s", n->name);
        /* nspawn ends by itself once its PID 1 is gone; the kernel ends everything in the pid namespace. */
        for (int i = 0; i < 300 && (node_leader(n) > 0 || is_alive(parent)); i++)
                (void) poll(NULL, 0, 10);
        return node_leader(n) > 0 ? err_set(err, -EBUSY, "node %s does not die", n->name) : 0;
}

int node_cleanup(const Node *n, Err *err) {
        _cleanup_free_ char *root = path_join(n->dir, "root"), *pid = path_join(n->dir, "pid");
        int r = node_net_down(n, err);
        if (umount2(root, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT && r >= 0)
                r = err_errno(err, -errno, "cannot unmount %s", root);
        for (int i = 0; i < 100 && !host_runs_systemd() && cgroup_remove(n->netns) < 0; i++)
                (void) poll(NULL, 0, 20);
        (void) unlink(pid);
        return r;
}

bool node_reachable(const Node *n, unsigned port) {
        struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t) port) };
        if (inet_pton(AF_INET, n->ip, &sa.sin_addr) != 1)
                return false;
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fd, (struct sockaddr *) &sa, sizeof(sa)) == 0)
                return true;
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        int error = 0;
        socklen_t len = sizeof(error);
        return poll(&p, 1, 200) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
               error == 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "run-options.h"
#include "container/docker/parse.h"
#include "container/run/units.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENV_FILE_MAX (1U << 20)

static RunOptions *target; /* what the option table's functions fill in */
static char **arg_env, **arg_env_file, **arg_publish, **arg_expose, **arg_entrypoint, **arg_label_file, **arg_link;
static char **arg_tmpfs;
static bool arg_no_healthcheck, arg_interactive;

static int opt_bytes(int64_t *to, const char *value) {
        return parse_bytes(value, to);
}

static int opt_memory(const char *name, const char *value, Err *err) {
        HostConfig *h = &target->request.spec->host;
        if (streq(name, "memory-swap") && streq(value, "-1")) {
                h->memory_swap = -1;
                return 0;
        }
        return opt_bytes(streq(name, "memory")               ? &h->memory
                         : streq(name, "memory-swap")        ? &h->memory_swap
                         : streq(name, "memory-reservation") ? &h->memory_reservation
                                                             : &h->shm_size,
                         value);
}

static int opt_cpus(const char *name, const char *value, Err *err) {
        char *end = NULL;
        double v = strtod(value, &end);
        if (end == value || *end || !(v >= 0) || v > 1e6)
                return -EINVAL;
        target->request.spec->host.nano_cpus = (int64_t) (v * 1e9 + 0.5);
        return 0;
}

static int opt_ulimit(const char *name, const char *value, Err *err) {
        HostConfig *h = &target->request.spec->host;
        UlimitSpec u;
        int r = parse_ulimit(value, &u, err);
        if (r < 0)
                return r;
        h->ulimits = xrealloc(h->ulimits, (h->n_ulimits + 1) * sizeof(u));
        h->ulimits[h->n_ulimits++] = u;
        return 0;
}

static int opt_device(const char *name, const char *value, Err *err) {
        HostConfig *h = &target->request.spec->host;
        DeviceSpec d;
        int r = parse_device(value, &d, err);
        if (r < 0)
                return r;
        h->devices = xrealloc(h->devices, (h->n_devices + 1) * sizeof(d));
        h->devices[h->n_devices++] = d;
        return 0;
}

static int opt_entrypoint(const char *name, const char *value, Err *err) {
        target->request.entrypoint_set = true;
        strv_free(arg_entrypoint);
        arg_entrypoint = NULL;
        if (*value)
                strv_add(&arg_entrypoint, value);
        return 0;
}

/* systemd restarts containers (Restart= of the unit); without a daemon nobody else could after a reboot. */
static int opt_restart(const char *name, const char *value, Err *err) {
        if (streq(value, "no") || streq(value, ""))
                return 0;
        return err_set(err, -EOPNOTSUPP, "--restart=%s is not possible without a daemon: run the container from a "
                       "systemd unit with Restart=always", value);
}

static int opt_userns(const char *name, const char *value, Err *err) {
        return streq(value, "host") || streq(value, "")
                        ? 0
                        : err_set(err, -EOPNOTSUPP, "--userns=%s: this engine knows only \"host\"", value);
}

static int opt_uts(const char *name, const char *value, Err *err) {
        if (!streq(value, "host") && !streq(value, ""))
                return err_set(err, -EINVAL, "--uts: invalid UTS mode");
        target->request.spec->host.uts_mode = xstrdup(value);
        return 0;
}

static int opt_pid(const char *name, const char *value, Err *err) {
        if (!streq(value, "host") && !streq(value, "") && !startswith(value, "container:"))
                return err_set(err, -EINVAL, "--pid: invalid PID mode");
        free(target->request.spec->host.pid_mode);
        target->request.spec->host.pid_mode = xstrdup(value);
        return 0;
}

static int opt_ipc(const char *name, const char *value, Err *err) {
        static const char *const ok[] = { "", "private", "shareable", "host" };
        bool known = startswith(value, "container:") != NULL;
        for (size_t i = 0; i < ELEMENTSOF(ok); i++)
                known |= streq(value, ok[i]);
        if (!known)
                return err_set(err, -EINVAL, "--ipc: invalid IPC mode (host, private, shareable, container:NAME)");
        free(target->request.spec->host.ipc_mode);
        target->request.spec->host.ipc_mode = xstrdup(*value ? value : "private");
        return 0;
}

static int opt_pull(const char *name, const char *value, Err *err) {
        if (!streq(value, "always") && !streq(value, "missing") && !streq(value, "never"))
                return -EINVAL;
        free(target->pull);
        target->pull = xstrdup(value);
        return 0;
}

static int opt_sysctl(const char *name, const char *value, Err *err) {
        if (!strchr(value, '=') || strstr(value, "..") || strchr(value, '/'))
                return -EINVAL;
        if (!startswith(value, "net.") && !startswith(value, "kernel.shm") && !startswith(value, "kernel.msg") &&
            !startswith(value, "kernel.sem") && !startswith(value, "fs.mqueue."))
                return err_set(err, -EPERM, "sysctl '%s' is not whitelisted: it is not of a namespace", value);
        strv_add(&target->request.spec->host.sysctls, value);
        return 0;
}

static int opt_add_host(const char *name, const char *value, Err *err) {
        if (!strchr(value, ':'))
                return err_set(err, -EINVAL, "bad format for add-host: \"%s\"", value);
        strv_add(&target->request.spec->host.extra_hosts, value);
        return 0;
}

static int opt_no(const char *name, const char *value, Err *err) {
        return err_set(err, -EOPNOTSUPP, "--%s is not supported by this engine", name);
}

typedef struct OptionTable {
        Option *options;
        size_t n;
} OptionTable;

static void add_options(OptionTable *t, const Option *more, size_t n) {
        t->options = xrealloc(t->options, (t->n + n + 1) * sizeof(*more));
        memcpy(t->options + t->n, more, n * sizeof(*more));
        t->n += n;
        t->options[t->n] = (Option){};
}

static void add_refused(OptionTable *t) {
        static const char *const refused[] = {
                "blkio-weight", "cgroup-parent", "cgroupns", "detach-keys", "device-cgroup-rule", "device-read-bps",
                "device-write-bps", "gpus", "health-cmd", "health-interval", "health-retries", "health-start-period",
                "health-timeout", "ip", "ip6", "isolation", "kernel-memory", "link-local-ip", "mac-address",
                "memory-swappiness", "network-alias", "net-alias", "platform", "runtime", "storage-opt",
                "volume-driver", "cpu-rt-runtime", "cpu-rt-period" };
        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                Option o = { refused[i], 0, OPT_CALL, NULL, "VALUE", NULL, opt_no };
                add_options(t, &o, 1);
        }
}

/* The tables are bound to one RunOptions: what the container is. */
static void add_container_options(OptionTable *t, RunOptions *o) {
        ContainerConfig *c = &o->request.spec->config;
        HostConfig *h = &o->request.spec->host;
        const Option known[] = {
                { "add-host", 0, OPT_CALL, NULL, "HOST:IP", "Add a line to /etc/hosts", opt_add_host },
                { "attach", 'a', OPT_LIST, &o->attach, "STREAM", "Attach to stdin, stdout or stderr", NULL },
                { "cap-add", 0, OPT_LIST, &h->cap_add, "CAP", "Add a capability", NULL },
                { "cap-drop", 0, OPT_LIST, &h->cap_drop, "CAP", "Drop a capability", NULL },
                { "cidfile", 0, OPT_STR, &o->cid_file, "FILE", "Write the container's id to this new file", NULL },
                { "cpu-period", 0, OPT_INT, &h->cpu_period, "USEC", "Period of the CPU quota", NULL },
                { "cpu-quota", 0, OPT_INT, &h->cpu_quota, "USEC", "CPU time per period", NULL },
                { "cpu-shares", 'c', OPT_INT, &h->cpu_shares, "N", "Relative CPU weight", NULL },
                { "cpus", 0, OPT_CALL, NULL, "N", "Number of CPUs, such as 0.5", opt_cpus },
                { "cpuset-cpus", 0, OPT_STR, &h->cpuset_cpus, "LIST", "CPUs to run on (0-3, 0,1)", NULL },
                { "cpuset-mems", 0, OPT_STR, &h->cpuset_mems, "LIST", "Memory nodes to use", NULL },
                { "detach", 'd', OPT_BOOL, &o->detach, NULL, "Run in the background and print the id", NULL },
                { "device", 0, OPT_CALL, NULL, "DEVICE", "Add a host device: SRC[:DST[:rwm]]", opt_device },
                { "dns", 0, OPT_LIST, &h->dns, "IP", "Use this name server", NULL },
                { "dns-opt", 0, OPT_LIST, &h->dns_options, "OPT", "Option for resolv.conf", NULL },
                { "dns-option", 0, OPT_LIST, &h->dns_options, "OPT", NULL, NULL },
                { "dns-search", 0, OPT_LIST, &h->dns_search, "DOMAIN", "Search domain", NULL },
                { "domainname", 0, OPT_STR, &c->domainname, "NAME", "The container's domain name", NULL },
                { "entrypoint", 0, OPT_CALL, NULL, "COMMAND", "Instead of the image's entrypoint", opt_entrypoint },
                { "env", 'e', OPT_LIST, &arg_env, "K=V", "Set an environment variable", NULL },
                { "env-file", 0, OPT_LIST, &arg_env_file, "FILE", "Read environment variables from a file", NULL },
                { "expose", 0, OPT_LIST, &arg_expose, "PORT", "Expose a port without publishing it", NULL },
                { "group-add", 0, OPT_LIST, &h->group_add, "GROUP", "Additional group", NULL },
                { "hostname", 'h', OPT_STR, &c->hostname, "NAME", "The container's host name", NULL },
                { "init", 0, OPT_BOOL, &h->init, NULL, "Run an init that forwards signals and reaps", NULL },
                { "interactive", 'i', OPT_BOOL, &arg_interactive, NULL, "Keep stdin open", NULL },
                { "ipc", 0, OPT_CALL, NULL, "MODE", "IPC namespace: host, private, container:NAME", opt_ipc },
                { "label", 'l', OPT_LIST, &c->labels, "K=V", "Set a label", NULL },
                { "label-file", 0, OPT_LIST, &arg_label_file, "FILE", "Read labels from a file", NULL },
        };
        add_options(t, known, ELEMENTSOF(known));
}

/* … its limits, network and volumes. */
static void add_host_options(OptionTable *t, RunOptions *o) {
        ContainerConfig *c = &o->request.spec->config;
        HostConfig *h = &o->request.spec->host;
        const Option known[] = {
                { "link", 0, OPT_LIST, &arg_link, "NAME[:ALIAS]", "Make another container known by name", NULL },
                { "log-driver", 0, OPT_STR, &h->log_driver, "NAME", "json-file, journald or none", NULL },
                { "log-opt", 0, OPT_LIST, &h->log_options, "K=V", "max-size=, max-file=, tag=", NULL },
                { "memory", 'm', OPT_CALL, NULL, "BYTES", "Memory limit (b, k, m, g)", opt_memory },
                { "memory-reservation", 0, OPT_CALL, NULL, "BYTES", "Soft memory limit", opt_memory },
                { "memory-swap", 0, OPT_CALL, NULL, "BYTES", "Memory plus swap; -1 = no limit", opt_memory },
                { "mount", 0, OPT_LIST, &o->request.mounts, "SPEC", "type=bind|volume|tmpfs,src=,dst=,readonly", NULL },
                { "name", 0, OPT_STR, &o->request.spec->name, "NAME", "Name of the container", NULL },
                { "net", 0, OPT_STR, &h->network_mode, "MODE", NULL, NULL },
                { "network", 0, OPT_STR, &h->network_mode, "MODE", "bridge, host, none, container:NAME", NULL },
                { "no-healthcheck", 0, OPT_BOOL, &arg_no_healthcheck, NULL, "No health check (there is none)", NULL },
                { "oom-score-adj", 0, OPT_INT, &h->oom_score_adj, "N", "-1000 to 1000", NULL },
                { "pid", 0, OPT_CALL, NULL, "MODE", "PID namespace: host, container:NAME", opt_pid },
                { "pids-limit", 0, OPT_INT, &h->pids_limit, "N", "At most so many processes", NULL },
                { "privileged", 0, OPT_BOOL, &h->privileged, NULL, "No confinement", NULL },
                { "publish", 'p', OPT_LIST, &arg_publish, "[IP:][HOST:]PORT", "Publish a port", NULL },
                { "publish-all", 'P', OPT_BOOL, &h->publish_all, NULL, "Publish every exposed port", NULL },
                { "pull", 0, OPT_CALL, NULL, "WHEN", "always, missing, never", opt_pull },
                { "read-only", 0, OPT_BOOL, &h->readonly_rootfs, NULL, "The root file system is read-only", NULL },
                { "restart", 0, OPT_CALL, NULL, "POLICY", "no (others: use systemd)", opt_restart },
                { "rm", 0, OPT_BOOL, &h->auto_remove, NULL, "Remove the container when it ends", NULL },
                { "security-opt", 0, OPT_LIST, &h->security_opt, "OPT", "seccomp=unconfined, no-new-privileges", NULL },
                { "shm-size", 0, OPT_CALL, NULL, "BYTES", "Size of /dev/shm", opt_memory },
                { "sig-proxy", 0, OPT_BOOL, &o->sig_proxy, NULL, "Pass signals on to the container", NULL },
                { "stop-signal", 0, OPT_STR, &c->stop_signal, "SIGNAL", "Signal of `docker stop`", NULL },
                { "stop-timeout", 0, OPT_INT, &c->stop_timeout, "SEC", "Grace of `docker stop`", NULL },
                { "sysctl", 0, OPT_CALL, NULL, "K=V", "Kernel setting of the container's namespaces", opt_sysctl },
                { "tmpfs", 0, OPT_LIST, &arg_tmpfs, "PATH[:OPTS]", "Mount a tmpfs", NULL },
                { "tty", 't', OPT_BOOL, &c->tty, NULL, "Allocate a terminal", NULL },
                { "ulimit", 0, OPT_CALL, NULL, "NAME=SOFT[:HARD]", "Resource limit", opt_ulimit },
                { "user", 'u', OPT_STR, &c->user, "USER[:GROUP]", "User to run as", NULL },
                { "userns", 0, OPT_CALL, NULL, "MODE", "host", opt_userns },
                { "uts", 0, OPT_CALL, NULL, "MODE", "host: share the host's name", opt_uts },
                { "volume", 'v', OPT_LIST, &o->request.volumes, "SRC:DST[:OPTS]", "Mount a folder or volume", NULL },
                { "volumes-from", 0, OPT_LIST, &h->volumes_from, "NAME", "Mount another container's volumes", NULL },
                { "workdir", 'w', OPT_STR, &c->working_dir, "DIR", "Working directory", NULL },
        };
        add_options(t, known, ELEMENTSOF(known));
}

void run_options_done(RunOptions *o) {
        container_spec_free(o->request.spec);
        strv_free(o->request.volumes);
        strv_free(o->request.mounts);
        strv_free(o->attach);
        free(o->pull);
        free(o->cid_file);
        *o = (RunOptions){};
}

/* ---- what needs more than one word ---- */

static int read_lines(char *const *files, char ***to, bool env, Err *err) {
        STRV_FOREACH(f, files) {
                _cleanup_(buf_done) Buf b = {};
                int r = read_file(*f, ENV_FILE_MAX, &b);
                if (r < 0)
                        return err_set(err, r, "open %s: %s", *f, strerror(-r));
                r = parse_env_file(buf_str(&b), env ? environ : NULL, to, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int take_ports(RunOptions *o, Err *err) {
        int r = 0;
        for (char **p = arg_publish; r >= 0 && p && *p; p++)
                r = parse_publish(*p, &o->request.spec->host, err);
        for (char **p = arg_expose; r >= 0 && p && *p; p++)
                r = parse_expose(*p, &o->request.spec->config.exposed_ports, err);
        return r;
}

static void take_links(RunOptions *o) {
        STRV_FOREACH(l, arg_link) {
                const char *colon = strchr(*l, ':');
                strv_addf(&o->request.spec->host.links, "%s%s%s", *l, colon ? "" : ":", colon ? "" : *l);
        }
}

/* docker keeps tmpfs options as a map from path to options. */
static void take_tmpfs(RunOptions *o) {
        STRV_FOREACH(t, arg_tmpfs) {
                const char *colon = strchr(*t, ':');
                strv_addf(&o->request.spec->host.tmpfs, "%.*s=%s", (int) (colon ? colon - *t : (ptrdiff_t) strlen(*t)),
                          *t, colon ? colon + 1 : "");
        }
}

static int take_attach(RunOptions *o, Err *err) {
        ContainerConfig *c = &o->request.spec->config;
        c->open_stdin = arg_interactive;
        STRV_FOREACH(a, o->attach) {
                if (strcasecmp(*a, "stdin") == 0)
                        c->attach_stdin = c->open_stdin = true;
                else if (strcasecmp(*a, "stdout") == 0)
                        c->attach_stdout = true;
                else if (strcasecmp(*a, "stderr") == 0)
                        c->attach_stderr = true;
                else
                        return err_set(err, -EINVAL, "valid streams are STDIN, STDOUT and STDERR");
        }
        if (o->attach && o->detach)
                return err_set(err, -EINVAL, "Conflicting options: -a and -d");
        if (!o->attach && !o->detach) {
                c->attach_stdout = c->attach_stderr = true;
                c->attach_stdin = c->open_stdin;
        }
        c->stdin_once = c->open_stdin && !o->detach;
        return 0;
}

static int finish(RunOptions *o, char **rest, Err *err) {
        ContainerConfig *c = &o->request.spec->config;
        c->image = xstrdup(rest[0]);
        for (char **w = rest + 1; *w; w++)
                strv_add(&c->cmd, *w);
        c->entrypoint = TAKE_PTR(arg_entrypoint);
        int r = read_lines(arg_env_file, &c->env, true, err);
        for (char **e = arg_env; r >= 0 && e && *e; e++)
                r = add_env(*e, environ, &c->env, err);
        if (r >= 0)
                r = read_lines(arg_label_file, &c->labels, false, err);
        for (char **l = c->labels; l && *l; l++)
                if (!strchr(*l, '=')) {
                        char *with = xasprintf("%s=", *l);
                        free(*l);
                        *l = with;
                }
        if (r >= 0)
                r = take_ports(o, err);
        take_links(o);
        take_tmpfs(o);
        if (o->request.spec->name && o->request.spec->name[0] == '/')
                memmove(o->request.spec->name, o->request.spec->name + 1, strlen(o->request.spec->name));
        if (o->cid_file)
                o->request.spec->host.cid_file = xstrdup(o->cid_file);
        if (r >= 0 && o->cid_file && access(o->cid_file, F_OK) >= 0)
                r = err_set(err, -EEXIST, "container ID file found, make sure the other container isn't running or "
                            "delete %s", o->cid_file);
        return r < 0 ? r : take_attach(o, err);
}

int run_options_parse(const char *verb, int argc, char **argv, RunOptions *ret) {
        RunOptions o = { .request.spec = container_spec_new(), .sig_proxy = true };
        target = &o;
        OptionTable t = {};
        add_container_options(&t, &o);
        add_host_options(&t, &o);
        add_refused(&t);
        _cleanup_free_ Option *table = t.options;
        _cleanup_free_ char **rest = NULL;
        int r = docker_options(verb, table, OPTIONS_STOP_AT_ARG | OPTIONS_SINGLE_DASH_LONG, argc, argv, &rest);
        target = NULL;
        if (r == 0) {
                _cleanup_(err_done) Err err = {};
                r = finish(&o, rest, &err);
                if (r < 0)
                        fprintf(stderr, "docker: %s.\nSee 'docker %s --help'.\n", err_msg(&err), verb);
        }
        char ***lists[] = { &arg_env, &arg_env_file, &arg_publish, &arg_expose, &arg_label_file, &arg_link, &arg_tmpfs,
                            &arg_entrypoint };
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                *lists[i] = strv_free(*lists[i]);
        if (r != 0) {
                run_options_done(&o);
                return r;
        }
        *ret = o;
        return 0;
}

/* ---- creating ---- */

static int pull_by_twin(const char *reference, Err *err) {
        _cleanup_free_ char *twin = docker_twin();
        char *args[] = { twin, (char *) "--root", (char *) docker_root(), (char *) "pull", (char *) reference, NULL };
        pid_t pid;
        int status = 0;
        /* Its progress goes where ours would: stdout is the container's. */
        posix_spawn_file_actions_t actions;
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
        int r = posix_spawn(&pid, twin, &actions, NULL, args, environ);
        (void) posix_spawn_file_actions_destroy(&actions);
        if (r)
                return err_errno(err, -r, "cannot run %s", twin);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        return status == 0 ? 0 : err_set(err, -EIO, "could not pull the image %s", reference);
}

static int pull(ImageStore *images, const char *reference, Err *err) {
        if (DOCKER_HAS_TWIN)
                return pull_by_twin(reference, err);
        _cleanup_(image_progress_freep) ImageProgress *progress = image_progress_new(STDERR_FILENO);
        PullOptions options = { .event = image_progress_event, .userdata = progress };
        return image_pull(images, reference, &options, NULL, err);
}

static int write_cid_file(const RunOptions *o, Err *err) {
        if (!o->cid_file)
                return 0;
        _cleanup_close_ int fd = open(o->cid_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        int r = fd < 0 ? -errno : write_all(fd, o->request.spec->id, strlen(o->request.spec->id));
        return r < 0 ? err_errno(err, r, "failed to write the container ID file %s", o->cid_file) : 0;
}

static int create(Store *s, RunOptions *o, int *ret_lock, Err *err) {
        _cleanup_(image_store_closep) ImageStore *images = NULL;
        const char *image = o->request.spec->config.image;
        int r = image_store_open(s->root, &images, err);
        if (r >= 0 && streq_ptr(o->pull, "always"))
                r = pull(images, image, err);
        if (r < 0)
                return r;
        _cleanup_(image_freep) Image *probe = NULL;
        r = image_resolve(images, image, &probe, NULL);
        if (r == -ENOENT && !streq_ptr(o->pull, "never")) {
                const char *last = strrchr(image, '/');
                bool tagged = strchr(last ? last : image, ':') || strchr(image, '@');
                fprintf(stderr, "Unable to find image '%s%s' locally\n", image, tagged ? "" : ":latest");
                r = pull(images, image, err);
                if (r < 0)
                        return r;
        }
        r = container_create_from_image(s, images, &o->request, ret_lock, err);
        return r < 0 ? r : write_cid_file(o, err);
}

int run_create(Store *s, RunOptions *o, const char *verb, int *ret_lock, int *status) {
        _cleanup_(err_done) Err err = {};
        int r = create(s, o, ret_lock, &err);
        if (r < 0)
                *status = docker_run_error(verb, &err);
        return r;
}

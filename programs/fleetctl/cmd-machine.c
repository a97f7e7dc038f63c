/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetctl.h"

#include "base/alloc.h"
#include "base/str.h"
#include "fleet/plan/name.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* status, journal, ssh, and the helper fd-forward */

static bool arg_follow, arg_sudo, arg_forward_agent;
static int64_t arg_lines = 10;
static char *arg_journal_output, *arg_machine, *arg_unit;

const Option options_status[] = {
        { "ssh-port", 0, OPT_INT, &arg_ssh_port, "N", "Port of ssh on the machines (22)" },
        {},
};
const Option options_journal[] = {
        { "lines", 0, OPT_INT, &arg_lines, "N", "Show the last N lines (10)" },
        { "follow", 'f', OPT_BOOL, &arg_follow, NULL, "Go on showing what comes" },
        { "f", 0, OPT_BOOL, &arg_follow, NULL, NULL },
        { "sudo", 0, OPT_BOOL, &arg_sudo, NULL, "Run journalctl with sudo" },
        { "output", 0, OPT_STR, &arg_journal_output, "FORMAT", "journalctl's output format (short)" },
        { "ssh-port", 0, OPT_INT, &arg_ssh_port, "N", "Port of ssh on the machines (22)" },
        {},
};
const Option options_ssh[] = {
        { "machine", 0, OPT_STR, &arg_machine, "ID", "Open a shell on this machine" },
        { "unit", 0, OPT_STR, &arg_unit, "NAME", "Open a shell on the machine that runs this unit" },
        { "forward-agent", 'A', OPT_BOOL, &arg_forward_agent, NULL, "Let the machine use the ssh agent here" },
        { "A", 0, OPT_BOOL, &arg_forward_agent, NULL, NULL },
        { "ssh-port", 0, OPT_INT, &arg_ssh_port, "N", "Port of ssh on the machines (22)" },
        {},
};

static int on_unit_machine(const Unit *u, char *const *command) {
        _cleanup_(machines_done) Machines machines = {};
        _cleanup_(err_done) Err err = {};

        if (u->machine && machine_is_local(u->machine))
                return run_here(command);
        if (machines_get(&machines, &err) < 0) {
                say_error("Error retrieving machines: %s", err_msg(&err));
                return 1;
        }
        const Machine *m = u->machine ? machines_find(&machines, u->machine) : NULL;
        if (!m) {
                say_error("Unit %s is on no machine that is there.", u->name);
                return 1;
        }
        return run_on_machine(m, command, false, false);
}

static int status_one(const char *name) {
        _cleanup_(unit_done) Unit u = {};
        _cleanup_(err_done) Err err = {};
        char *command[] = { (char *) "systemctl", (char *) "status", (char *) "-l", (char *) name, NULL };

        int r = unit_get(name, &u, &err);
        if (r < 0) {
                say_error("Error retrieving Unit %s: %s", name, err_msg(&err));
                return 1;
        }
        if (r == 0) {
                say_error("Unit %s does not exist.", name);
                return 1;
        }
        if (u.req.global)
                return 0;
        if (u.current == UNIT_INACTIVE) {
                say_error("Unit %s does not appear to be loaded.", name);
                return 1;
        }
        return on_unit_machine(&u, command);
}

int cmd_status(char **args) {
        for (size_t i = 0; args[i]; i++) {
                _cleanup_free_ char *name = unit_name_mangle(args[i]);
                if (i > 0)
                        say("%s", "");
                int r = status_one(name);
                if (r != 0)
                        return r;
        }
        return 0;
}

int cmd_journal(char **args) {
        _cleanup_(unit_done) Unit u = {};
        _cleanup_(err_done) Err err = {};
        _cleanup_strv_ char **command = NULL;

        if (!args[0] || args[1]) {
                say_error("One unit file must be provided.");
                return 1;
        }
        _cleanup_free_ char *name = unit_name_mangle(args[0]);
        int r = unit_get(name, &u, &err);
        if (r <= 0) {
                say_error(r < 0 ? "Error retrieving Unit %s: %s" : "Unit %s does not exist.%s", name,
                          r < 0 ? err_msg(&err) : "");
                return 1;
        }
        if (u.req.global) {
                say_error("Unable to retrieve journal of global unit %s.", name);
                return 1;
        }
        if (u.current == UNIT_INACTIVE) {
                say_error("Unit %s does not appear to be running.", name);
                return 1;
        }
        if (arg_sudo)
                strv_add(&command, "sudo");
        strv_add(&command, "journalctl");
        strv_add(&command, "--unit");
        strv_add(&command, name);
        strv_add(&command, "--no-pager");
        strv_add(&command, "-n");
        strv_addf(&command, "%lld", (long long) arg_lines);
        strv_add(&command, "--output");
        strv_add(&command, arg_journal_output ? arg_journal_output : "short");
        if (arg_follow)
                strv_add(&command, "-f");
        return on_unit_machine(&u, command);
}

/* ---- ssh ---- */

static int find_by_id(const Machines *machines, const char *prefix, const Machine **ret, Err *err) {
        for (size_t i = 0; i < machines->n; i++) {
                if (!startswith(machines->list[i].id, prefix))
                        continue;
                if (*ret)
                        return err_set(err, -EINVAL, "found more than one machine");
                *ret = &machines->list[i];
        }
        return *ret ? 0 : err_set(err, -ENOENT, "machine does not exist");
}

static int find_by_unit(const Machines *machines, const char *unit, const Machine **ret, Err *err) {
        _cleanup_(unit_done) Unit u = {};
        _cleanup_free_ char *name = unit_name_mangle(unit);

        int r = unit_get(name, &u, err);
        if (r < 0)
                return r;
        if (r == 0)
                return err_set(err, -ENOENT, "unit %s does not exist", name);
        if (u.req.global)
                return err_set(err, -EINVAL, "global units are not associated with a machine");
        *ret = u.machine ? machines_find(machines, u.machine) : NULL;
        return *ret ? 0 : err_set(err, -ENOENT, "unit %s is not running on any machine", name);
}

static int find_target(const Machines *machines, char ***args, const Machine **ret, Err *err) {
        const Machine *by_unit = NULL;

        if (arg_machine && arg_unit)
                return err_set(err, -EINVAL, "both a machine and a unit were given");
        if (arg_machine)
                return find_by_id(machines, arg_machine, ret, err);
        if (arg_unit)
                return find_by_unit(machines, arg_unit, ret, err);
        if (!**args)
                return err_set(err, -EINVAL, "give a machine or a unit");
        const char *word = *(*args)++;
        int r = find_by_id(machines, word, ret, err);
        if (r == -EINVAL)
                return r;
        (void) find_by_unit(machines, word, &by_unit, NULL);
        if (*ret && by_unit)
                return err_set(err, -EINVAL, "ambiguous argument, both machine and unit found for \"%s\"; use --machine "
                                             "or --unit", word);
        if (!*ret)
                *ret = by_unit;
        err_done(err);
        return *ret ? 0 : err_set(err, -ENOENT, "could not find matching unit or machine");
}

int cmd_ssh(char **args) {
        _cleanup_(machines_done) Machines machines = {};
        _cleanup_(err_done) Err err = {};
        const Machine *m = NULL;

        int r = machines_get(&machines, &err);
        if (r >= 0)
                r = find_target(&machines, &args, &m, &err);
        if (r < 0) {
                say_error("Unable to proceed: %s", err_msg(&err));
                return 1;
        }
        for (size_t i = 0; args[i]; i++)
                if (streq(args[i], "--")) {
                        args += i + 1;
                        break;
                }
        return run_on_machine(m, args, arg_forward_agent, true);
}

/* ---- fd-forward: stdin and stdout to a unix socket, for a tunnel of the stock fleetctl ---- */

static int copy_some(int from, int to) {
        char buf[16384];
        ssize_t n = read(from, buf, sizeof(buf));

        if (n <= 0)
                return n < 0 && errno == EINTR ? 1 : 0;
        for (ssize_t at = 0; at < n;) {
                ssize_t w = write(to, buf + at, (size_t) (n - at));
                if (w < 0 && errno != EINTR)
                        return 0;
                at += MAX(w, 0);
        }
        return 1;
}

int cmd_fd_forward(char **args) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        if (!args[0] || args[1] || strlen(args[0]) >= sizeof(a.sun_path)) {
                say_error("Give the path of one socket");
                return 1;
        }
        memcpy(a.sun_path, args[0], strlen(args[0]) + 1);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0) {
                say_error("unable to connect to %s: %s", args[0], strerror(errno));
                return 1;
        }
        for (int go = 1; go;) {
                struct pollfd p[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        break;
                if (p[1].revents)
                        go = copy_some(fd, STDOUT_FILENO);
                if (go && p[0].revents)
                        go = copy_some(STDIN_FILENO, fd);
        }
        (void) close(fd);
        return 0;
}

int cmd_verify(char **args) {
        say_error("WARNING: verify is deprecated: signing units was taken out of fleet long ago");
        return 2;
}

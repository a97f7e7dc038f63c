/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/launch.h"
#include "base/str.h"
#include "container/run/network.h"
#include "sys/fs.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#define EXIT_ENGINE 125

static int set_names(const ContainerSpec *s, Err *err) {
        if (streq_ptr(s->host.uts_mode, "host") || isempty(s->config.hostname))
                return 0;
        if (sethostname(s->config.hostname, strlen(s->config.hostname)) < 0)
                return err_errno(err, -errno, "cannot set the host name \"%s\"", s->config.hostname);
        const char *domain = s->config.domainname;
        if (!isempty(domain) && setdomainname(domain, strlen(domain)) < 0)
                return err_errno(err, -errno, "cannot set the domain name \"%s\"", domain);
        return 0;
}

static int await_network(const Launch *l, int sync, Err *err) {
        SyncMessage m = { .kind = SYNC_READY };
        int fd, r = sync_send(sync, &m, -EBADF);
        if (r >= 0)
                r = sync_receive(sync, &m, &fd);
        if (r <= 0 || m.kind != SYNC_GO)
                return err_set(err, -EPIPE, "the container's shim has died");
        return l->own_net ? network_child(&m, err) : 0;
}

static int join_namespaces(const Launch *l, Err *err) {
        if ((l->join_net >= 0 && setns(l->join_net, CLONE_NEWNET) < 0) ||
            (l->join_ipc >= 0 && setns(l->join_ipc, CLONE_NEWIPC) < 0))
                return err_errno(err, -errno, "cannot join the other container's namespaces");
        return 0;
}

_noreturn_ void launch_child(const Launch *l, int sync) {
        _cleanup_(err_done) Err err = {};
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        int r = cgroup_enter_self(l->cgroup, true);
        if (r < 0)
                (void) err_errno(&err, r, "cannot enter the container's control group");
        if (r >= 0 && cgroup_clone_fd(l->cgroup) >= 0 && unshare(CLONE_NEWCGROUP) < 0)
                r = err_errno(&err, -errno, "cannot make a control group namespace");
        if (r >= 0)
                r = join_namespaces(l, &err);
        if (r >= 0)
                r = rootfs_enter(l, &err);
        if (r >= 0)
                r = set_names(l->spec, &err);
        if (r >= 0)
                r = await_network(l, sync, &err);
        if (r < 0)
                sync_fail(sync, EXIT_ENGINE, &err);
        process_exec(&l->process, sync);
}

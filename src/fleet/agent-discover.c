/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/agent-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "fleet/plan/name.h"
#include "sys/fs.h"
#include "sys/log.h"

#include <dirent.h>

/* What is on the machine when the daemon starts: unit files, whether systemd knows them, whether they were launched. */

static void closedirp(DIR **d) {
        if (*d)
                (void) closedir(*d);
}

static char **list_units(const Agent *a) {
        _cleanup_(closedirp) DIR *d = opendir(a->units_dir);
        char **names = NULL;

        for (struct dirent *e; d && (e = readdir(d));) {
                if (e->d_name[0] == '.')
                        continue;
                if (unit_name_recognised(e->d_name))
                        strv_add(&names, e->d_name);
                else
                        log_warning("%s%s is not the name of a unit, left alone", a->units_dir, e->d_name);
        }
        strv_sort(names);
        return names;
}

static bool was_launched(const Agent *a, const Local *l, const char *hash) {
        _cleanup_free_ char *path = mark_path(a, l->name);
        _cleanup_(buf_done) Buf mark = {};

        if (l->active && (streq(l->active, "active") || streq(l->active, "activating") ||
                          streq(l->active, "reloading")))
                return true;
        return read_file(path, 4096, &mark) >= 0 && streq(buf_str(&mark), hash);
}

static void adopt(Agent *a, const char *name) {
        _cleanup_free_ char *path = unit_path(a, name);
        _cleanup_(buf_done) Buf text = {};
        _cleanup_(unitfile_done) UnitFile u = {};
        _cleanup_(xfleet_done) XFleet req = {};
        Local *l = local_obtain(a, name);

        if (!l->load || streq(l->load, "not-found"))
                return; /* written but never made known: it will be loaded again if it is wanted */
        /* A file that cannot be read is adopted with a hash that nothing has, hence unloaded and loaded anew. */
        int r = read_file(path, UNITFILE_BYTES_MAX, &text);
        if (r >= 0)
                r = unitfile_parse(buf_str(&text), text.len, 0, &u, NULL);
        _cleanup_free_ char *hash = r >= 0 ? unitfile_hash(&u) : xstrdup("unreadable");
        xfleet_read(&u, name, &req);
        bool launched = was_launched(a, l, hash);
        log_debug("found %s (%s, %s)", name, launched ? "launched" : "loaded", strempty(l->active));
        agent_found(&a->plan, name, hash, launched, &req);
}

static void on_queried(const char *error, void *user) {
        Agent *a = user;
        _cleanup_strv_ char **names = list_units(a);

        a->query = NULL;
        if (error) {
                log_error("cannot ask systemd for the units that are here: %s", error);
                return; /* the connection is made anew, which leads here again */
        }
        if (a->discovered) {
                publish_all(a);
                return;
        }
        a->discovered = true;
        STRV_FOREACH(n, names)
                adopt(a, *n);
        log_info("found %zu units on this machine", a->plan.n);
        sync_apply(a);
        agent_run_soon(a);
}

/* On every new connection to systemd. */
void discover(Agent *a) {
        _cleanup_strv_ char **names = list_units(a);

        STRV_FOREACH(n, names) {
                (void) local_obtain(a, *n);
                systemd_watch(a->systemd, *n);
        }
        systemd_cancel(a->query);
        a->query = systemd_query(a->systemd, names, on_queried, a);
}

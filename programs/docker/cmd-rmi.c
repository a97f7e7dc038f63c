/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "docker.h"

#include <stdio.h>

static bool arg_force, arg_no_prune;

static const Option options[] = {
        { "force", 'f', OPT_BOOL, &arg_force, NULL, "Remove although stopped containers or several names refer to it", NULL },
        { "no-prune", 0, OPT_BOOL, &arg_no_prune, NULL, "Accepted for scripts: there are no untagged parents here", NULL },
        {},
};

static int remove_one(ImageStore *store, const char *name) {
        _cleanup_(err_done) Err err = {};
        _cleanup_(remove_report_done) RemoveReport report = {};
        int r = image_remove(store, name, arg_force, &report, &err);
        STRV_FOREACH(i, report.untagged)
                printf("Untagged: %s\n", *i);
        STRV_FOREACH(i, report.deleted)
                printf("Deleted: %s\n", *i);
        if (r == -ENOENT) {
                (void) fflush(stdout);
                fprintf(stderr, "Error: %s\n", err_msg(&err));
                return arg_force ? 0 : 1;
        }
        return r < 0 ? docker_error(&err) : 0;
}

int cmd_rmi(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("rmi", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        if (image_store_open(docker_root(), &store, &err) < 0)
                return docker_error(&err);
        int status = 0;
        for (char **i = rest; *i; i++)
                status = MAX(status, remove_one(store, *i));
        return status;
}

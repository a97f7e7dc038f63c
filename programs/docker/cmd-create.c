/* SPDX-License-Identifier: Apache-2.0 */
#include "run-options.h"
#include "sys/fs.h"

#include <stdio.h>

int cmd_create(int argc, char **argv) {
        RunOptions o;
        int r = run_options_parse("create", argc, argv, &o);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = NULL;
        _cleanup_close_ int lock = -EBADF;
        int status = 0;
        if (container_store_open(docker_root(), &s, &err) < 0)
                status = docker_run_error("create", &err);
        else if (run_create(s, &o, "create", &lock, &status) >= 0)
                printf("%s\n", o.request.spec->id);
        run_options_done(&o);
        return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "each.h"

#include <stdio.h>

Store *open_store(void) {
        _cleanup_(err_done) Err err = {};
        Store *s = NULL;
        if (container_store_open(docker_root(), &s, &err) < 0)
                (void) docker_error(&err);
        return s;
}

int for_each_name(char *const *names, int (*fn)(Store *, const char *, void *, Err *), void *userdata) {
        _cleanup_(container_store_closep) Store *s = open_store();
        if (!s)
                return 1;
        int status = 0;
        for (; *names; names++) {
                _cleanup_(err_done) Err err = {};
                if (fn(s, *names, userdata, &err) < 0)
                        status = docker_error(&err);
                else {
                        printf("%s\n", *names);
                        (void) fflush(stdout);
                }
        }
        return status;
}

int leave_unit(const char *id, pid_t pid, Err *err) {
        if (!DOCKER_HAS_TWIN)
                return scope_start(id, pid, err);
        _cleanup_free_ char *twin = docker_twin();
        return scope_start_by(twin, id, pid, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "docker.h"

static const Option options[] = { {} };

int cmd_tag(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("tag", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        r = image_store_open(docker_root(), &store, &err);
        if (r >= 0)
                r = image_tag(store, rest[0], rest[1], &err);
        return r < 0 ? docker_error(&err) : 0;
}

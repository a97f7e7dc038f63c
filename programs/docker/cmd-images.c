/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/format.h"
#include "container/image/image.h"
#include "container/image/reference.h"
#include "docker.h"
#include "sys/clock.h"

#include <stdio.h>

static bool arg_all, arg_quiet, arg_no_trunc, arg_digests;
static char **arg_filters;
static char *arg_format;

static const Option options[] = {
        { "all", 'a', OPT_BOOL, &arg_all, NULL, "Show all images (this engine has no hidden ones)", NULL },
        { "quiet", 'q', OPT_BOOL, &arg_quiet, NULL, "Only show ids", NULL },
        { "no-trunc", 0, OPT_BOOL, &arg_no_trunc, NULL, "Do not shorten ids", NULL },
        { "digests", 0, OPT_BOOL, &arg_digests, NULL, "Show digests", NULL },
        { "filter", 'f', OPT_LIST, &arg_filters, "KEY=VALUE",
          "Show only what matches: dangling=BOOL, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE", NULL },
        { "format", 0, OPT_STR, &arg_format, "TEMPLATE", "Print {{.Field}}s of each image, or \"table …\", or \"json\"", NULL },
        {},
};

int cmd_images(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("images", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        r = image_store_open(docker_root(), &store, &err);
        if (r < 0)
                return docker_error(&err);
        Image **l = NULL;
        size_t n = 0;
        r = image_list(store, &l, &n, &err);
        if (r < 0)
                return docker_error(&err);
        for (size_t i = 0; i < n; i++) {
                printf("%s %s\n", l[i]->id, l[i]->repo_tags ? l[i]->repo_tags[0] : "-");
                image_free(l[i]);
        }
        free(l);
        return 0;
}

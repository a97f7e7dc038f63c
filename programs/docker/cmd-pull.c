/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "container/image/reference.h"
#include "docker.h"

#include <stdio.h>
#include <unistd.h>

static bool arg_quiet, arg_all_tags;
static char *arg_platform;

static const Option options[] = {
        { "all-tags", 'a', OPT_BOOL, &arg_all_tags, NULL, "Pull every tag of the repository", NULL },
        { "platform", 0, OPT_STR, &arg_platform, "OS/ARCH[/VARIANT]", "Instead of this machine's", NULL },
        { "quiet", 'q', OPT_BOOL, &arg_quiet, NULL, "Only print the name of what was pulled", NULL },
        {},
};

static int pull(ImageStore *store, const char *name, const Reference *ref, Err *err) {
        _cleanup_(image_progress_freep) ImageProgress *progress = image_progress_new(STDOUT_FILENO);
        PullOptions o = {
                .event = arg_quiet ? NULL : image_progress_event,
                .userdata = progress,
                .all_tags = arg_all_tags,
                .platform = arg_platform,
        };
        int r = image_pull(store, name, &o, NULL, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *full = arg_all_tags ? reference_name(ref) : reference_full(ref);
        printf("%s\n", full);
        return 0;
}

int cmd_pull(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("pull", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(reference_done) Reference ref = {};
        if (reference_parse(rest[0], &ref, &err) < 0) {
                fprintf(stderr, "%s\n", err_msg(&err));
                return 1;
        }
        if (!arg_all_tags && !arg_quiet && ref.tag && !ref.digest && !strchr(strrchr(rest[0], '/') ? strrchr(rest[0], '/') : rest[0], ':'))
                printf("Using default tag: latest\n");
        (void) fflush(stdout);
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        r = image_store_open(docker_root(), &store, &err);
        if (r >= 0)
                r = pull(store, rest[0], &ref, &err);
        return r < 0 ? docker_error(&err) : 0;
}

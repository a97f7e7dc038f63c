/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "container/docker/create.h"
#include "docker.h"

/* The options that `run` and `create` share, and what they make of a container. */

typedef struct RunOptions {
        CreateRequest request;
        bool detach, sig_proxy;
        char **attach; /* -a words; NULL = the default */
        char *pull;    /* "missing", "always", "never" */
        char *cid_file;
} RunOptions;

/* Parses the command line of `verb`. As docker_options(): 0, 1 or negative. */
int run_options_parse(const char *verb, int argc, char **argv, RunOptions *ret);
void run_options_done(RunOptions *o);
/* Creates the container, pulling its image when that is absent; prints what went wrong. *status is the exit status
 * to return when the result is negative. */
int run_create(Store *s, RunOptions *o, const char *verb, int *ret_lock, int *status);

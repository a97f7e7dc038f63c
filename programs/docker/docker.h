/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The docker command: a verb table (main.c), one file cmd-<verb>.c per verb. A verb gets argv[0] = its own name,
 * prints results to stdout, errors to stderr through the helpers here, and returns the exit status:
 *
 *   int cmd_wait(int argc, char **argv) {
 *           _cleanup_free_ char **rest = NULL;
 *           int r = docker_options("wait", options, 0, argc, argv, &rest);
 *           if (r != 0)
 *                   return docker_exit(r);
 *           ...
 *   }
 */

#include "base/alloc.h"
#include "base/err.h"
#include "base/options.h"
#include "base/str.h"

/* The installed `docker` is linked statically, so that a container starts before a dynamic linker has read forty
 * libraries. Pulling (curl) and systemd scopes (sd-bus) cannot be had that way: the static program (DOCKER_STATIC)
 * leaves them out and calls its dynamic twin `coracle-docker`, built from the same sources. */
#ifdef DOCKER_STATIC
#        pragma weak image_pull
#        pragma weak scope_start
#        define DOCKER_HAS_TWIN true
#else
#        define DOCKER_HAS_TWIN false
#endif
#define DOCKER_TWIN "coracle-docker"
/* The twin's path beside this program; owned. */
char *docker_twin(void);

typedef struct DockerVerb {
        const char *name;
        int (*run)(int argc, char **argv);
        const char *usage; /* what follows "docker " in the usage line */
        const char *help;  /* one line; NULL hides the verb (aliases) */
        int min_args, max_args; /* -1: no upper limit */
} DockerVerb;

const DockerVerb *docker_verb(const char *name); /* NULL when there is none */

/* The store's folder: --root, else CORACLE_ROOT, else /var/lib/coracle. */
const char *docker_root(void);

/* Parses argv[1..] against `options`, serves --help, checks the number of arguments of the verb. Returns 0 and
 * sets *ret_rest (free() it), 1 when help was printed (exit 0), or -EINVAL after having printed the error and
 * the "See 'docker VERB --help'." hint. */
int docker_options(const char *verb, const Option *options, OptionsFlags flags, int argc, char **argv,
                   char ***ret_rest);
/* The exit status for docker_options()'s result: 0 for 1, 125 (docker's usage error) for a failure. */
int docker_exit(int r);

/* Prints "Error response from daemon: <message>" (docker's wording, which scripts grep) and returns 1. */
int docker_error(const Err *err);
/* Prints "docker: <message>." plus the hint to --help, and returns 125: failures of `run` and `create`. */
int docker_run_error(const char *verb, const Err *err);

int cmd_attach(int argc, char **argv);
int cmd_cp(int argc, char **argv);
int cmd_create(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_kill(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_port(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_rename(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_start(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_unpause(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_volume(int argc, char **argv);
int cmd_wait(int argc, char **argv);
/* images */
int cmd_history(int argc, char **argv);
int cmd_images(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_pull(int argc, char **argv);
int cmd_rmi(int argc, char **argv);
int cmd_save(int argc, char **argv);
int cmd_tag(int argc, char **argv);

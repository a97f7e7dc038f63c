/* SPDX-License-Identifier: Apache-2.0 */
#include "docker.h"
#include "sys/clock.h"
#include "base/hash.h"
#include "container/image/image.h"
#include "container/run/engine.h"

#include <stdio.h>
#include <unistd.h>

#define ROOT_DEFAULT "/var/lib/coracle"

static char *arg_root;
static bool arg_version, arg_help;

/* Until every verb's file is there, those that are missing resolve to NULL and are left out of the table. */
#pragma weak cmd_attach
#pragma weak cmd_cp
#pragma weak cmd_create
#pragma weak cmd_exec
#pragma weak cmd_info
#pragma weak cmd_inspect
#pragma weak cmd_kill
#pragma weak cmd_logs
#pragma weak cmd_pause
#pragma weak cmd_port
#pragma weak cmd_ps
#pragma weak cmd_rename
#pragma weak cmd_restart
#pragma weak cmd_rm
#pragma weak cmd_run
#pragma weak cmd_start
#pragma weak cmd_stop
#pragma weak cmd_top
#pragma weak cmd_unpause
#pragma weak cmd_version
#pragma weak cmd_volume
#pragma weak cmd_wait
#pragma weak cmd_history
#pragma weak cmd_images
#pragma weak cmd_import
#pragma weak cmd_load
#pragma weak cmd_pull
#pragma weak cmd_rmi
#pragma weak cmd_save
#pragma weak cmd_tag

static const DockerVerb verbs[] = {
        { "attach", cmd_attach, "attach [OPTIONS] CONTAINER", "Attach to a running container", 1, 1 },
        { "cp", cmd_cp, "cp [OPTIONS] CONTAINER:SRC DEST|-  or  SRC|- CONTAINER:DEST",
          "Copy files between a container and this machine", 2, 2 },
        { "create", cmd_create, "create [OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a container", 1, -1 },
        { "exec", cmd_exec, "exec [OPTIONS] CONTAINER COMMAND [ARG...]", "Run a command in a running container",
          2, -1 },
        { "history", cmd_history, "history [OPTIONS] IMAGE", "Show how an image was made", 1, 1 },
        { "images", cmd_images, "images [OPTIONS] [REPOSITORY[:TAG]]", "List images", 0, 1 },
        { "import", cmd_import, "import [OPTIONS] FILE|- [REPOSITORY[:TAG]]",
          "Make an image from a tar of a root file system", 1, 2 },
        { "info", cmd_info, "info [OPTIONS]", "Show what this engine is and has", 0, 0 },
        { "inspect", cmd_inspect, "inspect [OPTIONS] NAME|ID [NAME|ID...]",
          "Show containers and images as JSON", 1, -1 },
        { "kill", cmd_kill, "kill [OPTIONS] CONTAINER [CONTAINER...]", "Send a signal to containers", 1, -1 },
        { "load", cmd_load, "load [OPTIONS]", "Load images from a tar", 0, 0 },
        { "logs", cmd_logs, "logs [OPTIONS] CONTAINER", "Show what a container printed", 1, 1 },
        { "pause", cmd_pause, "pause CONTAINER [CONTAINER...]", "Freeze containers", 1, -1 },
        { "port", cmd_port, "port CONTAINER [PRIVATE_PORT[/PROTO]]", "Show published ports", 1, 2 },
        { "ps", cmd_ps, "ps [OPTIONS]", "List containers", 0, 0 },
        { "pull", cmd_pull, "pull [OPTIONS] NAME[:TAG|@DIGEST]", "Fetch an image from a registry", 1, 1 },
        { "rename", cmd_rename, "rename CONTAINER NEW_NAME", "Rename a container", 2, 2 },
        { "restart", cmd_restart, "restart [OPTIONS] CONTAINER [CONTAINER...]", "Restart containers", 1, -1 },
        { "rm", cmd_rm, "rm [OPTIONS] CONTAINER [CONTAINER...]", "Remove containers", 1, -1 },
        { "rmi", cmd_rmi, "rmi [OPTIONS] IMAGE [IMAGE...]", "Remove images", 1, -1 },
        { "run", cmd_run, "run [OPTIONS] IMAGE [COMMAND] [ARG...]", "Create and run a new container", 1, -1 },
        { "save", cmd_save, "save [OPTIONS] IMAGE [IMAGE...]", "Write images to a tar", 1, -1 },
        { "start", cmd_start, "start [OPTIONS] CONTAINER [CONTAINER...]", "Start stopped containers", 1, -1 },
        { "stop", cmd_stop, "stop [OPTIONS] CONTAINER [CONTAINER...]", "Stop running containers", 1, -1 },
        { "tag", cmd_tag, "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Give an image another name", 2, 2 },
        { "top", cmd_top, "top CONTAINER [PS OPTIONS]", "Show a container's processes", 1, -1 },
        { "unpause", cmd_unpause, "unpause CONTAINER [CONTAINER...]", "Thaw containers", 1, -1 },
        { "version", cmd_version, "version [OPTIONS]", "Show the version", 0, 0 },
        { "volume", cmd_volume, "volume ls|create|inspect|rm [ARG...]", "Manage volumes", 0, -1 },
        { "wait", cmd_wait, "wait CONTAINER [CONTAINER...]",
          "Wait until containers stop, then print their exit codes", 1, -1 },
};

static const Option global_options[] = {
        { "root", 0, OPT_STR, &arg_root, "DIR", "Folder of the store (CORACLE_ROOT; default " ROOT_DEFAULT ")", NULL },
        { "version", 'v', OPT_BOOL, &arg_version, NULL, "Show the version", NULL },
        { "help", 0, OPT_BOOL, &arg_help, NULL, "Show this", NULL },
        {},
};

const DockerVerb *docker_verb(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (verbs[i].run && streq(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

const char *docker_root(void) {
        if (!isempty(arg_root))
                return arg_root;
        const char *e = getenv("CORACLE_ROOT");
        return isempty(e) ? ROOT_DEFAULT : e;
}

char *docker_twin(void) {
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        self[n > 0 ? n : 0] = 0;
        char *slash = strrchr(self, '/');
        if (slash)
                *slash = 0;
        return xasprintf("%s/" DOCKER_TWIN, self);
}

/* What this program was linked without, its twin does. */
static void hand_over(char **argv) {
        _cleanup_free_ char *twin = docker_twin();
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        self[n > 0 ? n : 0] = 0;
        if (streq(twin, self)) {
                fprintf(stderr, "docker: %s was linked without the registry client\n", self);
                return;
        }
        (void) execv(twin, argv);
        fprintf(stderr, "docker: cannot run %s: %s\n", twin, strerror(errno));
}

static void verb_help(const DockerVerb *v, const Option *options) {
        _cleanup_free_ char *text = options_help(options);
        printf("Usage:  docker %s\n\n%s\n", v->usage, v->help);
        if (*text)
                printf("\nOptions:\n%s", text);
}

static int check_args(const DockerVerb *v, char *const *rest, Err *err) {
        int n = 0;
        while (rest[n])
                n++;
        const char *how = v->min_args == v->max_args ? "exactly" : n < v->min_args ? "at least" : "at most";
        int want = n < v->min_args ? v->min_args : v->max_args;
        if (n < v->min_args || (v->max_args >= 0 && n > v->max_args))
                return err_set(err, -EINVAL, "\"docker %s\" requires %s %d argument%s", v->name, how, want,
                               want == 1 ? "" : "s");
        return 0;
}

int docker_options(const char *verb, const Option *options, OptionsFlags flags, int argc, char **argv,
                   char ***ret_rest) {
        const DockerVerb *v = docker_verb(verb);
        assert(v);
        for (int i = 1; i < argc && argv[i][0] == '-' && !streq(argv[i], "--"); i++)
                if (streq(argv[i], "--help")) {
                        verb_help(v, options);
                        return 1;
                }
        _cleanup_(err_done) Err err = {};
        _cleanup_free_ char **rest = NULL;
        int r = options_parse(options, flags, argc, argv, &rest, &err);
        if (r >= 0)
                r = check_args(v, rest, &err);
        if (r < 0) {
                fprintf(stderr, "docker: %s\n\nUsage:  docker %s\n\nRun 'docker %s --help' for more information\n",
                        err_msg(&err), v->usage, verb);
                return r;
        }
        *ret_rest = TAKE_PTR(rest);
        return 0;
}

int docker_exit(int r) {
        return r == 1 ? 0 : 125;
}

int docker_error(const Err *err) {
        (void) fflush(stdout);
        fprintf(stderr, "Error response from daemon: %s\n", err_msg(err));
        return 1;
}

int docker_run_error(const char *verb, const Err *err) {
        (void) fflush(stdout);
        fprintf(stderr, "docker: Error response from daemon: %s.\n\nRun 'docker %s --help' for more information\n",
                err_msg(err), verb);
        return 125;
}

static void print_help(FILE *f) {
        _cleanup_free_ char *text = options_help(global_options);
        fprintf(f, "Usage:  docker [OPTIONS] COMMAND\n\nRuns containers, without a daemon.\n\nCommands:\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (verbs[i].run && verbs[i].help)
                        fprintf(f, "  %-10s %s\n", verbs[i].name, verbs[i].help);
        fprintf(f, "\nOptions:\n%s\nRun 'docker COMMAND --help' for more information on a command.\n", text);
}

/* docker took "docker container ls", "docker image ls": the group's name is dropped, "ls" becomes ps or images. */
static void resolve_group(int *argc, char ***argv) {
        if (*argc < 2 || (!streq((*argv)[0], "container") && !streq((*argv)[0], "image")))
                return;
        bool image = streq((*argv)[0], "image");
        (*argc)--;
        (*argv)++;
        if (streq((*argv)[0], "ls") || streq((*argv)[0], "list"))
                (*argv)[0] = image ? (char *) "images" : (char *) "ps";
        else if (streq((*argv)[0], "rm") && image)
                (*argv)[0] = (char *) "rmi";
}

/* For the static twin: "__scope ID PID". */
static int run_scope(const char *id, const char *pid_text) {
        _cleanup_(err_done) Err err = {};
        int pid = 0, r = parse_int(pid_text, &pid);
        if (r >= 0)
                r = scope_start(id, pid, &err);
        if (r < 0)
                fprintf(stderr, "docker: %s\n", err_msg(&err));
        return r < 0 ? 1 : 0;
}

int main(int argc, char **argv) {
        uint8_t seed[16];
        random_bytes(seed, sizeof(seed));
        hash_seed(seed);

        _cleanup_(err_done) Err err = {};
        _cleanup_free_ char **rest = NULL;
        int r = options_parse(global_options, OPTIONS_STOP_AT_ARG, argc, argv, &rest, &err);
        if (r < 0) {
                fprintf(stderr, "docker: %s\nSee 'docker --help'.\n", err_msg(&err));
                return 125;
        }
        if (arg_version) {
                printf("Docker version 20.10.24, build coracle-" CORACLE_VERSION "\n");
                return 0;
        }
        if (arg_help || !rest[0]) {
                print_help(stdout);
                return 0;
        }
        char **args = rest;
        int n = 0;
        while (rest[n])
                n++;
        resolve_group(&n, &args);
        if (!DOCKER_HAS_TWIN && streq(args[0], "__scope") && n == 3)
                return run_scope(args[1], args[2]);
        const DockerVerb *v = docker_verb(args[0]);
        if (!v) {
                fprintf(stderr, "docker: '%s' is not a docker command.\nSee 'docker --help'\n", args[0]);
                return 1;
        }
        if (v->run == cmd_pull && DOCKER_HAS_TWIN) {
                hand_over(argv);
                return 125;
        }
        return v->run(n, args);
}

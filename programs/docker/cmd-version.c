/* SPDX-License-Identifier: Apache-2.0 */
#include "docker.h"

#include <stdio.h>
#include <sys/utsname.h>

int cmd_version(int argc, char **argv) {
        static const Option options[] = { {} };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("version", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        struct utsname u;
        if (uname(&u) < 0)
                return 1;
        printf("Client: Coracle\n Version:           20.10.24\n API version:       1.41\n"
               " Coracle version:   " CORACLE_VERSION "\n OS/Arch:           linux/amd64\n"
               "\nServer: none (this engine has no daemon)\n Kernel Version:    %s\n",
               u.release);
        return 0;
}

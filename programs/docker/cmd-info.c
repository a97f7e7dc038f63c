/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "container/run/network.h"
#include "each.h"
#include "format.h"
#include "sys/cgroup.h"

#include <stdio.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

static json_t *collect(Store *s, Err *err) {
        _cleanup_(image_store_closep) ImageStore *images = NULL;
        Container **l = NULL;
        Image **i = NULL;
        size_t n = 0, n_images = 0;
        long running = 0, paused = 0;
        if (container_list(s, &l, &n, err) < 0 || image_store_open(s->root, &images, err) < 0 ||
            image_list(images, &i, &n_images, err) < 0)
                return NULL;
        for (size_t k = 0; k < n; k++) {
                running += streq(container_status(l[k]), "running");
                paused += streq(container_status(l[k]), "paused");
        }
        container_list_free(l, n);
        for (size_t k = 0; k < n_images; k++)
                image_free(i[k]);
        free(i);
        struct utsname u = {};
        struct sysinfo m = {};
        (void) uname(&u);
        (void) sysinfo(&m);
        CgroupSet set = {};
        (void) cgroup_of(0, &set, NULL);
        bool v2 = set.n == 1 && set.dirs[0].controllers == CGROUP_V2;
        cgroup_set_done(&set);
        return json_pack("{s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s}", "Containers",
                         (json_int_t) n, "ContainersRunning", (json_int_t) running, "ContainersPaused",
                         (json_int_t) paused, "ContainersStopped", (json_int_t) ((long) n - running - paused), "Images",
                         (json_int_t) n_images, "Driver", "overlay2", "CgroupDriver",
                         access("/run/systemd/system", F_OK) >= 0 ? "systemd" : "cgroupfs", "CgroupVersion",
                         v2 ? "2" : "1", "KernelVersion", u.release, "Architecture", u.machine, "OSType", "linux",
                         "Name", u.nodename, "DockerRootDir", s->root, "NCPU", (json_int_t) sysconf(_SC_NPROCESSORS_ONLN),
                         "MemTotal", (json_int_t) (m.totalram * m.mem_unit), "ServerVersion", "20.10.24",
                         "DefaultRuntime", "coracle");
}

#define FORMAT_DEFAULT                                                                                        \
        "Containers: {{.Containers}}\n Running: {{.ContainersRunning}}\n Paused: {{.ContainersPaused}}\n"      \
        " Stopped: {{.ContainersStopped}}\nImages: {{.Images}}\nServer Version: {{.ServerVersion}} (Coracle, "  \
        "no daemon)\nStorage Driver: {{.Driver}}\nCgroup Driver: {{.CgroupDriver}}\nCgroup Version: "           \
        "{{.CgroupVersion}}\nDefault Runtime: {{.DefaultRuntime}}\nKernel Version: {{.KernelVersion}}\n"        \
        "OSType: {{.OSType}}\nArchitecture: {{.Architecture}}\nCPUs: {{.NCPU}}\nTotal Memory: {{.MemTotal}}\n"  \
        "Name: {{.Name}}\nDocker Root Dir: {{.DockerRootDir}}"

int cmd_info(int argc, char **argv) {
        static char *format;
        static const Option options[] = {
                { "format", 'f', OPT_STR, &format, "TEMPLATE", "Go template", NULL },
                {},
        };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("info", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        if (!s)
                return 1;
        network_reconcile(s);
        _cleanup_json_ json_t *rows = json_array();
        json_t *info = collect(s, &err);
        if (!info)
                return docker_error(&err);
        (void) json_array_append_new(rows, info);
        return format_rows(format ? format : FORMAT_DEFAULT, rows, (const char *const[]){ NULL }, &err) < 0
                               ? docker_error(&err)
                               : 0;
}

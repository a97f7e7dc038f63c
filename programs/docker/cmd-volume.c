/* SPDX-License-Identifier: Apache-2.0 */
#include "each.h"
#include "format.h"
#include "sys/fs.h"

#include <dirent.h>
#include <stdio.h>

/* docker volume ls | create | inspect | rm. */

static bool arg_quiet, arg_force;
static char *arg_format;

static const char *const headers[] = { "Driver", "DRIVER", "Name", "VOLUME NAME", "Mountpoint", "MOUNTPOINT", NULL };

static json_t *volume_object(const Store *s, const char *name) {
        _cleanup_free_ char *path = container_store_path(s, "volumes/%s/_data", name);
        return json_pack("{s:s,s:s,s:s,s:s,s:n,s:n}", "Driver", "local", "Mountpoint", path, "Name", name, "Scope",
                         "local", "Labels", "Options");
}

static char **volume_names(const Store *s) {
        _cleanup_free_ char *path = container_store_path(s, "volumes");
        char **names = NULL;
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));)
                if (container_name_ok(e->d_name))
                        strv_add(&names, e->d_name);
        if (d)
                (void) closedir(d);
        strv_sort(names);
        return names;
}

static int list(Store *s, Err *err) {
        _cleanup_strv_ char **names = volume_names(s);
        _cleanup_json_ json_t *rows = json_array();
        STRV_FOREACH(n, names)
                (void) json_array_append_new(rows, volume_object(s, *n));
        return format_rows(arg_quiet ? "{{.Name}}" : arg_format ? arg_format : "table {{.Driver}}\t{{.Name}}", rows,
                           headers, err);
}

static int in_use(Store *s, const char *name, Err *err) {
        Container **l = NULL;
        size_t n = 0;
        int r = container_list(s, &l, &n, err);
        for (size_t i = 0; r >= 0 && i < n; i++)
                for (size_t k = 0; k < l[i]->spec->n_mounts; k++)
                        if (streq_ptr(l[i]->spec->mounts[k].name, name) && r >= 0)
                                r = err_set(err, -EBUSY, "remove %s: volume is in use - [%s]", name, l[i]->id);
        container_list_free(l, n);
        return r;
}

static int remove_one(Store *s, const char *name, void *userdata, Err *err) {
        int r = in_use(s, name, err);
        return r < 0 ? r : volume_remove(s, name, err);
}

static int create_one(Store *s, const char *name, Err *err) {
        _cleanup_free_ char *path = NULL, *made = name ? NULL : container_new_id();
        bool fresh;
        int r = volume_make(s, name ? name : made, &path, &fresh, err);
        if (r >= 0)
                printf("%s\n", name ? name : made);
        return r;
}

static int inspect(Store *s, char **names) {
        int status = 0;
        _cleanup_json_ json_t *all = json_array();
        for (; *names; names++) {
                _cleanup_free_ char *dir = container_store_path(s, "volumes/%s", *names);
                if (container_name_ok(*names) && access(dir, F_OK) >= 0) {
                        (void) json_array_append_new(all, volume_object(s, *names));
                        continue;
                }
                fprintf(stderr, "Error: No such volume: %s\n", *names);
                status = 1;
        }
        if (arg_format) {
                _cleanup_(err_done) Err err = {};
                return format_rows(arg_format, all, headers, &err) < 0 ? docker_error(&err) : status;
        }
        char *text = json_dumps(all, JSON_INDENT(4));
        printf("%s\n", strempty(text));
        free(text);
        return status;
}

int cmd_volume(int argc, char **argv) {
        static const Option options[] = {
                { "force", 'f', OPT_BOOL, &arg_force, NULL, "rm: no error for a volume that is not there", NULL },
                { "format", 0, OPT_STR, &arg_format, "TEMPLATE", "ls, inspect: Go template", NULL },
                { "quiet", 'q', OPT_BOOL, &arg_quiet, NULL, "ls: only names", NULL },
                {},
        };
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("volume", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(container_store_closep) Store *s = open_store();
        if (!s)
                return 1;
        const char *what = strempty(rest[0]);
        if (streq(what, "ls") || streq(what, "list"))
                r = list(s, &err);
        else if (streq(what, "create"))
                r = create_one(s, rest[1], &err);
        else if (streq(what, "inspect") && rest[1])
                return inspect(s, rest + 1);
        else if ((streq(what, "rm") || streq(what, "remove")) && rest[1])
                return for_each_name(rest + 1, remove_one, NULL);
        else {
                fprintf(stderr, "Usage:  docker volume ls|create [NAME]|inspect NAME...|rm NAME...\n");
                return 1;
        }
        return r < 0 ? docker_error(&err) : 0;
}

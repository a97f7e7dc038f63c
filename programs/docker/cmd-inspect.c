/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "container/docker/inspect.h"
#include "container/docker/template.h"
#include "container/image/image.h"
#include "each.h"

#include <stdio.h>

static char *arg_format, *arg_type;
static bool arg_size;

static const Option options[] = {
        { "format", 'f', OPT_STR, &arg_format, "TEMPLATE", "Go template to print instead of JSON", NULL },
        { "size", 's', OPT_BOOL, &arg_size, NULL, NULL, NULL },
        { "type", 0, OPT_STR, &arg_type, "TYPE", "container or image", NULL },
        {},
};

static int write_container(Store *s, const char *name, Buf *b) {
        _cleanup_(container_freep) Container *c = NULL;
        int r = container_get(s, name, &c, NULL);
        if (r < 0)
                return r;
        JsonOut j = { .buf = b };
        container_write_inspect(s, c, &j);
        return 0;
}

static int write_image(const char *root, const char *name, Buf *b) {
        _cleanup_(image_store_closep) ImageStore *images = NULL;
        _cleanup_(image_freep) Image *i = NULL;
        int r = image_store_open(root, &images, NULL);
        if (r >= 0)
                r = image_resolve(images, name, &i, NULL);
        if (r < 0)
                return r;
        JsonOut j = { .buf = b };
        image_write_inspect(images, i, &j);
        return 0;
}

static int find(Store *s, const char *name, Buf *b) {
        int r = -ENOENT;
        if (!arg_type || streq(arg_type, "container"))
                r = write_container(s, name, b);
        if (r < 0 && (!arg_type || streq(arg_type, "image")))
                r = write_image(s->root, name, b);
        return r;
}

static int print_formatted(const Buf *b, Err *err) {
        _cleanup_(template_freep) Template *t = NULL;
        _cleanup_json_ json_t *value = NULL;
        _cleanup_(buf_done) Buf out = {};
        int r = template_parse(streq(arg_format, "json") ? "{{json .}}" : arg_format, &t, err);
        if (r >= 0)
                r = ji_parse(b->data, b->len, 0, &value, err);
        if (r >= 0)
                r = template_run(t, value, &out, err);
        if (r >= 0)
                printf("%s\n", buf_str(&out));
        return r;
}

/* The compact objects once more through the writer, with docker's four spaces. */
static void write_value(JsonOut *j, const json_t *v) {
        if (json_is_object(v)) {
                const char *key;
                json_t *member;
                jo_obj(j);
                json_object_foreach((json_t *) v, key, member) {
                        jo_key(j, key);
                        write_value(j, member);
                }
                jo_end(j);
        } else if (json_is_array(v)) {
                jo_arr(j);
                for (size_t i = 0; i < json_array_size(v); i++)
                        write_value(j, json_array_get(v, i));
                jo_end(j);
        } else if (json_is_string(v))
                jo_strn(j, json_string_value(v), json_string_length(v));
        else if (json_is_integer(v))
                jo_int(j, json_integer_value(v));
        else if (json_is_real(v))
                jo_double(j, json_real_value(v));
        else if (json_is_boolean(v))
                jo_bool(j, json_is_true(v));
        else
                jo_null(j);
}

static void print_all(const json_t *all) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b, .indent = 4, .plain = true };
        write_value(&j, all);
        printf("%s\n", buf_str(&b));
}

static int inspect(Store *s, char **names) {
        _cleanup_json_ json_t *all = json_array();
        _cleanup_strv_ char **missing = NULL;
        int status = 0;
        for (; *names; names++) {
                _cleanup_(err_done) Err err = {};
                _cleanup_(buf_done) Buf b = {};
                json_t *value = NULL;
                if (find(s, *names, &b) < 0) {
                        strv_add(&missing, *names);
                        continue;
                }
                if (arg_format ? print_formatted(&b, &err) < 0 : ji_parse(b.data, b.len, 0, &value, &err) < 0) {
                        fprintf(stderr, "%s\n", err_msg(&err));
                        status = 1;
                }
                if (value)
                        (void) json_array_append_new(all, value);
        }
        if (!arg_format)
                print_all(all);
        (void) fflush(stdout);
        STRV_FOREACH(m, missing) {
                fprintf(stderr, "Error: No such %s: %s\n", arg_type ? arg_type : "object", *m);
                status = 1;
        }
        return status;
}

int cmd_inspect(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("inspect", options, OPTIONS_SINGLE_DASH_LONG, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        if (arg_size || (arg_type && !streq(arg_type, "container") && !streq(arg_type, "image"))) {
                fprintf(stderr, "docker: inspect knows the types container and image, and no --size\n");
                return 1;
        }
        _cleanup_(container_store_closep) Store *s = open_store();
        return s ? inspect(s, rest) : 1;
}

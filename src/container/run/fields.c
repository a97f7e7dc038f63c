/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/fields.h"
#include "base/alloc.h"
#include "base/str.h"

void json_list_write(JsonOut *j, char *const *list) {
        jo_arr(j);
        STRV_FOREACH(s, list)
                jo_str(j, *s);
        jo_end(j);
}

char **json_list_read(const json_t *array) {
        char **l = NULL;
        for (size_t i = 0; i < json_array_size(array); i++) {
                const char *s = json_string_value(json_array_get(array, i));
                if (s)
                        strv_add(&l, s);
        }
        return l;
}

static void write_set(JsonOut *j, char *const *set) {
        jo_obj(j);
        STRV_FOREACH(s, set) {
                jo_key(j, *s);
                jo_obj(j);
                jo_end(j);
        }
        jo_end(j);
}

static void write_map(JsonOut *j, char *const *map) {
        jo_obj(j);
        STRV_FOREACH(s, map) {
                const char *eq = strchr(*s, '=');
                _cleanup_free_ char *key = eq ? xstrndup(*s, (size_t) (eq - *s)) : xstrdup(*s);
                jo_kstr(j, key, eq ? eq + 1 : "");
        }
        jo_end(j);
}

static bool is_empty(const Field *f, const void *p) {
        switch (f->form) {
        case FIELD_STR:
                return isempty(*(char *const *) p);
        case FIELD_BOOL:
                return !*(const bool *) p;
        case FIELD_INT:
        case FIELD_INT_NULL:
                return *(const int64_t *) p == 0;
        case FIELD_LIST:
        case FIELD_LIST0:
        case FIELD_SET:
        case FIELD_MAP:
                return *(char **const *) p == NULL;
        default:
                return false;
        }
}

static void write_value(const Field *f, const void *object, const void *p, JsonOut *j) {
        switch (f->form) {
        case FIELD_STR:
                return jo_str(j, strempty(*(char *const *) p));
        case FIELD_BOOL:
                return jo_bool(j, *(const bool *) p);
        case FIELD_INT_NULL:
        case FIELD_INT:
                if (f->form == FIELD_INT_NULL && is_empty(f, p))
                        return jo_null(j);
                return jo_int(j, *(const int64_t *) p);
        case FIELD_LIST:
                return is_empty(f, p) ? jo_null(j) : json_list_write(j, *(char **const *) p);
        case FIELD_LIST0:
                return json_list_write(j, *(char **const *) p);
        case FIELD_SET:
                return is_empty(f, p) ? jo_null(j) : write_set(j, *(char **const *) p);
        case FIELD_MAP:
                return write_map(j, *(char **const *) p);
        case FIELD_RAW:
                return jo_raw(j, f->raw, strlen(f->raw));
        case FIELD_CALL:
                return f->write(object, j);
        }
}

void fields_write(const Field *fields, const void *object, JsonOut *j) {
        jo_obj(j);
        for (const Field *f = fields; f->name; f++) {
                const void *p = (const char *) object + f->offset;
                if (f->omit_empty && is_empty(f, p))
                        continue;
                jo_key(j, f->name);
                write_value(f, object, p, j);
        }
        jo_end(j);
}

static char **read_keys(const json_t *json, bool with_values) {
        char **l = NULL;
        const char *key;
        json_t *value;
        json_object_foreach((json_t *) json, key, value) {
                if (with_values)
                        strv_addf(&l, "%s=%s", key, strempty(json_string_value(value)));
                else
                        strv_add(&l, key);
        }
        strv_sort(l);
        return l;
}

static void read_value(const Field *f, void *object, void *p, const json_t *v) {
        switch (f->form) {
        case FIELD_STR:
                free(*(char **) p);
                *(char **) p = json_is_string(v) ? xstrdup(json_string_value(v)) : NULL;
                break;
        case FIELD_BOOL:
                *(bool *) p = json_is_true(v);
                break;
        case FIELD_INT:
        case FIELD_INT_NULL:
                *(int64_t *) p = json_is_integer(v) ? json_integer_value(v) : 0;
                break;
        case FIELD_LIST:
        case FIELD_LIST0:
                strv_free(*(char ***) p);
                *(char ***) p = json_list_read(v);
                break;
        case FIELD_SET:
        case FIELD_MAP:
                strv_free(*(char ***) p);
                *(char ***) p = read_keys(v, f->form == FIELD_MAP);
                break;
        case FIELD_RAW:
                break;
        case FIELD_CALL:
                f->read(object, v);
                break;
        }
}

void fields_read(const Field *fields, void *object, const json_t *json) {
        for (const Field *f = fields; f->name; f++) {
                const json_t *v = json_object_get(json, f->name);
                if (v)
                        read_value(f, object, (char *) object + f->offset, v);
        }
}

void fields_free(const Field *fields, void *object) {
        for (const Field *f = fields; f->name; f++) {
                void *p = (char *) object + f->offset;
                if (f->form == FIELD_STR)
                        *(char **) p = xfree(*(char **) p);
                else if (f->form >= FIELD_LIST && f->form <= FIELD_MAP)
                        *(char ***) p = strv_free(*(char ***) p);
        }
}

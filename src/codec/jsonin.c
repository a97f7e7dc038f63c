/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonin.h"

/* jansson limits nesting itself, but at 2048, which is deep for recursive users of the tree: refuse early.
 */
static bool too_deep(const char *s, size_t n) {
        unsigned depth = 0;
        bool in_string = false;
        for (size_t i = 0; i < n; i++) {
                char c = s[i];
                if (in_string) {
                        if (c == '\\')
                                i++;
                        else if (c == '"')
                                in_string = false;
                } else if (c == '"')
                        in_string = true;
                else if (c == '{' || c == '[') {
                        if (++depth > JSON_IN_DEPTH_MAX)
                                return true;
                } else if ((c == '}' || c == ']') && depth > 0)
                        depth--;
        }
        return false;
}

int ji_parse(const void *p, size_t n, size_t limit, json_t **ret, Err *err) {
        if (limit == 0)
                limit = JSON_IN_BYTES_MAX;
        if (n > limit)
                return err_set(err, -EFBIG, "JSON text of %zu bytes is larger than the limit of %zu", n,
                               limit);
        if (too_deep(p, n))
                return err_set(err, -EINVAL, "JSON text is nested more than %d levels deep",
                               JSON_IN_DEPTH_MAX);
        json_error_t e;
        json_t *j = json_loadb(p ? p : "", n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
        if (!j)
                return err_set(err, -EINVAL, "line %d column %d: %s", e.line, e.column, e.text);
        *ret = j;
        return 0;
}

const char *ji_str(const json_t *obj, const char *key) {
        return json_string_value(json_object_get(obj, key));
}

int64_t ji_int(const json_t *obj, const char *key, int64_t fallback) {
        const json_t *v = json_object_get(obj, key);
        return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool ji_bool(const json_t *obj, const char *key, bool fallback) {
        const json_t *v = json_object_get(obj, key);
        return json_is_boolean(v) ? json_is_true(v) : fallback;
}

json_t *ji_obj(const json_t *obj, const char *key) {
        json_t *v = json_object_get(obj, key);
        return json_is_object(v) ? v : NULL;
}

json_t *ji_arr(const json_t *obj, const char *key) {
        json_t *v = json_object_get(obj, key);
        return json_is_array(v) ? v : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "container/image/store-internal.h"
#include "sys/fs.h"

void names_done(Names *n) {
        for (size_t i = 0; i < n->n; i++) {
                free(n->items[i].name);
                free(n->items[i].id);
        }
        free(n->items);
        *n = (Names){};
}

/* The index of `name`, or where it belongs. */
static size_t find(const Names *n, const char *name, bool *ret_found) {
        size_t lo = 0, hi = n->n;
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                int c = strcmp(n->items[mid].name, name);
                if (c == 0) {
                        *ret_found = true;
                        return mid;
                }
                if (c < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        *ret_found = false;
        return lo;
}

const char *names_get(const Names *n, const char *name) {
        bool found;
        size_t i = find(n, name, &found);
        return found ? n->items[i].id : NULL;
}

void names_set(Names *n, const char *name, const char *id) {
        assert(hex64_valid(id));
        bool found;
        size_t i = find(n, name, &found);
        if (found) {
                free(n->items[i].id);
                n->items[i].id = xstrdup(id);
                return;
        }
        GROW(n->items, n->cap, n->n + 1);
        memmove(n->items + i + 1, n->items + i, (n->n - i) * sizeof(NameEntry));
        n->items[i] = (NameEntry){ .name = xstrdup(name), .id = xstrdup(id) };
        n->n++;
}

bool names_remove(Names *n, const char *name) {
        bool found;
        size_t i = find(n, name, &found);
        if (!found)
                return false;
        free(n->items[i].name);
        free(n->items[i].id);
        n->n--;
        memmove(n->items + i, n->items + i + 1, (n->n - i) * sizeof(NameEntry));
        return true;
}

int names_load(const ImageStore *s, Names *ret, Err *err) {
        _cleanup_free_ char *path = store_path(s, "repositories.json");
        _cleanup_(buf_done) Buf b = {};
        int r = read_file(path, STORE_NAMES_MAX, &b);
        if (r == -ENOENT) {
                *ret = (Names){};
                return 0;
        }
        if (r < 0)
                return err_errno(err, r, "%s", path);
        _cleanup_json_ json_t *j = NULL;
        r = ji_parse(b.data, b.len, STORE_NAMES_MAX, &j, err);
        if (r < 0)
                return err_wrap(err, r, "%s", path);
        _cleanup_(names_done) Names n = {};
        const char *name;
        json_t *id;
        json_object_foreach(ji_obj(j, "names"), name, id)
                if (json_is_string(id) && hex64_valid(json_string_value(id)))
                        names_set(&n, name, json_string_value(id));
        *ret = n;
        n = (Names){};
        return 0;
}

int names_save(const ImageStore *s, const Names *n, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b, .indent = 1 };
        jo_obj(&j);
        jo_kint(&j, "version", 1);
        jo_key(&j, "names");
        jo_obj(&j);
        for (size_t i = 0; i < n->n; i++)
                jo_kstr(&j, n->items[i].name, n->items[i].id);
        jo_end(&j);
        jo_end(&j);
        buf_addc(&b, '\n');
        _cleanup_free_ char *path = store_path(s, "repositories.json");
        int r = write_file_atomic(path, b.data, b.len, 0644);
        return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "fleet/plan/xfleet.h"

void metadata_add(Metadata *m, const char *key, const char *value) {
        strv_add(&m->keys, key);
        strv_add(&m->values, value);
}

static ssize_t find_key(const Metadata *m, const char *key) {
        for (size_t i = 0; m->keys && m->keys[i]; i++)
                if (streq(m->keys[i], key))
                        return (ssize_t) i;
        return -1;
}

void metadata_set(Metadata *m, const char *key, const char *value) {
        ssize_t at = find_key(m, key);

        if (at < 0 && !isempty(value))
                metadata_add(m, key, value);
        if (at < 0)
                return;
        size_t last = strv_len(m->keys) - 1, i = (size_t) at;
        free(m->values[i]);
        if (!isempty(value)) {
                m->values[i] = xstrdup(value);
                return;
        }
        free(m->keys[i]);
        m->keys[i] = m->keys[last];
        m->values[i] = i == last ? NULL : m->values[last];
        m->keys[last] = m->values[last] = NULL;
}

const char *metadata_get(const Metadata *m, const char *key) {
        ssize_t at = find_key(m, key);
        return at < 0 ? NULL : m->values[at];
}

void metadata_done(Metadata *m) {
        m->keys = strv_free(m->keys);
        m->values = strv_free(m->values);
}

void metadata_copy(const Metadata *from, Metadata *ret) {
        assert(!ret->keys);
        ret->keys = strv_copy(from->keys);
        ret->values = strv_copy(from->values);
}

bool metadata_equal(const Metadata *a, const Metadata *b) {
        if (strv_len(a->keys) != strv_len(b->keys))
                return false;
        for (size_t i = 0; a->keys && a->keys[i]; i++)
                if (!streq_ptr(metadata_get(b, a->keys[i]), a->values[i]))
                        return false;
        return true;
}

void metadata_parse(const char *s, Metadata *ret, char ***bad) {
        _cleanup_strv_ char **items = strv_split(s, ",", false);

        STRV_FOREACH(i, items) {
                char *item = strstrip(*i), *eq = strchr(item, '=');
                if (!eq) {
                        if (bad && *item)
                                strv_add(bad, item);
                        continue;
                }
                *eq = 0;
                metadata_set(ret, strstrip(item), strstrip(eq + 1));
        }
}

char *metadata_text(const Metadata *m) {
        _cleanup_strv_ char **pairs = NULL;

        for (size_t i = 0; m->keys && m->keys[i]; i++)
                strv_addf(&pairs, "%s=%s", m->keys[i], m->values[i]);
        strv_sort(pairs);
        return strv_join(pairs, ",");
}

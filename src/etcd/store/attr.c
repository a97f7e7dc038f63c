/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store/state.h"

/* Attributes (member records, cluster version) and alarms: few, small, in sorted arrays. */

/* The place of the key, or where it would go. */
static size_t attr_find(const Store *s, Bytes key, bool *ret_found) {
        size_t lo = 0, hi = s->n_attrs;
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (bytes_cmp((Bytes){ s->attrs[mid].key, s->attrs[mid].n_key }, key) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        *ret_found = lo < s->n_attrs && bytes_eq((Bytes){ s->attrs[lo].key, s->attrs[lo].n_key }, key);
        return lo;
}

static void attr_free(Store *s, Attr *a) {
        s->bytes -= sizeof(Attr) + a->n_key + a->n_value;
        free(a->key);
        free(a->value);
}

void attr_set(Store *s, Bytes key, Bytes value, bool remove) {
        bool found;
        size_t at = attr_find(s, key, &found);
        if (found) {
                attr_free(s, s->attrs + at);
                if (remove) {
                        s->n_attrs--;
                        memmove(s->attrs + at, s->attrs + at + 1, sizeof(Attr) * (s->n_attrs - at));
                        return;
                }
        } else if (remove)
                return;
        else {
                GROW(s->attrs, s->cap_attrs, s->n_attrs + 1);
                memmove(s->attrs + at + 1, s->attrs + at, sizeof(Attr) * (s->n_attrs - at));
                s->n_attrs++;
        }
        s->attrs[at] = (Attr){ .key = xstrndup(key.p, key.n),
                               .n_key = key.n,
                               .value = xstrndup(value.p, value.n),
                               .n_value = value.n };
        s->bytes += sizeof(Attr) + key.n + value.n;
}

bool store_attr_get(const Store *s, Bytes key, Bytes *ret) {
        bool found;
        size_t at = attr_find(s, key, &found);
        if (found)
                *ret = (Bytes){ s->attrs[at].value, s->attrs[at].n_value };
        return found;
}

bool store_attr_next(const Store *s, Bytes prefix, StoreAttrIter *i) {
        bool found;
        if (i->key.p)
                i->at++;
        else
                i->at = attr_find(s, prefix, &found);
        if (i->at >= s->n_attrs)
                return false;
        const Attr *a = s->attrs + i->at;
        if (a->n_key < prefix.n || memcmp(a->key, prefix.p, prefix.n) != 0)
                return false;
        i->key = (Bytes){ a->key, a->n_key };
        i->value = (Bytes){ a->value, a->n_value };
        return true;
}

uint64_t attr_hash(const Store *s) {
        uint64_t h = s->n_attrs;
        for (size_t i = 0; i < s->n_attrs; i++) {
                h = hash_bytes(h, (Bytes){ s->attrs[i].key, s->attrs[i].n_key });
                h = hash_bytes(h, (Bytes){ s->attrs[i].value, s->attrs[i].n_value });
        }
        for (size_t i = 0; i < s->n_alarms; i++)
                h = hash_mix(h ^ s->alarms[i].member, s->alarms[i].alarm);
        return h;
}

void alarm_set(Store *s, uint64_t member, uint32_t alarm, bool activate) {
        size_t at = 0;
        while (at < s->n_alarms && (s->alarms[at].member < member ||
                                    (s->alarms[at].member == member && s->alarms[at].alarm < alarm)))
                at++;
        bool found = at < s->n_alarms && s->alarms[at].member == member && s->alarms[at].alarm == alarm;
        if (found == activate)
                return;
        if (found) {
                s->n_alarms--;
                memmove(s->alarms + at, s->alarms + at + 1, sizeof(StoreAlarm) * (s->n_alarms - at));
                return;
        }
        GROW(s->alarms, s->cap_alarms, s->n_alarms + 1);
        memmove(s->alarms + at + 1, s->alarms + at, sizeof(StoreAlarm) * (s->n_alarms - at));
        s->alarms[at] = (StoreAlarm){ .member = member, .alarm = alarm };
        s->n_alarms++;
}

bool alarm_active(const Store *s, uint32_t alarm) {
        for (size_t i = 0; i < s->n_alarms; i++)
                if (s->alarms[i].alarm == alarm)
                        return true;
        return false;
}

const StoreAlarm *store_alarms(const Store *s, size_t *ret_n) {
        *ret_n = s->n_alarms;
        return s->alarms;
}

void attr_done(Store *s) {
        for (size_t i = 0; i < s->n_attrs; i++)
                attr_free(s, s->attrs + i);
        free(s->attrs);
        free(s->alarms);
}

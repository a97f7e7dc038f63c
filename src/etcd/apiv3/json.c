/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/apiv3/json.h"
#include "base/alloc.h"
#include "base/arena.h"
#include "base/str.h"
#include "codec/base64.h"

#include <ctype.h>

/* ---- reading ---- */

static void put_tag(Buf *b, const ProtobufCFieldDescriptor *f, unsigned wire) {
        buf_add_varint(b, (uint64_t) f->id << 3 | wire);
}

static void put_number(Buf *b, const ProtobufCFieldDescriptor *f, uint64_t v) {
        if (v == 0 && f->label != PROTOBUF_C_LABEL_REPEATED)
                return;
        put_tag(b, f, 0);
        buf_add_varint(b, v);
}

static void put_bytes(Buf *b, const ProtobufCFieldDescriptor *f, const void *p, size_t n) {
        if (n == 0 && f->label != PROTOBUF_C_LABEL_REPEATED)
                return;
        put_tag(b, f, 2);
        buf_add_bytes(b, p, n);
}

static int bad(const ProtobufCFieldDescriptor *f, const char *want, Err *err) {
        return err_set(err, -EINVAL, "json: %s must be %s", f->name, want);
}

static int read_number(const ProtobufCFieldDescriptor *f, const json_t *j, uint64_t *ret, Err *err) {
        int64_t i;
        if (json_is_integer(j))
                *ret = (uint64_t) json_integer_value(j);
        else if (json_is_string(j) && parse_i64(json_string_value(j), &i) >= 0)
                *ret = (uint64_t) i;
        else if (!json_is_string(j) || parse_u64(json_string_value(j), ret) < 0)
                return bad(f, "a number", err);
        return 0;
}

static int read_enum(const ProtobufCFieldDescriptor *f, const json_t *j, uint64_t *ret, Err *err) {
        if (!json_is_string(j))
                return read_number(f, j, ret, err);
        const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(f->descriptor, json_string_value(j));
        if (!v)
                return bad(f, "a known name", err);
        *ret = (uint64_t) (int64_t) v->value;
        return 0;
}

static int read_message(const ProtobufCFieldDescriptor *f, const json_t *j, unsigned depth, Buf *to, Err *err) {
        _cleanup_(buf_done) Buf inner = {};
        int r = v3_from_json(f->descriptor, j, depth + 1, &inner, err);
        if (r < 0)
                return r;
        put_tag(to, f, 2);
        buf_add_bytes(to, buf_str(&inner), inner.len);
        return 0;
}

static int read_value(const ProtobufCFieldDescriptor *f, const json_t *j, unsigned depth, Buf *to, Err *err) {
        uint64_t v = 0;
        int r = 0;
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
                return read_message(f, j, depth, to, err);
        if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES) {
                if (!json_is_string(j))
                        return bad(f, "a string", err);
                if (f->type == PROTOBUF_C_TYPE_STRING) {
                        put_bytes(to, f, json_string_value(j), json_string_length(j));
                        return 0;
                }
                _cleanup_(buf_done) Buf raw = {};
                if (base64_decode(&raw, json_string_value(j), json_string_length(j)) < 0)
                        return bad(f, "base64", err);
                put_bytes(to, f, buf_str(&raw), raw.len);
                return 0;
        }
        if (f->type == PROTOBUF_C_TYPE_BOOL) {
                if (!json_is_boolean(j))
                        return bad(f, "true or false", err);
                v = json_is_true(j);
        } else if (f->type == PROTOBUF_C_TYPE_ENUM)
                r = read_enum(f, j, &v, err);
        else
                r = read_number(f, j, &v, err);
        if (r >= 0)
                put_number(to, f, v);
        return r;
}

static bool name_matches(const char *proto, const char *key) {
        if (streq(proto, key))
                return true;
        for (; *proto; proto++) {
                char c = *proto;
                if (c == '_' && proto[1])
                        c = (char) toupper((unsigned char) *++proto);
                if (c != *key++)
                        return false;
        }
        return *key == 0;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *d, const char *key) {
        for (unsigned i = 0; i < d->n_fields; i++)
                if (name_matches(d->fields[i].name, key))
                        return &d->fields[i];
        return NULL;
}

int v3_from_json(const ProtobufCMessageDescriptor *d, const json_t *j, unsigned depth, Buf *to, Err *err) {
        if (!json_is_object(j))
                return err_set(err, -EINVAL, "json: cannot unmarshal into a message of type %s", d->short_name);
        if (depth > V3_JSON_DEPTH_MAX)
                return err_set(err, -EINVAL, "json: the message is nested too deeply");
        const char *key;
        json_t *value, *item;
        json_object_foreach ((json_t *) j, key, value) {
                const ProtobufCFieldDescriptor *f = find_field(d, key);
                if (!f || json_is_null(value))
                        continue;
                int r = 0;
                if (f->label != PROTOBUF_C_LABEL_REPEATED)
                        r = read_value(f, value, depth, to, err);
                else if (!json_is_array(value))
                        r = bad(f, "a list", err);
                else {
                        size_t i;
                        json_array_foreach (value, i, item) {
                                r = read_value(f, item, depth, to, err);
                                if (r < 0)
                                        break;
                        }
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- writing ---- */

static void write_message(JsonOut *j, const ProtobufCMessage *m);

static bool is_default(const ProtobufCFieldDescriptor *f, const void *p) {
        switch (f->type) {
        case PROTOBUF_C_TYPE_MESSAGE:
                return *(void *const *) p == NULL;
        case PROTOBUF_C_TYPE_STRING:
                return isempty(*(char *const *) p);
        case PROTOBUF_C_TYPE_BYTES:
                return ((const ProtobufCBinaryData *) p)->len == 0;
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_UINT64:
                return *(const uint64_t *) p == 0;
        default: /* bool, enum, 32-bit numbers: what else the messages use */
                return *(const uint32_t *) p == 0;
        }
}

static void write_value(JsonOut *j, const ProtobufCFieldDescriptor *f, const void *p) {
        const ProtobufCEnumValue *e;
        const ProtobufCBinaryData *d;
        switch (f->type) {
        case PROTOBUF_C_TYPE_MESSAGE:
                write_message(j, *(ProtobufCMessage *const *) p);
                break;
        case PROTOBUF_C_TYPE_STRING:
                jo_str(j, strempty(*(char *const *) p));
                break;
        case PROTOBUF_C_TYPE_BYTES:
                d = p;
                jo_base64(j, d->data, d->len);
                break;
        case PROTOBUF_C_TYPE_INT64:
                jo_int_str(j, *(const int64_t *) p);
                break;
        case PROTOBUF_C_TYPE_UINT64:
                jo_uint_str(j, *(const uint64_t *) p);
                break;
        case PROTOBUF_C_TYPE_BOOL:
                jo_bool(j, *(const protobuf_c_boolean *) p);
                break;
        case PROTOBUF_C_TYPE_ENUM:
                e = protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *) p);
                if (e)
                        jo_str(j, e->name);
                else
                        jo_int(j, *(const int *) p);
                break;
        default:
                jo_uint(j, *(const uint32_t *) p);
        }
}

static size_t element_size(const ProtobufCFieldDescriptor *f) {
        switch (f->type) {
        case PROTOBUF_C_TYPE_BYTES:
                return sizeof(ProtobufCBinaryData);
        case PROTOBUF_C_TYPE_MESSAGE:
        case PROTOBUF_C_TYPE_STRING:
                return sizeof(void *);
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_UINT64:
                return sizeof(uint64_t);
        default:
                return sizeof(uint32_t);
        }
}

static void write_list(JsonOut *j, const ProtobufCFieldDescriptor *f, const char *items, size_t n) {
        jo_key(j, f->name);
        jo_arr(j);
        for (size_t i = 0; i < n; i++)
                write_value(j, f, items + i * element_size(f));
        jo_end(j);
}

static void write_message(JsonOut *j, const ProtobufCMessage *m) {
        const char *base = (const char *) m;
        jo_obj(j);
        for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
                const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
                const void *p = base + f->offset;
                if (f->label == PROTOBUF_C_LABEL_REPEATED) {
                        size_t n = *(const size_t *) (base + f->quantifier_offset);
                        if (n > 0)
                                write_list(j, f, *(const char *const *) p, n);
                        continue;
                }
                bool oneof = f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
                if (oneof && *(const uint32_t *) (base + f->quantifier_offset) != f->id)
                        continue;
                if (!oneof && is_default(f, p))
                        continue;
                jo_key(j, f->name);
                write_value(j, f, p);
        }
        jo_end(j);
}

static void *arena_malloc(void *user, size_t n) {
        return arena_alloc(user, n);
}

static void arena_nofree(void *user, void *p) {
}

int v3_to_json(const ProtobufCMessageDescriptor *d, const void *p, size_t n, Buf *to) {
        _cleanup_(arena_done) Arena arena = {};
        ProtobufCAllocator a = { .alloc = arena_malloc, .free = arena_nofree, .allocator_data = &arena };
        ProtobufCMessage *m = protobuf_c_message_unpack(d, &a, n, p);
        if (!m)
                return -EBADMSG;
        JsonOut j = { .buf = to };
        write_message(&j, m);
        return 0;
}

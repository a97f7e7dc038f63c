/* SPDX-License-Identifier: Apache-2.0 */

/* The output forms. JSON comes from the messages' descriptions and looks as Go's encoding/json makes it of
 * etcd's generated types: fields in order, zero values left out, 64-bit numbers as numbers, bytes as base64.
 */

#include "codec/jsonout.h"
#include "ctl.h"

#include <ctype.h>
#include <stdarg.h>

/* ---- JSON ---- */

static void json_object(JsonOut *j, const ProtobufCMessage *m, bool flat_header);

static void json_value(JsonOut *j, const ProtobufCFieldDescriptor *f, const void *at) {
        switch (f->type) {
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
                jo_int(j, *(const int64_t *) at);
                break;
        case PROTOBUF_C_TYPE_UINT64:
                jo_uint(j, *(const uint64_t *) at);
                break;
        case PROTOBUF_C_TYPE_UINT32:
                jo_uint(j, *(const uint32_t *) at);
                break;
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_ENUM:
                jo_int(j, *(const int32_t *) at);
                break;
        case PROTOBUF_C_TYPE_BOOL:
                jo_bool(j, *(const protobuf_c_boolean *) at != 0);
                break;
        case PROTOBUF_C_TYPE_STRING:
                jo_str(j, strempty(*(char *const *) at));
                break;
        case PROTOBUF_C_TYPE_BYTES: {
                const ProtobufCBinaryData *b = at;
                jo_base64(j, b->data, b->len);
                break;
        }
        case PROTOBUF_C_TYPE_MESSAGE:
                json_object(j, *(ProtobufCMessage *const *) at, false);
                break;
        default:
                jo_null(j);
        }
}

static size_t value_size(const ProtobufCFieldDescriptor *f) {
        switch (f->type) {
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_UINT64:
                return 8;
        case PROTOBUF_C_TYPE_BYTES:
                return sizeof(ProtobufCBinaryData);
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_MESSAGE:
                return sizeof(void *);
        default:
                return 4;
        }
}

static bool is_zero(const ProtobufCFieldDescriptor *f, const void *at) {
        static const uint8_t zero[8];
        switch (f->type) {
        case PROTOBUF_C_TYPE_STRING:
                return isempty(*(char *const *) at);
        case PROTOBUF_C_TYPE_BYTES:
                return ((const ProtobufCBinaryData *) at)->len == 0;
        case PROTOBUF_C_TYPE_MESSAGE:
                return !*(ProtobufCMessage *const *) at;
        default:
                return memcmp(at, zero, value_size(f)) == 0;
        }
}

/* response_put becomes ResponsePut: Go's name of a oneof's member. */
static char *camel(const char *name) {
        Buf b = {};
        bool up = true;
        for (; *name; name++) {
                if (*name == '_') {
                        up = true;
                        continue;
                }
                buf_addc(&b, up ? (char) toupper((unsigned char) *name) : *name);
                up = false;
        }
        return buf_take(&b);
}

static void json_oneof(JsonOut *j, const ProtobufCFieldDescriptor *f, const void *at) {
        _cleanup_free_ char *name = camel(f->name);
        jo_key(j, "Response");
        jo_obj(j);
        jo_key(j, name);
        json_value(j, f, at);
        jo_end(j);
}

static void json_field(JsonOut *j, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
        const char *at = (const char *) m + f->offset;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
                size_t n = *(const size_t *) ((const char *) m + f->quantifier_offset);
                const char *array = *(char *const *) at;
                if (n == 0)
                        return;
                jo_key(j, f->name);
                jo_arr(j);
                for (size_t i = 0; i < n; i++)
                        json_value(j, f, array + i * value_size(f));
                jo_end(j);
        } else if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
                uint32_t which = *(const uint32_t *) ((const char *) m + f->quantifier_offset);
                if (which == f->id)
                        json_oneof(j, f, at);
        } else if (!is_zero(f, at)) {
                jo_key(j, f->name);
                json_value(j, f, at);
        }
}

static void json_object(JsonOut *j, const ProtobufCMessage *m, bool open) {
        if (!open)
                jo_obj(j);
        for (unsigned i = 0; i < m->descriptor->n_fields; i++)
                json_field(j, m, &m->descriptor->fields[i]);
        if (!open)
                jo_end(j);
}

void json_message(Buf *b, const ProtobufCMessage *m) {
        JsonOut j = { .buf = b };
        json_object(&j, m, false);
}

void print_json(const ProtobufCMessage *m) {
        _cleanup_(buf_done) Buf b = {};
        json_message(&b, m);
        puts(buf_str(&b));
}

/* ---- simple and fields ---- */

char *go_quote(const void *p, size_t n) {
        Buf b = {};
        const uint8_t *s = p;
        bool utf8 = n == 0 || str_is_utf8(p, n);
        buf_addc(&b, '"');
        for (size_t i = 0; i < n; i++) {
                static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
                const char *e = s[i] ? strchr(from, s[i]) : NULL;
                if (e) {
                        buf_addc(&b, '\\');
                        buf_addc(&b, to[e - from]);
                } else if (s[i] < 0x20 || s[i] == 0x7f || (s[i] >= 0x80 && !utf8)) {
                        buf_addf(&b, "\\x%02x", s[i]);
                } else {
                        buf_addc(&b, (char) s[i]);
                }
        }
        buf_addc(&b, '"');
        return buf_take(&b);
}

void print_header_fields(const Etcdserverpb__ResponseHeader *h) {
        static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
        h = h ?: &none;
        printf("\"ClusterID\" : %" PRIu64 "\n\"MemberID\" : %" PRIu64 "\n\"Revision\" : %" PRId64
               "\n\"RaftTerm\" : %" PRIu64 "\n",
               h->cluster_id, h->member_id, h->revision, h->raft_term);
}

void print_kv_fields(const char *prefix, const Etcdserverpb__KeyValue *kv) {
        _cleanup_free_ char *key = go_quote(kv->key.data, kv->key.len);
        _cleanup_free_ char *value = go_quote(kv->value.data, kv->value.len);
        printf("\"%sKey\" : %s\n", prefix, key);
        printf("\"%sCreateRevision\" : %" PRId64 "\n", prefix, kv->create_revision);
        printf("\"%sModRevision\" : %" PRId64 "\n", prefix, kv->mod_revision);
        printf("\"%sVersion\" : %" PRId64 "\n", prefix, kv->version);
        printf("\"%sValue\" : %s\n", prefix, value);
        printf("\"%sLease\" : %" PRId64 "\n", prefix, kv->lease);
}

static void print_bytes(const ProtobufCBinaryData *b) {
        if (arg_hex)
                for (size_t i = 0; i < b->len; i++)
                        printf("\\x%02x", b->data[i]);
        else
                (void) fwrite(b->len > 0 ? (const char *) b->data : "", 1, b->len, stdout);
        putchar('\n');
}

void print_kv(const Etcdserverpb__KeyValue *kv, bool value_only, bool key_only) {
        if (!value_only)
                print_bytes(&kv->key);
        print_bytes(&kv->value);
}

char *go_duration(Usec t) {
        Buf b = {};
        if (t >= 60 * USEC_PER_SEC)
                buf_addf(&b, "%" PRIu64 "m", t / (60 * USEC_PER_SEC));
        t %= 60 * USEC_PER_SEC;
        Usec unit = t >= USEC_PER_SEC || b.len > 0 ? USEC_PER_SEC : t >= USEC_PER_MSEC ? USEC_PER_MSEC : 1;
        const char *name = unit == USEC_PER_SEC ? "s" : unit == USEC_PER_MSEC ? "ms" : "\u00b5s";
        buf_addf(&b, "%" PRIu64, t / unit);
        if (t % unit) {
                int digits = unit == USEC_PER_SEC ? 6 : 3;
                buf_addf(&b, ".%0*" PRIu64, digits, t % unit);
                while (b.data[b.len - 1] == '0')
                        buf_truncate(&b, b.len - 1);
        }
        buf_adds(&b, name);
        return buf_take(&b);
}

char *human_bytes(uint64_t n) {
        static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
        double v = (double) n;
        size_t i = 0;
        while (v >= 1000 && i + 1 < ELEMENTSOF(units)) {
                v /= 1000;
                i++;
        }
        if (i == 0)
                return xasprintf("%" PRIu64 " B", n);
        v = (double) (int64_t) (v * 10 + 0.5) / 10;
        return v < 10 ? xasprintf("%.1f %s", v, units[i]) : xasprintf("%.0f %s", v, units[i]);
}

void die_no_table(void) {
        ctl_die(CTL_BAD_FEATURE, "table not supported as output format");
}

/* ---- tables: the head centred, the cells to the right ---- */

void table_row(Table *t, size_t columns, ...) {
        va_list ap;
        va_start(ap, columns);
        t->columns = columns;
        for (size_t i = 0; i < columns; i++) {
                t->cells = xrealloc(t->cells, (t->n + 1) * sizeof(char *));
                t->cells[t->n++] = xstrdup(va_arg(ap, const char *));
        }
        va_end(ap);
}

static void table_line(const Table *t, const size_t *width) {
        for (size_t c = 0; c < t->columns; c++) {
                putchar('+');
                for (size_t i = 0; i < width[c] + 2; i++)
                        putchar('-');
        }
        puts("+");
}

void table_print(Table *t) {
        size_t *width = xnew(size_t, t->columns + 1);
        for (size_t i = 0; i < t->n; i++)
                width[i % t->columns] = MAX(width[i % t->columns], strlen(t->cells[i]));
        table_line(t, width);
        for (size_t i = 0; i < t->n; i++) {
                size_t c = i % t->columns, pad = width[c] - strlen(t->cells[i]);
                size_t right = i < t->columns ? pad / 2 : pad;
                size_t left = i < t->columns ? pad - right : 0;
                if (i < t->columns) { /* an odd space goes to the right of a heading */
                        right = pad / 2;
                        left = pad - right;
                }
                printf("| %*s%s%*s ", (int) right, "", t->cells[i], (int) left, "");
                if (c + 1 == t->columns)
                        puts("|");
                if (i + 1 == t->columns)
                        table_line(t, width);
                free(t->cells[i]);
        }
        table_line(t, width);
        free(width);
        free(t->cells);
        *t = (Table){};
}

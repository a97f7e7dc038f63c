/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"
#include "codec/jsonout.h"
#include "etcd/store/v2-state.h"

/* The v2 API's words: error codes, actions, and JSON byte for byte as Go writes it (spec/etcd.md a.1, a.4).
 * Nodes are written by hand because a listing may nest deeper than the writer's stack. */

static const struct {
        int code, status;
        const char *message;
} errors[] = {
        { 100, 404, "Key not found" },
        { 101, 412, "Compare failed" },
        { 102, 403, "Not a file" },
        { 104, 400, "Not a directory" },
        { 105, 412, "Key already exists" },
        { 107, 400, "Root is read only" },
        { 108, 403, "Directory not empty" },
        { 110, 401, "The request requires user authentication" },
        { 201, 400, "PrevValue is Required in POST form" },
        { 202, 400, "The given TTL in POST form is not a number" },
        { 203, 400, "The given index in POST form is not a number" },
        { 209, 400, "Invalid field" },
        { 210, 400, "Invalid POST form" },
        { 211, 400, "Value provided on refresh" },
        { 212, 400, "A TTL must be provided on refresh" },
        { 300, 500, "Raft Internal Error" },
        { 301, 500, "During Leader Election" },
        { 400, 400, "watcher is cleared due to etcd recovery" },
        { 401, 400, "The event in requested index is outdated and cleared" },
};

static const char *const actions[_V2_ACTION_MAX] = {
        [V2_ACTION_GET] = "get",
        [V2_ACTION_SET] = "set",
        [V2_ACTION_CREATE] = "create",
        [V2_ACTION_UPDATE] = "update",
        [V2_ACTION_CAS] = "compareAndSwap",
        [V2_ACTION_DELETE] = "delete",
        [V2_ACTION_CAD] = "compareAndDelete",
        [V2_ACTION_EXPIRE] = "expire",
};

const char *v2_error_message(int code) {
        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                if (errors[i].code == code)
                        return errors[i].message;
        return "unknown error";
}

int v2_error_status(int code) {
        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                if (errors[i].code == code)
                        return errors[i].status;
        return 400;
}

const char *v2_action_name(V2Action a) {
        assert(a < _V2_ACTION_MAX);
        return actions[a];
}

static void add_string(Buf *out, Bytes s) {
        JsonOut j = { .buf = out };
        jo_strn(&j, s.p, s.n);
}

static void add_key(Buf *out, const char *key) {
        if (out->data[out->len - 1] != '{')
                buf_addc(out, ',');
        buf_addf(out, "\"%s\":", key);
}

static void add_node(const V2View *v, Buf *out) {
        bool root = bytes_eq(v->key, bytes_of("/"));
        buf_addc(out, '{');
        if (!root) {
                add_key(out, "key");
                add_string(out, v->key);
        }
        if (v->has_value) {
                add_key(out, "value");
                add_string(out, v->value);
        }
        if (v->dir) {
                add_key(out, "dir");
                buf_adds(out, "true");
        }
        if (v->expire_nsec != 0) {
                char time[36];
                add_key(out, "expiration");
                buf_addf(out, "\"%s\"", format_rfc3339(time, v->expire_nsec, 9, true));
        }
        if (v->ttl != 0) {
                add_key(out, "ttl");
                buf_addf(out, "%" PRId64, v->ttl);
        }
        if (v->n_nodes > 0) {
                add_key(out, "nodes");
                for (size_t i = 0; i < v->n_nodes; i++) {
                        buf_addc(out, i == 0 ? '[' : ',');
                        add_node(v->nodes + i, out);
                }
                buf_addc(out, ']');
        }
        if (v->modified != 0 && !root) {
                add_key(out, "modifiedIndex");
                buf_addf(out, "%" PRIu64, v->modified);
        }
        if (v->created != 0 && !root) {
                add_key(out, "createdIndex");
                buf_addf(out, "%" PRIu64, v->created);
        }
        buf_addc(out, '}');
}

void v2_event_json(const V2Event *e, Buf *out) {
        buf_addf(out, "{\"action\":\"%s\",\"node\":", v2_action_name(e->action));
        add_node(&e->node, out);
        if (e->has_prev) {
                buf_adds(out, ",\"prevNode\":");
                add_node(&e->prev, out);
        }
        buf_addc(out, '}');
}

void v2_get_json(const V2View *v, Buf *out) {
        buf_adds(out, "{\"action\":\"get\",\"node\":");
        add_node(v, out);
        buf_addc(out, '}');
}

void v2_error_json(const V2Error *e, Buf *out) {
        buf_addf(out, "{\"errorCode\":%d,\"message\":", e->code);
        add_string(out, bytes_of(v2_error_message(e->code)));
        if (e->cause.n > 0) {
                buf_adds(out, ",\"cause\":");
                add_string(out, e->cause);
        }
        buf_addf(out, ",\"index\":%" PRIu64 "}", e->index);
}

void v2_stats_json(const V2Stats *s, Buf *out) {
        JsonOut j = { .buf = out };
        jo_obj(&j);
        jo_kuint(&j, "getsSuccess", s->gets_success);
        jo_kuint(&j, "getsFail", s->gets_fail);
        jo_kuint(&j, "setsSuccess", s->sets_success);
        jo_kuint(&j, "setsFail", s->sets_fail);
        jo_kuint(&j, "deleteSuccess", s->delete_success);
        jo_kuint(&j, "deleteFail", s->delete_fail);
        jo_kuint(&j, "updateSuccess", s->update_success);
        jo_kuint(&j, "updateFail", s->update_fail);
        jo_kuint(&j, "createSuccess", s->create_success);
        jo_kuint(&j, "createFail", s->create_fail);
        jo_kuint(&j, "compareAndSwapSuccess", s->cas_success);
        jo_kuint(&j, "compareAndSwapFail", s->cas_fail);
        jo_kuint(&j, "compareAndDeleteSuccess", s->cad_success);
        jo_kuint(&j, "compareAndDeleteFail", s->cad_fail);
        jo_kuint(&j, "expireCount", s->expire_count);
        jo_kuint(&j, "watchers", s->watchers);
        jo_end(&j);
}

int v2_event_status(const V2Event *e) {
        return e->action == V2_ACTION_CREATE || (e->action == V2_ACTION_SET && !e->has_prev) ? 201 : 200;
}

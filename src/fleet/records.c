/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "fleet/registry.h"

#define RECORD_BYTES_MAX (1U << 20)

static int parse(const ProtobufCBinaryData *value, json_t **ret) {
        return ji_parse(value->data, value->len, RECORD_BYTES_MAX, ret, NULL) < 0 || !json_is_object(*ret) ? -EBADMSG
                                                                                                           : 0;
}

static char *dup_or_null(const char *s) {
        return isempty(s) ? NULL : xstrdup(s);
}

/* ---- job ---- */

char *job_encode(const JobRecord *j) {
        Buf b = {};
        JsonOut o = { .buf = &b };

        jo_obj(&o);
        jo_kbool(&o, "global", j->global);
        jo_kstr(&o, "hash", j->hash);
        if (j->machine)
                jo_kstr(&o, "machine", j->machine);
        jo_kstr(&o, "target", unit_state_to_string(j->target));
        jo_end(&o);
        return buf_take(&b);
}

int job_decode(const char *name, const Etcdserverpb__KeyValue *kv, JobRecord *ret) {
        _cleanup_json_ json_t *v = NULL;

        if (parse(&kv->value, &v) < 0)
                return -EBADMSG;
        UnitState target = unit_state_from_string(ji_str(v, "target"));
        const char *hash = ji_str(v, "hash");
        if (target < 0 || isempty(hash))
                return -EBADMSG;
        *ret = (JobRecord){ .name = xstrdup(name),
                            .hash = xstrdup(hash),
                            .machine = dup_or_null(ji_str(v, "machine")),
                            .target = target,
                            .global = ji_bool(v, "global", false),
                            .mod_revision = kv->mod_revision };
        return 0;
}

void job_done(JobRecord *j) {
        free(j->name);
        free(j->hash);
        free(j->machine);
        *j = (JobRecord){};
}

void job_copy(const JobRecord *from, JobRecord *ret) {
        *ret = *from;
        ret->name = xstrdup(from->name);
        ret->hash = xstrdup(from->hash);
        ret->machine = from->machine ? xstrdup(from->machine) : NULL;
}

/* ---- assignment: the copy of a job that agents read ---- */

char *assignment_encode(const char *hash, UnitState target) {
        Buf b = {};
        JsonOut o = { .buf = &b };

        jo_obj(&o);
        jo_kstr(&o, "hash", hash);
        jo_kstr(&o, "target", unit_state_to_string(target));
        jo_end(&o);
        return buf_take(&b);
}

int assignment_decode(const ProtobufCBinaryData *value, char **ret_hash, UnitState *ret_target) {
        _cleanup_json_ json_t *v = NULL;

        if (parse(value, &v) < 0)
                return -EBADMSG;
        UnitState target = unit_state_from_string(ji_str(v, "target"));
        const char *hash = ji_str(v, "hash");
        if (target < 0 || isempty(hash))
                return -EBADMSG;
        *ret_hash = xstrdup(hash);
        *ret_target = target;
        return 0;
}

/* ---- state ---- */

char *state_encode(const StateRecord *s) {
        Buf b = {};
        JsonOut o = { .buf = &b };

        jo_obj(&o);
        jo_kstr(&o, "active", strempty(s->active));
        jo_kstr(&o, "current", unit_state_to_string(s->current));
        if (s->error)
                jo_kstr(&o, "error", s->error);
        jo_kstr(&o, "hash", strempty(s->hash));
        jo_kstr(&o, "load", strempty(s->load));
        jo_kstr(&o, "sub", strempty(s->sub));
        jo_end(&o);
        return buf_take(&b);
}

int state_decode(const char *machine, const char *name, const ProtobufCBinaryData *value, StateRecord *ret) {
        _cleanup_json_ json_t *v = NULL;

        if (parse(value, &v) < 0)
                return -EBADMSG;
        UnitState current = unit_state_from_string(ji_str(v, "current"));
        if (current < 0)
                return -EBADMSG;
        *ret = (StateRecord){ .name = xstrdup(name),
                              .machine = xstrdup(machine),
                              .hash = xstrdup(strempty(ji_str(v, "hash"))),
                              .load = xstrdup(strempty(ji_str(v, "load"))),
                              .active = xstrdup(strempty(ji_str(v, "active"))),
                              .sub = xstrdup(strempty(ji_str(v, "sub"))),
                              .error = dup_or_null(ji_str(v, "error")),
                              .current = current };
        return 0;
}

void state_done(StateRecord *s) {
        free(s->name);
        free(s->machine);
        free(s->hash);
        free(s->load);
        free(s->active);
        free(s->sub);
        free(s->error);
        *s = (StateRecord){};
}

bool state_equal(const StateRecord *a, const StateRecord *b) {
        return a->current == b->current && streq_ptr(a->hash, b->hash) && streq_ptr(a->load, b->load) &&
               streq_ptr(a->active, b->active) && streq_ptr(a->sub, b->sub) && streq_ptr(a->error, b->error);
}

/* ---- machine ---- */

char *machine_encode(const MachineRecord *m) {
        Buf b = {};
        JsonOut o = { .buf = &b };

        jo_obj(&o);
        jo_kstr(&o, "ID", m->id);
        jo_kstr(&o, "PublicIP", strempty(m->ip));
        jo_key(&o, "Metadata");
        jo_obj(&o);
        for (size_t i = 0; m->metadata.keys && m->metadata.keys[i]; i++)
                jo_kstr(&o, m->metadata.keys[i], m->metadata.values[i]);
        jo_end(&o);
        jo_key(&o, "Capabilities");
        jo_obj(&o);
        jo_kbool(&o, "DISABLE_ENGINE", m->engine_disabled);
        jo_end(&o);
        jo_kstr(&o, "Version", strempty(m->version));
        jo_kstr(&o, "Boot", strempty(m->boot));
        jo_end(&o);
        return buf_take(&b);
}

int machine_decode(const char *id, const Etcdserverpb__KeyValue *kv, MachineRecord *ret) {
        _cleanup_json_ json_t *v = NULL;
        const char *key;
        json_t *value;

        if (parse(&kv->value, &v) < 0)
                return -EBADMSG;
        *ret = (MachineRecord){ .id = xstrdup(id),
                                .ip = xstrdup(strempty(ji_str(v, "PublicIP"))),
                                .version = xstrdup(strempty(ji_str(v, "Version"))),
                                .boot = xstrdup(strempty(ji_str(v, "Boot"))),
                                .lease = kv->lease };
        json_object_foreach(ji_obj(v, "Metadata"), key, value)
                metadata_set(&ret->metadata, key, strempty(json_string_value(value)));
        json_t *capabilities = ji_obj(v, "Capabilities");
        ret->engine_disabled = capabilities && ji_bool(capabilities, "DISABLE_ENGINE", false);
        return 0;
}

void machine_done(MachineRecord *m) {
        free(m->id);
        free(m->ip);
        free(m->version);
        free(m->boot);
        metadata_done(&m->metadata);
        *m = (MachineRecord){};
}

char *unit_encode(const UnitFile *u) {
        _cleanup_free_ char *text = unitfile_text(u);
        Buf b = {};
        JsonOut o = { .buf = &b };

        jo_obj(&o);
        jo_kstr(&o, "Raw", text);
        jo_end(&o);
        return buf_take(&b);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv2/apiv2.h"
#include "etcd/apiv3/apiv3.h"
#include "etcd/server.h"
#include "etcd/attributes.h"
#include "sys/log.h"

#include <stdlib.h>

/* The replicated state machine: the store, and the list of members beside it. Everything here must come out the
 * same on every member, so it looks at nothing but the entry and the state. */

static EtcdResult *result_new(void) {
        return xnew(EtcdResult, 1);
}

static void apply_attribute(EtcdServer *s, const void *data, size_t n) {
        _cleanup_(arena_done) Arena arena = {};
        Command cmd;
        if (cmd_decode(data, n, &arena, &cmd) < 0)
                return;
        attributes_apply(&s->members, cmd.attr.key, cmd.attr.value);
}

/* Expiry is decided by a leader's clock and holds only in the term in which that leader was known to lead: an
 * order that a deposed leader left behind does nothing. */
static bool is_stale_expiry(CmdKind kind, uint64_t seq, uint64_t term) {
        return (kind == CMD_LEASE_EXPIRE || kind == CMD_V2_SYNC) && seq != term;
}

static void *machine_apply(void *ctx, uint64_t index, uint64_t term, const void *data, size_t n, uint64_t request) {
        EtcdServer *s = ctx;
        CmdKind kind = CMD_NOOP;
        uint64_t proposer = 0, seq = 0;
        s->stats.proposals_committed++;
        bool known = n > 0 && cmd_peek(data, n, &kind, &proposer, &seq) >= 0;
        EtcdResult *res = request ? result_new() : NULL;
        if (known && is_stale_expiry(kind, seq, term)) {
                store_applied(s->store, index, term);
                return res;
        }
        store_apply(s->store, index, term, data, n, res ? &res->apply : NULL);
        if (known && kind == CMD_ATTR)
                apply_attribute(s, data, n);
        s->compacting = s->compacting || kind == CMD_COMPACT;
        if (res && kind != CMD_V2)
                v3_pack_result(s, &res->apply, term, &res->body);
        return res;
}

/* Stock etcd keeps members in its v2 store, where each change takes an index that clients can see. */
static void count_as_v2_write(EtcdServer *s, uint64_t index, uint64_t term, const RaftConfChange *change) {
        _cleanup_free_ char *key = xasprintf("member/%016" PRIx64, change->id);
        Command cmd = { .kind = CMD_ATTR,
                        .attr = { .key = bytes_of(key),
                                  .value = { change->context, change->context_len },
                                  .remove = change->type == RAFT_CONF_REMOVE,
                                  .v2_event = true } };
        Buf b = {};
        cmd_encode(&cmd, &b);
        store_apply(s->store, index, term, b.data, b.len, NULL);
        buf_done(&b);
}

static bool machine_apply_conf(void *ctx, uint64_t index, uint64_t term, const RaftConfChange *change,
                               uint64_t request, void **ret_result) {
        EtcdServer *s = ctx;
        _cleanup_(member_change_done) MemberChange c = {};
        MemberResult r = MEMBER_NOT_FOUND;
        if (member_change_decode(change->context, change->context_len, &c) >= 0 && c.id == change->id)
                r = members_check(&s->members, &c);
        if (r == MEMBER_OK) {
                count_as_v2_write(s, index, term, change);
                members_apply(&s->members, &c);
                s->members_changed = true;
        } else
                store_applied(s->store, index, term);
        if (request) {
                EtcdResult *res = result_new();
                res->member = r;
                *ret_result = res;
        }
        return r == MEMBER_OK;
}

static void machine_free_result(void *ctx, void *result) {
        EtcdResult *r = result;
        apply_result_done(&r->apply);
        buf_done(&r->body);
        free(r);
}

static void *machine_snapshot(void *ctx) {
        EtcdServer *s = ctx;
        StoreSnapshot *view = NULL;
        Buf extra = {};
        members_encode(&s->members, &extra);
        int r = store_snapshot_begin(s->store, extra.data, extra.len, &view);
        buf_done(&extra);
        return r < 0 ? NULL : view;
}

void etcd_machine(EtcdServer *s, ReplicaMachine *ret) {
        *ret = (ReplicaMachine){ .ctx = s,
                                 .apply = machine_apply,
                                 .apply_conf = machine_apply_conf,
                                 .free_result = machine_free_result,
                                 .snapshot = machine_snapshot };
}

static int load(EtcdServer *s, const RaftSnapMeta *meta, Store **ret, Members *ret_members, Err *err) {
        _cleanup_(snap_reader_freep) SnapReader *reader = NULL;
        _cleanup_(store_restore_freep) StoreRestore *restore = store_restore_new(&s->store_options);
        _cleanup_(buf_done) Buf extra = {};
        const void *p;
        size_t n;
        int r = snap_reader_open(s->disk, meta->index, meta->term, &reader, err);
        if (r < 0)
                return r;
        for (;;) {
                r = snap_reader_next(reader, &p, &n, err);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                r = store_restore_add(restore, p, n, err);
                if (r < 0)
                        return r;
        }
        _cleanup_(store_freep) Store *store = NULL;
        r = store_restore_finish(restore, &store, &extra, err);
        if (r < 0)
                return r;
        Rd rd = rd_new(extra.data, extra.len);
        if (members_decode(&rd, ret_members) < 0)
                return err_set(err, -EBADMSG, "the list of members in it is damaged");
        *ret = TAKE_PTR(store);
        return 0;
}

int etcd_restore(EtcdServer *s, const RaftSnapMeta *meta, Err *err) {
        Store *store = NULL;
        Members members = {};
        int r = load(s, meta, &store, &members, err);
        if (r < 0)
                return err_wrap(err, r, "snapshot at index %" PRIu64 " cannot be loaded", meta->index);
        if (s->saver)
                snap_saver_abort(s->saver);
        if (s->store) {
                store_move_watchers(s->store, store);
                store_free(s->store);
        }
        s->store = store;
        members_done(&s->members);
        s->members = members;
        s->members_changed = true;
        log_info("restored the state at index %" PRIu64 " from a snapshot (%zu keys)", meta->index,
                 store_keys(store));
        return 0;
}

void etcd_deliver_watches(EtcdServer *s) {
        for (V2Watcher *w; (w = v2_watch_ready(s->store));)
                apiv2_watch_deliver(w);
        for (Watcher *w; (w = watch_ready(s->store));)
                apiv3_watch_deliver(w);
        if (s->members_changed) {
                s->members_changed = false;
                etcd_peers_changed(s);
        }
}

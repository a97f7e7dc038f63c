/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/boot.h"
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/disk/recover.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/log.h"

#include <stdlib.h>

/* ---- the disk ---- */

/* Stock etcd keeps member/snap/db and member/wal/: another format, which must not be overwritten in silence. */
static int refuse_stock_data(const char *member_dir, Err *err) {
        _cleanup_free_ char *wal = path_join(member_dir, "wal"), *snap = path_join(member_dir, "snap");
        if (access(wal, F_OK) < 0 && access(snap, F_OK) < 0)
                return 0;
        return err_set(err, -EEXIST,
                       "%s holds data of the original etcd, whose format this etcd does not read; choose another "
                       "--data-dir, and bring the data over with etcdctl (make-mirror, or a backup of the keys)",
                       member_dir);
}

static int open_disk(EtcdServer *s, Err *err) {
        _cleanup_free_ char *member = path_join(s->config->data_dir, "member");
        int r = refuse_stock_data(member, err);
        if (r < 0)
                return r;
        r = mkdir_p(member, 0700);
        if (r < 0)
                return err_errno(err, r, "cannot make the data directory %s", member);
        r = disk_open_folder(member, &s->disk, err);
        if (r < 0)
                return err_wrap(err, r, "cannot use the data directory %s", member);
        return 0;
}

/* ---- first start ---- */

/* The first entries of a new cluster, the same on every founding member. */
static void founding_log(const Members *members, Buf *to) {
        RaftConfChange changes[MEMBERS_MAX];
        Buf contexts[MEMBERS_MAX] = {};
        for (size_t i = 0; i < members->n; i++) {
                const Member *m = &members->list[i];
                MemberChange c = { .type = MEMBER_ADD, .id = m->id, .name = m->name, .peer_urls = m->peer_urls };
                member_change_encode(&c, &contexts[i]);
                changes[i] = (RaftConfChange){ .type = RAFT_CONF_ADD_VOTER,
                                               .id = m->id,
                                               .context = contexts[i].data,
                                               .context_len = contexts[i].len };
        }
        RaftEntry *entries = replica_bootstrap(changes, members->n);
        for (size_t i = 0; i < members->n; i++)
                buf_done(&contexts[i]);
        wal_batch_persist(to, &(RaftPersist){ .seq = 1,
                                              .must_sync = true,
                                              .hs = { .term = 1, .commit = members->n },
                                              .entries = entries,
                                              .n_entries = members->n });
        raft_entries_free(entries, members->n);
}

static int found(EtcdServer *s, Err *err) {
        _cleanup_(founding_done) Founding f = {};
        int r = founding_of(s->config, s->peer_client_tls, &f, err);
        if (r < 0)
                return r;
        log_info("starting member %" PRIx64 " in cluster %" PRIx64, f.id, f.cluster_id);
        _cleanup_(wal_freep) Wal *wal = NULL;
        _cleanup_(buf_done) Buf first = {};
        if (!f.existing)
                founding_log(&f.members, &first);
        r = wal_create(s->disk, &(WalConfig){}, f.cluster_id, f.id, f.existing ? NULL : &first, &wal, err);
        if (r < 0 || !f.existing)
                return r;
        s->boot_peers = f.members;
        f.members = (Members){};
        return 0;
}

/* ---- --force-new-cluster ---- */

static size_t others_of(const RaftConf *conf, uint64_t self, uint64_t *ret) {
        size_t n = 0;
        for (uint32_t i = 0; i < conf->n_voters; i++)
                if (conf->voters[i] != self)
                        ret[n++] = conf->voters[i];
        for (uint32_t i = 0; i < conf->n_learners; i++)
                ret[n++] = conf->learners[i];
        return n;
}

static RaftEntry removal(uint64_t id, uint64_t index, uint64_t term) {
        _cleanup_(buf_done) Buf context = {}, data = {};
        buf_add(&context, (char[REPLICA_FRAME_BYTES]){}, REPLICA_FRAME_BYTES);
        member_change_encode(&(MemberChange){ .type = MEMBER_REMOVE, .id = id }, &context);
        raft_conf_change_encode(&(RaftConfChange){ .type = RAFT_CONF_REMOVE,
                                                   .id = id,
                                                   .context = context.data,
                                                   .context_len = context.len },
                                &data);
        RaftBlock *block = raft_block_dup(data.data, data.len);
        assert(block);
        return (RaftEntry){ .term = term,
                            .index = index,
                            .type = RAFT_ENTRY_CONF,
                            .len = (uint32_t) data.len,
                            .data = block->bytes,
                            .block = block };
}

/* Everything in the log counts as committed, then every other member is removed, each by an ordinary entry, so
 * that the way to this state stays readable in the log. */
static int force_new(EtcdServer *s, Recovered *rec, Err *err) {
        WalState *st = &rec->state;
        RaftConf conf = rec->meta.conf;
        for (size_t i = 0; i < st->n_entries; i++) {
                RaftConfChange c;
                if (st->entries[i].type == RAFT_ENTRY_CONF && st->entries[i].index > rec->meta.index &&
                    raft_conf_change_decode(st->entries[i].data, st->entries[i].len, &c) >= 0)
                        (void) raft_conf_apply(&conf, &c);
        }
        if (!raft_conf_is_voter(&conf, st->node_id))
                return err_set(err, -EINVAL, "--force-new-cluster: this member was no voter of its cluster");
        uint64_t others[2 * RAFT_MEMBERS_MAX], last = wal_state_last_index(st);
        size_t n = others_of(&conf, st->node_id, others);
        RaftEntry entries[2 * RAFT_MEMBERS_MAX];
        for (size_t i = 0; i < n; i++)
                entries[i] = removal(others[i], last + 1 + i, MAX(st->hs.term, (uint64_t) 1));
        RaftHardState hs = st->hs;
        hs.commit = last + n;
        _cleanup_(buf_done) Buf b = {};
        wal_batch_persist(&b, &(RaftPersist){
                                              .seq = 1, .must_sync = true, .hs = hs, .entries = entries, .n_entries = n });
        for (size_t i = 0; i < n; i++)
                raft_block_unref(entries[i].block);
        int r = wal_write(rec->wal, &b, err);
        if (r >= 0)
                r = wal_sync(rec->wal, err);
        if (r < 0)
                return r;
        log_warning("--force-new-cluster: %zu other members are removed from the cluster", n);
        recovered_done(rec);
        return disk_recover(s->disk, &(WalConfig){}, rec, err);
}

/* ---- the replica ---- */

static void raft_trace(void *ctx, const char *line) {
        log_debug("raft: %s", line);
}

static int make_replica(EtcdServer *s, const Recovered *rec, Err *err) {
        const EtcdConfig *c = s->config;
        ReplicaConfig rc = { .raft = { .id = s->id,
                                       .seed = random_u64(),
                                       .now = now_monotonic(),
                                       .election_timeout = c->election_ms * USEC_PER_MSEC,
                                       .heartbeat_interval = c->heartbeat_ms * USEC_PER_MSEC,
                                       .pre_vote = c->pre_vote,
                                       .check_quorum = true,
                                       .trace = raft_trace },
                             .snapshot_entries = c->snapshot_count };
        ReplicaInitial init = { .raft = rec->initial, .snapshot = rec->meta };
        ReplicaMachine machine;
        etcd_machine(s, &machine);
        s->replica = replica_new(&rc, &init, &machine, err);
        return s->replica ? 0 : err_set(err, -EUCLEAN, "the log cannot be used");
}

static int recover(EtcdServer *s, Recovered *rec, Err *err) {
        int r = disk_recover(s->disk, &(WalConfig){}, rec, err);
        if (r >= 0 && s->config->force_new)
                r = force_new(s, rec, err);
        if (r < 0)
                return err_wrap(err, r, "the data in %s cannot be used", s->config->data_dir);
        if (rec->fell_back)
                log_warning("%s", strempty(rec->warning));
        s->id = rec->state.node_id;
        s->cluster_id = rec->state.cluster_id;
        s->members.cluster_id = s->cluster_id;
        if (rec->meta.index > 0)
                r = etcd_restore(s, &rec->meta, err);
        else
                s->store = store_new(&s->store_options);
        if (r >= 0 && members_was_removed(&s->members, s->id))
                r = err_set(err, -EPERM, "the member has been permanently removed from the cluster; the data-dir "
                                         "used by this member must be removed");
        return r;
}

int etcd_boot(EtcdServer *s, Err *err) {
        int r = etcd_tls(s, err);
        if (r >= 0)
                r = open_disk(s, err);
        if (r < 0)
                return r;
        int there = wal_exists(s->disk, err);
        if (there < 0)
                return there;
        if (there && *s->config->discovery)
                log_warning("discovery token ignored since a cluster has already been initialized. Valid log found "
                            "at %s",
                            s->config->data_dir);
        if (!there)
                r = found(s, err);
        _cleanup_(recovered_done) Recovered rec = {};
        if (r >= 0)
                r = recover(s, &rec, err);
        if (r < 0)
                return r;
        if (there)
                log_info("restarting member %" PRIx64 " in cluster %" PRIx64 " at commit index %" PRIu64, s->id,
                         s->cluster_id, rec.state.hs.commit);
        r = make_replica(s, &rec, err);
        if (r < 0)
                return r;
        snap_reader_free(TAKE_PTR(rec.snapshot));
        return wal_thread_start(TAKE_PTR(rec.wal), &s->wal, err);
}

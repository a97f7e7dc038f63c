/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshot files and recovery: written, damaged, cut off at every operation, moved between members. */

#include "etcd/disk/recover.h"
#include "etcd/disk/snap-internal.h"
#include "sim/rng.c"
#include "sim/sim-disk.c"
#include "test.h"

static RaftSnapMeta meta_at(uint64_t index) {
        return (RaftSnapMeta){ .index = index, .term = 3, .conf = { .n_voters = 2, .voters = { 1, 9 } } };
}

static int save(Disk *d, uint64_t index, size_t size, Err *err) {
        RaftSnapMeta meta = meta_at(index);
        _cleanup_(snap_writer_freep) SnapWriter *w = NULL;
        int r = snap_writer_open(d, &meta, &w, err);
        for (size_t i = 0; r == 0 && i < size; i += 1000) {
                char piece[1000];
                memset(piece, (int) (index + i), sizeof(piece));
                r = snap_writer_add(w, piece, MIN(sizeof(piece), size - i), err);
        }
        return r == 0 ? snap_writer_finish(w, err) : r;
}

static int load(Disk *d, uint64_t index, size_t *ret_size, Err *err) {
        _cleanup_(snap_reader_freep) SnapReader *r = NULL;
        int k = snap_reader_open(d, index, 3, &r, err);
        const void *p;
        size_t n;
        *ret_size = 0;
        while (k >= 0 && (k = snap_reader_next(r, &p, &n, err)) > 0)
                for (size_t i = 0; i < n; i++) {
                        size_t at = *ret_size + i;
                        ASSERT_EQ(((const char *) p)[i], (char) (index + at / 1000 * 1000));
                        if (i + 1 == n) {
                                *ret_size += n;
                                break;
                        }
                }
        if (k == 0)
                ASSERT_TRUE(raft_conf_is_voter(&snap_reader_meta(r)->conf, 9));
        return k;
}

TEST(round_trip) {
        static const size_t sizes[] = {
                0, 1, 999, 1000, SNAP_CHUNK_MAX, SNAP_CHUNK_MAX + 1, 3 * SNAP_CHUNK_MAX + 77
        };
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
                ASSERT_OK(save(sim_disk_ops(d), 5, sizes[i], NULL));
                sim_disk_power_cut(d, SIM_CUT_LOSE);
                size_t n;
                ASSERT_OK(load(sim_disk_ops(d), 5, &n, NULL));
                ASSERT_EQ(n, sizes[i]);
        }
}

/* The file is there whole, or not at all. */
TEST(power_cut_and_error_at_every_operation) {
        for (unsigned how = 0; how < _SIM_CUT_MAX + 2; how++)
                for (uint64_t op = 1;; op++) {
                        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(op));
                        Disk *disk = sim_disk_ops(d);
                        if (how < _SIM_CUT_MAX)
                                sim_disk_cut_at(d, op);
                        else
                                sim_disk_fail_at(d, op, how == _SIM_CUT_MAX ? -EIO : -ENOSPC, false);
                        _cleanup_(err_done) Err err = {};
                        int r = save(disk, 5, 5000, &err);
                        bool struck = sim_disk_is_off(d) || sim_disk_has_failed(d);
                        if (!struck)
                                break;
                        if (how < _SIM_CUT_MAX)
                                sim_disk_power_cut(d, (SimDiskCut) how);
                        sim_disk_detach(d, false);
                        size_t n;
                        ASSERT_OK(snap_clean(disk, NULL));
                        int k = load(disk, 5, &n, NULL);
                        ASSERT_TRUE(k == -ENOENT || (k == 0 && n == 5000));
                        ASSERT_TRUE(r < 0);
                }
}

TEST(every_flipped_bit_is_seen) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        ASSERT_OK(save(sim_disk_ops(d), 5, 300, NULL));
        size_t n, k;
        uint8_t *bytes = sim_disk_bytes(d, "snap-0000000000000005-0000000000000003.snap", &n);
        ASSERT_NOT_NULL(bytes);
        for (size_t bit = 0; bit < n * 8; bit++) {
                bytes[bit / 8] ^= (uint8_t) (1U << bit % 8);
                _cleanup_(err_done) Err err = {};
                ASSERT_EQ(load(sim_disk_ops(d), 5, &k, &err), -EUCLEAN);
                ASSERT_TRUE(strstr(err_msg(&err), "snap-0000000000000005"));
                bytes[bit / 8] ^= (uint8_t) (1U << bit % 8);
        }
        ASSERT_OK(load(sim_disk_ops(d), 5, &k, NULL));
}

static int transfer(Disk *from, Disk *to, const RaftSnapMeta *meta, size_t drop, Err *err) {
        _cleanup_(snap_source_freep) SnapSource *s = NULL;
        _cleanup_(snap_sink_freep) SnapSink *k = NULL;
        int r = snap_source_open(from, 5, 3, &s, err);
        if (r == 0)
                r = snap_sink_open(to, meta, &k, err);
        uint64_t end = r == 0 ? snap_source_size(s) - drop : 0;
        for (uint64_t at = 0; r == 0 && at < end; at += 700) {
                char piece[700];
                ssize_t n = snap_source_read(s, at, piece, MIN(sizeof(piece), (size_t) (end - at)), err);
                r = n < 0 ? (int) n : snap_sink_add(k, piece, (size_t) n, err);
        }
        return r == 0 ? snap_sink_finish(k, err) : r;
}

TEST(moving_to_another_member) {
        _cleanup_(sim_disk_freep) SimDisk *a = sim_disk_new(rng_new(1)), *b = sim_disk_new(rng_new(2));
        ASSERT_OK(save(sim_disk_ops(a), 5, 5000, NULL));
        RaftSnapMeta meta = meta_at(5), other = meta_at(6);
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(transfer(sim_disk_ops(a), sim_disk_ops(b), &meta, 1, &err), -EUCLEAN);
        ASSERT_STREQ(err_msg(&err), "the received snapshot is cut short");
        ASSERT_EQ(transfer(sim_disk_ops(a), sim_disk_ops(b), &other, 0, NULL), -EUCLEAN);
        char **names = NULL;
        ASSERT_OK(disk_list(sim_disk_ops(b), &names));
        ASSERT_EQ(strv_len(names), 0);
        strv_free(names);
        ASSERT_OK(transfer(sim_disk_ops(a), sim_disk_ops(b), &meta, 0, NULL));
        sim_disk_power_cut(b, SIM_CUT_LOSE);
        size_t n;
        ASSERT_OK(load(sim_disk_ops(b), 5, &n, NULL));
        ASSERT_EQ(n, 5000);
}

/* A log of 40 entries with snapshots at 10, 20 and 30 (the first is purged). */
static void fill(SimDisk *d) {
        Disk *disk = sim_disk_ops(d);
        _cleanup_(wal_freep) Wal *w = NULL;
        WalConfig small = { .segment_size = 512 };
        ASSERT_OK(wal_create(disk, &small, 7, 1, NULL, &w, NULL));
        for (uint64_t i = 1; i <= 40; i++) {
                _cleanup_(buf_done) Buf b = {};
                RaftEntry e = { .term = 3, .index = i };
                RaftPersist p = {
                        .seq = i, .hs = { .term = 3, .commit = i - 1 }, .entries = &e, .n_entries = 1
                };
                wal_batch_persist(&b, &p);
                if (i % 10 == 0 && i < 40) {
                        ASSERT_OK(save(disk, i, 100, NULL));
                        wal_batch_snapshot(&b, i, 3);
                }
                ASSERT_OK(wal_write(w, &b, NULL));
                ASSERT_OK(wal_sync(w, NULL));
                ASSERT_OK(wal_purge(w, NULL));
                ASSERT_OK(snap_purge(disk, wal_oldest_mark(w), NULL));
        }
}

static void damage(SimDisk *d, const char *name) {
        size_t n;
        uint8_t *bytes = sim_disk_bytes(d, name, &n);
        ASSERT_NOT_NULL(bytes);
        bytes[n / 2] ^= 1;
}

TEST(recovery_falls_back) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        fill(d);
        size_t n;
        ASSERT_EQ(load(sim_disk_ops(d), 10, &n, NULL), -ENOENT);
        _cleanup_(recovered_done) Recovered r = {};
        ASSERT_OK(disk_recover(sim_disk_ops(d), NULL, &r, NULL));
        ASSERT_EQ(r.meta.index, 30);
        ASSERT_FALSE(r.fell_back);
        ASSERT_EQ(r.initial.applied, 30);
        ASSERT_EQ(r.initial.snap_index, 20); /* the log reaches back to the older one */
        ASSERT_EQ(r.initial.n_entries, 20);
        ASSERT_EQ(r.initial.hs.commit, 39);
        recovered_done(&r);
        damage(d, "snap-000000000000001e-0000000000000003.snap");
        ASSERT_OK(disk_recover(sim_disk_ops(d), NULL, &r, NULL));
        ASSERT_TRUE(r.fell_back);
        ASSERT_EQ(r.meta.index, 20);
        ASSERT_EQ(r.initial.n_entries, 20);
        recovered_done(&r);
        damage(d, "snap-0000000000000014-0000000000000003.snap");
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(disk_recover(sim_disk_ops(d), NULL, &r, &err), -EUCLEAN);
        ASSERT_TRUE(strstr(err_msg(&err), "add it again"));
}

/* A snapshot that came from the leader counts only with its record in the log, and then alone. */
TEST(received_snapshot) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        fill(d);
        Disk *disk = sim_disk_ops(d);
        ASSERT_OK(save(disk, 100, 100, NULL));
        _cleanup_(recovered_done) Recovered r = {};
        ASSERT_OK(disk_recover(disk, NULL, &r, NULL));
        ASSERT_EQ(r.meta.index, 30);
        RaftSnapMeta meta = meta_at(100);
        RaftPersist p = { .seq = 1, .hs = { .term = 4, .commit = 100 }, .snapshot = &meta };
        _cleanup_(buf_done) Buf b = {};
        wal_batch_persist(&b, &p);
        ASSERT_OK(wal_write(r.wal, &b, NULL));
        ASSERT_OK(wal_sync(r.wal, NULL));
        ASSERT_OK(wal_purge(r.wal, NULL));
        ASSERT_EQ(wal_oldest_mark(r.wal), 100);
        recovered_done(&r);
        ASSERT_OK(disk_recover(disk, NULL, &r, NULL));
        ASSERT_EQ(r.meta.index, 100);
        ASSERT_EQ(r.initial.snap_index, 100);
        ASSERT_EQ(r.initial.n_entries, 0);
}

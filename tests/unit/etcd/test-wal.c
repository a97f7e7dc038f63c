/* SPDX-License-Identifier: Apache-2.0 */

/* The log on a disk that fails at every operation in turn: once with an error, once by power cut, with every
 * way the unsynced part may look afterwards. Opening must then succeed and hold everything that had been
 * synced, or, where bytes were damaged that had been durable, refuse and say where. */

#include "base/hash.h"
#include "etcd/disk/wal-internal.h"
#include "etcd/disk/wal-thread.h"
#include "sim/rng.c"
#include "sim/sim-disk.c"
#include "sys/fs.h"
#include "test.h"

#include <poll.h>
#include <stdio.h>

static const WalConfig small = { .segment_size = 4096 };

/* Batch number i: entry i, of a size that depends on i; every 7th replaces the two before it. */
static uint64_t add_batch(Buf *b, uint64_t i, uint64_t last, uint64_t term) {
        bool conflict = i % 7 == 0 && last > 3;
        uint64_t from = conflict ? last - 1 : last + 1;
        size_t size = 20 + (size_t) (i * 37 % 700);
        _cleanup_(raft_block_unrefp) RaftBlock *block = raft_block_new(size);
        memset(block->bytes, (int) ('a' + i % 26), size);
        RaftEntry e = { .term = term + i / 7,
                        .index = from,
                        .len = (uint32_t) size,
                        .data = block->bytes,
                        .block = block };
        RaftPersist p = { .seq = i,
                          .hs = { .term = term + i / 7, .vote = i, .commit = 0 },
                          .entries = &e,
                          .n_entries = 1,
                          .truncate_from = conflict ? from : 0 };
        wal_batch_persist(b, &p);
        return from;
}

/* What had been synced when the disk stopped. */
typedef struct Progress {
        uint64_t synced_batch, synced_last;
        uint64_t written_batch;
} Progress;

static int work(Disk *d, uint64_t batches, Progress *p, Err *err) {
        _cleanup_(wal_freep) Wal *w = NULL;
        *p = (Progress){};
        int r = wal_create(d, &small, 7, 1, NULL, &w, err);
        uint64_t last = 0;
        for (uint64_t i = 1; r == 0 && i <= batches; i++) {
                _cleanup_(buf_done) Buf b = {};
                last = add_batch(&b, i, last, 2);
                if (i % 10 == 0)
                        wal_batch_snapshot(&b, last - 2, 2);
                p->written_batch = i;
                r = wal_write(w, &b, err);
                if (r == 0 && i % 3 != 0)
                        continue; /* groups of three */
                if (r == 0)
                        r = wal_sync(w, err);
                if (r == 0) {
                        p->synced_batch = i;
                        p->synced_last = last;
                        r = wal_purge(w, err);
                }
        }
        return r;
}

/* Opens what is there; vote tells which batch was the last. */
static void check_open(SimDisk *disk, const Progress *p, const char *when, uint64_t op) {
        _cleanup_(wal_freep) Wal *w = NULL;
        _cleanup_(wal_state_done) WalState s = {};
        _cleanup_(err_done) Err err = {};
        int r = wal_open(sim_disk_ops(disk), &small, &w, &s, &err);
        if (r == -ENOENT && p->synced_batch == 0)
                return;
        if (r < 0)
                test_fail(__FILE__, __LINE__, "%s at operation %llu: %s", when, (unsigned long long) op,
                          err_msg(&err));
        if (s.hs.vote < p->synced_batch || s.hs.vote > p->written_batch)
                test_fail(__FILE__, __LINE__,
                          "%s at operation %llu: batch %llu is the last, %llu was synced", when,
                          (unsigned long long) op, (unsigned long long) s.hs.vote,
                          (unsigned long long) p->synced_batch);
        /* And it can be written to. */
        _cleanup_(buf_done) Buf b = {};
        uint64_t last = add_batch(&b, 1000, wal_state_last_index(&s), s.hs.term + 1);
        ASSERT_OK(wal_write(w, &b, &err));
        ASSERT_OK(wal_sync(w, &err));
        w = wal_free(w);
        wal_state_done(&s);
        ASSERT_OK(wal_open(sim_disk_ops(disk), &small, &w, &s, &err));
        ASSERT_EQ(wal_state_last_index(&s), last);
        ASSERT_EQ(s.hs.vote, 1000);
}

TEST(power_cut_at_every_operation) {
        for (unsigned how = 0; how < _SIM_CUT_MAX; how++)
                for (uint64_t op = 1;; op++) {
                        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(op * 10 + how));
                        sim_disk_cut_at(d, op);
                        Progress p;
                        _cleanup_(err_done) Err err = {};
                        int r = work(sim_disk_ops(d), 60, &p, &err);
                        if (r == 0)
                                break;
                        ASSERT_TRUE(sim_disk_is_off(d));
                        sim_disk_power_cut(d, (SimDiskCut) how);
                        check_open(d, &p, "power cut", op);
                }
}

TEST(power_cut_while_opening) {
        for (uint64_t cut = 20; cut < 200; cut += 13)
                for (uint64_t op = 1;; op++) {
                        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(cut * 1000 + op));
                        sim_disk_cut_at(d, cut);
                        Progress p;
                        (void) work(sim_disk_ops(d), 60, &p, NULL);
                        sim_disk_power_cut(d, SIM_CUT_TEAR);
                        sim_disk_cut_at(d, op);
                        _cleanup_(wal_freep) Wal *w = NULL;
                        WalState s = {};
                        int r = wal_open(sim_disk_ops(d), &small, &w, &s, NULL);
                        wal_state_done(&s);
                        w = wal_free(w);
                        if (!sim_disk_is_off(d)) {
                                ASSERT_TRUE(r == 0 || (r == -ENOENT && p.synced_batch == 0));
                                break;
                        }
                        sim_disk_power_cut(d, SIM_CUT_TEAR);
                        check_open(d, &p, "power cut while opening", op);
                }
}

static void fail_loop(int error, bool again) {
        for (uint64_t op = 1;; op++) {
                _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(op));
                sim_disk_fail_at(d, op, error, again);
                Progress p;
                _cleanup_(err_done) Err err = {};
                int r = work(sim_disk_ops(d), 60, &p, &err);
                if (!sim_disk_has_failed(d))
                        break;
                ASSERT_TRUE(r < 0);
                ASSERT_TRUE(strlen(err_msg(&err)) > 10);
                /* The process stops; the machine lives on. */
                sim_disk_detach(d, false);
                _cleanup_(sim_disk_freep) SimDisk *copy = sim_disk_copy(d, rng_new(op));
                check_open(copy, &p, "error", op);
                sim_disk_power_cut(d, SIM_CUT_LOSE);
                check_open(d, &p, "error, then power cut", op);
        }
}

TEST(error_at_every_operation) {
        fail_loop(-EIO, false);
        fail_loop(-EIO, true);
        fail_loop(-ENOSPC, false);
        fail_loop(-ENOSPC, true);
}

TEST(sync_is_never_tried_again) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        _cleanup_(wal_freep) Wal *w = NULL;
        ASSERT_OK(wal_create(sim_disk_ops(d), &small, 7, 1, NULL, &w, NULL));
        _cleanup_(buf_done) Buf b = {};
        (void) add_batch(&b, 1, 0, 2);
        ASSERT_OK(wal_write(w, &b, NULL));
        sim_disk_fail_at(d, 1, -EIO, false);
        ASSERT_EQ(wal_sync(w, NULL), -EIO);
        uint64_t ops = sim_disk_operations(d);
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(wal_sync(w, &err), -EIO);
        ASSERT_EQ(wal_write(w, &b, NULL), -EIO);
        ASSERT_EQ(sim_disk_operations(d), ops);
        ASSERT_STREQ(err_msg(&err), "the log failed earlier and is not used any more: Input/output error");
}

/* A full disk is found out when a segment is begun, before anything of the batch is written. */
TEST(no_space_may_be_tried_again) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        _cleanup_(wal_freep) Wal *w = NULL;
        ASSERT_OK(wal_create(sim_disk_ops(d), &small, 7, 1, NULL, &w, NULL));
        uint64_t last = 0;
        for (uint64_t i = 1; i <= 20; i++) {
                _cleanup_(buf_done) Buf b = {};
                last = add_batch(&b, i, last, 2);
                bool cut = w->offset + b.len > w->size;
                if (cut) {
                        ASSERT_OK(wal_sync(w, NULL));
                        sim_disk_fail_at(d, 2, -ENOSPC, false);
                        _cleanup_(err_done) Err err = {};
                        ASSERT_EQ(wal_write(w, &b, &err), -ENOSPC);
                        ASSERT_TRUE(strstr(err_msg(&err), "free some space"));
                }
                ASSERT_OK(wal_write(w, &b, NULL));
                ASSERT_OK(wal_sync(w, NULL));
        }
        Progress p = { .synced_batch = 20, .written_batch = 20 };
        w = wal_free(w);
        sim_disk_power_cut(d, SIM_CUT_LOSE);
        check_open(d, &p, "no space", 0);
}

/* One bit flips somewhere in what is durable: opening never crashes, never takes the damaged record for
 * good, and only refuses or loses the unprovable end: at most the last group. */
TEST(flipped_bits) {
        unsigned refused = 0, shortened = 0;
        for (unsigned i = 0; i < 600; i++) {
                Rng rng = rng_new(i);
                _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_fork(&rng));
                Progress p;
                ASSERT_OK(work(sim_disk_ops(d), 30, &p, NULL));
                char **names = NULL;
                ASSERT_OK(disk_list(sim_disk_ops(d), &names));
                const char *name = names[rng_below(&rng, strv_len(names))];
                size_t n;
                uint8_t *bytes = sim_disk_bytes(d, name, &n);
                ASSERT_NOT_NULL(bytes);
                bytes[rng_below(&rng, n)] ^= (uint8_t) (1U << rng_below(&rng, 8));
                strv_free(names);
                _cleanup_(wal_freep) Wal *w = NULL;
                _cleanup_(wal_state_done) WalState s = {};
                _cleanup_(err_done) Err err = {};
                int r = wal_open(sim_disk_ops(d), &small, &w, &s, &err);
                ASSERT_TRUE(r == 0 || r == -EUCLEAN);
                if (r < 0) {
                        refused++;
                        ASSERT_TRUE(strstr(err_msg(&err), "wal-"));
                } else if (s.hs.vote < p.synced_batch) {
                        shortened++;
                        ASSERT_TRUE(s.hs.vote + 3 >= p.synced_batch);
                }
        }
        ASSERT_TRUE(refused > 100);
        ASSERT_TRUE(shortened < refused / 10);
}

TEST(lost_segment_and_foreign_segment) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        _cleanup_(wal_freep) Wal *w = NULL;
        ASSERT_OK(wal_create(sim_disk_ops(d), &small, 7, 1, NULL, &w, NULL));
        uint64_t last = 0;
        for (uint64_t i = 1; i <= 60; i++) {
                _cleanup_(buf_done) Buf b = {};
                last = add_batch(&b, i, last, 2);
                ASSERT_OK(wal_write(w, &b, NULL));
        }
        ASSERT_OK(wal_sync(w, NULL));
        ASSERT_TRUE(w->n_segments > 3);
        w = wal_free(w);
        ASSERT_OK(disk_unlink(sim_disk_ops(d), "wal-0000000000000002.log"));
        _cleanup_(err_done) Err err = {};
        WalState s = {};
        ASSERT_EQ(wal_open(sim_disk_ops(d), &small, &w, &s, &err), -EUCLEAN);
        ASSERT_TRUE(strstr(err_msg(&err), "lacks segment 0000000000000002"));
}

TEST(purge_keeps_two_snapshots) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        _cleanup_(wal_freep) Wal *w = NULL;
        ASSERT_OK(wal_create(sim_disk_ops(d), &small, 7, 1, NULL, &w, NULL));
        for (uint64_t i = 1, last = 0; i <= 200; i++) {
                _cleanup_(buf_done) Buf b = {};
                last = add_batch(&b, i * 7 + 1, last, 2); /* no conflicts */
                if (i % 50 == 0)
                        wal_batch_snapshot(&b, last, 2);
                ASSERT_OK(wal_write(w, &b, NULL));
                ASSERT_OK(wal_sync(w, NULL));
                ASSERT_OK(wal_purge(w, NULL));
        }
        ASSERT_EQ(wal_oldest_mark(w), 150);
        ASSERT_TRUE(w->segments[0].first_index <= 151);
        ASSERT_TRUE(w->segments[1].first_index > 151);
        w = wal_free(w);
        _cleanup_(wal_state_done) WalState s = {};
        ASSERT_OK(wal_open(sim_disk_ops(d), &small, &w, &s, NULL));
        ASSERT_EQ(s.marks[0].index, 200);
        ASSERT_EQ(s.marks[1].index, 150);
        ASSERT_EQ(wal_state_last_index(&s), 200);
        ASSERT_TRUE(s.first_index <= 151);
}

/* The simulator's seed 261: a segment begins, then the leader replaces entries of the one before, which is
 * purged once a snapshot covers them. */
TEST(segment_that_truncates_its_predecessor) {
        _cleanup_(wal_state_done) WalState s = {};
        _cleanup_(buf_done) Buf b = {};
        WalSegmentHead head = { .cluster_id = 7, .node_id = 1, .seq = 2, .first_index = 28 };
        WalTip tip = { .last_index = 27 };
        wal_batch_head(&b, &head, &tip);
        RaftEntry e[2] = { { .term = 3, .index = 26 }, { .term = 3, .index = 27 } };
        RaftPersist p = { .hs.term = 3, .truncate_from = 26, .entries = e, .n_entries = 2 };
        wal_batch_persist(&b, &p);
        wal_records_seal(b.data, b.len, 0, 0);
        for (size_t at = 0; at < b.len;) {
                WalRecord rec;
                ASSERT_EQ(wal_record_parse(b.data + at, b.len - at, &rec), 1);
                ASSERT_OK(wal_state_fold(&s, &rec, NULL));
                at += rec.size;
        }
        ASSERT_EQ(s.first_index, 26);
        ASSERT_EQ(wal_state_last_index(&s), 27);
}

/* ---- the real disk, and the thread ---- */

static char *scratch(void) {
        static char path[64];
        (void) snprintf(path, sizeof(path), "/tmp/coracle-wal-XXXXXX");
        ASSERT_NOT_NULL(mkdtemp(path));
        return path;
}

TEST(thread_commits_in_groups) {
        char *path = scratch();
        _cleanup_(disk_freep) Disk *d = NULL;
        ASSERT_OK(disk_open_folder(path, &d, NULL));
        _cleanup_(err_done) Err err = {};
        Disk *second = NULL;
        ASSERT_EQ(disk_open_folder(path, &second, &err), -EBUSY);
        Wal *w = NULL;
        ASSERT_OK(wal_create(d, NULL, 7, 1, NULL, &w, NULL));
        _cleanup_(wal_thread_stopp) WalThread *t = NULL;
        ASSERT_OK(wal_thread_start(w, &t, NULL));
        uint64_t last = 0, done = 0;
        for (uint64_t i = 1; i <= 500; i++) {
                Buf b = {};
                last = add_batch(&b, i, last, 2);
                wal_thread_submit(t, &b, i, true, false);
        }
        while (done < 500) {
                struct pollfd p = { .fd = wal_thread_fd(t), .events = POLLIN };
                ASSERT_TRUE(poll(&p, 1, 10000) == 1);
                uint64_t before = done;
                ASSERT_OK(wal_thread_completed(t, &done, NULL));
                ASSERT_TRUE(done >= before);
        }
        WalThreadStats stats;
        wal_thread_stats(t, &stats);
        ASSERT_EQ(stats.batches, 500);
        ASSERT_TRUE(stats.syncs < 400);
        t = wal_thread_stop(t);
        _cleanup_(wal_state_done) WalState s = {};
        ASSERT_OK(wal_open(d, NULL, &w, &s, NULL));
        ASSERT_EQ(wal_state_last_index(&s), last);
        ASSERT_EQ(s.hs.vote, 500);
        wal_free(w);
        ASSERT_OK(rm_rf(path));
}

TEST(thread_reports_a_failed_sync) {
        _cleanup_(sim_disk_freep) SimDisk *d = sim_disk_new(rng_new(1));
        Wal *w = NULL;
        ASSERT_OK(wal_create(sim_disk_ops(d), &small, 7, 1, NULL, &w, NULL));
        sim_disk_fail_at(d, 2, -EIO, false);
        _cleanup_(wal_thread_stopp) WalThread *t = NULL;
        ASSERT_OK(wal_thread_start(w, &t, NULL));
        _cleanup_(err_done) Err err = {};
        uint64_t done = 77;
        int r = 0;
        for (uint64_t i = 1; i <= 2; i++) {
                Buf b = {};
                (void) add_batch(&b, 1, 0, 2);
                wal_thread_submit(t, &b, i, true, false);
                struct pollfd p = { .fd = wal_thread_fd(t), .events = POLLIN };
                ASSERT_TRUE(poll(&p, 1, 10000) == 1);
                r = wal_thread_completed(t, &done, &err);
        }
        ASSERT_EQ(r, -EIO);
        ASSERT_EQ(done, 0);
        ASSERT_TRUE(strstr(err_msg(&err), "cannot sync the log"));
}

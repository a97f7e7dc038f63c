/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/etcd/store-help.h"

#include <stdio.h>

/* The v3 watch hub: order, uniqueness, completeness, atomic revisions, resuming, compaction, many watchers.
 */

static Watcher *watch(Store *s, const char *key, const char *end, int64_t start) {
        Watcher *w = watch_new(s,
                               &(WatchReq){ .key = B(key), .range_end = B(end), .start_revision = start });
        ASSERT_NOT_NULL(w);
        return w;
}

/* "a@2 b!3 |5": puts, deletions, and the header revision of the batch; "compacted N" at the end. */
static const char *taken(Watcher *w) {
        static Buf b;
        buf_clear(&b);
        WatchBatch batch;
        if (!watch_take(w, 0, &batch))
                return "";
        if (batch.compact_revision != 0) {
                buf_addf(&b, "compacted %" PRId64, batch.compact_revision);
                return buf_str(&b);
        }
        for (size_t i = 0; i < batch.n_events; i++) {
                const WatchEvent *e = batch.events + i;
                buf_add(&b, e->kv.key.p, e->kv.key.n);
                buf_addf(&b, "%c%" PRId64, e->is_delete ? '!' : '@', e->kv.mod_revision);
                if (e->has_prev) {
                        buf_addc(&b, '(');
                        buf_add(&b, e->prev.value.p, e->prev.value.n);
                        buf_addc(&b, ')');
                }
                buf_addc(&b, ' ');
        }
        buf_addf(&b, "|%" PRId64, batch.revision);
        return buf_str(&b);
}

static void catch_up(Store *s) {
        while (store_watch_step(s))
                ;
}

TEST(live) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        _cleanup_(watch_freep) Watcher *w = watch(s, "w", "", 0), *r = watch(s, "w", "x", 0),
                                       *all = watch(s, "", "\0", 0);
        ASSERT_TRUE(watch_synced(w));
        ASSERT_STREQ(taken(w), "");
        ASSERT_EQ(t_put(s, "w", "1"), 0);
        ASSERT_EQ(t_put(s, "w1", "1"), 0);
        ASSERT_EQ(t_delete(s, "w", "x"), 2);
        ASSERT_EQ(t_put(s, "q", "1"), 0);
        ASSERT_TRUE(watch_ready(s) && watch_ready(s) && !watch_ready(s));
        ASSERT_EQ(watch_progress(w), 1);
        ASSERT_STREQ(taken(w), "w@2 w!4 |5");
        ASSERT_EQ(watch_progress(w), 5);
        ASSERT_STREQ(taken(r), "w@2 w1@3 w!4 w1!4 |5");
        ASSERT_STREQ(taken(all), "");
}

TEST(everything_and_nothing) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        ASSERT_NULL(watch_new(s, &(WatchReq){ .key = B("x"), .range_end = B("a") }));
        ASSERT_NULL(watch_new(s, &(WatchReq){ .key = B("x"), .range_end = B("x") }));
        Bytes zero = { "\0", 1 };
        _cleanup_(watch_freep) Watcher *all = watch_new(s, &(WatchReq){ .range_end = zero }),
                                       *none = watch_new(s, &(WatchReq){}),
                                       *from = watch_new(s, &(WatchReq){ .key = B("m"), .range_end = zero });
        ASSERT_EQ(t_put(s, "a", "1"), 0);
        ASSERT_EQ(t_put(s, "z", "1"), 0);
        ASSERT_STREQ(taken(all), "a@2 z@3 |3");
        ASSERT_STREQ(taken(none), "");
        ASSERT_STREQ(taken(from), "z@3 |3");
}

TEST(from_history) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        for (int i = 0; i < 3; i++)
                ASSERT_EQ(t_put(s, "a", "1"), 0);
        ASSERT_EQ(t_delete(s, "a", ""), 1);
        _cleanup_(watch_freep) Watcher *w = watch(s, "a", "", 3), *f = watch(s, "a", "", 8);
        ASSERT_FALSE(watch_synced(w));
        ASSERT_EQ(store_watchers_slow(s), 1);
        ASSERT_EQ(watch_progress(w), 2);
        catch_up(s);
        ASSERT_TRUE(watch_ready(s) == w);
        ASSERT_STREQ(taken(w), "a@3 a@4 a!5 |5");
        ASSERT_TRUE(watch_synced(w));
        for (int i = 6; i <= 9; i++)
                ASSERT_EQ(t_put(s, "a", "1"), 0);
        ASSERT_STREQ(taken(f), "a@8 a@9 |9");
        ASSERT_STREQ(taken(w), "a@6 a@7 a@8 a@9 |9");
}

TEST(filters_and_previous) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        ASSERT_EQ(t_put(s, "a", "old"), 0);
        _cleanup_(watch_freep) Watcher *w = watch_new(s, &(WatchReq){ .key = B("a"), .prev_kv = true }),
                                       *del = watch_new(s, &(WatchReq){ .key = B("a"),
                                                                        .no_put = true,
                                                                        .start_revision = 1 }),
                                       *put = watch_new(s, &(WatchReq){ .key = B("a"), .no_delete = true });
        ASSERT_EQ(t_put(s, "a", "new"), 0);
        ASSERT_EQ(t_delete(s, "a", ""), 1);
        ASSERT_EQ(t_put(s, "a", "3"), 0);
        ASSERT_STREQ(taken(w), "a@3(old) a!4(new) a@5 |5");
        ASSERT_STREQ(taken(put), "a@3 a@5 |5");
        catch_up(s);
        ASSERT_STREQ(taken(del), "a!4 |5");
        /* what was before is gone when it was compacted, whether physically or not */
        _cleanup_(watch_freep) Watcher *again =
                        watch_new(s, &(WatchReq){ .key = B("a"), .prev_kv = true, .start_revision = 4 });
        ASSERT_EQ(t_compact(s, 4), 0);
        catch_up(s);
        ASSERT_STREQ(taken(again), "a!4 a@5 |5");
        while (store_compact_step(s))
                ;
        _cleanup_(watch_freep) Watcher *more = watch(s, "a", "", 4), *less = watch(s, "a", "", 3);
        catch_up(s);
        ASSERT_STREQ(taken(more), "a!4 a@5 |5");
        ASSERT_STREQ(taken(less), "compacted 4");
}

TEST(slow_watcher_falls_back_and_loses_nothing) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        _cleanup_(watch_freep) Watcher *w = watch(s, "a", "", 0), *other = watch(s, "b", "", 1);
        for (int i = 0; i < 2000; i++)
                ASSERT_EQ(t_put(s, "a", "1"), 0);
        ASSERT_EQ(store_watchers_slow(s), 2);
        ASSERT_EQ(t_put(s, "b", "1"), 0);
        catch_up(s); /* the one that does not drain is left out, the other one is served */
        ASSERT_STREQ(taken(other), "b@2002 |2002");
        ASSERT_TRUE(watch_synced(other));
        ASSERT_FALSE(store_watch_pending(s));
        int64_t next = 2;
        size_t rounds = 0;
        for (;; rounds++) {
                WatchBatch b;
                if (!watch_take(w, 1000, &b)) {
                        if (watch_synced(w))
                                break;
                        ASSERT_TRUE(store_watch_pending(s)); /* there is room again */
                        catch_up(s);
                        continue;
                }
                for (size_t i = 0; i < b.n_events; i++)
                        ASSERT_EQ(b.events[i].kv.mod_revision, next++);
                ASSERT_TRUE(b.revision >= next - 1);
        }
        ASSERT_EQ(next, 2002);
        ASSERT_TRUE(rounds > 10);
}

TEST(compacted_while_slow) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        _cleanup_(watch_freep) Watcher *w = watch(s, "a", "", 0), *late = watch(s, "a", "", 0);
        for (int i = 0; i < 1000; i++)
                ASSERT_EQ(t_put(s, "a", "1"), 0);
        ASSERT_EQ(t_compact(s, 500), 0);
        while (store_compact_step(s))
                ;
        WatchBatch b;
        ASSERT_TRUE(watch_take(w, 0, &b));
        ASSERT_EQ(b.n_events, WATCH_QUEUE_EVENTS); /* what was queued is still good */
        ASSERT_EQ(b.revision, WATCH_QUEUE_EVENTS + 1);
        ASSERT_STREQ(taken(w), "compacted 500");
        ASSERT_FALSE(watch_synced(w));
        catch_up(s);
        (void) late;
}

TEST(one_revision_is_never_split) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        for (int i = 0; i < 1000; i++) {
                char key[16];
                snprintf(key, sizeof(key), "k%04d", i);
                ASSERT_EQ(t_put(s, key, "1"), 0);
        }
        _cleanup_(watch_freep) Watcher *live = watch(s, "k", "l", 0), *slow = watch(s, "k", "l", 1002);
        ASSERT_EQ(t_delete(s, "k", "l"), 1000);
        ASSERT_EQ(t_put(s, "k", "1"), 0);
        Watcher *both[] = { live, slow };
        for (int i = 0; i < 2; i++) {
                WatchBatch b;
                ASSERT_TRUE(watch_take(both[i], 1, &b));
                ASSERT_EQ(b.n_events, 1000);
                ASSERT_EQ(b.revision, 1002);
                while (!watch_take(both[i], 1, &b))
                        ASSERT_TRUE(store_watch_step(s) || watch_synced(both[i]) || true);
                ASSERT_EQ(b.n_events, 1);
                ASSERT_EQ(b.events[0].kv.mod_revision, 1003);
        }
}

TEST(views_outlive_compaction) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        _cleanup_(watch_freep) Watcher *w = watch_new(s, &(WatchReq){ .key = B("a"), .prev_kv = true });
        ASSERT_EQ(t_put(s, "a", "1"), 0);
        ASSERT_EQ(t_put(s, "a", "2"), 0);
        ASSERT_EQ(t_delete(s, "a", ""), 1);
        WatchBatch b;
        ASSERT_TRUE(watch_take(w, 0, &b));
        ASSERT_EQ(t_put(s, "b", ""), 0);
        ASSERT_EQ(t_compact(s, 5), 0);
        while (store_compact_step(s))
                ;
        ASSERT_EQ(b.n_events, 3);
        ASSERT_TRUE(b.events[2].has_prev && bytes_eq(b.events[2].prev.value, B("2")));
        ASSERT_EQ(t_put(s, "a", "x"), 0); /* a new key object beside the held one */
        ASSERT_STREQ(taken(w), "a@6 |6");
}

TEST(moved_to_a_restored_store) {
        _cleanup_(store_freep) Store *to = NULL, *s = store_new(NULL);
        ASSERT_EQ(t_put(s, "a", "1"), 0);
        _cleanup_(watch_freep) Watcher *w = watch(s, "a", "", 0), *old = watch(s, "a", "", 0),
                                       *future = watch(s, "a", "", 9);
        ASSERT_EQ(t_put(s, "a", "2"), 0); /* queued in both */
        ASSERT_STREQ(taken(w), "a@3 |3");
        _cleanup_(store_freep) Store *ahead = t_copy(s); /* another node that went on */
        for (int i = 4; i <= 10; i++)
                ASSERT_EQ(t_put(ahead, "a", "3"), 0);
        ASSERT_EQ(t_compact(ahead, 4), 0);
        to = t_copy(ahead);
        store_move_watchers(s, to);
        catch_up(to);
        ASSERT_STREQ(taken(w), "a@4 a@5 a@6 a@7 a@8 a@9 a@10 |10");
        ASSERT_STREQ(taken(old), "compacted 4");
        ASSERT_STREQ(taken(future), "a@9 a@10 |10");
        ASSERT_EQ(t_put(to, "a", "4"), 0);
        ASSERT_STREQ(taken(w), "a@11 |11");
}

/* ---- ten thousand watchers of all kinds, some of them slow, against the list of all events ---- */

typedef struct Seen {
        Watcher *w;
        char from[8], to[8];
        int64_t next; /* the next revision it may see */
        size_t n;
} Seen;

static uint64_t rng_state = 42;
static unsigned rng(unsigned below) {
        rng_state = rng_state * UINT64_C(6364136223846793005) + 1442695040888963407;
        return (unsigned) ((rng_state >> 33) % below);
}

#define MANY 10000
#define REVISIONS 1300

static char events[REVISIONS + 2][8]; /* by revision: the key that was put */

static bool seen_wants(const Seen *x, const char *key) {
        return *x->to ? strcmp(x->from, key) <= 0 && strcmp(key, x->to) < 0 : strcmp(x->from, key) == 0;
}

static void drain(Seen *x, size_t bytes) {
        WatchBatch b;
        if (!watch_take(x->w, bytes, &b))
                return;
        for (size_t i = 0; i < b.n_events; i++) {
                const KeyVal *kv = &b.events[i].kv;
                int64_t rev = kv->mod_revision;
                for (; x->next < rev; x->next++)
                        ASSERT_FALSE(seen_wants(x, events[x->next])); /* a gap would show here */
                ASSERT_EQ(rev, x->next);
                ASSERT_TRUE(bytes_eq(kv->key, B(events[rev])) && seen_wants(x, events[rev]));
                x->next++;
                x->n++;
        }
        ASSERT_TRUE(b.revision >= x->next - 1);
        for (; x->next <= b.revision; x->next++)
                ASSERT_FALSE(seen_wants(x, events[x->next])); /* progress is never ahead of an event */
}

TEST(many_watchers) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        _cleanup_free_ Seen *all = xnew0(Seen, MANY);
        size_t made = 0;
        for (int64_t rev = 2; rev <= REVISIONS; rev++) {
                for (size_t i = 0; made < MANY && i < 10; i++) {
                        Seen *x = all + made++;
                        snprintf(x->from, sizeof(x->from), "%03u", rng(1000));
                        if (rng(20) == 0)
                                snprintf(x->to, sizeof(x->to), "%03u", 100 + rng(900));
                        x->next = rng(3) == 0 ? 1 + rng((unsigned) rev + 20) : rev;
                        x->w = watch_new(s, &(WatchReq){ .key = B(x->from),
                                                         .range_end = B(x->to),
                                                         .start_revision = x->next,
                                                         .user = x });
                        if (!x->w)
                                made--;
                }
                snprintf(events[rev], sizeof(events[rev]), "%03u", rng(4) == 0 ? 500 : rng(1000));
                ASSERT_EQ(t_put(s, events[rev], "v"), 0);
                if (rng(8) == 0)
                        store_watch_step(s);
                for (Watcher *w; (w = watch_ready(s));)
                        if (rng(2) == 0)
                                drain(watch_user(w), rng(2) ? 100 : 0);
        }
        ASSERT_EQ(made, MANY);
        for (size_t i = 0; i < MANY; i++)
                while (!watch_synced(all[i].w)) {
                        drain(all + i, 0);
                        while (store_watch_step(s))
                                ;
                }
        size_t n = 0;
        for (size_t i = 0; i < MANY; i++) {
                drain(all + i, 0);
                for (; all[i].next <= REVISIONS; all[i].next++)
                        ASSERT_FALSE(seen_wants(all + i, events[all[i].next]));
                n += all[i].n;
                watch_free(all[i].w);
        }
        ASSERT_TRUE(n > MANY);
        ASSERT_EQ(store_watchers(s), 0);
        ASSERT_EQ(store_watchers_slow(s), 0);
}

/* SPDX-License-Identifier: Apache-2.0 */

/* How fast the store is by itself, on one thread and in memory: no raft, no disk, no network.
 * `store-bench [KEYS]`: one line per measurement, rates in operations per second. */

#include "base/alloc.h"
#include "base/str.h"
#include "etcd/store/store.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
        struct timespec t;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID,
                      &t); /* one thread, never waiting: other load does not count */
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static size_t resident(void) {
        long pages = 0, all = 0;
        FILE *f = fopen("/proc/self/statm", "re");
        if (f) {
                if (fscanf(f, "%ld %ld", &all, &pages) != 2)
                        pages = 0;
                fclose(f);
        }
        return (size_t) pages * (size_t) sysconf(_SC_PAGESIZE);
}

static void say(const char *what, size_t n, double seconds) {
        printf("%-44s %10.0f /s\n", what, (double) n / seconds);
}

static uint64_t rng_state = 1;
static size_t rng(size_t below) {
        rng_state = rng_state * UINT64_C(6364136223846793005) + 1442695040888963407;
        return (size_t) (rng_state >> 33) % below;
}

static Bytes key_of(char buf[32], size_t i) {
        memcpy(buf, "/registry/pods/key-000000000", 28);
        for (size_t at = 27; i > 0; i /= 10)
                buf[at--] = (char) ('0' + i % 10);
        return (Bytes){ buf, 28 };
}

static void apply(Store *s, const Command *c) {
        static Buf b;
        buf_clear(&b);
        cmd_encode(c, &b);
        store_apply(s, store_applied_index(s) + 1, 1, b.data, b.len, NULL);
}

static void put(Store *s, size_t i, Bytes value) {
        char key[32];
        apply(s, &(Command){ .kind = CMD_PUT, .put = { .key = key_of(key, i), .value = value } });
}

static void drain(Store *s) {
        WatchBatch b;
        for (Watcher *w; (w = watch_ready(s));)
                while (watch_take(w, 0, &b))
                        ;
}

static void bench_writes(Store *s, size_t n, Bytes value) {
        double t = now();
        for (size_t i = 0; i < n; i++)
                put(s, i, value);
        say("put, new keys, ascending", n, now() - t);
        t = now();
        for (size_t i = 0; i < n; i++)
                put(s, rng(n), value);
        say("put, random existing keys", n, now() - t);
        char text[64];
        t = now();
        for (size_t i = 0; i < n; i++) {
                int len = snprintf(text, sizeof(text), "%016zx", rng(SIZE_MAX));
                apply(s, &(Command){ .kind = CMD_PUT,
                                     .put = { .key = { text, (size_t) len }, .value = value } });
        }
        say("put, new keys, random order", n, now() - t);
}

static void bench_reads(Store *s, size_t n) {
        char key[32], end[32];
        _cleanup_(arena_done) Arena a = {};
        RangeResult r;
        double t = now();
        for (size_t i = 0; i < n * 2; i++) {
                arena_done(&a);
                (void) store_range(s, &(RangeReq){ .key = key_of(key, rng(n)) }, &a, &r);
        }
        say("get, random keys", n * 2, now() - t);
        t = now();
        for (size_t i = 0; i < 2000; i++) {
                size_t from = rng(n - 100);
                arena_done(&a);
                (void) store_range(s,
                                   &(RangeReq){ .key = key_of(key, from),
                                                .range_end = key_of(end, from + 100) },
                                   &a, &r);
        }
        say("range over 100 keys", 2000, now() - t);
}

static void bench_watch(Store *s, size_t n, Bytes value) {
        size_t many = 10000;
        _cleanup_free_ Watcher **w = xnew0(Watcher *, many);
        for (size_t i = 0; i < many; i++) {
                char key[32], end[32];
                w[i] = watch_new(s, &(WatchReq){ .key = key_of(key, i * 10),
                                                 .range_end = i % 2 ? (Bytes){} : key_of(end, i * 10 + 3) });
        }
        double t = now();
        for (size_t i = 0; i < n; i++) {
                put(s, i % (many * 10), value);
                drain(s);
        }
        say("put with 10k watchers, half of them ranges", n, now() - t);
        for (size_t i = 0; i < many; i++)
                watch_free(w[i]);
        for (size_t i = 0; i < many; i++) {
                char key[32];
                w[i] = watch_new(s, &(WatchReq){ .key = key_of(key, i), .start_revision = 2 });
        }
        t = now();
        size_t steps = 0;
        double worst = 0;
        for (double before = now(), after; store_watch_step(s); before = after, steps++) {
                after = now();
                worst = after - before > worst ? after - before : worst;
        }
        printf("%-44s %10.2f s, %zu slices, worst %.2f ms\n", "10k watchers catch up over all history",
               now() - t, steps, worst * 1e3);
        drain(s);
        for (size_t i = 0; i < many; i++)
                watch_free(w[i]);
}

static void bench_snapshot(Store *s) {
        _cleanup_(buf_done) Buf b = {};
        StoreSnapshot *snap = NULL;
        double t = now(), worst = 0;
        size_t bytes = 0;
        (void) store_snapshot_begin(s, NULL, 0, &snap);
        StoreRestore *r = store_restore_new(NULL);
        double reading = 0;
        for (int more = 1; more > 0;) {
                double before = now();
                more = store_snapshot_next(snap, &b);
                worst = now() - before > worst ? now() - before : worst;
                bytes += b.len;
                before = now();
                (void) store_restore_add(r, b.data, b.len, NULL);
                reading += now() - before;
                buf_clear(&b);
        }
        store_snapshot_end(snap);
        printf("%-44s %10.0f MB/s, worst slice %.2f ms\n", "snapshot, write",
               (double) bytes / 1e6 / (now() - t - reading), worst * 1e3);
        Store *copy = NULL;
        t = now();
        (void) store_restore_finish(r, &copy, NULL, NULL);
        printf("%-44s %10.2f s for %.0f MB\n", "snapshot, read and check", now() - t + reading,
               (double) bytes / 1e6);
        store_free(copy);
        store_restore_free(r);
}

static void bench_compaction(Store *s) {
        apply(s, &(Command){ .kind = CMD_COMPACT, .compact.revision = store_revision(s) });
        double t = now(), worst = 0;
        size_t steps = 0;
        for (bool more = true; more; steps++) {
                double before = now();
                more = store_compact_step(s);
                worst = now() - before > worst ? now() - before : worst;
        }
        printf("%-44s %10.2f s, %zu slices, worst %.2f ms\n", "compaction of everything", now() - t, steps,
               worst * 1e3);
}

static void bench_v2(size_t n, Bytes value) {
        _cleanup_(store_freep) Store *s = store_new(NULL);
        char path[64];
        double t = now();
        for (size_t i = 0; i < n; i++) {
                int len = snprintf(path, sizeof(path), "/services/app-%zu/instance-%zu", i % 100, rng(n));
                apply(s, &(Command){ .kind = CMD_V2,
                                     .v2 = { .path = { path, (size_t) len }, .value = value } });
        }
        say("v2 set", n, now() - t);
        t = now();
        for (size_t i = 0; i < n; i++) {
                _cleanup_(arena_done) Arena a = {};
                V2View v;
                V2Error e;
                int len = snprintf(path, sizeof(path), "/services/app-%zu/instance-%zu", i % 100, rng(n));
                (void) v2_get(s, &(V2GetReq){ .path = { path, (size_t) len } }, &a, &v, &e);
        }
        say("v2 get", n, now() - t);
}

int main(int argc, char **argv) {
        uint64_t n = 1000000;
        if (argc > 2 || (argc == 2 && (parse_u64(argv[1], &n) < 0 || n < 100000))) {
                fprintf(stderr, "usage: store-bench [KEYS]   (at least 100000; default 1000000)\n");
                return 2;
        }
        char value[100];
        memset(value, 'v', sizeof(value));
        Bytes v = { value, sizeof(value) };
        size_t before = resident();
        Store *s = store_new(NULL);
        bench_writes(s, n, v);
        printf("%-44s %10.0f bytes, counted %.0f (value 100, 3 versions per 2 keys)\n", "memory per version",
               (double) (resident() - before) / (double) (n * 3),
               (double) store_bytes(s) / (double) (n * 3));
        bench_reads(s, n);
        bench_watch(s, n / 2, v);
        bench_snapshot(s);
        bench_compaction(s);
        store_free(s);
        bench_v2(n / 2, v);
        return 0;
}

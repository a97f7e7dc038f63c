/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "sys/fs.h"
#include "unit/etcd/store-help.h"

#include <stdio.h>

/* The v2 view: a transcript of a real etcd, then watches, expiry, and a random comparison with a naive tree.
 */

#define WALL INT64_C(1795348106000000000)
#define SEC INT64_C(1000000000)

static Store *fresh(void) {
        Store *s = store_new(NULL);
        for (int i = 0; i < 3; i++)
                ASSERT_EQ(t_run(s,
                                &(Command){ .kind = CMD_ATTR, .attr = { .key = B("m"), .v2_event = true } }),
                          0);
        return s;
}

/* "value=x&ttl=5": the value of a name, or NULL. Into a static buffer per call: copy what must stay. */
static char *param(const char *params, const char *name) {
        size_t n = strlen(name);
        for (const char *p = params; p && *p; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL)
                if (strncmp(p, name, n) == 0 && p[n] == '=')
                        return xstrndup(p + n + 1, strcspn(p + n + 1, "&"));
        return NULL;
}

static bool flag(const char *params, const char *name) {
        _cleanup_free_ char *v = param(params, name);
        return v && streq(v, "true");
}

typedef struct Answer {
        int status;
        uint64_t index;
        Buf body;
} Answer;

static void answer_done(Answer *a) {
        buf_done(&a->body);
}

static void answer_get(Store *s, const char *path, int64_t wall, const char *params, Answer *ret) {
        _cleanup_(arena_done) Arena a = {};
        V2View v;
        V2Error e;
        V2GetReq req = { .path = B(path), .recursive = flag(params, "recursive"), .wall_nsec = wall };
        ret->index = v2_index(s);
        ret->status = 200;
        if (v2_get(s, &req, &a, &v, &e) >= 0)
                v2_get_json(&v, &ret->body);
        else {
                ret->status = v2_error_status(e.code);
                v2_error_json(&e, &ret->body);
        }
}

static void request(Store *s, const char *method, const char *path, int64_t wall, const char *params,
                    Answer *ret) {
        buf_clear(&ret->body);
        if (streq(method, "GET")) {
                answer_get(s, path, wall, params, ret);
                return;
        }
        _cleanup_free_ char *value = param(params, "value"), *ttl = param(params, "ttl"),
                            *exist = param(params, "prevExist"), *prev = param(params, "prevValue"),
                            *index = param(params, "prevIndex");
        Command c = { .kind = CMD_V2, .v2 = { .path = B(path), .wall_nsec = wall } };
        c.v2.method = streq(method, "PUT") ? V2_PUT : streq(method, "POST") ? V2_POST : V2_DELETE;
        c.v2.value = B(strempty(value));
        c.v2.prev_value = B(strempty(prev));
        c.v2.prev_index = index ? strtoull(index, NULL, 10) : 0;
        c.v2.prev_exist = !exist ? V2_EXIST_ANY : streq(exist, "true") ? V2_EXIST_TRUE : V2_EXIST_FALSE;
        c.v2.dir = flag(params, "dir");
        c.v2.recursive = flag(params, "recursive");
        c.v2.refresh = flag(params, "refresh");
        c.v2.expire_nsec = !isempty(ttl) ? wall + strtoll(ttl, NULL, 10) * SEC : 0;
        _cleanup_(apply_result_done) ApplyResult r = {};
        t_apply(s, &c, &r);
        ret->index = r.v2_index;
        if (r.v2_event) {
                ret->status = v2_event_status(r.v2_event);
                v2_event_json(r.v2_event, &ret->body);
        } else {
                ret->status = v2_error_status(r.v2_error.code);
                v2_error_json(&r.v2_error, &ret->body);
        }
}

static const char *ask(Store *s, const char *method, const char *path, const char *params) {
        static Answer a;
        request(s, method, path, WALL, params, &a);
        char *body = buf_take(&a.body);
        buf_addf(&a.body, "%d %s", a.status, body);
        free(body);
        return buf_str(&a.body);
}

static void sync_to(Store *s, int64_t wall) {
        ASSERT_EQ(t_run(s, &(Command){ .kind = CMD_V2_SYNC, .v2_sync.wall_nsec = wall }), 0);
}

TEST(transcript) {
        _cleanup_(store_freep) Store *s = fresh();
        _cleanup_(buf_done) Buf file = {};
        ASSERT_OK(read_file(test_data("data/etcd/v2-transcript.txt"), 1U << 20, &file));
        _cleanup_strv_ char **lines = strv_split(buf_str(&file), "\n", false);
        size_t n = 0;
        for (char **l = lines; *l; l++) {
                if (**l == '#')
                        continue;
                if (startswith(*l, "sync ")) {
                        sync_to(s, strtoll(*l + 5, NULL, 10));
                        continue;
                }
                _cleanup_strv_ char **req = strv_split(*l, " ", true), **want = strv_split(l[1], " ", true);
                _cleanup_free_ char *path = str_replace(req[1], "%20", " ");
                _cleanup_(answer_done) Answer a = {};
                request(s, req[0], path, strtoll(req[2], NULL, 10), req[3], &a);
                const char *body = strchr(strchr(l[1], ' ') + 1, ' ') + 1;
                if (!streq(body, buf_str(&a.body)))
                        test_fail(__FILE__, __LINE__, "%s\n got  %s\n want %s", *l, buf_str(&a.body), body);
                ASSERT_EQ(a.status, strtoll(want[0], NULL, 10));
                ASSERT_EQ(a.index, strtoll(want[1], NULL, 10));
                l++;
                n++;
        }
        ASSERT_EQ(n, 90);
        ASSERT_EQ(store_hash(s), store_hash_slow(s));
        _cleanup_(store_freep) Store *copy = t_copy(s);
        ASSERT_EQ(store_hash(copy), store_hash(s));
}

TEST(clean_paths) {
        const char *const cases[][2] = { { "", "/" },           { "/", "/" },
                                         { "//a//b/", "/a/b" }, { "a/./b/../c", "/a/c" },
                                         { "/../..", "/" },     { "/..a/b..", "/..a/b.." },
                                         { "/a/../../b", "/b" } };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(buf_done) Buf b = {};
                v2_path_clean(B(cases[i][0]), &b);
                ASSERT_STREQ(buf_str(&b), cases[i][1]);
        }
}

TEST(limits) {
        _cleanup_(store_freep) Store *s = fresh();
        _cleanup_(buf_done) Buf deep = {};
        for (int i = 0; i < V2_DEPTH_MAX; i++)
                buf_adds(&deep, "/a");
        ASSERT_TRUE(startswith(ask(s, "PUT", buf_str(&deep), "dir=true"), "201"));
        ASSERT_TRUE(startswith(ask(s, "POST", buf_str(&deep), "value=1"), "400 {\"errorCode\":209"));
        buf_adds(&deep, "/a");
        ASSERT_TRUE(startswith(ask(s, "PUT", buf_str(&deep), "value=1"), "400 {\"errorCode\":209"));
        ASSERT_TRUE(startswith(ask(s, "GET", "/", "recursive=true"), "200"));
        ASSERT_TRUE(startswith(ask(s, "PUT", "/x//y", "value=1"), "400 {\"errorCode\":209"));
        _cleanup_(store_freep) Store *copy = t_copy(s);
        ASSERT_EQ(store_hash(copy), store_hash(s));
        ASSERT_TRUE(startswith(ask(s, "DELETE", "/a", "recursive=true"), "200"));
        ASSERT_STREQ(ask(s, "GET", "/", ""), "200 {\"action\":\"get\",\"node\":{\"dir\":true}}");
}

/* ---- watches ---- */

static V2Watcher *watch(Store *s, const char *path, bool recursive, bool stream, uint64_t index) {
        _cleanup_(arena_done) Arena a = {};
        V2Watcher *w = NULL;
        V2Error e;
        ASSERT_OK(v2_watch(s,
                           &(V2WatchReq){ .path = B(path),
                                          .recursive = recursive,
                                          .stream = stream,
                                          .wait_index = index },
                           &a, &w, &e));
        return w;
}

/* "set /a 4; delete /b 5;" and "end" when it is over. */
static const char *taken(V2Watcher *w) {
        static Buf b;
        buf_clear(&b);
        for (V2Event *e; (e = v2_watch_take(w)); v2_event_unref(e)) {
                buf_addf(&b, "%s ", v2_action_name(e->action));
                buf_add(&b, e->node.key.p, e->node.key.n);
                buf_addf(&b, " %" PRIu64 "; ", e->index);
        }
        if (v2_watch_ended(w))
                buf_adds(&b, "end");
        return buf_str(&b);
}

TEST(watch_one) {
        _cleanup_(store_freep) Store *s = fresh();
        _cleanup_(v2_watch_freep) V2Watcher *w = watch(s, "/w", false, false, 0),
                                            *r = watch(s, "/", true, false, 0),
                                            *flat = watch(s, "/", false, true, 0);
        ASSERT_STREQ(taken(w), "");
        ASSERT_NULL(v2_watch_ready(s));
        (void) ask(s, "PUT", "/w", "value=1");
        ASSERT_TRUE(v2_watch_ready(s) == r);
        ASSERT_TRUE(v2_watch_ready(s) == w);
        ASSERT_NULL(v2_watch_ready(s));
        (void) ask(s, "PUT", "/w", "value=2");
        ASSERT_STREQ(taken(w), "set /w 4; end");
        ASSERT_STREQ(taken(r), "set /w 4; end");
        ASSERT_STREQ(taken(flat), "");
        ASSERT_EQ(v2_watch_start_index(w), 3);
}

TEST(watch_stream_rules) {
        _cleanup_(store_freep) Store *s = fresh();
        _cleanup_(v2_watch_freep) V2Watcher *deep = watch(s, "/wd/a/b", false, true, 0),
                                            *dir = watch(s, "/wd", true, true, 0),
                                            *hid = watch(s, "/wd/_h", true, true, 0),
                                            *root = watch(s, "/", true, true, 0);
        (void) ask(s, "PUT", "/wd/a/b", "value=1");
        (void) ask(s, "PUT", "/wd/_h/x", "value=1");
        (void) ask(s, "PUT", "/_top", "value=1");
        (void) ask(s, "PUT", "/wd/a/b", "refresh=true&ttl=5");
        (void) ask(s, "DELETE", "/wd", "recursive=true");
        ASSERT_STREQ(taken(deep), "set /wd/a/b 4; delete /wd 8; ");
        ASSERT_STREQ(taken(dir), "set /wd/a/b 4; delete /wd 8; ");
        ASSERT_STREQ(taken(hid), "set /wd/_h/x 5; delete /wd 8; ");
        ASSERT_STREQ(taken(root), "set /wd/a/b 4; delete /wd 8; ");
        /* the same from history */
        _cleanup_(v2_watch_freep) V2Watcher *deep2 = watch(s, "/wd/a/b", false, true, 1),
                                            *hid2 = watch(s, "/wd/_h", true, true, 1),
                                            *root2 = watch(s, "/", true, true, 1),
                                            *future = watch(s, "/f", false, false, 12);
        ASSERT_STREQ(taken(deep2), "set /wd/a/b 4; delete /wd 8; ");
        ASSERT_STREQ(taken(hid2), "set /wd/_h/x 5; delete /wd 8; ");
        ASSERT_STREQ(taken(root2), "set /wd/a/b 4; delete /wd 8; ");
        for (int i = 9; i < 14; i++)
                (void) ask(s, "PUT", "/f", "value=1");
        ASSERT_STREQ(taken(future), "set /f 12; end");
        ASSERT_STREQ(taken(root2), "set /f 9; set /f 10; set /f 11; set /f 12; set /f 13; ");
}

TEST(watch_history_window) {
        _cleanup_(store_freep) Store *s = fresh();
        for (int i = 4; i <= 1166; i++)
                (void) ask(s, "PUT", "/x", "value=1");
        _cleanup_(arena_done) Arena a = {};
        V2Watcher *w = NULL;
        V2Error e;
        ASSERT_EQ(v2_watch(s, &(V2WatchReq){ .path = B("/wi"), .wait_index = 62 }, &a, &w, &e), -ESTALE);
        _cleanup_(buf_done) Buf b = {};
        v2_error_json(&e, &b);
        ASSERT_STREQ(buf_str(&b),
                     "{\"errorCode\":401,\"message\":\"The event in requested index is outdated and "
                     "cleared\","
                     "\"cause\":\"the requested history has been cleared [167/62]\",\"index\":1166}");
        /* a late streaming watcher reads a thousand events although its queue is short */
        _cleanup_(v2_watch_freep) V2Watcher *late = watch(s, "/x", false, true, 167);
        size_t n = 0;
        for (V2Event *ev; (ev = v2_watch_take(late)); v2_event_unref(ev))
                ASSERT_EQ(ev->index, 167 + n++);
        ASSERT_EQ(n, 1000);
        /* one that dozes while the history rolls over it ends */
        _cleanup_(v2_watch_freep) V2Watcher *dozing = watch(s, "/x", false, true, 167);
        for (int i = 0; i < 3; i++)
                (void) ask(s, "PUT", "/x", "value=1");
        ASSERT_STREQ(taken(dozing), "set /x 167; end");
        /* and the caught-up one overflows after V2_WATCH_QUEUE events: those are still read */
        for (int i = 0; i < V2_WATCH_QUEUE + 5; i++)
                (void) ask(s, "PUT", "/x", "value=1");
        for (n = 0; (w = NULL, true); n++) {
                V2Event *ev = v2_watch_take(late);
                if (!ev)
                        break;
                v2_event_unref(ev);
        }
        ASSERT_EQ(n, V2_WATCH_QUEUE);
        ASSERT_TRUE(v2_watch_ended(late));
        V2Stats st;
        v2_stats(s, &st);
        ASSERT_EQ(st.watchers, 0);
}

TEST(expiry_order_and_force_notify) {
        _cleanup_(store_freep) Store *s = fresh();
        (void) ask(s, "PUT", "/d", "dir=true&ttl=10");
        (void) ask(s, "PUT", "/d/k", "value=1&ttl=20");
        (void) ask(s, "PUT", "/a", "value=1&ttl=5");
        _cleanup_(v2_watch_freep) V2Watcher *k = watch(s, "/d/k", false, true, 0),
                                            *all = watch(s, "/", true, true, 0);
        ASSERT_FALSE(v2_has_expired(s, WALL + 5 * SEC - 1));
        ASSERT_TRUE(v2_has_expired(s, WALL + 5 * SEC));
        ASSERT_EQ(v2_next_expiry(s), WALL + 5 * SEC);
        sync_to(s, WALL + 30 * SEC);
        ASSERT_STREQ(taken(all), "expire /a 7; expire /d 8; ");
        ASSERT_STREQ(taken(k), "expire /d 8; ");
        ASSERT_EQ(v2_next_expiry(s), INT64_MAX);
        ASSERT_STREQ(ask(s, "GET", "/", ""), "200 {\"action\":\"get\",\"node\":{\"dir\":true}}");
        ASSERT_EQ(store_hash(s), store_hash_slow(s));
}

TEST(watchers_survive_each_other) {
        _cleanup_(store_freep) Store *s = fresh();
        V2Watcher *w[300];
        for (size_t i = 0; i < ELEMENTSOF(w); i++)
                w[i] = watch(s, i % 3 == 0 ? "/" : "/a", i % 3 == 0, i % 2 == 0, 0);
        (void) ask(s, "PUT", "/a", "value=1");
        size_t n = 0;
        for (V2Watcher *x; (x = v2_watch_ready(s)); n++) {
                ASSERT_TRUE(startswith(taken(x), "set /a 4; "));
                for (size_t i = 0; i < ELEMENTSOF(w); i++)
                        if (w[i] == x)
                                w[i] = NULL;
                v2_watch_free(x);
        }
        ASSERT_EQ(n, ELEMENTSOF(w));
}

TEST(store_replaced_by_snapshot) {
        _cleanup_(store_freep) Store *s = fresh();
        V2Watcher *w = watch(s, "/a", false, true, 0);
        (void) ask(s, "PUT", "/a", "value=1");
        _cleanup_(store_freep) Store *to = t_copy(s);
        store_move_watchers(s, to);
        ASSERT_NULL(v2_watch_ready(s));
        ASSERT_TRUE(v2_watch_ready(to) == w);
        ASSERT_STREQ(taken(w), "set /a 4; end");
        v2_watch_free(w);
}

/* ---- against a naive tree: a list of paths ---- */

typedef struct Naive {
        char path[64], value[16];
        bool dir, used;
        uint64_t created, modified;
} Naive;
#define NAIVE_MAX 4000

static Naive naive[NAIVE_MAX];

static Naive *naive_find(const char *path) {
        static Naive root = { .dir = true, .used = true };
        if (streq(path, "/"))
                return &root;
        for (size_t i = 0; i < NAIVE_MAX; i++)
                if (naive[i].used && streq(naive[i].path, path))
                        return naive + i;
        return NULL;
}

static Naive *naive_new(const char *path, bool dir, uint64_t index) {
        for (size_t i = 0; i < NAIVE_MAX; i++)
                if (!naive[i].used) {
                        naive[i] = (Naive){ .dir = dir, .used = true, .created = index, .modified = index };
                        memcpy(naive[i].path, path, strlen(path) + 1);
                        return naive + i;
                }
        abort();
}

/* The first file on the way to the path, or 0. */
static bool naive_blocked(const char *path) {
        char part[64];
        for (size_t i = 1; path[i]; i++)
                if (path[i] == '/') {
                        memcpy(part, path, i);
                        part[i] = '\0';
                        Naive *n = naive_find(part);
                        if (n && !n->dir)
                                return true;
                }
        return false;
}

static int naive_put(const char *path, const char *value, bool dir, int exist, uint64_t index) {
        if (streq(path, "/"))
                return 107;
        if (naive_blocked(path))
                return 104;
        Naive *n = naive_find(path);
        if (exist == 1) {
                if (!n)
                        return 100;
                if (n->dir && *value)
                        return 102;
                if (!n->dir) {
                        memcpy(n->value, value, strlen(value) + 1);
                        n->modified = index;
                }
                return 0;
        }
        if (n && exist == 0)
                return 105;
        if (n && n->dir)
                return 102;
        if (n)
                n->used = false;
        char part[64];
        for (size_t i = 1; path[i]; i++)
                if (path[i] == '/') {
                        memcpy(part, path, i);
                        part[i] = '\0';
                        if (!naive_find(part))
                                (void) naive_new(part, true, index);
                }
        n = naive_new(path, dir, index);
        if (!dir)
                memcpy(n->value, value, strlen(value) + 1);
        return 0;
}

static int naive_delete(const char *path, bool dir, bool recursive) {
        if (streq(path, "/"))
                return 107;
        if (naive_blocked(path))
                return 104;
        Naive *n = naive_find(path);
        if (!n)
                return 100;
        if (n->dir && !dir && !recursive)
                return 102;
        size_t len = strlen(path);
        for (int kill = 0; kill < 2; kill++)
                for (size_t i = 0; i < NAIVE_MAX; i++)
                        if (naive[i].used && strncmp(naive[i].path, path, len) == 0 &&
                            naive[i].path[len] == '/') {
                                if (!recursive)
                                        return 108;
                                if (kill)
                                        naive[i].used = false;
                        }
        n->used = false;
        return 0;
}

static uint64_t rng_state;
static unsigned rng(unsigned below) {
        rng_state = rng_state * UINT64_C(6364136223846793005) + 1442695040888963407;
        return (unsigned) ((rng_state >> 33) % below);
}

static void random_path(char *out) {
        size_t n = 0;
        unsigned depth = rng(4);
        if (depth == 0 && rng(8) == 0) {
                memcpy(out, "/", 2);
                return;
        }
        for (unsigned i = 0; i <= depth; i++) {
                out[n++] = '/';
                if (rng(6) == 0)
                        out[n++] = '_';
                out[n++] = (char) ('a' + rng(4));
        }
        out[n] = '\0';
}

static void compare_all(Store *s) {
        for (size_t i = 0; i < NAIVE_MAX; i++) {
                if (!naive[i].used)
                        continue;
                _cleanup_(arena_done) Arena a = {};
                V2View v;
                V2Error e;
                ASSERT_OK(v2_get(s, &(V2GetReq){ .path = B(naive[i].path) }, &a, &v, &e));
                ASSERT_EQ(v.dir, naive[i].dir);
                ASSERT_EQ(v.modified, naive[i].modified);
                ASSERT_EQ(v.created, naive[i].created);
                ASSERT_TRUE(v.dir || bytes_eq(v.value, B(naive[i].value)));
        }
}

static size_t count_shown(const V2View *v) {
        size_t n = v->n_nodes;
        for (size_t i = 0; i < v->n_nodes; i++) {
                n += count_shown(v->nodes + i);
                ASSERT_TRUE(i == 0 || bytes_cmp(v->nodes[i - 1].key, v->nodes[i].key) < 0);
        }
        return n;
}

static void compare_listing(Store *s) {
        _cleanup_(arena_done) Arena a = {};
        V2View v;
        V2Error e;
        size_t want = 0;
        for (size_t i = 0; i < NAIVE_MAX; i++)
                want += naive[i].used && !strstr(naive[i].path, "/_");
        ASSERT_OK(v2_get(s, &(V2GetReq){ .path = B("/"), .recursive = true }, &a, &v, &e));
        ASSERT_EQ(count_shown(&v), want);
}

TEST(random_against_naive_tree) {
        for (unsigned seed = 1; seed <= 6; seed++) {
                _cleanup_(store_freep) Store *s = fresh();
                rng_state = seed;
                memset(naive, 0, sizeof(naive));
                for (int i = 0; i < 3000; i++) {
                        char path[64], value[16], params[64];
                        random_path(path);
                        snprintf(value, sizeof(value), "%u", rng(100));
                        bool dir = rng(5) == 0, recursive = rng(4) == 0;
                        int exist = (int) rng(4) - 2; /* < 0: any */
                        uint64_t index = v2_index(s);
                        int want;
                        const char *got;
                        if (rng(4) == 0) {
                                want = naive_delete(path, dir, recursive);
                                snprintf(params, sizeof(params), "dir=%s&recursive=%s",
                                         dir ? "true" : "false", recursive ? "true" : "false");
                                got = ask(s, "DELETE", path, params);
                        } else {
                                want = naive_put(path, value, dir, exist, index + 1);
                                snprintf(params, sizeof(params), "value=%s&dir=%s%s", value,
                                         dir ? "true" : "false",
                                         exist < 0 ? ""
                                         : exist   ? "&prevExist=true"
                                                   : "&prevExist=false");
                                got = ask(s, "PUT", path, params);
                        }
                        const char *code = strstr(got, "\"errorCode\":");
                        if ((code ? strtoll(code + 12, NULL, 10) : 0) != want)
                                test_fail(__FILE__, __LINE__, "%s %s: want %d, got %s", path, params, want,
                                          got);
                        ASSERT_EQ(v2_index(s), index + (want == 0));
                        if (i % 500 == 0) {
                                compare_all(s);
                                compare_listing(s);
                                ASSERT_EQ(store_hash(s), store_hash_slow(s));
                        }
                }
                compare_all(s);
                _cleanup_(store_freep) Store *copy = t_copy(s);
                ASSERT_EQ(store_hash(copy), store_hash(s));
                compare_all(copy);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */

/* The v3 client against real servers: Debian's etcd, or the one that TEST_ETCD names. Members are killed,
 * stopped and started again while watches, leases and requests go on. */

#include "base/alloc.h"
#include "base/str.h"
#include "etcdclient/etcdclient.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MEMBERS_MAX 3

typedef struct Cluster {
        sd_event *event;
        EtcdClient *client;
        char dir[64];
        size_t n;
        int port[MEMBERS_MAX], peer_port[MEMBERS_MAX];
        pid_t pid[MEMBERS_MAX];
        char **endpoints;
        /* the last answer */
        unsigned running;
        int error;
        bool maybe;
        GrpcCode code;
        char message[256];
        int64_t revision, number;
        Buf text;
} Cluster;

static const char *program(void) {
        const char *p = getenv("TEST_ETCD");
        if (p)
                return p;
        return access("/usr/bin/etcd", X_OK) == 0 ? "/usr/bin/etcd" : NULL;
}

static int free_port(void) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(in);
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &in, sizeof(in)), 0);
        ASSERT_EQ(getsockname(fd, (struct sockaddr *) &in, &len), 0);
        return ntohs(in.sin_port);
}

static void member_start(Cluster *k, size_t i) {
        _cleanup_strv_ char **argv = NULL, **initial = NULL;
        for (size_t j = 0; j < k->n; j++)
                strv_addf(&initial, "m%zu=http://127.0.0.1:%d", j, k->peer_port[j]);
        strv_add(&argv, program());
        strv_addf(&argv, "--name=m%zu", i);
        strv_addf(&argv, "--data-dir=%s/m%zu", k->dir, i);
        strv_addf(&argv, "--listen-client-urls=http://127.0.0.1:%d", k->port[i]);
        strv_addf(&argv, "--advertise-client-urls=http://127.0.0.1:%d", k->port[i]);
        strv_addf(&argv, "--listen-peer-urls=http://127.0.0.1:%d", k->peer_port[i]);
        strv_addf(&argv, "--initial-advertise-peer-urls=http://127.0.0.1:%d", k->peer_port[i]);
        _cleanup_free_ char *all = strv_join(initial, ",");
        strv_addf(&argv, "--initial-cluster=%s", all);
        strv_add(&argv, "--heartbeat-interval=50");
        strv_add(&argv, "--election-timeout=300");
        _cleanup_free_ char *log = xasprintf("%s/log%zu", k->dir, i);
        pid_t pid = fork();
        ASSERT_OK(pid);
        if (pid == 0) {
                int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
                (void) dup2(fd, 1);
                (void) dup2(fd, 2);
                execv(argv[0], argv);
                _exit(127);
        }
        k->pid[i] = pid;
}

static void member_kill(Cluster *k, size_t i) {
        if (k->pid[i] <= 0)
                return;
        (void) kill(k->pid[i], SIGKILL);
        (void) waitpid(k->pid[i], NULL, 0);
        k->pid[i] = 0;
}

static void run_for(Cluster *k, Usec time) {
        for (Usec end = now_monotonic() + time, now; (now = now_monotonic()) < end;)
                ASSERT_OK(sd_event_run(k->event, end - now));
}

static void wait_done(Cluster *k) {
        for (Usec end = now_monotonic() + 40 * USEC_PER_SEC; k->running > 0;) {
                ASSERT_OK(sd_event_run(k->event, 20 * USEC_PER_MSEC));
                ASSERT_TRUE(now_monotonic() < end);
        }
}

static void note(Cluster *k, const EtcdResult *r) {
        k->running--;
        k->error = r->error;
        k->code = r->code;
        k->maybe = r->maybe;
        (void) snprintf(k->message, sizeof(k->message), "%s", r->message);
}

static void on_plain(const EtcdResult *r, void *user) {
        note(user, r);
}

static void on_put(const EtcdResult *r, void *user) {
        Cluster *k = user;
        note(k, r);
        if (r->error == 0)
                k->revision = r->put->header->revision;
}

static void on_range(const EtcdResult *r, void *user) {
        Cluster *k = user;
        note(k, r);
        buf_clear(&k->text);
        for (size_t i = 0; r->error == 0 && i < r->range->n_kvs; i++) {
                _cleanup_free_ char *key = etcd_text(&r->range->kvs[i]->key);
                _cleanup_free_ char *value = etcd_text(&r->range->kvs[i]->value);
                buf_addf(&k->text, "%s=%s ", key, value);
        }
        if (r->error == 0)
                k->revision = r->range->header->revision;
}

static void put(Cluster *k, const char *key, const char *value, int64_t lease) {
        k->running++;
        (void) etcd_put_key(k->client, key, value, strlen(value), lease, on_put, k);
        wait_done(k);
}

static const char *get_prefix(Cluster *k, const char *prefix) {
        k->running++;
        (void) etcd_get_prefix(k->client, prefix, on_range, k);
        wait_done(k);
        return buf_str(&k->text);
}

static Cluster *cluster_free(Cluster *k) {
        if (!k)
                return NULL;
        etcd_client_free(k->client);
        for (size_t i = 0; i < k->n; i++)
                member_kill(k, i);
        sd_event_unref(k->event);
        strv_free(k->endpoints);
        buf_done(&k->text);
        (void) rm_rf(k->dir);
        free(k);
        return NULL;
}
DEFINE_CLEANUP(Cluster *, cluster_free)

static Cluster *cluster_new(size_t n) {
        if (!program()) {
                test_skip("etcd-server is not installed");
                return NULL;
        }
        Cluster *k = xnew(Cluster, 1);
        k->n = n;
        (void) snprintf(k->dir, sizeof(k->dir), "/tmp/etcdclient-XXXXXX");
        ASSERT_NOT_NULL(mkdtemp(k->dir));
        ASSERT_OK(sd_event_new(&k->event));
        for (size_t i = 0; i < n; i++) {
                k->port[i] = free_port();
                k->peer_port[i] = free_port();
                strv_addf(&k->endpoints, "127.0.0.1:%d", k->port[i]);
        }
        for (size_t i = 0; i < n; i++)
                member_start(k, i);
        EtcdClientConfig config = { .event = k->event,
                                    .endpoints = k->endpoints,
                                    .timeout = 10 * USEC_PER_SEC,
                                    .require_leader = true };
        ASSERT_OK(etcd_client_new(&config, &k->client, NULL));
        put(k, "ready", "1", 0); /* waits until there is a leader */
        for (unsigned i = 0; k->error < 0 && i < 5; i++)
                put(k, "ready", "1", 0);
        ASSERT_EQ(k->error, 0);
        return k;
}

/* ---- requests ---- */

static void on_txn(const EtcdResult *r, void *user) {
        Cluster *k = user;
        note(k, r);
        k->number = r->error == 0 ? r->txn->succeeded : -1;
}

static void on_grant(const EtcdResult *r, void *user) {
        Cluster *k = user;
        note(k, r);
        k->number = r->error == 0 ? r->grant->id : 0;
}

static int64_t grant(Cluster *k, int64_t ttl) {
        k->running++;
        (void) etcd_lease_grant(k->client, ttl, 0, NULL, on_grant, k);
        wait_done(k);
        ASSERT_EQ(k->error, 0);
        return k->number;
}

TEST(requests) {
        _cleanup_(cluster_freep) Cluster *k = cluster_new(1);
        if (!k)
                return;
        put(k, "a/1", "one", 0);
        put(k, "a/2", "two", 0);
        ASSERT_STREQ(get_prefix(k, "a/"), "a/1=one a/2=two ");
        EtcdTxn *t = etcd_txn_new();
        etcd_txn_if_missing(t, "a/3");
        etcd_txn_if_value(t, "a/1", "one", 3);
        etcd_txn_put(t, "a/3", "three", 5, 0);
        etcd_txn_delete(t, "a/1");
        etcd_txn_else(t);
        etcd_txn_get(t, "a/3");
        ASSERT_EQ(etcd_txn_size(t), 2);
        k->running++;
        (void) etcd_txn_commit(k->client, t, on_txn, k);
        wait_done(k);
        ASSERT_EQ(k->number, 1);
        ASSERT_STREQ(get_prefix(k, "a/"), "a/2=two a/3=three ");
        int64_t lease = grant(k, 60);
        put(k, "l", "x", lease);
        ASSERT_EQ(k->error, 0);
        k->running++;
        (void) etcd_lease_revoke(k->client, lease, NULL, on_plain, k);
        wait_done(k);
        ASSERT_STREQ(get_prefix(k, "l"), "");
        put(k, "l", "x", lease);
        ASSERT_EQ(k->error, -EREMOTE);
        ASSERT_EQ(k->code, GRPC_NOT_FOUND);
        ASSERT_STREQ(k->message, "etcdserver: requested lease not found");
        ASSERT_FALSE(k->maybe);
        k->running += 2;
        (void) etcd_status(k->client, NULL, on_plain, k);
        (void) etcd_member_list(k->client, NULL, on_plain, k);
        wait_done(k);
        ASSERT_EQ(k->error, 0);
        EtcdCall *call = etcd_get_key(k->client, "a", on_range, k);
        (void) etcd_call_cancel(call);
        run_for(k, 20 * USEC_PER_MSEC);
}

TEST(nobody_is_there) {
        sd_event *event;
        char *endpoints[] = { (char *) "http://127.0.0.1:1", (char *) "127.0.0.1:2", NULL };
        Cluster k = {};
        ASSERT_OK(sd_event_new(&event));
        k.event = event;
        EtcdClientConfig config = { .event = event, .endpoints = endpoints, .timeout = 300 * USEC_PER_MSEC };
        ASSERT_OK(etcd_client_new(&config, &k.client, NULL));
        put(&k, "a", "b", 0);
        ASSERT_EQ(k.error, -ENOTCONN);
        ASSERT_FALSE(k.maybe);
        ASSERT_TRUE(strstr(k.message, "Connection refused"));
        ASSERT_NULL(etcd_client_current(k.client));
        char *bad[] = { (char *) "ftp://x", NULL };
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(etcd_client_set_endpoints(k.client, bad, &err), -EINVAL);
        etcd_client_free(k.client);
        sd_event_unref(event);
}

/* ---- watches ---- */

typedef struct Seen {
        Buf log;
        int64_t last, compacted;
        unsigned created, n;
        EtcdWatch *watch;
        bool out_of_order;
} Seen;

static void on_events(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision,
                      void *user) {
        Seen *s = user;
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *key = etcd_text(&events[i]->kv->key);
                buf_addf(&s->log, "%s%s ", events[i]->type == ETCDSERVERPB__EVENT__TYPE__PUT ? "+" : "-",
                         key);
                s->out_of_order |= events[i]->kv->mod_revision < s->last;
                s->last = events[i]->kv->mod_revision;
                s->n++;
        }
}

static void on_created(EtcdWatch *w, int64_t revision, void *user) {
        ((Seen *) user)->created++;
}

static void on_compacted(EtcdWatch *w, int64_t revision, void *user) {
        Seen *s = user;
        s->compacted = revision;
        s->watch = NULL;
}

static void watch_prefix(Cluster *k, Seen *s, const char *prefix, int64_t from) {
        EtcdWatchConfig config = { .key = prefix,
                                   .key_len = strlen(prefix),
                                   .prefix = true,
                                   .start_revision = from,
                                   .on_events = on_events,
                                   .on_created = on_created,
                                   .on_compacted = on_compacted,
                                   .user = s };
        s->watch = etcd_watch(k->client, &config);
}

static void wait_created(Cluster *k, Seen *s) {
        for (unsigned i = 0; i < 500 && s->created == 0; i++)
                run_for(k, 10 * USEC_PER_MSEC);
        ASSERT_TRUE(s->created > 0);
}

static void wait_events(Cluster *k, Seen *s, unsigned n) {
        for (unsigned i = 0; i < 2000 && s->n < n; i++)
                run_for(k, 10 * USEC_PER_MSEC);
        ASSERT_EQ(s->n, n);
}

TEST(watch_over_a_restart) {
        _cleanup_(cluster_freep) Cluster *k = cluster_new(1);
        if (!k)
                return;
        Seen s = {};
        _cleanup_(buf_done) Buf want = {};
        watch_prefix(k, &s, "w/", 0);
        wait_created(k, &s);
        for (unsigned round = 0; round < 2; round++) {
                for (unsigned i = 0; i < 20; i++) {
                        _cleanup_free_ char *key = xasprintf("w/%u-%u", round, i);
                        put(k, key, "v", 0);
                        ASSERT_EQ(k->error, 0);
                        buf_addf(&want, "+%s ", key);
                }
                if (round == 0) { /* some of these events were not delivered yet */
                        member_kill(k, 0);
                        run_for(k, 300 * USEC_PER_MSEC);
                        member_start(k, 0);
                }
        }
        wait_events(k, &s, 40);
        ASSERT_STREQ(buf_str(&s.log), buf_str(&want));
        ASSERT_FALSE(s.out_of_order);
        ASSERT_TRUE(s.created >= 2);
        (void) etcd_watch_cancel(s.watch);
        buf_done(&s.log);
}

TEST(compaction_under_a_watch) {
        _cleanup_(cluster_freep) Cluster *k = cluster_new(1);
        if (!k)
                return;
        for (unsigned i = 0; i < 5; i++)
                put(k, "c/x", "v", 0);
        int64_t compact = k->revision;
        k->running++;
        (void) etcd_compact(k->client, compact, true, NULL, on_plain, k);
        wait_done(k);
        ASSERT_EQ(k->error, 0);
        Seen s = {};
        watch_prefix(k, &s, "c/", 2);
        for (unsigned i = 0; i < 300 && s.compacted == 0; i++)
                run_for(k, 10 * USEC_PER_MSEC);
        ASSERT_EQ(s.compacted, compact);
        watch_prefix(k, &s, "c/", compact); /* the revision itself is still readable */
        wait_events(k, &s, 1);
        (void) etcd_watch_cancel(s.watch);
        buf_done(&s.log);
}

static size_t current_member(Cluster *k) {
        const char *now = etcd_client_current(k->client);
        for (size_t i = 0; now && i < k->n; i++)
                if (endswith(now, k->endpoints[i]))
                        return i;
        return 0;
}

TEST(endpoints_die_under_watch_and_writes) {
        _cleanup_(cluster_freep) Cluster *k = cluster_new(3);
        if (!k)
                return;
        Seen s = {};
        unsigned acknowledged = 0, maybe = 0;
        watch_prefix(k, &s, "f/", 0);
        wait_created(k, &s);
        for (unsigned i = 0; i < 60; i++) {
                _cleanup_free_ char *key = xasprintf("f/%02u", i);
                if (i % 20 == 10) {
                        size_t victim = current_member(k);
                        member_kill(k, victim);
                        put(k, key, "v", 0);
                        member_start(k, victim);
                } else {
                        put(k, key, "v", 0);
                }
                if (k->error == 0)
                        acknowledged++;
                else if (k->maybe)
                        maybe++;
                else
                        test_fail(__FILE__, __LINE__, "%s: %s", key, k->message);
        }
        const char *all = get_prefix(k, "f/");
        unsigned stored = 0;
        for (const char *p = all; (p = strchr(p, '=')); p++)
                stored++;
        ASSERT_TRUE(stored >= acknowledged && stored <= acknowledged + maybe);
        wait_events(k, &s, stored);
        run_for(k, 200 * USEC_PER_MSEC);
        ASSERT_EQ(s.n, stored);
        ASSERT_FALSE(s.out_of_order);
        (void) etcd_watch_cancel(s.watch);
        buf_done(&s.log);
}

TEST(a_silent_endpoint_is_left) {
        _cleanup_(cluster_freep) Cluster *k = cluster_new(1);
        if (!k)
                return;
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in in = {};
        socklen_t len = sizeof(in);
        ASSERT_EQ(listen(fd, 16), 0);
        ASSERT_EQ(getsockname(fd, (struct sockaddr *) &in, &len), 0);
        _cleanup_strv_ char **list = NULL;
        strv_addf(&list, "127.0.0.1:%u", ntohs(in.sin_port));
        strv_add(&list, k->endpoints[0]);
        EtcdClientConfig config = { .event = k->event, .endpoints = list };
        etcd_client_free(k->client);
        ASSERT_OK(etcd_client_new(&config, &k->client, NULL));
        Usec begin = now_monotonic();
        Seen s = {};
        watch_prefix(k, &s, "", 0);
        ASSERT_STREQ(get_prefix(k, "ready"), "ready=1 ");
        ASSERT_TRUE(now_monotonic() - begin < 4 * USEC_PER_SEC);
        wait_created(k, &s);
        put(k, "x", "y", 0);
        wait_events(k, &s, 1);
        (void) etcd_watch_cancel(s.watch);
        buf_done(&s.log);
}

/* ---- leases ---- */

typedef struct Kept {
        unsigned renewed, lost;
        bool expired;
} Kept;

static void on_renewed(EtcdKeeper *keeper, int64_t ttl, void *user) {
        ((Kept *) user)->renewed++;
}

static void on_lost(EtcdKeeper *keeper, bool expired, void *user) {
        Kept *kept = user;
        kept->lost++;
        kept->expired = expired;
}

static EtcdKeeper *keep(Cluster *k, Kept *kept, int64_t id, int64_t ttl) {
        EtcdKeeperConfig config = {
                .id = id, .ttl_sec = ttl, .on_renewed = on_renewed, .on_lost = on_lost, .user = kept
        };
        return etcd_lease_keep(k->client, &config);
}

TEST(leases_are_kept_and_lost) {
        _cleanup_(cluster_freep) Cluster *k = cluster_new(1);
        if (!k)
                return;
        Kept a = {}, b = {};
        int64_t first = grant(k, 2), second = grant(k, 2);
        EtcdKeeper *keeper = keep(k, &a, first, 2);
        (void) keep(k, &b, second, 2);
        put(k, "kept/a", "1", first);
        put(k, "kept/b", "1", second);
        run_for(k, 3 * USEC_PER_SEC);
        ASSERT_STREQ(get_prefix(k, "kept/"), "kept/a=1 kept/b=1 ");
        ASSERT_TRUE(a.renewed >= 4);
        k->running++;
        (void) etcd_lease_revoke(k->client, second, NULL, on_plain, k);
        (void) etcd_keeper_cancel(keeper);
        wait_done(k);
        run_for(k, 1 * USEC_PER_SEC);
        ASSERT_EQ(b.lost, 1);
        ASSERT_TRUE(b.expired);
        ASSERT_EQ(a.lost, 0);
        run_for(k, 3 * USEC_PER_SEC);
        ASSERT_STREQ(get_prefix(k, "kept/"), ""); /* nobody renewed it any more */
}

TEST(etcd_is_away_for_a_while) {
        _cleanup_(cluster_freep) Cluster *k = cluster_new(1);
        if (!k)
                return;
        Kept a = {}, b = {};
        (void) keep(k, &a, grant(k, 60), 60);
        (void) keep(k, &b, grant(k, 2), 2);
        Seen s = {};
        watch_prefix(k, &s, "x/", 0);
        wait_created(k, &s);
        (void) kill(k->pid[0], SIGSTOP); /* accepts, answers nothing */
        k->running++;
        EtcdOptions options = { .timeout = 1 * USEC_PER_SEC };
        Etcdserverpb__PutRequest q = ETCDSERVERPB__PUT_REQUEST__INIT;
        q.key = (ProtobufCBinaryData){ 3, (uint8_t *) "x/1" };
        (void) etcd_put(k->client, &q, &options, on_put, k);
        wait_done(k);
        ASSERT_EQ(k->error, -ETIMEDOUT);
        ASSERT_TRUE(k->maybe);
        run_for(k, 2 * USEC_PER_SEC);
        ASSERT_EQ(a.lost, 0);
        ASSERT_EQ(b.lost, 1);
        ASSERT_FALSE(b.expired); /* nobody said so: it is only not certain any more */
        (void) kill(k->pid[0], SIGCONT);
        put(k, "x/2", "v", 0);
        ASSERT_EQ(k->error, 0);
        unsigned stored = 0;
        for (const char *p = get_prefix(k, "x/"); (p = strchr(p, '=')); p++)
                stored++;
        wait_events(k, &s, stored);
        (void) etcd_watch_cancel(s.watch);
        buf_done(&s.log);
}

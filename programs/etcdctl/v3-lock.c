/* SPDX-License-Identifier: Apache-2.0 */

/* lock and elect, as etcd's own concurrency package does them: a key of one's own under the name, bound to a
 * lease, and the lowest create revision wins. The others watch until every key before theirs is gone. */

#include "ctl.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t arg_ttl = 10;
static bool arg_listen;

const Option lock_options[] = {
        { "ttl", 0, OPT_INT, &arg_ttl, "=10", "timeout for session" },
        {},
};
const Option elect_options[] = {
        { "listen", 'l', OPT_BOOL, &arg_listen, "[=false]", "observation mode" },
        {},
};

typedef struct Session {
        int64_t lease, revision; /* revision: of our key's creation */
        char *prefix, *key;      /* owned */
} Session;

static void on_lost(EtcdKeeper *k, bool expired, void *user) {
        ctl_die(CTL_ERROR, "session expired");
}

static Session begin(const char *name, const char *value) {
        Session s = { .prefix = xasprintf("%s/", name) };
        Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
        grant.ttl = arg_ttl;
        const Etcdserverpb__LeaseGrantResponse *g =
                        ctl_call("/etcdserverpb.Lease/LeaseGrant", ETCD_CALL_WRITE, &grant,
                                 &etcdserverpb__lease_grant_response__descriptor, NULL);
        s.lease = g->id;
        EtcdKeeperConfig keep = { .id = s.lease, .ttl_sec = g->ttl, .on_lost = on_lost };
        (void) etcd_lease_keep(ctl_client(), &keep);
        s.key = xasprintf("%s%" PRIx64, s.prefix, (uint64_t) s.lease);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = ctl_bytes(s.key);
        put.value = ctl_bytes(value);
        put.lease = s.lease;
        const Etcdserverpb__PutResponse *r = ctl_call("/etcdserverpb.KV/Put", ETCD_CALL_WRITE, &put,
                                                      &etcdserverpb__put_response__descriptor, NULL);
        s.revision = r->header->revision;
        return s;
}

static const Etcdserverpb__RangeResponse *read_prefix(const char *prefix, bool first_only) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        size_t n;
        q.key = ctl_bytes(prefix);
        q.range_end.data = (uint8_t *) etcd_prefix_end(prefix, strlen(prefix), &n);
        q.range_end.len = n;
        q.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
        q.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
        q.limit = first_only ? 1 : 0;
        const Etcdserverpb__RangeResponse *r = ctl_call("/etcdserverpb.KV/Range", ETCD_CALL_READ, &q,
                                                        &etcdserverpb__range_response__descriptor, NULL);
        free(q.range_end.data);
        return r;
}

typedef struct Gone {
        bool gone;
} Gone;

static void on_events(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision,
                      void *user) {
        for (size_t i = 0; i < n; i++)
                if (events[i]->type == ETCDSERVERPB__EVENT__TYPE__DELETE)
                        ((Gone *) user)->gone = true;
}

static void on_compacted(EtcdWatch *w, int64_t revision, void *user) {
        ((Gone *) user)->gone = true; /* look again */
}

static void wait_deleted(const ProtobufCBinaryData *key, int64_t from) {
        Gone g = {};
        EtcdWatchConfig config = { .key = key->data,
                                   .key_len = key->len,
                                   .start_revision = from,
                                   .on_events = on_events,
                                   .on_compacted = on_compacted,
                                   .user = &g };
        EtcdWatch *w = etcd_watch(ctl_client(), &config);
        ctl_run_until(&g.gone);
        (void) etcd_watch_cancel(w);
}

/* Until no key under the prefix is older than ours. */
static void wait_turn(const Session *s) {
        for (;;) {
                const Etcdserverpb__RangeResponse *r = read_prefix(s->prefix, false);
                const Etcdserverpb__KeyValue *before = NULL;
                bool mine = false;
                for (size_t i = 0; i < r->n_kvs; i++) {
                        if (r->kvs[i]->create_revision < s->revision)
                                before = r->kvs[i];
                        mine |= r->kvs[i]->create_revision == s->revision;
                }
                if (!mine)
                        ctl_die(CTL_ERROR, "session expired");
                if (!before)
                        return;
                wait_deleted(&before->key, r->header->revision + 1);
        }
}

static void release(const Session *s) {
        Etcdserverpb__LeaseRevokeRequest q = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
        void *answer;
        GrpcCode code;
        char *message;
        q.id = s->lease;
        (void) ctl_try("/etcdserverpb.Lease/LeaseRevoke", ETCD_CALL_WRITE, &q,
                       &etcdserverpb__lease_revoke_response__descriptor, NULL, &answer, &code, &message);
}

static void show_key(const char *key) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        q.key = ctl_bytes(key);
        show_get(ctl_call("/etcdserverpb.KV/Range", ETCD_CALL_READ, &q,
                          &etcdserverpb__range_response__descriptor, NULL));
        (void) fflush(stdout);
}

/* A program that runs while the lock is held; the loop goes on, so that the lease stays. */
typedef struct Child {
        int status;
        bool ended;
} Child;

static int on_child(sd_event_source *source, const siginfo_t *si, void *user) {
        Child *c = user;
        c->status = si->si_code == CLD_EXITED ? si->si_status : 128 + si->si_status;
        c->ended = true;
        return 0;
}

static int run_locked(const Session *s, char **command) {
        Child child = {};
        sigset_t set;
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        (void) fflush(stdout);
        pid_t pid = fork();
        if (pid < 0)
                ctl_die(CTL_ERROR, "cannot start %s: %s", command[0], strerror(errno));
        if (pid == 0) {
                (void) sigprocmask(SIG_UNBLOCK, &set, NULL);
                (void) putenv(xasprintf("ETCD_LOCK_KEY=%s", s->key));
                (void) putenv(xasprintf("ETCD_LOCK_REV=%" PRId64, s->revision));
                (void) execvp(command[0], command);
                fprintf(stderr, "%s: %s\n", command[0], strerror(errno));
                _exit(127);
        }
        if (sd_event_add_child(ctl_event(), NULL, pid, WEXITED, on_child, &child) < 0)
                ctl_die(CTL_ERROR, "cannot wait for %s", command[0]);
        ctl_run_until(&child.ended);
        return child.status;
}

int verb_lock(int argc, char **argv) {
        if (argc == 0)
                ctl_die(CTL_BAD_ARGS, "lock takes a lock name argument and an optional command to execute");
        char **command = argc > 1 ? argv + 1 : ctl_exec_args && *ctl_exec_args ? ctl_exec_args : NULL;
        Session s = begin(argv[0], "");
        wait_turn(&s);
        if (!command) {
                show_key(s.key);
                ctl_run_loop();
                release(&s);
                return 128 + SIGINT;
        }
        int status = run_locked(&s, command);
        release(&s);
        if (status != 0)
                fprintf(stderr, "Error: exit status %d\n", status);
        return status != 0 ? CTL_ERROR : 0;
}

/* ---- elections ---- */

static void on_any(EtcdWatch *w, Etcdserverpb__Event *const *events, size_t n, int64_t revision,
                   void *user) {
        ((Gone *) user)->gone |= n > 0;
}

static _noreturn_ void observe(const char *name) {
        _cleanup_free_ char *prefix = xasprintf("%s/", name);
        _cleanup_free_ char *shown = NULL;
        for (;;) {
                const Etcdserverpb__RangeResponse *r = read_prefix(prefix, true);
                Gone g = {};
                size_t n;
                _cleanup_free_ char *key = r->n_kvs > 0 ? etcd_text(&r->kvs[0]->key) : NULL;
                if (key && !streq_ptr(key, shown)) {
                        show_key(key);
                        free_and_replace(shown, key);
                }
                _cleanup_free_ char *end = etcd_prefix_end(prefix, strlen(prefix), &n);
                EtcdWatchConfig config = { .key = prefix,
                                           .key_len = strlen(prefix),
                                           .prefix = true,
                                           .start_revision = r->header->revision + 1,
                                           .on_events = on_any,
                                           .on_compacted = on_compacted,
                                           .user = &g };
                EtcdWatch *w = etcd_watch(ctl_client(), &config);
                ctl_run_until(&g.gone);
                (void) etcd_watch_cancel(w);
        }
}

int verb_elect(int argc, char **argv) {
        if (argc != 1 && argc != 2)
                ctl_die(CTL_BAD_ARGS,
                        "elect takes one election name argument and an optional proposal argument");
        if (argc == 1 && !arg_listen)
                ctl_die(CTL_BAD_ARGS, "no proposal argument but -l not set");
        if (argc == 2 && arg_listen)
                ctl_die(CTL_BAD_ARGS, "proposal given but -l is set");
        if (arg_listen)
                observe(argv[0]);
        arg_ttl = 60;
        Session s = begin(argv[0], argv[1]);
        wait_turn(&s);
        show_key(s.key);
        ctl_run_loop();
        release(&s);
        return 128 + SIGINT;
}

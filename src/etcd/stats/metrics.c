/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/apiv2/apiv2.h"
#include "etcd/server.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <stdio.h>
#include <sys/resource.h>

/* Prometheus text format 0.0.4. */

static void head(Buf *b, const char *name, const char *type, const char *help) {
        buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(Buf *b, const char *name, const char *help, double v) {
        head(b, name, "gauge", help);
        buf_addf(b, "%s %.17g\n", name, v);
}

static void counter(Buf *b, const char *name, const char *help, double v) {
        head(b, name, "counter", help);
        buf_addf(b, "%s %.17g\n", name, v);
}

static void add_raft(Buf *b, EtcdServer *s) {
        size_t proposals, reads;
        replica_pending(s->replica, &proposals, &reads);
        gauge(b, "etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.",
              etcd_leader(s) != 0);
        gauge(b, "etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.",
              etcd_is_leader(s));
        counter(b, "etcd_server_leader_changes_seen_total", "The number of leader changes seen.",
                (double) s->stats.leader_changes);
        gauge(b, "etcd_server_proposals_committed_total", "The total number of consensus proposals committed.",
              (double) raft_commit(replica_raft(s->replica)));
        gauge(b, "etcd_server_proposals_applied_total", "The total number of consensus proposals applied.",
              (double) replica_applied(s->replica));
        gauge(b, "etcd_server_proposals_pending", "The current number of pending proposals to commit.",
              (double) proposals);
        counter(b, "etcd_server_proposals_failed_total", "The total number of failed proposals seen.",
                (double) s->stats.proposals_failed);
        counter(b, "etcd_server_read_indexes_total", "The total number of linearizable reads asked for.",
                (double) s->stats.reads);
        counter(b, "etcd_server_snapshot_apply_in_progress_total", "Snapshots saved since the start.",
                (double) s->stats.snapshots);
        head(b, "etcd_server_version", "gauge", "Which version is running.");
        buf_addf(b, "etcd_server_version{server_version=\"%s\"} 1\n", ETCD_VERSION);
        head(b, "etcd_server_id", "gauge", "Server or member ID in hexadecimal format.");
        buf_addf(b, "etcd_server_id{server_id=\"%" PRIx64 "\"} 1\n", s->id);
        counter(b, "etcd_server_lease_expired_total", "The total number of expired leases.",
                (double) s->stats.lease_expired);
        gauge(b, "etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.",
              (double) etcd_quota(s));
}

static void add_disk(Buf *b, EtcdServer *s) {
        WalThreadStats w;
        wal_thread_stats(s->wal, &w);
        head(b, "etcd_disk_wal_fsync_duration_seconds", "histogram",
             "The latency distributions of fsync called by WAL.");
        buf_addf(b, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", w.syncs);
        buf_addf(b, "etcd_disk_wal_fsync_duration_seconds_sum %.6f\n", (double) w.sync_usec_sum / 1e6);
        buf_addf(b, "etcd_disk_wal_fsync_duration_seconds_count %" PRIu64 "\n", w.syncs);
        gauge(b, "etcd_disk_wal_fsync_duration_seconds_max", "The longest fsync since the start.",
              (double) w.sync_usec_max / 1e6);
        counter(b, "etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.", (double) w.bytes);
}

static void add_store(Buf *b, EtcdServer *s) {
        gauge(b, "etcd_debugging_mvcc_keys_total", "Total number of keys.", (double) store_keys(s->store));
        gauge(b, "etcd_debugging_mvcc_current_revision", "The current revision of store.",
              (double) store_revision(s->store));
        gauge(b, "etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.",
              (double) store_compact_revision(s->store));
        gauge(b, "etcd_debugging_mvcc_watcher_total", "Total number of watchers.", (double) store_watchers(s->store));
        gauge(b, "etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.",
              (double) store_watchers_slow(s->store));
        gauge(b, "etcd_mvcc_db_total_size_in_bytes", "Total size of the state in bytes.",
              (double) store_bytes(s->store));
        gauge(b, "etcd_mvcc_db_total_size_in_use_in_bytes", "Total size of the state in bytes in use.",
              (double) store_bytes_in_use(s->store));
        V2Stats v2;
        v2_stats(s->store, &v2);
        gauge(b, "etcd_debugging_store_watchers", "Count of currently active v2 watchers.", (double) v2.watchers);
        counter(b, "etcd_debugging_store_expires_total", "Total number of expired v2 keys.",
                (double) v2.expire_count);
}

static void add_peer_metric(Buf *b, EtcdServer *s, const char *name, const char *help, const char *label,
                            size_t offset) {
        head(b, name, "counter", help);
        for (size_t i = 0; i < s->members.n; i++) {
                PeerInfo p;
                if (peers_info(s->peers, s->members.list[i].id, &p))
                        buf_addf(b, "%s{%s=\"%" PRIx64 "\"} %" PRIu64 "\n", name, label, p.id,
                                 *(uint64_t *) ((char *) &p + offset));
        }
}

static void add_network(Buf *b, EtcdServer *s) {
        add_peer_metric(b, s, "etcd_network_peer_sent_bytes_total", "The total number of bytes sent to peers.", "To",
                        offsetof(PeerInfo, sent_bytes));
        add_peer_metric(b, s, "etcd_network_peer_received_bytes_total",
                        "The total number of bytes received from peers.", "From", offsetof(PeerInfo, received_bytes));
        add_peer_metric(b, s, "etcd_network_peer_sent_failures_total",
                        "The total number of send failures from peers.", "To", offsetof(PeerInfo, sent_fail));
        head(b, "etcd_network_active_peers", "gauge", "The current number of active peer connections.");
        for (size_t i = 0; i < s->members.n; i++) {
                PeerInfo p;
                if (peers_info(s->peers, s->members.list[i].id, &p))
                        buf_addf(b, "etcd_network_active_peers{Local=\"%" PRIx64 "\",Remote=\"%" PRIx64 "\"} %d\n",
                                 s->id, p.id, p.connected);
        }
        gauge(b, "etcd_network_client_connections", "Open connections of clients.",
              (double) http_server_connections(s->client_http));
        gauge(b, "etcd_network_client_requests", "Requests of clients that are under way.",
              (double) http_server_requests(s->client_http));
        counter(b, "etcd_network_known_http_requests_total", "HTTP requests of clients without gRPC.",
                (double) s->stats.http_requests);
        counter(b, "etcd_network_grpc_handled_ok_total", "gRPC calls that ended well.", (double) s->stats.grpc_ok);
        counter(b, "etcd_network_grpc_handled_failed_total", "gRPC calls that ended with an error.",
                (double) s->stats.grpc_failed);
}

static void add_process(Buf *b, EtcdServer *s) {
        struct rusage u = {};
        (void) getrusage(RUSAGE_SELF, &u);
        double cpu = (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                     (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
        counter(b, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", cpu);
        _cleanup_(buf_done) Buf statm = {};
        unsigned long size = 0, resident = 0;
        if (read_file("/proc/self/statm", 4096, &statm) >= 0 &&
            sscanf(buf_str(&statm), "%lu %lu", &size, &resident) == 2) {
                double page = (double) sysconf(_SC_PAGESIZE);
                gauge(b, "process_virtual_memory_bytes", "Virtual memory size in bytes.", (double) size * page);
                gauge(b, "process_resident_memory_bytes", "Resident memory size in bytes.",
                      (double) resident * page);
        }
        struct rlimit l = {};
        (void) getrlimit(RLIMIT_NOFILE, &l);
        gauge(b, "process_max_fds", "Maximum number of open file descriptors.", (double) l.rlim_cur);
        gauge(b, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
              (double) s->started_nsec / 1e9);
}

void etcd_serve_metrics(HttpReq *q, void *user) {
        EtcdServer *s = user;
        _cleanup_(buf_done) Buf b = {};
        add_raft(&b, s);
        add_disk(&b, s);
        add_store(&b, s);
        add_network(&b, s);
        add_process(&b, s);
        http_respond(q, 200, "text/plain; version=0.0.4; charset=utf-8", b.data, b.len);
}

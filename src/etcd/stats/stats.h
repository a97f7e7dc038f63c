/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Counters of the server, and what shows them: /metrics (names Prometheus users know from etcd), /health and
 * /v2/stats. */

#include "base/time.h"
#include "http/http.h"

typedef struct EtcdServer EtcdServer;

typedef struct EtcdStats {
        uint64_t proposals_failed, proposals_sent, proposals_committed, leader_changes, slow_apply, snapshots,
                reads, lease_expired, v2_expired, watch_events, client_received_bytes, client_sent_bytes;
        uint64_t grpc_ok, grpc_failed, http_requests;
        uint64_t recv_append, send_append; /* raft append messages */
} EtcdStats;

/* Handlers of the client port; `user` is the EtcdServer. */
void etcd_serve_metrics(HttpReq *q, void *user);
void etcd_serve_health(HttpReq *q, void *user);
void etcd_serve_version(HttpReq *q, void *user);
void etcd_serve_stats_self(HttpReq *q, void *user);
void etcd_serve_stats_leader(HttpReq *q, void *user);
void etcd_serve_stats_store(HttpReq *q, void *user);

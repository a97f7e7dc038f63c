/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* etcd's command line and ETCD_* environment (spec a.9, and 3.4's additions), checked as etcd checks them and
 * with its error texts. Every flag of 3.4 has a row in one table (flags.c); rows of features that do not
 * exist here accept their default value and refuse any other by name, so that no flag is ever ignored.
 *
 * Environment first, then the command line, which wins; an empty variable counts as unset, an unknown ETCD_*
 * variable is a warning. Pure: the environment comes as an argument. */

#include "base/err.h"

typedef struct EtcdConfig {
        bool help, version;
        /* member */
        char *name, *data_dir; /* owned; data_dir is filled in by the check */
        uint64_t snapshot_count;
        uint64_t heartbeat_ms, election_ms;
        uint64_t quota_bytes, max_txn_ops, max_request_bytes;
        char *listen_peer, *listen_client, *listen_metrics; /* owned, as given */
        /* clustering */
        char *advertise_peer, *advertise_client, *initial_cluster; /* owned, NULL while not given */
        char *initial_state, *initial_token, *discovery, *discovery_fallback;
        bool strict_reconfig, force_new, pre_vote, enable_v2, tick_advance;
        char *compaction_mode, *compaction_retention;
        /* security */
        char *cert_file, *key_file, *trusted_ca, *ca_file, *peer_cert_file, *peer_key_file, *peer_trusted_ca,
                *peer_ca_file, *peer_allowed_cn;
        bool client_cert_auth, peer_client_cert_auth;
        char *cors;
        /* logging */
        bool debug;
        char *log_level;
        int64_t progress_notify_usec;

        /* worked out by etcd_config_check() */
        char **listen_peer_urls, **listen_client_urls, **listen_metrics_urls; /* owned, sorted */
        char **advertise_peer_urls, **advertise_client_urls;
        char **cors_origins;          /* ["*"] allows all */
        int64_t compaction_usec;      /* periodic mode; 0 = off */
        uint64_t compaction_revisions; /* revision mode; 0 = off */
        char **warnings;              /* for the log, once it is open */
} EtcdConfig;

void etcd_config_done(EtcdConfig *c);
/* Defaults, then `env` (a strv of K=V), then argv[1..]. -EINVAL with a message that names the flag. */
int etcd_config_parse(EtcdConfig *c, int argc, char **argv, char *const *env, Err *err);
/* The checks etcd makes before it touches the disk; fills in the lists. -EINVAL. */
int etcd_config_check(EtcdConfig *c, Err *err);
/* The text of --help; owned by the caller. */
char *etcd_config_help(void);

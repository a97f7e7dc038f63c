/* SPDX-License-Identifier: Apache-2.0 */
#include "cloudinit/config/schema.h"

/* Spec os.md A.5. Keys of the CoreOS era draw no deprecation noise here: they are what this system is for.
 */

#define S(n)                                                                                                \
        { .name = n, .kind = KEY_STR }
#define B(n)                                                                                                \
        { .name = n, .kind = KEY_BOOL }
#define I(n)                                                                                                \
        { .name = n, .kind = KEY_INT }
#define F(n)                                                                                                \
        { .name = n, .kind = KEY_FLOAT }
#define L(n)                                                                                                \
        { .name = n, .kind = KEY_STRS }

const Key schema_etcd2[] = { S("advertise_client_urls"),
                             S("ca_file"),
                             S("cert_file"),
                             B("client_cert_auth"),
                             S("cors"),
                             S("data_dir"),
                             B("debug"),
                             S("discovery"),
                             { .name = "discovery_fallback", .kind = KEY_STR, .allowed = "proxy|exit" },
                             S("discovery_srv"),
                             S("discovery_proxy"),
                             I("election_timeout"),
                             B("enable_pprof"),
                             B("force_new_cluster"),
                             I("heartbeat_interval"),
                             S("initial_advertise_peer_urls"),
                             S("initial_cluster"),
                             { .name = "initial_cluster_state", .kind = KEY_STR, .allowed = "new|existing" },
                             S("initial_cluster_token"),
                             S("key_file"),
                             S("listen_client_urls"),
                             S("listen_peer_urls"),
                             S("log_package_levels"),
                             I("max_snapshots"),
                             I("max_wals"),
                             S("name"),
                             S("peer_ca_file"),
                             S("peer_cert_file"),
                             S("peer_key_file"),
                             B("peer_client_cert_auth"),
                             S("peer_trusted_ca_file"),
                             { .name = "proxy", .kind = KEY_STR, .allowed = "on|off|readonly" },
                             I("proxy_dial_timeout"),
                             I("proxy_failure_wait"),
                             I("proxy_read_timeout"),
                             I("proxy_refresh_interval"),
                             I("proxy_write_timeout"),
                             I("snapshot_count"),
                             B("strict_reconfig_check"),
                             S("trusted_ca_file"),
                             S("wal_dir"),
                             {} };

const Key schema_etcd[] = { S("addr"),
                            S("bind_addr"),
                            S("ca_file"),
                            S("cert_file"),
                            I("cluster_active_size"),
                            F("cluster_remove_delay"),
                            F("cluster_sync_interval"),
                            S("cors"),
                            S("data_dir"),
                            S("discovery"),
                            S("graphite_host"),
                            F("http_read_timeout"),
                            F("http_write_timeout"),
                            S("key_file"),
                            I("max_result_buffer"),
                            I("max_retry_attempts"),
                            S("name"),
                            S("peer_addr"),
                            S("peer_bind_addr"),
                            S("peer_ca_file"),
                            S("peer_cert_file"),
                            I("peer_election_timeout"),
                            I("peer_heartbeat_interval"),
                            S("peer_key_file"),
                            S("peers"),
                            S("peers_file"),
                            S("proxy"),
                            F("retry_interval"),
                            B("snapshot"),
                            { .name = "snapshot_count", .kind = KEY_INT, .env = "ETCD_SNAPSHOTCOUNT" },
                            S("trace"),
                            B("verbose"),
                            B("very_verbose"),
                            B("very_very_verbose"),
                            {} };

const Key schema_fleet[] = { S("agent_ttl"),
                             S("authorized_keys_file"),
                             B("disable_engine"),
                             F("engine_reconcile_interval"),
                             S("etcd_cafile"),
                             S("etcd_certfile"),
                             S("etcd_keyfile"),
                             S("etcd_key_prefix"),
                             F("etcd_request_timeout"),
                             S("etcd_servers"),
                             S("etcd_username"),
                             S("etcd_password"),
                             S("metadata"),
                             S("public_ip"),
                             I("token_limit"),
                             I("verbosity"),
                             B("verify_units"),
                             {} };

const Key schema_locksmith[] = { S("endpoint"),
                                 S("etcd_cafile"),
                                 S("etcd_certfile"),
                                 S("etcd_keyfile"),
                                 S("etcd_username"),
                                 S("etcd_password"),
                                 S("group"),
                                 { .name = "window_start", .kind = KEY_STR, .env = "REBOOT_WINDOW_START" },
                                 { .name = "window_length", .kind = KEY_STR, .env = "REBOOT_WINDOW_LENGTH" },
                                 {} };

const Key schema_flannel[] = {
        S("etcd_endpoints"), S("etcd_cafile"),
        S("etcd_certfile"),  S("etcd_keyfile"),
        S("etcd_prefix"),    S("etcd_username"),
        S("etcd_password"),  S("ip_masq"),
        S("subnet_file"),    { .name = "interface", .kind = KEY_STR, .env = "FLANNELD_IFACE" },
        S("public_ip"),      {}
};

static const Key drop_in[] = { S("name"), S("content"), {} };

static const Key unit[] = {
        S("name"),
        B("runtime"),
        B("enable"),
        B("mask"),
        S("content"),
        { .name = "command",
          .kind = KEY_STR,
          .allowed = "start|stop|restart|reload|try-restart|reload-or-restart|reload-or-try-restart" },
        { .name = "drop_ins", .kind = KEY_STRUCTS, .sub = drop_in },
        {}
};

static const Key update[] = {
        { .name = "reboot_strategy", .kind = KEY_STR, .allowed = "best-effort|etcd-lock|reboot|off" },
        S("group"),
        S("server"),
        {}
};

static const Key oem[] = { S("id"), S("name"), S("version_id"), S("home_url"), S("bug_report_url"), {} };

static const Key coreos[] = { { .name = "etcd", .kind = KEY_STRUCT, .sub = schema_etcd },
                              { .name = "etcd2", .kind = KEY_STRUCT, .sub = schema_etcd2 },
                              { .name = "fleet", .kind = KEY_STRUCT, .sub = schema_fleet },
                              { .name = "flannel", .kind = KEY_STRUCT, .sub = schema_flannel },
                              { .name = "locksmith", .kind = KEY_STRUCT, .sub = schema_locksmith },
                              { .name = "oem", .kind = KEY_STRUCT, .sub = oem },
                              { .name = "update", .kind = KEY_STRUCT, .sub = update },
                              { .name = "units", .kind = KEY_STRUCTS, .sub = unit },
                              {} };

static const Key file[] = { S("path"),
                            S("content"),
                            S("owner"),
                            S("permissions"),
                            { .name = "encoding",
                              .kind = KEY_STR,
                              .allowed = "base64|b64|gz|gzip|gz+base64|gzip+base64|gz+b64|gzip+b64" },
                            {} };

static const Key user[] = { S("name"),
                            S("passwd"),
                            L("ssh_authorized_keys"),
                            S("gecos"),
                            S("homedir"),
                            B("no_create_home"),
                            S("primary_group"),
                            L("groups"),
                            B("no_user_group"),
                            B("system"),
                            B("no_log_init"),
                            S("shell"),
                            {} };

const Key schema_root[] = { L("ssh_authorized_keys"),
                            S("hostname"),
                            S("manage_etc_hosts"),
                            { .name = "users", .kind = KEY_STRUCTS, .sub = user },
                            { .name = "write_files", .kind = KEY_STRUCTS, .sub = file },
                            { .name = "coreos", .kind = KEY_STRUCT, .sub = coreos },
                            {} };

const Key *schema_find(const Key *table, const char *name) {
        for (const Key *k = table; k->name; k++) {
                size_t i = 0;
                while (k->name[i] && (k->name[i] == name[i] || (k->name[i] == '_' && name[i] == '-')))
                        i++;
                if (!k->name[i] && !name[i])
                        return k;
        }
        return NULL;
}

const char *schema_kind_name(const Key *k) {
        switch (k->kind) {
        case KEY_STR:
                return "string";
        case KEY_BOOL:
                return "bool";
        case KEY_INT:
                return "int";
        case KEY_FLOAT:
                return "float64";
        case KEY_STRS:
                return "[]string";
        case KEY_STRUCT:
                return "struct";
        case KEY_STRUCTS:
                return "[]struct";
        }
        return "?";
}

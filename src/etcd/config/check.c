/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/cluster/urls.h"
#include "etcd/config/config.h"

#include <arpa/inet.h>

#define ELECTION_MS_MAX 50000U
#define DEFAULT_PEER_URL "http://localhost:2380"
#define DEFAULT_CLIENT_URL "http://localhost:2379"

static int check_bind(char *const *urls, Err *err) {
        STRV_FOREACH(i, urls) {
                EtcdUrl u = {};
                struct in6_addr a;
                int r = etcd_url_parse(*i, &u, err);
                if (r < 0)
                        return r;
                bool ok = u.is_unix || !*u.host || streq(u.host, "localhost") ||
                          inet_pton(AF_INET, u.host, &a) == 1 || inet_pton(AF_INET6, u.host, &a) == 1;
                etcd_url_done(&u);
                if (!ok)
                        return err_set(err, -EINVAL, "expected IP in URL for binding (%s)", *i);
        }
        return 0;
}

static int parse_urls(const char *flag, const char *value, char ***ret, Err *err) {
        int r = etcd_urls_parse(value, ret, err);
        return r < 0 ? err_wrap(err, r, "invalid value \"%s\" for flag -%s", value, flag) : 0;
}

static int check_urls(EtcdConfig *c, Err *err) {
        int r = parse_urls("listen-peer-urls", c->listen_peer, &c->listen_peer_urls, err);
        if (r >= 0)
                r = parse_urls("listen-client-urls", c->listen_client, &c->listen_client_urls, err);
        if (r >= 0 && *c->listen_metrics)
                r = parse_urls("listen-metrics-urls", c->listen_metrics, &c->listen_metrics_urls, err);
        if (r >= 0)
                r = check_bind(c->listen_peer_urls, err);
        if (r >= 0)
                r = check_bind(c->listen_client_urls, err);
        if (r >= 0)
                r = check_bind(c->listen_metrics_urls, err);
        if (r < 0)
                return r;
        if (!c->advertise_client && !streq(c->listen_client, DEFAULT_CLIENT_URL))
                return err_set(err, -EINVAL,
                               "--advertise-client-urls is required when --listen-client-urls is set explicitly");
        r = parse_urls("advertise-client-urls", c->advertise_client ?: DEFAULT_CLIENT_URL,
                       &c->advertise_client_urls, err);
        if (r < 0)
                return r;
        return parse_urls("initial-advertise-peer-urls", c->advertise_peer ?: DEFAULT_PEER_URL,
                          &c->advertise_peer_urls, err);
}

static int check_timers(const EtcdConfig *c, Err *err) {
        if (c->heartbeat_ms == 0)
                return err_set(err, -EINVAL, "--heartbeat-interval must be >0 (set to 0ms)");
        if (c->election_ms == 0)
                return err_set(err, -EINVAL, "--election-timeout must be >0 (set to 0ms)");
        if (c->election_ms < 5 * c->heartbeat_ms)
                return err_set(err, -EINVAL,
                               "--election-timeout[%" PRIu64
                               "ms] should be at least as 5 times as --heartbeat-interval[%" PRIu64 "ms]",
                               c->election_ms, c->heartbeat_ms);
        if (c->election_ms > ELECTION_MS_MAX)
                return err_set(err, -EINVAL,
                               "--election-timeout[%" PRIu64 "ms] is too long, and should be set less than %ums",
                               c->election_ms, ELECTION_MS_MAX);
        if (c->snapshot_count == 0)
                return err_set(err, -EINVAL, "--snapshot-count must be >0");
        if (c->max_txn_ops == 0)
                return err_set(err, -EINVAL, "--max-txn-ops must be >0");
        if (c->max_request_bytes == 0 || c->max_request_bytes > (64U << 20))
                return err_set(err, -EINVAL, "--max-request-bytes must be between 1 and 67108864");
        if (c->progress_notify_usec < 100000)
                return err_set(err, -EINVAL,
                               "--experimental-watch-progress-notify-interval must be at least 100ms");
        return 0;
}

static int check_compaction(EtcdConfig *c, Err *err) {
        const char *v = c->compaction_retention;
        uint64_t n;
        if (streq(c->compaction_mode, "revision")) {
                if (parse_u64(v, &c->compaction_revisions) < 0)
                        return err_set(err, -EINVAL, "error parsing CompactionRetention: invalid value \"%s\"", v);
                return 0;
        }
        if (!streq(c->compaction_mode, "periodic"))
                return err_set(err, -EINVAL, "unknown auto-compaction-mode \"%s\"", c->compaction_mode);
        if (parse_u64(v, &n) >= 0 && n < 1000000) /* a bare number means hours */
                c->compaction_usec = (int64_t) n * 3600 * 1000000;
        else if (parse_duration_go(v, &c->compaction_usec) < 0 || c->compaction_usec < 0)
                return err_set(err, -EINVAL, "error parsing CompactionRetention: invalid value \"%s\"", v);
        return 0;
}

static int check_tls(const char *kind, const char *cert, const char *key, const char *ca, bool client_auth,
                     char *const *urls, Err *err) {
        if (!*cert != !*key)
                return err_set(err, -EINVAL, "%s TLS: KeyFile and CertFile must both be present[key: %s, cert: %s]",
                               kind, key, cert);
        if (client_auth && !*ca)
                return err_set(err, -EINVAL,
                               "%s TLS: client certificates are to be checked, but no trusted CA file is given",
                               kind);
        STRV_FOREACH(i, urls)
                if ((startswith(*i, "https:") || startswith(*i, "unixs:")) && !*cert)
                        return err_set(err, -EINVAL,
                                       "TLS key/cert (--cert-file, --key-file) must be provided for %s url %s "
                                       "with HTTPS scheme",
                                       kind, *i);
        return 0;
}

/* 2.x's --ca-file: the trusted CA and client authentication at once. */
static void apply_ca_file(char **ca_file, char **trusted, bool *auth, EtcdConfig *c, const char *flag) {
        if (!**ca_file)
                return;
        strv_addf(&c->warnings, "--%s is deprecated: use the trusted-ca-file and client-cert-auth flags", flag);
        free(*trusted);
        *trusted = xstrdup(*ca_file);
        *auth = true;
}

static int check_bootstrap(EtcdConfig *c, Err *err) {
        if (!streq(c->initial_state, "new") && !streq(c->initial_state, "existing"))
                return err_set(err, -EINVAL, "invalid value \"%s\" for flag -initial-cluster-state",
                               c->initial_state);
        if (c->initial_cluster && *c->discovery)
                return err_set(err, -EINVAL, "multiple discovery or bootstrap flags are set. Choose one of "
                                             "\"initial-cluster\", \"discovery\" or \"discovery-srv\"");
        if (*c->discovery_fallback && !streq(c->discovery_fallback, "exit"))
                return err_set(err, -EOPNOTSUPP,
                               "--discovery-fallback=%s asks for something this etcd does not have: "
                               "use --discovery-fallback=exit",
                               c->discovery_fallback);
        if (!*c->name)
                return err_set(err, -EINVAL, "--name must not be empty");
        if (!*c->initial_token)
                return err_set(err, -EINVAL, "--initial-cluster-token must not be empty");
        if (!*c->data_dir) {
                free(c->data_dir);
                c->data_dir = xasprintf("%s.etcd", c->name);
        }
        if (!c->initial_cluster && !*c->discovery) {
                _cleanup_free_ char *urls = strv_join(c->advertise_peer_urls, ",");
                _cleanup_strv_ char **l = strv_split(urls, ",", false), **named = NULL;
                STRV_FOREACH(i, l)
                        strv_addf(&named, "%s=%s", c->name, *i);
                c->initial_cluster = strv_join(named, ",");
        }
        return 0;
}

static int check_logging(const EtcdConfig *c, Err *err) {
        static const char *const levels[] = { "debug", "info", "warn", "error", "panic", "fatal" };
        for (size_t i = 0; i < ELEMENTSOF(levels); i++)
                if (streq(c->log_level, levels[i]))
                        return 0;
        return err_set(err, -EINVAL, "unknown log level \"%s\"", c->log_level);
}

int etcd_config_check(EtcdConfig *c, Err *err) {
        int r = check_urls(c, err);
        if (r >= 0)
                r = check_timers(c, err);
        if (r >= 0)
                r = check_compaction(c, err);
        if (r >= 0)
                r = check_bootstrap(c, err);
        if (r >= 0)
                r = check_logging(c, err);
        if (r < 0)
                return r;
        apply_ca_file(&c->ca_file, &c->trusted_ca, &c->client_cert_auth, c, "ca-file");
        apply_ca_file(&c->peer_ca_file, &c->peer_trusted_ca, &c->peer_client_cert_auth, c, "peer-ca-file");
        r = check_tls("client", c->cert_file, c->key_file, c->trusted_ca, c->client_cert_auth,
                      c->listen_client_urls, err);
        if (r < 0)
                return r;
        r = check_tls("peer", c->peer_cert_file, c->peer_key_file, c->peer_trusted_ca, c->peer_client_cert_auth,
                      c->listen_peer_urls, err);
        if (r < 0)
                return r;
        c->cors_origins = strv_split(*c->cors ? c->cors : "*", ", ", false);
        return 0;
}

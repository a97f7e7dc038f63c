/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/config/config.h"
#include "test.h"

static char *no_env[] = { NULL };

static int parse(EtcdConfig *c, char *const *env, Err *err, char **argv) {
        int argc = 0;
        while (argv[argc])
                argc++;
        int r = etcd_config_parse(c, argc, argv, env, err);
        return r < 0 ? r : etcd_config_check(c, err);
}
#define PARSE(c, env, err, ...) parse(c, env, err, (char *[]){ (char *) "etcd", ##__VA_ARGS__, NULL })

TEST(defaults) {
        _cleanup_(etcd_config_done) EtcdConfig c = {};
        _cleanup_(err_done) Err err = {};
        ASSERT_OK(PARSE(&c, no_env, &err));
        ASSERT_STREQ(c.data_dir, "default.etcd");
        ASSERT_STREQ(c.initial_cluster, "default=http://localhost:2380");
        ASSERT_STREQ(c.advertise_client_urls[0], "http://localhost:2379");
        ASSERT_EQ(c.election_ms, 1000);
        ASSERT_EQ(c.heartbeat_ms, 100);
        ASSERT_EQ(c.max_request_bytes, 1572864);
        ASSERT_TRUE(c.strict_reconfig && c.enable_v2);
        ASSERT_STREQ(c.cors_origins[0], "*");
        ASSERT_EQ(c.progress_notify_usec, 600000000);
}

TEST(flags_win_over_environment) {
        _cleanup_(etcd_config_done) EtcdConfig c = {};
        _cleanup_(err_done) Err err = {};
        char *env[] = { (char *) "ETCD_NAME=fromenv", (char *) "ETCD_ELECTION_TIMEOUT=2000", (char *) "ETCD_FOO=1",
                        (char *) "ETCD_DEBUG=true", (char *) "ETCD_PROXY=off", (char *) "HOME=/", NULL };
        ASSERT_OK(PARSE(&c, env, &err, (char *) "-name", (char *) "flag", (char *) "--initial-cluster=flag=http://localhost:2380"));
        ASSERT_STREQ(c.name, "flag");
        ASSERT_EQ(c.election_ms, 2000);
        ASSERT_TRUE(c.debug);
        ASSERT_EQ(strv_len(c.warnings), 1);
        ASSERT_STREQ(c.warnings[0], "unrecognized environment variable ETCD_FOO=1");
}

TEST(unbuilt_flags_take_their_default_only) {
        static const struct {
                const char *flag;
                bool ok;
        } cases[] = { { "--proxy=off", true },       { "--proxy=on", false },        { "--auto-tls=false", true },
                      { "--auto-tls", false },       { "--auth-token=simple", true }, { "--auth-token=jwt", false },
                      { "--discovery-srv=", true },  { "--discovery-srv=x", false },  { "--max-wals=5", true },
                      { "--max-wals=7", false },     { "--wal-dir=/x", false },       { "--logger=zap", true },
                      { "--config-file=/x", false }, { "--enable-pprof=0", true } };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(etcd_config_done) EtcdConfig c = {};
                _cleanup_(err_done) Err err = {};
                int r = PARSE(&c, no_env, &err, (char *) cases[i].flag);
                ASSERT_EQ(r >= 0, cases[i].ok);
        }
}

TEST(errors) {
        static const struct {
                const char *flag, *message;
        } cases[] = {
                { "--nope", "unknown flag: --nope" },
                { "--heartbeat-interval=0", "--heartbeat-interval must be >0 (set to 0ms)" },
                { "--listen-peer-urls=http://a.b:1", "expected IP in URL for binding (http://a.b:1)" },
                { "--listen-client-urls=http://127.0.0.1:1",
                  "--advertise-client-urls is required when --listen-client-urls is set explicitly" },
                { "--auto-compaction-mode=x", "unknown auto-compaction-mode \"x\"" },
                { "--log-level=loud", "unknown log level \"loud\"" },
                { "--discovery-fallback=proxy", "--discovery-fallback=proxy asks for something this etcd does not have: use "
                                                "--discovery-fallback=exit" },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(etcd_config_done) EtcdConfig c = {};
                _cleanup_(err_done) Err err = {};
                ASSERT_TRUE(PARSE(&c, no_env, &err, (char *) cases[i].flag) < 0);
                ASSERT_STREQ(err_msg(&err), cases[i].message);
        }
}

TEST(compaction_retention) {
        _cleanup_(etcd_config_done) EtcdConfig c = {};
        ASSERT_OK(PARSE(&c, no_env, NULL, (char *) "--auto-compaction-retention=2"));
        ASSERT_EQ(c.compaction_usec, INT64_C(7200000000));
        etcd_config_done(&c);
        ASSERT_OK(PARSE(&c, no_env, NULL, (char *) "--auto-compaction-retention=5m"));
        ASSERT_EQ(c.compaction_usec, 300000000);
        etcd_config_done(&c);
        ASSERT_OK(PARSE(&c, no_env, NULL, (char *) "--auto-compaction-retention=1000",
                        (char *) "--auto-compaction-mode=revision"));
        ASSERT_EQ(c.compaction_usec, 0);
        ASSERT_EQ(c.compaction_revisions, 1000);
}

TEST(old_ca_file) {
        _cleanup_(etcd_config_done) EtcdConfig c = {};
        ASSERT_OK(PARSE(&c, no_env, NULL, (char *) "--ca-file=/ca", (char *) "--cert-file=/c", (char *) "--key-file=/k"));
        ASSERT_STREQ(c.trusted_ca, "/ca");
        ASSERT_TRUE(c.client_cert_auth);
}

TEST(help_names_every_live_flag) {
        _cleanup_free_ char *help = etcd_config_help();
        ASSERT_NOT_NULL(strstr(help, "--initial-cluster-state 'new'"));
        ASSERT_NULL(strstr(help, "--proxy"));
}

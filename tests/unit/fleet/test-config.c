/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "fleet/fleet.h"
#include "fleet/table.h"

static char **parse(FleetConfig *c, const char *text) {
        char **problems = NULL;
        fleet_config_defaults(c);
        fleet_config_parse(c, text, strlen(text), &problems);
        return problems;
}

TEST(values) {
        _cleanup_(fleet_config_done) FleetConfig c = {};
        _cleanup_strv_ char **problems = parse(&c,
                "# comment\n"
                "VERBOSITY=1\n"
                "etcd_servers=[\"http://a:1\", \"http://b:2\"]\n"
                "etcd_key_prefix = /x/y/ ; trailing\n"
                "public_ip='10.0.0.1'\n"
                "metadata=\"region=us, disk=ssd,region=eu\"\n"
                "agent_ttl=30s\n"
                "etcd_request_timeout=2.5\n"
                "units_directory=/run/\\\nother\n"
                "disable_engine=true\n");
        ASSERT_NULL(problems);
        ASSERT_TRUE(c.debug);
        ASSERT_EQ(strv_len(c.etcd_servers), 2);
        ASSERT_STREQ(c.etcd_servers[1], "http://b:2");
        ASSERT_STREQ(c.prefix, "/x/y");
        ASSERT_STREQ(c.public_ip, "10.0.0.1");
        _cleanup_free_ char *metadata = metadata_text(&c.metadata);
        ASSERT_STREQ(metadata, "disk=ssd,region=eu");
        ASSERT_EQ(c.agent_ttl, 30 * USEC_PER_SEC);
        ASSERT_EQ(c.etcd_timeout, 2500 * USEC_PER_MSEC);
        ASSERT_STREQ(c.units_directory, "/run/other");
        ASSERT_TRUE(c.disable_engine);
}

TEST(wrong_values_are_reported_and_change_nothing) {
        static const char *const lines[] = { "agent_ttl=5",   "agent_ttl=-3s",    "token_limit=0", "verbosity=x",
                                             "no_such_key=1", "etcd_key_prefix=", "enable_grpc=true",
                                             "systemd_user=maybe", "just text",   "metadata=a=b,c" };
        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                _cleanup_(fleet_config_done) FleetConfig c = {};
                _cleanup_strv_ char **problems = parse(&c, lines[i]);
                ASSERT_EQ(strv_len(problems), 1);
                ASSERT_EQ(c.agent_ttl, 10 * USEC_PER_SEC);
                ASSERT_EQ(c.token_limit, 100);
                ASSERT_STREQ(c.prefix, "/_coreos.com/fleet");
        }
}

TEST(environment_wins) {
        _cleanup_(fleet_config_done) FleetConfig c = {};
        _cleanup_strv_ char **problems = parse(&c, "agent_ttl=30s\npublic_ip=1.1.1.1\n"), **env = NULL;
        strv_add(&env, "FLEET_AGENT_TTL=4s");
        strv_add(&env, "FLEET_METADATA=\"a=b\"");
        strv_add(&env, "OTHER=1");
        fleet_config_env(&c, env, &problems);
        ASSERT_NULL(problems);
        ASSERT_EQ(c.agent_ttl, 4 * USEC_PER_SEC);
        ASSERT_STREQ(c.public_ip, "1.1.1.1");
        ASSERT_STREQ(metadata_get(&c.metadata, "a"), "b");
}

TEST(tables) {
        static const char *const cells[] = { "UNIT", "STATE", "1234567", "a", "12345678", "\xc3\xa4", "x", "" };
        _cleanup_(table_done) Table t = { .columns = 2 };
        for (size_t i = 0; i < ELEMENTSOF(cells); i++)
                table_add(&t, xstrdup(cells[i]));
        _cleanup_free_ char *text = table_text(&t);
        ASSERT_STREQ(text, "UNIT\t\tSTATE\n1234567\t\ta\n12345678\t\xc3\xa4\nx\t\t\n");
}

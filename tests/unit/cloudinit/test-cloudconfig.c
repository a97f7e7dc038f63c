/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "cloudinit/config/cloudconfig.h"
#include "codec/yaml.h"
#include "test.h"

static char *plan_text(const char *config, Err *err) {
        _cleanup_(cloud_plan_done) CloudPlan plan = {};
        const CloudPlanInput in = { .ssh_key_name = "set",
                               .hostname = "h",
                               .addresses = { .private_ipv4 = "10.0.0.1" } };
        _cleanup_(buf_done) Buf b = {};
        if (cloud_plan_from_config(&plan, config, strlen(config), &in, err) < 0)
                return NULL;
        cloud_plan_print(&plan, &b);
        return buf_take(&b);
}

TEST(order_of_actions) {
        _cleanup_free_ char *s = plan_text(
                        "hostname: a\nusers: [{name: u, ssh-authorized-keys: [k]}]\n"
                        "ssh_authorized_keys: [k2]\nwrite_files: [{path: /x, permissions: 0700}]\n"
                        "coreos: {units: [{name: a.service, content: x, command: start, enable: yes}],"
                        " etcd2: {name: n}}\n",
                        NULL);
        ASSERT_STREQ(s,
                     "hostname a\nuser u\nssh-keys u\nssh-keys core\nwrite /x mode=0700 owner=root bytes=0\n"
                     "settings /etc/environment\nwrite /etc/systemd/system/a.service mode=0644 owner=root "
                     "bytes=1\n"
                     "enable a.service\nwrite /run/systemd/system/etcd2.service.d/20-cloudinit.conf "
                     "mode=0644 "
                     "owner=root bytes=36\ndaemon-reload\nsystemctl start a.service\n");
}

TEST(refusals_name_the_line) {
        static const char *const cases[][2] = {
                { "write_files:\n  - path: x\n",
                  "line 2: error: write_files entry without an absolute path x" },
                { "write_files:\n  - path: /x\n    permissions: 999\n", "line 3: error: invalid value 999" },
                { "coreos:\n  units:\n  - name: ../x\n", "line 3: error: invalid unit name ../x" },
                { "coreos:\n  units:\n  - name: a.service\n    command: bounce\n",
                  "line 4: error: invalid value bounce" },
                { "users:\n  - name: -rf\n", "line 2: error: invalid user name -rf" },
                { "a: b: c\n", "line 1: error: mapping values are not allowed in this context" },
                { "- a\n", "line 1: error: a cloud-config is a mapping of keys" },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(err_done) Err err = {};
                _cleanup_free_ char *s = plan_text(cases[i][0], &err);
                ASSERT_NULL(s);
                ASSERT_STREQ(err_msg(&err), cases[i][1]);
        }
}

TEST(kinds) {
        ASSERT_EQ(user_data_kind("#!/bin/sh\n", 10), USER_DATA_SCRIPT);
        ASSERT_EQ(user_data_kind("#cloud-config  \na: b", 20), USER_DATA_CONFIG);
        ASSERT_EQ(user_data_kind(" #cloud-config", 14), USER_DATA_UNKNOWN);
        ASSERT_EQ(user_data_kind("", 0), USER_DATA_EMPTY);
        ASSERT_EQ(user_data_kind("{\"ignitionVersion\":1}", 21), USER_DATA_IGNITION);
}

TEST(adjacent_variables_are_both_replaced) {
        _cleanup_(buf_done) Buf b = {};
        const Substitutions s = { .private_ipv4 = "1", .public_ipv4 = "2" };
        const char *text = "$private_ipv4$public_ipv4 \\$private_ipv4 $private_ipv6. $other";
        substitute(&b, text, strlen(text), &s);
        ASSERT_STREQ(buf_str(&b), "12 $private_ipv4 . $other");
}

TEST(settings) {
        _cleanup_(buf_done) Buf b = {};
        settings_merge(&b, "# c\r\nGROUP=a\nX=1", "GROUP=b\nA=2\n");
        ASSERT_STREQ(buf_str(&b), "# c\nGROUP=b\nX=1\nA=2\n");
}

TEST(yaml_scalars) {
        Arena a = {};
        YamlNode *n = NULL;
        unsigned line;
        const char *text = "a-b: on\nv: 168.0.0\nq: '1'\nz: ~\nf: 2.5\nd: &x {k: v}\ne: *x\n";
        ASSERT_OK(yaml_parse(&a, text, strlen(text), &n, &line, NULL));
        bool b;
        int64_t i;
        double d;
        ASSERT_OK(yaml_bool(yaml_get(n, "a_b"), &b));
        ASSERT_TRUE(b);
        ASSERT_STREQ(yaml_str(yaml_get(n, "v")), "168.0.0");
        ASSERT_EQ(yaml_int(yaml_get(n, "q"), &i), -EINVAL);
        ASSERT_TRUE(yaml_is_null(yaml_get(n, "z")));
        ASSERT_OK(yaml_float(yaml_get(n, "f"), &d));
        ASSERT_STREQ(yaml_str(yaml_get(yaml_get(n, "e"), "k")), "v");
        ASSERT_EQ(yaml_get(n, "e")->values[0]->line, 6);
        arena_done(&a);
}

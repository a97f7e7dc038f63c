/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "etcd/apiv2/apiv2.h"
#include "test.h"

static int parse(const char *method, const char *query, const char *body, Arena *arena, V2Params *p, const char **cause) {
        char *c = NULL;
        int code = v2_params_parse(method, "/k", query, body, strlen(body), arena, p, &c);
        *cause = c;
        return code;
}

TEST(body_wins_over_query) {
        _cleanup_(arena_done) Arena arena = {};
        V2Params p;
        const char *cause;
        ASSERT_EQ(parse("PUT", "value=q&ttl=5", "value=b&value=c", &arena, &p, &cause), 0);
        ASSERT_TRUE(bytes_eq(p.write.value, bytes_of("b")) && p.has_ttl && p.ttl == 5);
        ASSERT_EQ(parse("POST", "dir=T&recursive=1", "", &arena, &p, &cause), 0);
        ASSERT_TRUE(p.write.method == V2_POST && p.write.dir && p.write.recursive);
        ASSERT_EQ(parse("PUT", "prevExist=false&prevIndex=7", "ttl=", &arena, &p, &cause), 0);
        ASSERT_TRUE(p.write.prev_exist == V2_EXIST_FALSE && p.write.prev_index == 7 && !p.has_ttl);
}

TEST(errors_in_etcds_order) {
        static const struct {
                const char *method, *query, *body;
                int code;
                const char *cause;
        } cases[] = {
                { "PUT", "prevIndex=x&recursive=y", "", 203, "invalid value for \"prevIndex\"" },
                { "GET", "waitIndex=-1", "", 203, "invalid value for \"waitIndex\"" },
                { "GET", "recursive=", "", 209, "invalid value for \"recursive\"" },
                { "PUT", "wait=true", "", 209, "\"wait\" can only be used with GET requests" },
                { "PUT", "prevValue=", "", 201, "\"prevValue\" cannot be empty" },
                { "PUT", "", "ttl=1.5", 202, "invalid value for \"ttl\"" },
                { "PUT", "prevExist=maybe", "", 209, "invalid value for prevExist" },
                { "PUT", "refresh=x", "", 209, "invalid value for refresh" },
                { "PUT", "", "refresh=true&value=z&ttl=5", 211, "A value was provided on a refresh" },
                { "PUT", "", "refresh=true", 212, "No TTL value set" },
                { "PUT", "", "value=%ZZ", 210, "invalid URL escape \"%ZZ\"" },
                { "PUT", "a=%4", "", 210, "invalid URL escape \"%4\"" },
                { "GET", "a;b", "", 210, "invalid semicolon separator in query" },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(arena_done) Arena arena = {};
                V2Params p;
                const char *cause;
                ASSERT_EQ(parse(cases[i].method, cases[i].query, cases[i].body, &arena, &p, &cause), cases[i].code);
                ASSERT_STREQ(cause, cases[i].cause);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "fleet/plan/agent.h"
#include "fleet/plan/plan.h"
#include "sys/fs.h"

#include <stdlib.h>

/* A transcript is a file of commands, each followed by what came of it, indented by two spaces. The test runs the
 * commands and compares the whole text; TEST_UPDATE=1 writes the new text in place, to be read as a diff. */

typedef struct World {
        Plan plan;
        AgentPlan agent;
        Buf out;
} World;

static void read_req(const char *name, char **words, XFleet *ret) {
        _cleanup_(unitfile_done) UnitFile u = {};
        STRV_FOREACH(w, words) {
                const char *eq = strchr(*w, '=');
                if (!eq)
                        continue;
                _cleanup_free_ char *key = xstrndup(*w, (size_t) (eq - *w));
                unitfile_add(&u, "X-Fleet", key, eq + 1);
        }
        xfleet_read(&u, name, ret);
}

static UnitState target_word(const char *word) {
        UnitState s = unit_state_from_string(word);
        return s < 0 ? UNIT_LAUNCHED : s;
}

static void show(World *w) {
        for (size_t i = 0; i < w->plan.n_units; i++) {
                const PlanUnit *u = w->plan.units[i];
                if (u->hash)
                        buf_addf(&w->out, "  %s %s on %s\n", u->name, unit_state_to_string(u->target),
                                 u->machine ? u->machine : u->req.global ? "all" : "-");
        }
}

static void tick(World *w, bool settled) {
        PlanDecisions d = {};
        plan_decide(&w->plan, settled, &d);
        for (size_t i = 0; i < d.n; i++)
                buf_addf(&w->out, "  %s: %s -> %s (%s)\n", d.list[i].unit, d.list[i].from ? d.list[i].from : "-",
                         d.list[i].to ? d.list[i].to : "-", d.list[i].why);
        if (d.n == 0)
                buf_adds(&w->out, "  nothing\n");
        plan_decisions_done(&d);
}

static void explain(World *w, const char *name) {
        bool waiting;
        _cleanup_free_ char *text = plan_explain(&w->plan, name, &waiting);
        _cleanup_strv_ char **lines = text ? strv_split(text, "\n", false) : NULL;
        STRV_FOREACH(l, lines)
                buf_addf(&w->out, "  %s\n", *l);
        buf_addf(&w->out, "  %s\n", !text ? "placed" : waiting ? "waiting" : "stuck");
}

static bool engine_command(World *w, char **a) {
        _cleanup_(metadata_done) Metadata m = {};
        _cleanup_(xfleet_done) XFleet x = {};
        const char *c = a[0];

        if (streq(c, "add-machine")) {
                if (a[2])
                        metadata_parse(a[2], &m, NULL);
                plan_set_machine(&w->plan, a[1], &m);
        } else if (streq(c, "lose-machine"))
                plan_drop_machine(&w->plan, a[1]);
        else if (streq(c, "submit")) {
                read_req(a[1], a + 2, &x);
                PlanUnit *old = plan_unit(&w->plan, a[1]);
                _cleanup_free_ char *machine = old && old->machine ? xstrdup(old->machine) : NULL;
                plan_set_unit(&w->plan, a[1], "h", target_word(a[2] ? a[2] : ""), &x, machine);
        } else if (streq(c, "target")) {
                ASSERT_NOT_NULL(plan_unit(&w->plan, a[1]));
                plan_unit(&w->plan, a[1])->target = target_word(a[2]);
        } else if (streq(c, "destroy"))
                plan_drop_unit(&w->plan, a[1]);
        else if (streq(c, "running") || streq(c, "stopped"))
                plan_set_holder(&w->plan, a[1], a[2], streq(c, "running"));
        else if (streq(c, "tick"))
                tick(w, !a[1]);
        else if (streq(c, "explain"))
                explain(w, a[1]);
        else if (streq(c, "show"))
                show(w);
        else
                return false;
        return true;
}

static void next(World *w, Usec now) {
        AgentTasks t = {};
        agent_next(&w->agent, now, &t);
        for (size_t i = 0; i < t.n; i++)
                buf_addf(&w->out, "  %s %s %s\n", agent_task_to_string(t.list[i].kind), t.list[i].name,
                         t.list[i].hash);
        if (t.n == 0)
                buf_adds(&w->out, "  nothing\n");
        Usec at = agent_wakeup(&w->agent);
        if (at != USEC_NEVER)
                buf_addf(&w->out, "  again at %llu\n", (unsigned long long) (at / USEC_PER_SEC));
        free(t.list);
}

static void here(World *w) {
        for (size_t i = 0; i < w->agent.n; i++) {
                const AgentUnit *u = w->agent.units[i];
                buf_addf(&w->out, "  %s %s%s%s%s%s\n", u->name, u->present ? unit_state_to_string(agent_reported(u)) : "absent",
                         u->refused ? ", refused: " : "", strempty(u->refused), u->error ? ", error: " : "",
                         strempty(u->error));
        }
}

static void agent_command(World *w, char **a) {
        _cleanup_(xfleet_done) XFleet x = {};
        const char *c = a[0];

        if (streq(c, "metadata")) {
                _cleanup_(metadata_done) Metadata m = {};
                metadata_parse(a[1], &m, NULL);
                agent_set_metadata(&w->agent, &m);
        } else if (streq(c, "want")) {
                read_req(a[1], a + 4, &x);
                agent_want(&w->agent, a[1], a[2], target_word(a[3]), &x);
        } else if (streq(c, "unwant"))
                agent_unwant(&w->agent, a[1]);
        else if (streq(c, "found")) {
                read_req(a[1], a + 4, &x);
                agent_found(&w->agent, a[1], a[2], streq(a[3], "launched"), &x);
        } else if (streq(c, "next")) {
                uint64_t now = 0;
                ASSERT_OK(parse_u64(a[1], &now));
                next(w, now * USEC_PER_SEC);
        } else if (streq(c, "done") || streq(c, "fail")) {
                uint64_t now = 0;
                ASSERT_OK(parse_u64(a[2], &now));
                agent_finished(&w->agent, a[1], streq(c, "fail") ? "broken" : NULL, now * USEC_PER_SEC);
        } else if (streq(c, "here"))
                here(w);
        else
                test_fail(__FILE__, __LINE__, "unknown command %s", c);
}

static void run_file(const char *file) {
        _cleanup_(buf_done) Buf text = {};
        const char *path = test_data(file);
        World w = {};

        ASSERT_OK(read_file(path, 1 << 20, &text));
        _cleanup_strv_ char **lines = strv_split(buf_str(&text), "\n", true);
        size_t n = strv_len(lines);
        for (size_t i = 0; i < n; i++) {
                if (startswith(lines[i], "  "))
                        continue;
                if (i + 1 < n || *lines[i])
                        buf_addf(&w.out, "%s\n", lines[i]);
                if (!*lines[i] || lines[i][0] == '#')
                        continue;
                _cleanup_strv_ char **words = strv_split(lines[i], " ", false);
                if (!engine_command(&w, words))
                        agent_command(&w, words);
        }
        const char *update = getenv("TEST_UPDATE");
        if (update)
                ASSERT_OK(write_file_atomic(path, w.out.data, w.out.len, 0644));
        else
                ASSERT_STREQ(buf_str(&w.out), buf_str(&text));
        plan_done(&w.plan);
        agent_plan_done(&w.agent);
        buf_done(&w.out);
}

TEST(placement) {
        run_file("data/fleet/placement.txt");
}
TEST(neighbours) {
        run_file("data/fleet/neighbours.txt");
}
TEST(outage) {
        run_file("data/fleet/outage.txt");
}
TEST(agent) {
        run_file("data/fleet/agent.txt");
}

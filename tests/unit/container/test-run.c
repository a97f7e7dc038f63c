/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "container/docker/inspect.h"
#include "container/docker/parse.h"
#include "container/docker/table.h"
#include "container/docker/template.h"
#include "container/run/caps.h"
#include "container/run/frame.h"
#include "container/run/leases.h"
#include "container/run/log.h"
#include "container/run/store.h"
#include "container/run/units.h"
#include "container/run/user.h"
#include "sys/fs.h"
#include "sys/mountfd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- users ---- */

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "garbage\n"
                             "neg:x:-1:0::/:\n"
                             "big:x:99999999999:0::/:\n"
                             "minus:x:4294967295:0::/:\n"
                             "www:x:33:44:www:/srv:/bin/sh\n"
                             "1234:x:77:78::/odd:\n";
static const char group[] = "root:x:0:\nweb:x:80:other,www\nx:x:81:wwww,www2\nlast:x:82:www";

TEST(user_names_and_numbers) {
        UserIds u;
        ASSERT_OK(user_resolve(passwd, group, "www", NULL, &u, NULL));
        ASSERT_EQ(u.uid, 33);
        ASSERT_EQ(u.gid, 44);
        ASSERT_STREQ(u.home, "/srv");
        ASSERT_EQ(u.n_groups, 2);
        ASSERT_EQ(u.groups[0], 80);
        ASSERT_EQ(u.groups[1], 82);
        user_ids_done(&u);
        ASSERT_OK(user_resolve(passwd, group, "33:web", NULL, &u, NULL));
        ASSERT_EQ(u.uid, 33);
        ASSERT_EQ(u.gid, 80);
        ASSERT_EQ(u.n_groups, 0);
        user_ids_done(&u);
        /* A name that looks like a number is a name first. */
        ASSERT_OK(user_resolve(passwd, group, "1234", NULL, &u, NULL));
        ASSERT_EQ(u.uid, 77);
        user_ids_done(&u);
        ASSERT_OK(user_resolve(passwd, group, "5000:6000", (char *[]){ (char *) "last", (char *) "7", NULL }, &u, NULL));
        ASSERT_EQ(u.uid, 5000);
        ASSERT_EQ(u.gid, 6000);
        ASSERT_EQ(u.n_groups, 2);
        user_ids_done(&u);
        ASSERT_OK(user_resolve("", "", NULL, NULL, &u, NULL));
        ASSERT_EQ(u.uid, 0);
        ASSERT_STREQ(u.home, "/root");
        user_ids_done(&u);
}

TEST(user_refuses_what_is_no_id) {
        UserIds u;
        ASSERT_EQ(user_resolve(passwd, group, "neg", NULL, &u, NULL), -ENOENT);
        ASSERT_EQ(user_resolve(passwd, group, "big", NULL, &u, NULL), -ENOENT);
        ASSERT_EQ(user_resolve(passwd, group, "minus", NULL, &u, NULL), -ENOENT);
        ASSERT_EQ(user_resolve(passwd, group, "4294967295", NULL, &u, NULL), -ENOENT);
        ASSERT_EQ(user_resolve(passwd, group, "www:nosuch", NULL, &u, NULL), -ENOENT);
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(user_resolve(passwd, group, "nosuch", NULL, &u, &err), -ENOENT);
        ASSERT_STREQ(err_msg(&err), "unable to find user nosuch: no matching entries in passwd file");
}

/* ---- small parsers ---- */

TEST(sizes_and_signals) {
        int64_t v = 0;
        ASSERT_OK(parse_bytes("64m", &v));
        ASSERT_EQ(v, 64 << 20);
        ASSERT_OK(parse_bytes("1.5g", &v));
        ASSERT_EQ(v, 3LL << 29);
        ASSERT_OK(parse_bytes("10KiB", &v));
        ASSERT_EQ(v, 10240);
        ASSERT_OK(parse_bytes("7", &v));
        ASSERT_EQ(v, 7);
        ASSERT_EQ(parse_bytes("m", &v), -EINVAL);
        ASSERT_EQ(parse_bytes("-1", &v), -EINVAL);
        ASSERT_EQ(parse_bytes("1x", &v), -EINVAL);
        ASSERT_EQ(parse_bytes("99999999999g", &v), -ERANGE);
        ASSERT_EQ(parse_signal("TERM"), SIGTERM);
        ASSERT_EQ(parse_signal("sigquit"), SIGQUIT);
        ASSERT_EQ(parse_signal("9"), 9);
        ASSERT_EQ(parse_signal("RTMIN+3"), 37);
        ASSERT_EQ(parse_signal("RTMAX-1"), 63);
        ASSERT_EQ(parse_signal("0"), -EINVAL);
        ASSERT_EQ(parse_signal("NOPE"), -EINVAL);
}

TEST(capabilities) {
        uint64_t m = 0;
        ASSERT_OK(caps_compute(false, NULL, NULL, &m, NULL));
        ASSERT_EQ(m, CAPS_DEFAULT);
        ASSERT_OK(caps_compute(false, (char *[]){ (char *) "net_admin", NULL },
                               (char *[]){ (char *) "ALL", NULL }, &m, NULL));
        ASSERT_EQ(m, 1 << 12);
        ASSERT_OK(caps_compute(false, NULL, (char *[]){ (char *) "CAP_MKNOD", NULL }, &m, NULL));
        ASSERT_EQ(m, CAPS_DEFAULT & ~(1ULL << 27));
        ASSERT_EQ(caps_compute(false, (char *[]){ (char *) "bogus", NULL }, NULL, &m, NULL), -EINVAL);
}

static void publish(const char *text, const char *want) {
        _cleanup_(container_spec_freep) ContainerSpec *s = container_spec_new();
        _cleanup_(buf_done) Buf b = {};
        if (parse_publish(text, &s->host, NULL) < 0)
                buf_adds(&b, "error");
        for (size_t i = 0; i < s->host.n_ports; i++) {
                const PortBinding *p = &s->host.ports[i];
                buf_addf(&b, "%s%s:%u->%u/%s", i ? " " : "", strempty(p->host_ip), p->host_port, p->port, p->proto);
        }
        ASSERT_STREQ(buf_str(&b), want);
}

TEST(publish_syntax) {
        publish("80", ":0->80/tcp");
        publish("8080:80", ":8080->80/tcp");
        publish("53:53/udp", ":53->53/udp");
        publish("127.0.0.1:8080:80", "127.0.0.1:8080->80/tcp");
        publish("127.0.0.1::80", "127.0.0.1:0->80/tcp");
        publish("[::1]:8080:80", "::1:8080->80/tcp");
        publish("9000-9001:80-81", ":9000->80/tcp :9001->81/tcp");
        publish("9000-9001:80", "error");
        publish("0:80", "error");
        publish("70000:80", "error");
        publish("80/icmp", "error");
        publish("1.2.3:80:80", "error");
        publish("", "error");
        publish("a:b", "error");
}

static void volume(const char *text, const char *want) {
        _cleanup_(container_spec_freep) ContainerSpec *s = container_spec_new();
        MountSpec *m = container_spec_add_mount(s);
        if (parse_volume(text, m, NULL) < 0) {
                ASSERT_STREQ("error", want);
                return;
        }
        _cleanup_free_ char *got = xasprintf("%s %s %s %s%s", m->type, m->name ? m->name : strempty(m->source),
                                             m->destination, m->rw ? "rw" : "ro", m->anonymous ? " anonymous" : "");
        ASSERT_STREQ(got, want);
}

TEST(volume_syntax) {
        volume("/a:/b", "bind /a /b rw");
        volume("/a:/b:ro", "bind /a /b ro");
        volume("/a:/b:ro,rshared", "bind /a /b ro");
        volume("/a:/b/./c//:z", "bind /a /b/c rw");
        volume("name:/b", "volume name /b rw");
        volume("/b", "volume  /b rw anonymous");
        volume("/a:b", "error");
        volume("/a:/", "error");
        volume("/a:/b:bogus", "error");
        volume("/a:/../b", "error");
        volume("/a:/proc/sys", "error");
        volume(":/b", "error");
        volume("", "error");
}

TEST(env_file_syntax) {
        _cleanup_strv_ char **env = NULL;
        char *caller[] = { (char *) "HERE=1", NULL };
        ASSERT_OK(parse_env_file("# c\n\nA=1\r\n B=x y \nHERE\nGONE\nA=2", caller, &env, NULL));
        _cleanup_free_ char *all = strv_join(env, "|");
        ASSERT_STREQ(all, "A=2|B=x y |HERE=1");
        ASSERT_EQ(parse_env_file("A B=1", caller, &env, NULL), -EINVAL);
}

/* ---- leases, frames, tables, log lines ---- */

TEST(leases_round_trip) {
        char id[65];
        memset(id, 'a', 64);
        id[64] = 0;
        _cleanup_(leases_done) Leases l = {};
        PortBinding p = { .host_port = 8080, .port = 80, .proto = "tcp" };
        PortBinding q = { .host_ip = (char *) "127.0.0.1", .host_port = 53, .port = 53, .proto = "udp" };
        Lease *x = leases_add(&l, inet_addr("172.17.0.2"), id);
        lease_add_port(x, &p);
        lease_add_port(x, &q);
        _cleanup_(buf_done) Buf b = {};
        leases_write(&l, &b);
        buf_adds(&b, "torn 172.17\n172.17.0.9 short\n");
        _cleanup_(leases_done) Leases again = {};
        leases_parse(b.data, &again);
        ASSERT_EQ(again.n, 1);
        ASSERT_EQ(again.items[0].n_ports, 2);
        ASSERT_STREQ(again.items[0].ports[1].host_ip, "127.0.0.1");
        PortBinding other = { .host_ip = (char *) "10.0.0.1", .host_port = 8080, .port = 1, .proto = "tcp" };
        ASSERT_NOT_NULL(leases_find_port(&again, &other));
        other.host_port = 53;
        (void) snprintf(other.proto, sizeof(other.proto), "udp");
        ASSERT_NULL(leases_find_port(&again, &other));
        uint32_t first = ntohl(inet_addr("172.17.0.2"));
        ASSERT_EQ(ntohl(leases_pick(&again, first, first + 5)), first + 1);
        ASSERT_EQ(leases_pick(&again, first, first), 0);
}

TEST(frames) {
        _cleanup_(buf_done) Buf b = {};
        Frame f;
        ASSERT_EQ(frame_peek(&b, &f), 0);
        frame_add(&b, FRAME_STDERR, "hello", 5);
        for (size_t n = 0; n < b.len; n++) {
                Buf cut = { .data = b.data, .len = n };
                ASSERT_EQ(frame_peek(&cut, &f), 0);
        }
        ASSERT_EQ(frame_peek(&b, &f), 1);
        ASSERT_EQ(f.kind, FRAME_STDERR);
        ASSERT_EQ(f.n, 5);
        b.data[0] = 9;
        ASSERT_EQ(frame_peek(&b, &f), -EBADMSG);
        b.data[0] = 1;
        b.data[4] = 0x7f;
        ASSERT_EQ(frame_peek(&b, &f), -EBADMSG);
}

TEST(tables_count_characters) {
        _cleanup_(docker_table_done) DockerTable t = {};
        _cleanup_(buf_done) Buf b = {};
        docker_table_row_text(&t, "A\tB");
        docker_table_row_text(&t, "äöü…\tx");
        docker_table_row_text(&t, "1");
        docker_table_write(&t, &b);
        ASSERT_STREQ(buf_str(&b), "A         B\näöü…      x\n1         \n");
}

TEST(log_rotates_and_reads_back) {
        char dir[] = "/tmp/coracle-test-XXXXXX";
        ASSERT_NOT_NULL(mkdtemp(dir));
        _cleanup_(container_spec_freep) ContainerSpec *s = container_spec_new();
        s->id = container_new_id();
        s->name = xstrdup("x");
        strv_add(&s->host.log_options, "max-size=400");
        strv_add(&s->host.log_options, "max-file=3");
        LogWriter w;
        ASSERT_OK(log_writer_init(&w, dir, s, NULL));
        for (int i = 0; i < 40; i++) {
                char line[32];
                int n = snprintf(line, sizeof(line), "line %d \x01\xff\n", i);
                log_write(&w, 1 + (unsigned) i % 2, line, (size_t) n);
        }
        log_write(&w, 1, "no newline", 10);
        log_writer_done(&w);
        _cleanup_free_ char *third = xasprintf("%s/%s-json.log.2", dir, s->id);
        _cleanup_free_ char *fourth = xasprintf("%s/%s-json.log.3", dir, s->id);
        ASSERT_EQ(access(third, F_OK), 0);
        ASSERT_EQ(access(fourth, F_OK), -1);
        struct stat st;
        ASSERT_OK(stat(third, &st));
        ASSERT_TRUE(st.st_size <= 400);
        ASSERT_OK(rm_rf(dir));
        strv_add(&s->host.log_options, "bogus=1");
        ASSERT_EQ(log_driver_check("json-file", s->host.log_options, NULL), -EINVAL);
        ASSERT_EQ(log_driver_check("splunk", NULL, NULL), -EINVAL);
}

/* ---- templates ---- */

static void template_gives(const char *text, const char *want) {
        static const char json[] = "{\"A\":{\"B\":\"b\",\"N\":7,\"T\":true,\"F\":false,\"Z\":null},\"L\":[\"x\",\"y\"],"
                                   "\"M\":{\"k2\":\"v2\",\"k1\":\"v1\"},\"E\":[],\"P\":{\"80/tcp\":[{\"HostPort\":\"8\"}]}}";
        _cleanup_json_ json_t *v = NULL;
        ASSERT_OK(ji_parse(json, strlen(json), 0, &v, NULL));
        _cleanup_(template_freep) Template *t = NULL;
        _cleanup_(buf_done) Buf b = {};
        if (template_parse(text, &t, NULL) < 0 || template_run(t, v, &b, NULL) < 0) {
                buf_clear(&b);
                buf_adds(&b, "error");
        }
        ASSERT_STREQ(buf_str(&b), want);
}

TEST(template_values) {
        template_gives("plain", "plain");
        template_gives("{{.A.B}} {{.A.N}} {{.A.T}} {{.A.Z}}", "b 7 true <no value>");
        template_gives("{{.L}} {{.M}}", "[x y] map[k1:v1 k2:v2]");
        template_gives("{{json .L}} {{json .A.B}} {{json .A.Z}}", "[\"x\",\"y\"] \"b\" null");
        template_gives("{{index .L 1}} {{index .M \"k1\"}} {{len .L}}", "y v1 2");
        template_gives("{{(index (index .P \"80/tcp\") 0).HostPort}}", "8");
        template_gives("{{join .L \"-\"}} {{.L | len}} {{printf \"%s=%d\" .A.B .A.N}}", "x-y 2 b=7");
        template_gives("{{upper .A.B}}{{title \"abc\"}}{{`raw`}}", "BAbcraw");
        template_gives("{{.Nope}}", "error");
        template_gives("{{.A.B.C}}", "error");
        template_gives("{{index .L 5}}", "error");
}

TEST(template_control) {
        template_gives("{{if .A.T}}yes{{else}}no{{end}}{{if .E}}yes{{else}}no{{end}}", "yesno");
        template_gives("{{if .A.F}}1{{else if .A.T}}2{{else}}3{{end}}", "2");
        template_gives("{{range .L}}<{{.}}>{{end}}{{range .E}}x{{else}}empty{{end}}", "<x><y>empty");
        template_gives("{{range $i, $e := .L}}{{$i}}={{$e}};{{end}}", "0=x;1=y;");
        template_gives("{{range $k, $v := .M}}{{$k}}={{$v}} {{end}}", "k1=v1 k2=v2 ");
        template_gives("{{with .A}}{{.B}}{{end}}{{with .E}}x{{end}}{{$x := .A.N}}{{$x}}", "b7");
        template_gives("{{if eq .A.B \"b\"}}=={{end}}{{if and .A.T (not .A.F)}}&{{end}}{{if or .A.F .A.N}}|{{end}}",
                       "==&|");
        template_gives("a {{- .A.N -}}  b {{/* no */}}c", "a7b c");
        template_gives("{{range .L}}{{$.A.B}}{{end}}", "bb");
}

TEST(template_errors) {
        template_gives("{{", "error");
        template_gives("{{if .A}}", "error");
        template_gives("{{end}}", "error");
        template_gives("{{.A", "error");
        template_gives("{{\"open}}", "error");
        template_gives("{{nosuch .A}}", "error");
        template_gives("{{.A .B}}", "error");
        template_gives("{{$x}}", "error");
        _cleanup_(buf_done) Buf deep = {};
        for (unsigned i = 0; i < 1000; i++)
                buf_adds(&deep, "{{if .A}}");
        template_gives(buf_str(&deep), "error");
        buf_clear(&deep);
        buf_adds(&deep, "{{");
        for (unsigned i = 0; i < 1000; i++)
                buf_addc(&deep, '(');
        template_gives(buf_str(&deep), "error");
}

TEST(durations_for_people) {
        static const struct {
                int64_t seconds;
                const char *text;
        } cases[] = { { 0, "Less than a second" }, { 1, "1 second" },      { 59, "59 seconds" },
                      { 60, "About a minute" },    { 150, "2 minutes" },   { 3600, "About an hour" },
                      { 7200, "2 hours" },         { 3 * 86400, "3 days" }, { 20 * 86400, "2 weeks" } };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *t = human_duration(cases[i].seconds);
                ASSERT_STREQ(t, cases[i].text);
        }
}

/* ---- the store ---- */

static ContainerSpec *spec(const char *name) {
        ContainerSpec *s = container_spec_new();
        s->id = container_new_id();
        s->name = name ? xstrdup(name) : NULL;
        s->path = xstrdup("/bin/true");
        strv_add(&s->config.env, "A=b=c");
        strv_add(&s->config.labels, "l=1");
        strv_add(&s->config.exposed_ports, "80/tcp");
        PortBinding *p = host_config_add_port(&s->host);
        *p = (PortBinding){ .host_ip = xstrdup("127.0.0.1"), .host_port = 8080, .port = 80, .proto = "tcp" };
        MountSpec *m = container_spec_add_mount(s);
        ASSERT_OK(parse_volume("/a:/b:ro", m, NULL));
        return s;
}

TEST(store_names_and_prefixes) {
        char dir[] = "/tmp/coracle-test-XXXXXX";
        ASSERT_NOT_NULL(mkdtemp(dir));
        _cleanup_(container_store_closep) Store *s = NULL;
        ASSERT_OK(container_store_open(dir, &s, NULL));
        _cleanup_(container_spec_freep) ContainerSpec *a = spec("one"), *b = spec("one"), *c = spec(NULL);
        int lock_a = -1, lock_b = -1, lock_c = -1;
        ASSERT_OK(container_create(s, a, &lock_a, NULL));
        _cleanup_(container_freep) Container *got = NULL;
        ASSERT_EQ(container_get(s, "one", &got, NULL), -ENOENT);
        ASSERT_OK(container_publish(s, a, NULL));
        ASSERT_OK(container_create(s, b, &lock_b, NULL));
        ASSERT_EQ(container_publish(s, b, NULL), -EEXIST);
        ASSERT_OK(container_create(s, c, &lock_c, NULL));
        ASSERT_OK(container_publish(s, c, NULL));
        ASSERT_TRUE(container_name_ok(c->name));
        ASSERT_OK(container_get(s, "/one", &got, NULL));
        ASSERT_STREQ(got->id, a->id);
        ASSERT_STREQ(got->spec->config.env[0], "A=b=c");
        ASSERT_STREQ(got->spec->config.labels[0], "l=1");
        ASSERT_EQ(got->spec->host.ports[0].host_port, 8080);
        ASSERT_STREQ(got->spec->host.ports[0].host_ip, "127.0.0.1");
        ASSERT_STREQ(got->spec->mounts[0].destination, "/b");
        ASSERT_FALSE(got->spec->mounts[0].rw);
        ASSERT_STREQ(container_status(got), "created");
        _cleanup_free_ char *prefix = xstrndup(a->id, 12), *found = NULL;
        ASSERT_OK(container_find(s, prefix, &found, NULL));
        ASSERT_STREQ(found, a->id);
        ASSERT_EQ(container_find(s, "../x", &found, NULL), -ENOENT);
        ASSERT_EQ(container_lock(s, a->id, 0), -EBUSY);
        ASSERT_OK(container_rename(s, got, "two", NULL));
        ASSERT_EQ(container_find(s, "one", &(char *){ NULL }, NULL), -ENOENT);
        ASSERT_OK(container_delete(s, got->spec, true, NULL));
        (void) close(lock_a);
        (void) close(lock_b);
        (void) close(lock_c);
        Container **l = NULL;
        size_t n = 0;
        ASSERT_OK(container_list(s, &l, &n, NULL));
        ASSERT_EQ(n, 1);
        container_list_free(l, n);
        ASSERT_OK(rm_rf(dir));
}

/* A shim that was killed leaves "running" behind: the next reader repairs it. */
TEST(store_repairs_after_a_kill) {
        char dir[] = "/tmp/coracle-test-XXXXXX";
        ASSERT_NOT_NULL(mkdtemp(dir));
        _cleanup_(container_store_closep) Store *s = NULL;
        ASSERT_OK(container_store_open(dir, &s, NULL));
        for (unsigned removed = 0; removed < 2; removed++) {
                _cleanup_(container_spec_freep) ContainerSpec *a = spec("gone");
                a->host.auto_remove = removed;
                int lock = -1;
                ASSERT_OK(container_create(s, a, &lock, NULL));
                ASSERT_OK(container_publish(s, a, NULL));
                ContainerState st = { .running = true, .started_nsec = 1, .pid = 1 << 22, .pid_start = 1 };
                ASSERT_OK(container_state_save(s, a->id, &st));
                _cleanup_(container_freep) Container *c = NULL;
                ASSERT_OK(container_get(s, "gone", &c, NULL));
                ASSERT_STREQ(container_status(c), "running");
                (void) close(lock);
                c = container_free(c);
                int r = container_get(s, "gone", &c, NULL);
                if (removed) {
                        ASSERT_EQ(r, -ENOENT);
                        continue;
                }
                ASSERT_OK(r);
                ASSERT_STREQ(container_status(c), "exited");
                ASSERT_EQ(c->state.exit_code, 137);
                ASSERT_OK(container_delete(s, c->spec, true, NULL));
        }
        ASSERT_OK(rm_rf(dir));
}

/* ---- paths below a root ---- */

TEST(paths_stay_below_their_root) {
        char dir[] = "/tmp/coracle-test-XXXXXX";
        ASSERT_NOT_NULL(mkdtemp(dir));
        _cleanup_close_ int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        ASSERT_OK(root);
        ASSERT_OK(symlinkat("/etc", root, "abs"));
        ASSERT_OK(symlinkat("../../../../../../etc", root, "rel"));
        ASSERT_EQ(open_in_root(root, "/abs/passwd", O_PATH), -ENOENT);
        ASSERT_EQ(open_in_root(root, "/rel/passwd", O_PATH), -ENOENT);
        ASSERT_EQ(open_in_root(root, "/../../etc/passwd", O_PATH), -ENOENT);
        _cleanup_close_ int made = mkdir_in_root(root, "/a/b/c", 0755);
        ASSERT_OK(made);
        _cleanup_close_ int file = mkfile_in_root(root, "/abs/made", 0644);
        ASSERT_EQ(access("/etc/made", F_OK), -1);
        ASSERT_EQ(mkdir_in_root(root, "/a/../../x", 0755), -EINVAL);
        ASSERT_OK(rm_rf(dir));
}

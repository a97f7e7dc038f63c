/* SPDX-License-Identifier: Apache-2.0 */

/* API 2: members and the cluster's health. */

#include "codec/jsonout.h"
#include "codec/url.h"
#include "v2.h"

#include <time.h>

static bool arg_forever;

const Option v2_health_options[] = {
        { "forever", 'f', OPT_BOOL, &arg_forever, NULL,
          "forever check the health every 10 second until CTRL+C" },
        {},
};

static V2Answer get(const char *path) {
        Etcd2Request q = { .path = path };
        return v2_ask(&q);
}

static json_t *members(void) {
        V2Answer a = get("/v2/members");
        v2_check(&a);
        return ji_arr(a.body, "members");
}

static char *urls(const json_t *m, const char *field) {
        Buf b = {};
        size_t i;
        json_t *u;
        json_array_foreach(ji_arr(m, field), i, u)
                        buf_addf(&b, "%s%s", i > 0 ? "," : "", strempty(json_string_value(u)));
        return buf_take(&b);
}

static int member_list(int argc, char **argv) {
        size_t i;
        json_t *m;
        json_t *list = members();
        V2Answer leader = get("/v2/members/leader");
        const char *leader_id =
                        leader.status == 200 && leader.body ? strempty(ji_str(leader.body, "id")) : "";
        json_array_foreach(list, i, m) {
                const char *id = strempty(ji_str(m, "id")), *name = strempty(ji_str(m, "name"));
                _cleanup_free_ char *peers = urls(m, "peerURLs"), *clients = urls(m, "clientURLs");
                if (!*name)
                        printf("%s[unstarted]: peerURLs=%s\n", id, peers);
                else
                        printf("%s: name=%s peerURLs=%s clientURLs=%s isLeader=%s\n", id, name, peers,
                               clients, streq(id, leader_id) ? "true" : "false");
        }
        return 0;
}

static char *peer_json(char *list) {
        Buf b = {};
        JsonOut j = { .buf = &b };
        _cleanup_strv_ char **each = strv_split(list, ",", false);
        jo_obj(&j);
        jo_key(&j, "peerURLs");
        jo_arr(&j);
        STRV_FOREACH(e, each)
                jo_str(&j, *e);
        jo_end(&j);
        jo_end(&j);
        return buf_take(&b);
}

static int refuse(const V2Answer *a) {
        const char *message = a->body ? ji_str(a->body, "message") : NULL;
        fprintf(stderr, "%s\n", message ?: a->text);
        return V2_BAD_ARGS;
}

static int member_add(int argc, char **argv) {
        if (argc != 2) {
                fprintf(stderr, "Provide a name and a single member peerURL\n");
                return V2_BAD_ARGS;
        }
        _cleanup_free_ char *body = peer_json(argv[1]);
        Etcd2Request q = { .method = "POST", .path = "/v2/members", .json = body };
        V2Answer a = v2_ask(&q);
        if (a.status != 201)
                return refuse(&a);
        const char *id = strempty(ji_str(a.body, "id"));
        printf("Added member named %s with ID %s to cluster\n\nETCD_NAME=\"%s\"\nETCD_INITIAL_CLUSTER=\"",
               argv[0], id, argv[0]);
        size_t i, k, n = 0;
        json_t *m, *u;
        json_array_foreach(members(), i, m) json_array_foreach(ji_arr(m, "peerURLs"), k, u)
                        printf("%s%s=%s", n++ > 0 ? "," : "",
                               streq(strempty(ji_str(m, "id")), id) ? argv[0] : strempty(ji_str(m, "name")),
                               strempty(json_string_value(u)));
        printf("\"\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n");
        return 0;
}

static int member_remove(int argc, char **argv) {
        size_t i;
        json_t *m;
        bool found = false;
        if (argc != 1) {
                fprintf(stderr, "Provide a single member ID\n");
                return V2_BAD_ARGS;
        }
        json_array_foreach(members(), i, m) found |= streq(strempty(ji_str(m, "id")), argv[0]) ||
                                                     streq(strempty(ji_str(m, "name")), argv[0]);
        if (!found) {
                fprintf(stderr, "Couldn't find a member in the cluster with an ID of %s.\n", argv[0]);
                return V2_BAD_ARGS;
        }
        _cleanup_free_ char *path = xasprintf("/v2/members/%s", argv[0]);
        Etcd2Request q = { .method = "DELETE", .path = path };
        V2Answer a = v2_ask(&q);
        if (a.status != 204)
                return refuse(&a);
        printf("Removed member %s from cluster\n", argv[0]);
        return 0;
}

static int member_update(int argc, char **argv) {
        if (argc != 2) {
                fprintf(stderr, "Provide an ID and a list of comma separated peerURL (0xabcd "
                                "http://example.com,http://example1.com)\n");
                return V2_BAD_ARGS;
        }
        Buf path = {};
        buf_adds(&path, "/v2/members/");
        url_encode(&path, argv[0], strlen(argv[0]), NULL);
        _cleanup_free_ char *body = peer_json(argv[1]);
        Etcd2Request q = { .method = "PUT", .path = buf_str(&path), .json = body };
        V2Answer a = v2_ask(&q);
        buf_done(&path);
        if (a.status != 204)
                return refuse(&a);
        printf("Updated member with ID %s in cluster\n", argv[0]);
        return 0;
}

static const Option none[] = { {} };
static const V2Verb member_verbs[] = {
        { "list", "", "enumerate existing cluster members", none, member_list },
        { "add", "", "add a new member to the etcd cluster", none, member_add },
        { "remove", "", "remove an existing member from the etcd cluster", none, member_remove },
        { "update", "", "update an existing member in the etcd cluster", none, member_update },
        {},
};

int v2_member(int argc, char **argv) {
        return v2_run_group(member_verbs, "member", argc, argv);
}

/* ---- health ---- */

typedef enum Health { HEALTHY, UNHEALTHY, UNREACHABLE } Health;

static Health ask_health(const json_t *m) {
        const char *id = strempty(ji_str(m, "id"));
        size_t i;
        json_t *u;
        if (json_array_size(ji_arr(m, "clientURLs")) == 0) {
                printf("member %s is unreachable: no available published client urls\n", id);
                return UNREACHABLE;
        }
        json_array_foreach(ji_arr(m, "clientURLs"), i, u) {
                const char *url = strempty(json_string_value(u));
                Etcd2Request q = { .path = "/health", .endpoint = url };
                V2Answer a;
                char *problem;
                if (!v2_try(&q, &a, &problem)) {
                        printf("failed to check the health of member %s on %s: %s", id, url, problem);
                        continue;
                }
                const char *health = a.body ? strempty(ji_str(a.body, "health")) : "";
                bool good = streq(health, "true");
                if (good || a.body) {
                        printf("member %s is %s: got %s result from %s\n", id,
                               good ? "healthy" : "unhealthy", good ? "healthy" : "unhealthy", url);
                        return good ? HEALTHY : UNHEALTHY;
                }
                printf("failed to check the health of member %s on %s: HTTP status %d\n", id, url, a.status);
        }
        _cleanup_free_ char *all = urls(m, "clientURLs");
        printf("member %s is unreachable: [%s] are all unreachable\n", id, all);
        return UNREACHABLE;
}

static int check_once(void) {
        size_t i, healthy = 0, n = 0;
        json_t *m;
        V2Answer a;
        char *problem;
        Etcd2Request q = { .path = "/v2/members" };
        if (!v2_try(&q, &a, &problem) || a.status != 200) {
                fprintf(stderr,
                        "cluster may be unhealthy: failed to list members\nError:  client: etcd cluster is "
                        "unavailable "
                        "or misconfigured\n%s\n",
                        problem);
                return V2_UNHEALTHY;
        }
        json_array_foreach(ji_arr(a.body, "members"), i, m) {
                n++;
                healthy += ask_health(m) == HEALTHY;
        }
        if (healthy == n) {
                puts("cluster is healthy");
                return 0;
        }
        puts(healthy > n / 2 ? "cluster is degraded" : "cluster is unhealthy");
        return V2_UNHEALTHY;
}

int v2_cluster_health(int argc, char **argv) {
        for (;;) {
                int r = check_once();
                if (!arg_forever)
                        return r;
                (void) fflush(stdout);
                struct timespec pause = { .tv_sec = 10 };
                (void) nanosleep(&pause, NULL);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */

/* member and endpoint */

#include "codec/jsonout.h"
#include "ctl.h"
#include "sys/clock.h"

static char *arg_peer_urls;
static bool arg_learner, arg_cluster;
static int64_t arg_rev;

const Option member_add_options[] = {
        { "learner", 0, OPT_BOOL, &arg_learner, "[=false]", "indicates if the new member is raft learner" },
        { "peer-urls", 0, OPT_STR, &arg_peer_urls, "=\"\"",
          "comma separated peer URLs for the new member." },
        {},
};
const Option member_update_options[] = {
        { "peer-urls", 0, OPT_STR, &arg_peer_urls, "=\"\"",
          "comma separated peer URLs for the updated member." },
        {},
};
const Option endpoint_options[] = {
        { "cluster", 0, OPT_BOOL, &arg_cluster, "[=false]",
          "use all endpoints from the cluster member list" },
        {},
};
const Option hashkv_options[] = {
        { "cluster", 0, OPT_BOOL, &arg_cluster, "[=false]",
          "use all endpoints from the cluster member list" },
        { "rev", 0, OPT_INT, &arg_rev, "=0", "maximum revision to hash (default: all revisions)" },
        {},
};

static const char *boolean(bool b) {
        return b ? "true" : "false";
}

static char *join(char **list, size_t n) {
        Buf b = {};
        for (size_t i = 0; i < n; i++)
                buf_addf(&b, "%s%s", i > 0 ? "," : "", list[i]);
        return buf_take(&b);
}

/* ---- members ---- */

static Etcdserverpb__MemberListResponse *list_members(void) {
        Etcdserverpb__MemberListRequest q = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
        return ctl_call("/etcdserverpb.Cluster/MemberList", ETCD_CALL_READ, &q,
                        &etcdserverpb__member_list_response__descriptor, NULL);
}

static void member_fields(const Etcdserverpb__Member *m) {
        _cleanup_free_ char *name = go_quote(m->name, strlen(m->name));
        printf("\"ID\" : %" PRIu64 "\n\"Name\" : %s\n", m->id, name);
        for (size_t i = 0; i < m->n_peerurls; i++)
                printf("\"PeerURL\" : \"%s\"\n", m->peerurls[i]);
        for (size_t i = 0; i < m->n_clienturls; i++)
                printf("\"ClientURL\" : \"%s\"\n", m->clienturls[i]);
        printf("\"IsLearner\" : %s\n\n", boolean(m->islearner));
}

int verb_member_list(int argc, char **argv) {
        const Etcdserverpb__MemberListResponse *r = list_members();
        Table t = {};
        if (ctl_format == CTL_JSON) {
                print_json(&r->base);
                return 0;
        }
        if (ctl_format == CTL_FIELDS)
                print_header_fields(r->header);
        if (ctl_format == CTL_TABLE)
                table_row(&t, 6, "ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER");
        for (size_t i = 0; i < r->n_members; i++) {
                const Etcdserverpb__Member *m = r->members[i];
                _cleanup_free_ char *peers = join(m->peerurls, m->n_peerurls);
                _cleanup_free_ char *clients = join(m->clienturls, m->n_clienturls);
                _cleanup_free_ char *id = xasprintf("%" PRIx64, m->id);
                const char *status = isempty(m->name) ? "unstarted" : "started";
                if (ctl_format == CTL_SIMPLE)
                        printf("%s, %s, %s, %s, %s, %s\n", id, status, m->name, peers, clients,
                               boolean(m->islearner));
                else if (ctl_format == CTL_FIELDS)
                        member_fields(m);
                else
                        table_row(&t, 6, id, status, m->name, peers, clients, boolean(m->islearner));
        }
        if (ctl_format == CTL_TABLE)
                table_print(&t);
        return 0;
}

static uint64_t member_id(int argc, char **argv) {
        uint64_t id;
        if (argc != 1)
                ctl_die(CTL_BAD_ARGS, "member ID is not provided");
        if (parse_u64_base(argv[0], 16, &id) < 0)
                ctl_die(CTL_BAD_ARGS,
                        "bad member ID arg (strconv.ParseUint: parsing \"%s\": invalid syntax), expecting "
                        "ID in Hex",
                        argv[0]);
        return id;
}

/* The answer of add, remove, update, promote in the forms that do not depend on which. */
static bool shown(const ProtobufCMessage *m, const Etcdserverpb__ResponseHeader *h) {
        if (ctl_format == CTL_JSON)
                print_json(m);
        else if (ctl_format == CTL_FIELDS)
                print_header_fields(h);
        else if (ctl_format == CTL_TABLE)
                die_no_table();
        return ctl_format != CTL_SIMPLE;
}

/* What the new member has to be started with, as its environment. */
static void show_new_member(const Etcdserverpb__MemberAddResponse *r, const char *name) {
        _cleanup_free_ char *own = join(r->member->peerurls, r->member->n_peerurls);
        Buf all = {};
        for (size_t i = 0; i < r->n_members; i++) {
                const Etcdserverpb__Member *m = r->members[i];
                for (size_t k = 0; k < m->n_peerurls; k++)
                        buf_addf(&all, "%s%s=%s", all.len > 0 ? "," : "",
                                 m->id == r->member->id ? name : m->name, m->peerurls[k]);
        }
        printf("\nETCD_NAME=\"%s\"\nETCD_INITIAL_CLUSTER=\"%s\"\nETCD_INITIAL_ADVERTISE_PEER_URLS=\"%s\"\n"
               "ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
               name, buf_str(&all), own);
        buf_done(&all);
}

int verb_member_add(int argc, char **argv) {
        Etcdserverpb__MemberAddRequest q = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
        if (argc < 1)
                ctl_die(CTL_BAD_ARGS, "member name not provided");
        if (argc > 1)
                ctl_die(CTL_BAD_ARGS, "too many arguments");
        if (isempty(arg_peer_urls))
                ctl_die(CTL_BAD_ARGS, "member peer urls not provided");
        q.peerurls = strv_split(arg_peer_urls, ",", false);
        q.n_peerurls = strv_len(q.peerurls);
        q.islearner = arg_learner;
        const Etcdserverpb__MemberAddResponse *r =
                        ctl_call("/etcdserverpb.Cluster/MemberAdd", ETCD_CALL_WRITE, &q,
                                 &etcdserverpb__member_add_response__descriptor, NULL);
        if (shown(&r->base, r->header))
                return 0;
        printf("Member %16" PRIx64 " added to cluster %16" PRIx64 "\n", r->member->id,
               r->header->cluster_id);
        show_new_member(r, argv[0]);
        return 0;
}

int verb_member_remove(int argc, char **argv) {
        Etcdserverpb__MemberRemoveRequest q = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
        q.id = member_id(argc, argv);
        const Etcdserverpb__MemberRemoveResponse *r =
                        ctl_call("/etcdserverpb.Cluster/MemberRemove", ETCD_CALL_WRITE, &q,
                                 &etcdserverpb__member_remove_response__descriptor, NULL);
        if (!shown(&r->base, r->header))
                printf("Member %16" PRIx64 " removed from cluster %16" PRIx64 "\n", q.id,
                       r->header->cluster_id);
        return 0;
}

int verb_member_update(int argc, char **argv) {
        Etcdserverpb__MemberUpdateRequest q = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
        q.id = member_id(argc, argv);
        if (isempty(arg_peer_urls))
                ctl_die(CTL_BAD_ARGS, "member peer urls not provided");
        q.peerurls = strv_split(arg_peer_urls, ",", false);
        q.n_peerurls = strv_len(q.peerurls);
        const Etcdserverpb__MemberUpdateResponse *r =
                        ctl_call("/etcdserverpb.Cluster/MemberUpdate", ETCD_CALL_WRITE, &q,
                                 &etcdserverpb__member_update_response__descriptor, NULL);
        if (!shown(&r->base, r->header))
                printf("Member %16" PRIx64 " updated in cluster %16" PRIx64 "\n", q.id,
                       r->header->cluster_id);
        return 0;
}

int verb_member_promote(int argc, char **argv) {
        Etcdserverpb__MemberPromoteRequest q = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
        q.id = member_id(argc, argv);
        const Etcdserverpb__MemberPromoteResponse *r =
                        ctl_call("/etcdserverpb.Cluster/MemberPromote", ETCD_CALL_WRITE, &q,
                                 &etcdserverpb__member_promote_response__descriptor, NULL);
        if (!shown(&r->base, r->header))
                printf("Member %16" PRIx64 " promoted in cluster %16" PRIx64 "\n", q.id,
                       r->header->cluster_id);
        return 0;
}

/* ---- endpoints ---- */

static char **chosen_endpoints(void) {
        if (!arg_cluster)
                return strv_copy(ctl_endpoints());
        char **list = NULL;
        const Etcdserverpb__MemberListResponse *r = list_members();
        for (size_t i = 0; i < r->n_members; i++)
                for (size_t k = 0; k < r->members[i]->n_clienturls; k++)
                        strv_add(&list, r->members[i]->clienturls[k]);
        return list;
}

typedef struct Health {
        const char *endpoint;
        bool healthy;
        char *took, *error;
} Health;

static Health ask_health(const char *endpoint) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        Health h = { .endpoint = endpoint, .error = xstrdup("") };
        GrpcCode code;
        void *answer;
        char *message;
        q.key = ctl_bytes("health");
        Usec begin = now_monotonic();
        int r = ctl_try("/etcdserverpb.KV/Range", ETCD_CALL_READ, &q,
                        &etcdserverpb__range_response__descriptor, endpoint, &answer, &code, &message);
        h.took = go_duration(now_monotonic() - begin);
        h.healthy = r >= 0 || code == GRPC_PERMISSION_DENIED; /* the cluster decided: it is alive */
        if (!h.healthy) {
                free(h.error);
                h.error = message;
        }
        return h;
}

static void show_health(const Health *h, Table *t, JsonOut *j) {
        switch (ctl_format) {
        case CTL_SIMPLE:
                if (h->healthy)
                        printf("%s is healthy: successfully committed proposal: took = %s\n", h->endpoint,
                               h->took);
                else
                        fprintf(stderr, "%s is unhealthy: failed to commit proposal: %s\n", h->endpoint,
                                h->error);
                break;
        case CTL_FIELDS:
                printf("\"Endpoint\" : \"%s\"\n\"Health\" : %s\n\"Took\" : %s\n\"Error\" : %s\n\n",
                       h->endpoint, boolean(h->healthy), h->took, h->error);
                break;
        case CTL_TABLE:
                table_row(t, 4, h->endpoint, boolean(h->healthy), h->took, h->error);
                break;
        case CTL_JSON:
                jo_obj(j);
                jo_kstr(j, "endpoint", h->endpoint);
                jo_kbool(j, "health", h->healthy);
                jo_kstr(j, "took", h->took);
                if (!h->healthy)
                        jo_kstr(j, "error", h->error);
                jo_end(j);
        }
}

int verb_endpoint_health(int argc, char **argv) {
        _cleanup_strv_ char **list = chosen_endpoints();
        Buf b = {};
        JsonOut j = { .buf = &b };
        Table t = {};
        bool all = true;
        table_row(&t, 4, "ENDPOINT", "HEALTH", "TOOK", "ERROR");
        jo_arr(&j);
        STRV_FOREACH(e, list) {
                Health h = ask_health(*e);
                show_health(&h, &t, &j);
                all &= h.healthy;
        }
        jo_end(&j);
        if (ctl_format == CTL_TABLE)
                table_print(&t);
        else if (ctl_format == CTL_JSON)
                puts(buf_str(&b));
        if (!all)
                ctl_die(CTL_ERROR, "unhealthy cluster");
        return 0;
}

static void status_fields(const char *endpoint, const Etcdserverpb__StatusResponse *s, const char *errors) {
        print_header_fields(s->header);
        printf("\"Version\" : \"%s\"\n\"DBSize\" : %" PRId64 "\n\"Leader\" : %" PRIu64
               "\n\"IsLearner\" : %s\n",
               s->version, s->dbsize, s->leader, boolean(s->islearner));
        printf("\"RaftIndex\" : %" PRIu64 "\n\"RaftTerm\" : %" PRIu64 "\n\"RaftAppliedIndex\" : %" PRIu64
               "\n",
               s->raftindex, s->raftterm, s->raftappliedindex);
        printf("\"Errors\" : [%s]\n\"Endpoint\" : \"%s\"\n\n", errors, endpoint);
}

static void show_status(const char *endpoint, const Etcdserverpb__StatusResponse *s, Table *t, JsonOut *j) {
        _cleanup_free_ char *id = xasprintf("%" PRIx64, s->header->member_id),
                            *size = human_bytes((uint64_t) s->dbsize);
        _cleanup_free_ char *term = xasprintf("%" PRIu64, s->raftterm),
                            *index = xasprintf("%" PRIu64, s->raftindex);
        _cleanup_free_ char *applied = xasprintf("%" PRIu64, s->raftappliedindex);
        _cleanup_free_ char *errors = join(s->errors, s->n_errors);
        const char *leader = boolean(s->leader == s->header->member_id), *learner = boolean(s->islearner);
        _cleanup_(buf_done) Buf part = {};
        switch (ctl_format) {
        case CTL_SIMPLE:
                printf("%s, %s, %s, %s, %s, %s, %s, %s, %s, %s\n", endpoint, id, s->version, size, leader,
                       learner, term, index, applied, errors);
                break;
        case CTL_FIELDS:
                status_fields(endpoint, s, errors);
                break;
        case CTL_TABLE:
                table_row(t, 10, endpoint, id, s->version, size, leader, learner, term, index, applied,
                          errors);
                break;
        case CTL_JSON:
                json_message(&part, &s->base);
                jo_obj(j);
                jo_kstr(j, "Endpoint", endpoint);
                jo_key(j, "Status");
                jo_raw(j, part.data, part.len);
                jo_end(j);
        }
}

/* Asks every endpoint; what does not answer is told on stderr and makes the exit status 1. */
static bool ask(const char *method, const char *endpoint, const void *q, const void *descriptor,
                const char *what, void **ret) {
        GrpcCode code;
        char *message;
        if (ctl_try(method, ETCD_CALL_READ, q, descriptor, endpoint, ret, &code, &message) >= 0) {
                free(message);
                return true;
        }
        fprintf(stderr, "Failed to get the %s of endpoint %s (%s)\n", what, endpoint, message);
        free(message);
        return false;
}

int verb_endpoint_status(int argc, char **argv) {
        _cleanup_strv_ char **list = chosen_endpoints();
        Etcdserverpb__StatusRequest q = ETCDSERVERPB__STATUS_REQUEST__INIT;
        Buf b = {};
        JsonOut j = { .buf = &b };
        Table t = {};
        int r = 0;
        table_row(&t, 10, "ENDPOINT", "ID", "VERSION", "DB SIZE", "IS LEADER", "IS LEARNER", "RAFT TERM",
                  "RAFT INDEX", "RAFT APPLIED INDEX", "ERRORS");
        jo_arr(&j);
        STRV_FOREACH(e, list) {
                void *s;
                if (ask("/etcdserverpb.Maintenance/Status", *e, &q,
                        &etcdserverpb__status_response__descriptor, "status", &s))
                        show_status(*e, s, &t, &j);
                else
                        r = CTL_ERROR;
        }
        jo_end(&j);
        if (ctl_format == CTL_TABLE)
                table_print(&t);
        else if (ctl_format == CTL_JSON)
                puts(buf_str(&b));
        return r;
}

static void show_hash(const char *endpoint, const Etcdserverpb__HashKVResponse *h, Table *t, JsonOut *j) {
        _cleanup_free_ char *hash = xasprintf("%u", h->hash);
        _cleanup_(buf_done) Buf part = {};
        switch (ctl_format) {
        case CTL_SIMPLE:
                printf("%s, %s\n", endpoint, hash);
                break;
        case CTL_FIELDS:
                print_header_fields(h->header);
                printf("\"Endpoint\" : \"%s\"\n\"Hash\" : %s\n\n", endpoint, hash);
                break;
        case CTL_TABLE:
                table_row(t, 2, endpoint, hash);
                break;
        case CTL_JSON:
                json_message(&part, &h->base);
                jo_obj(j);
                jo_kstr(j, "Endpoint", endpoint);
                jo_key(j, "HashKV");
                jo_raw(j, part.data, part.len);
                jo_end(j);
        }
}

int verb_endpoint_hashkv(int argc, char **argv) {
        _cleanup_strv_ char **list = chosen_endpoints();
        Etcdserverpb__HashKVRequest q = ETCDSERVERPB__HASH_KVREQUEST__INIT;
        Buf b = {};
        JsonOut j = { .buf = &b };
        Table t = {};
        int r = 0;
        q.revision = arg_rev;
        table_row(&t, 2, "ENDPOINT", "HASH");
        jo_arr(&j);
        STRV_FOREACH(e, list) {
                void *h;
                if (ask("/etcdserverpb.Maintenance/HashKV", *e, &q,
                        &etcdserverpb__hash_kvresponse__descriptor, "hash", &h))
                        show_hash(*e, h, &t, &j);
                else
                        r = CTL_ERROR;
        }
        jo_end(&j);
        if (ctl_format == CTL_TABLE)
                table_print(&t);
        else if (ctl_format == CTL_JSON)
                puts(buf_str(&b));
        return r;
}

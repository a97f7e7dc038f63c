/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "etcd/boot.h"
#include "etcd/discovery/discovery.h"
#include "http/client.h"
#include "sys/log.h"

#define REMOTE_TIMEOUT (3 * USEC_PER_SEC)
#define REMOTE_BYTES_MAX (1U << 20)

void founding_done(Founding *f) {
        members_done(&f->members);
}

/* ---- the flags ---- */

static int check_own_urls(const EtcdConfig *c, const EtcdNamedUrls *own, Err *err) {
        if (etcd_urls_equal(own->urls, c->advertise_peer_urls))
                return 0;
        _cleanup_free_ char *advertised = strv_join(c->advertise_peer_urls, ","),
                            *listed = strv_join(own->urls, ",");
        _cleanup_strv_ char **missing = NULL;
        STRV_FOREACH(i, own->urls)
                if (!strv_contains(c->advertise_peer_urls, *i))
                        strv_addf(&missing, "%s=%s", c->name, *i);
        if (missing) {
                _cleanup_free_ char *text = strv_join(missing, ",");
                return err_set(err, -EINVAL,
                               "--initial-cluster has %s but missing from --initial-advertise-peer-urls=%s "
                               "(%s has different advertised URLs in the cluster and advertised peer URLs list)",
                               text, advertised, c->name);
        }
        return err_set(err, -EINVAL,
                       "--initial-advertise-peer-urls has %s but missing from --initial-cluster=%s "
                       "(%s has different advertised URLs in the cluster and advertised peer URLs list)",
                       advertised, listed, c->name);
}

int founding_members(const EtcdConfig *c, const EtcdInitialCluster *cluster, const char *token, Founding *ret,
                     Err *err) {
        const EtcdNamedUrls *own = etcd_initial_cluster_find(cluster, c->name);
        if (!own)
                return err_set(err, -EINVAL, "couldn't find local name \"%s\" in the initial cluster configuration "
                                             "(%s not listed in the initial cluster config)",
                               c->name, c->name);
        if (etcd_initial_cluster_duplicate(cluster)) {
                _cleanup_free_ char *text = etcd_initial_cluster_text(cluster);
                return err_set(err, -EINVAL, "initial cluster %s has duplicate url", text);
        }
        if (cluster->n > MEMBERS_MAX)
                return err_set(err, -E2BIG, "initial cluster has %zu members, more than %u", cluster->n,
                               MEMBERS_MAX);
        int r = check_own_urls(c, own, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < cluster->n; i++) {
                const EtcdNamedUrls *m = &cluster->members[i];
                MemberChange add = { .type = MEMBER_ADD,
                                     .id = member_id_of(m->urls, token, ""),
                                     .name = m->name,
                                     .peer_urls = m->urls };
                if (members_check(&ret->members, &add) != MEMBER_OK)
                        return err_set(err, -EINVAL, "initial cluster: members %s and another have the same id",
                                       m->name);
                members_apply(&ret->members, &add);
        }
        ret->id = member_id_of(own->urls, token, "");
        ret->cluster_id = ret->members.cluster_id = members_cluster_id(&ret->members);
        return 0;
}

/* ---- members that run already ---- */

static int parse_remote_member(json_t *j, Members *m) {
        MemberChange add = { .type = ji_bool(j, "isLearner", false) ? MEMBER_ADD_LEARNER : MEMBER_ADD };
        _cleanup_strv_ char **clients = NULL, **peers = NULL;
        json_t *id = json_object_get(j, "id"), *u;
        size_t i;
        if (!json_is_integer(id))
                return -EBADMSG;
        add.id = (uint64_t) json_integer_value(id);
        json_array_foreach (ji_arr(j, "peerURLs"), i, u)
                if (json_is_string(u))
                        strv_add(&peers, json_string_value(u));
        json_array_foreach (ji_arr(j, "clientURLs"), i, u)
                if (json_is_string(u))
                        strv_add(&clients, json_string_value(u));
        if (!peers || etcd_urls_check(peers, NULL) < 0)
                return -EBADMSG;
        add.peer_urls = peers;
        if (members_check(m, &add) != MEMBER_OK)
                return -EBADMSG;
        members_apply(m, &add);
        (void) members_set_attributes(m, add.id, strempty(ji_str(j, "name")), clients);
        return 0;
}

/* Ids above 2^63 do not fit into jansson's integers: they are turned into negative ones first. */
static void wrap_big_ids(const char *p, size_t n, Buf *to) {
        for (size_t i = 0; i < n;) {
                const char *key = "\"id\":";
                size_t k = strlen(key);
                if (n - i < k || memcmp(p + i, key, k) != 0) {
                        buf_addc(to, p[i++]);
                        continue;
                }
                buf_add(to, p + i, k);
                i += k;
                size_t digits = 0;
                while (i + digits < n && p[i + digits] >= '0' && p[i + digits] <= '9')
                        digits++;
                _cleanup_free_ char *text = xstrndup(p + i, digits);
                uint64_t id;
                if (digits > 0 && parse_u64(text, &id) >= 0)
                        buf_addf(to, "%" PRId64, (int64_t) id);
                else
                        buf_adds(to, "null");
                i += digits;
        }
}

int founding_parse_remote(const void *p, size_t n, Members *ret, Err *err) {
        _cleanup_(buf_done) Buf text = {};
        _cleanup_json_ json_t *root = NULL;
        _cleanup_(members_done) Members m = {};
        wrap_big_ids(p, n, &text);
        int r = ji_parse(buf_str(&text), text.len, REMOTE_BYTES_MAX, &root, err);
        if (r < 0)
                return r;
        json_t *j;
        size_t i;
        json_array_foreach (root, i, j)
                if (parse_remote_member(j, &m) < 0)
                        return err_set(err, -EBADMSG, "the list of members is not valid");
        if (m.n == 0)
                return err_set(err, -EBADMSG, "the list of members is empty");
        *ret = m;
        m = (Members){};
        return 0;
}

static int fetch_remote(const char *peer_url, TlsContext *tls, Usec timeout, Members *ret, Err *err) {
        _cleanup_(http_result_done) HttpResult res = {};
        _cleanup_free_ char *url = xasprintf("%s/members", peer_url);
        HttpCallConfig call = { .url = url, .timeout = timeout, .body_max = REMOTE_BYTES_MAX };
        int r = http_fetch(&call, tls, &res, err);
        if (r < 0)
                return r;
        if (res.status != 200)
                return err_set(err, -EBADMSG, "%s answered %d", url, res.status);
        const char *id = http_call_header(res.call, "X-Etcd-Cluster-Id");
        r = founding_parse_remote(buf_str(&res.call->body), res.call->body.len, ret, err);
        if (r >= 0 && (!id || parse_u64_base(id, 16, &ret->cluster_id) < 0)) {
                members_done(ret);
                return err_set(err, -EBADMSG, "%s did not tell its cluster id", url);
        }
        return r;
}

/* The first answer of any member but ourselves. */
static int find_remote(const Founding *f, TlsContext *tls, Usec timeout, bool quiet, Members *ret) {
        for (size_t i = 0; i < f->members.n; i++) {
                if (f->members.list[i].id == f->id)
                        continue;
                STRV_FOREACH(u, f->members.list[i].peer_urls) {
                        _cleanup_(err_done) Err e = {};
                        if (fetch_remote(*u, tls, timeout, ret, &e) >= 0)
                                return 0;
                        if (!quiet)
                                log_warning("could not get cluster response from %s: %s", *u, err_msg(&e));
                }
        }
        return -ENOENT;
}

int founding_match_remote(Members *local, const Members *remote, Err *err) {
        if (local->n != remote->n)
                return err_set(err, -EINVAL,
                               "error validating peerURLs: member count is unequal (%zu in --initial-cluster, "
                               "%zu in the running cluster)",
                               local->n, remote->n);
        Members merged;
        members_copy(remote, &merged);
        for (size_t i = 0; i < local->n; i++) {
                const Member *p = &local->list[i], *q = members_find_urls(remote, p->peer_urls);
                if (!q) {
                        _cleanup_free_ char *urls = strv_join(p->peer_urls, ",");
                        members_done(&merged);
                        return err_set(err, -EINVAL,
                                       "error validating peerURLs: unmatched member while checking PeerURLs: "
                                       "%s is not a member of the running cluster; "
                                       "add it there first (etcdctl member add)",
                                       urls);
                }
        }
        members_done(local);
        *local = merged;
        return 0;
}

static int join_existing(const EtcdConfig *c, TlsContext *tls, Founding *f, Err *err) {
        _cleanup_(members_done) Members remote = {};
        const Member *own = members_find(&f->members, f->id);
        assert(own);
        _cleanup_strv_ char **own_urls = strv_copy(own->peer_urls);
        if (find_remote(f, tls, REMOTE_TIMEOUT, false, &remote) < 0)
                return err_set(err, -EHOSTUNREACH, "cannot fetch cluster info from peer urls: could not retrieve "
                                                   "cluster information from the given URLs");
        int r = founding_match_remote(&f->members, &remote, err);
        if (r < 0)
                return r;
        f->id = members_find_urls(&f->members, own_urls)->id;
        f->cluster_id = f->members.cluster_id;
        f->existing = true;
        return 0;
}

/* A member that lost its disk must not come back as if it had never voted. */
static int check_bootstrapped(const Founding *f, TlsContext *tls, Err *err) {
        _cleanup_(members_done) Members remote = {};
        if (find_remote(f, tls, USEC_PER_SEC, true, &remote) < 0 || remote.cluster_id != f->cluster_id)
                return 0;
        const Member *m = members_find(&remote, f->id);
        if (!m || !m->client_urls)
                return 0;
        return err_set(err, -EEXIST,
                       "member %" PRIx64 " has already been bootstrapped: its data is gone, but the cluster still "
                       "counts on it; remove the member there and add it anew",
                       f->id);
}

static int discover(const EtcdConfig *c, EtcdInitialCluster *ret, Err *err) {
        uint64_t id = member_id_of(c->advertise_peer_urls, c->discovery, "");
        _cleanup_strv_ char **own = NULL;
        _cleanup_free_ char *cluster = NULL;
        STRV_FOREACH(i, c->advertise_peer_urls)
                strv_addf(&own, "%s=%s", c->name, *i);
        _cleanup_free_ char *config = strv_join(own, ",");
        int r = discovery_join(c->discovery, id, config, &cluster, err);
        if (r == -ENOSPC)
                return err_wrap(err, r, "proxy mode, which etcd would enter now, is not built; use a new token");
        if (r < 0)
                return err_wrap(err, r, "discovery token %s was used, but failed to bootstrap the cluster",
                                c->discovery);
        log_info("discovery: initial cluster is %s", cluster);
        return etcd_initial_cluster_parse(cluster, ret, err);
}

int founding_of(const EtcdConfig *c, TlsContext *peer_tls, Founding *ret, Err *err) {
        _cleanup_(etcd_initial_cluster_done) EtcdInitialCluster cluster = {};
        _cleanup_(founding_done) Founding f = {};
        bool discovering = *c->discovery != 0;
        int r = discovering ? discover(c, &cluster, err)
                            : etcd_initial_cluster_parse(strempty(c->initial_cluster), &cluster, err);
        if (r < 0)
                return err_wrap(err, r, "error setting up initial cluster");
        r = founding_members(c, &cluster, discovering ? c->discovery : c->initial_token, &f, err);
        if (r < 0)
                return r;
        r = streq(c->initial_state, "existing") && !discovering ? join_existing(c, peer_tls, &f, err)
                                                                 : check_bootstrapped(&f, peer_tls, err);
        if (r < 0)
                return r;
        *ret = f;
        f = (Founding){};
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonout.h"
#include "ctl.h"
#include "sys/clock.h"

static bool arg_once, arg_keys;

const Option lease_keep_options[] = {
        { "once", 0, OPT_BOOL, &arg_once, "[=false]",
          "Resets the keep-alive time to its original value and cobrautl.Exits immediately" },
        {},
};
const Option lease_ttl_options[] = {
        { "keys", 0, OPT_BOOL, &arg_keys, "[=false]", "Get keys attached to this lease" },
        {},
};

/* etcdctl prints the answers of leases without a "header" around the header's fields. */
static void begin_json(JsonOut *j, const Etcdserverpb__ResponseHeader *h) {
        jo_obj(j);
        jo_kuint(j, "cluster_id", h ? h->cluster_id : 0);
        jo_kuint(j, "member_id", h ? h->member_id : 0);
        if (h && h->revision)
                jo_kint(j, "revision", h->revision);
        if (h && h->raft_term)
                jo_kuint(j, "raft_term", h->raft_term);
}

static void end_json(JsonOut *j) {
        jo_end(j);
        puts(buf_str(j->buf));
}

static void fields_id_ttl(const Etcdserverpb__ResponseHeader *h, int64_t id, int64_t ttl) {
        print_header_fields(h);
        printf("\"ID\" : %" PRId64 "\n\"TTL\" : %" PRId64 "\n", id, ttl);
}

int verb_lease_grant(int argc, char **argv) {
        Etcdserverpb__LeaseGrantRequest q = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        char *error;
        if (argc == 0)
                ctl_die(CTL_BAD_ARGS, "lease grant command needs TTL argument");
        if (ctl_parse_i64(argv[0], &q.ttl, 10, &error) < 0)
                ctl_die(CTL_BAD_ARGS, "bad TTL (%s)", error);
        const Etcdserverpb__LeaseGrantResponse *r =
                        ctl_call("/etcdserverpb.Lease/LeaseGrant", ETCD_CALL_WRITE, &q,
                                 &etcdserverpb__lease_grant_response__descriptor, "failed to grant lease");
        switch (ctl_format) {
        case CTL_SIMPLE:
                printf("lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n", (uint64_t) r->id, r->ttl);
                break;
        case CTL_JSON:
                begin_json(&j, r->header);
                jo_kint(&j, "ID", r->id);
                jo_kint(&j, "TTL", r->ttl);
                jo_kstr(&j, "Error", strempty(r->error));
                end_json(&j);
                break;
        case CTL_FIELDS:
                fields_id_ttl(r->header, r->id, r->ttl);
                break;
        case CTL_TABLE:
                die_no_table();
        }
        return 0;
}

int verb_lease_revoke(int argc, char **argv) {
        Etcdserverpb__LeaseRevokeRequest q = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
        if (argc != 1)
                ctl_die(CTL_BAD_ARGS, "lease revoke command needs 1 argument");
        q.id = ctl_lease_id(argv[0]);
        const Etcdserverpb__LeaseRevokeResponse *r =
                        ctl_call("/etcdserverpb.Lease/LeaseRevoke", ETCD_CALL_WRITE, &q,
                                 &etcdserverpb__lease_revoke_response__descriptor, "failed to revoke lease");
        if (ctl_format == CTL_SIMPLE)
                printf("lease %016" PRIx64 " revoked\n", (uint64_t) q.id);
        else if (ctl_format == CTL_JSON)
                print_json(&r->base);
        else if (ctl_format == CTL_FIELDS)
                print_header_fields(r->header);
        else
                die_no_table();
        return 0;
}

static void show_ttl_simple(const Etcdserverpb__LeaseTimeToLiveResponse *r, int64_t id) {
        if (r->ttl == -1) {
                printf("lease %016" PRIx64 " already expired\n", (uint64_t) id);
                return;
        }
        printf("lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)", (uint64_t) id,
               r->grantedttl, r->ttl);
        if (arg_keys) {
                printf(", attached keys([");
                for (size_t i = 0; i < r->n_keys; i++) {
                        printf("%s", i > 0 ? " " : "");
                        (void) fwrite(r->keys[i].data, 1, r->keys[i].len, stdout);
                }
                printf("])");
        }
        putchar('\n');
}

static void show_ttl_json(const Etcdserverpb__LeaseTimeToLiveResponse *r, int64_t id) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        begin_json(&j, r->header);
        jo_kint(&j, "id", id);
        jo_kint(&j, "ttl", r->ttl);
        jo_kint(&j, "granted-ttl", r->grantedttl);
        jo_key(&j, "keys");
        if (r->n_keys == 0) {
                jo_null(&j);
        } else {
                jo_arr(&j);
                for (size_t i = 0; i < r->n_keys; i++)
                        jo_base64(&j, r->keys[i].data, r->keys[i].len);
                jo_end(&j);
        }
        end_json(&j);
}

int verb_lease_timetolive(int argc, char **argv) {
        Etcdserverpb__LeaseTimeToLiveRequest q = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
        if (argc != 1)
                ctl_die(CTL_BAD_ARGS, "lease timetolive command needs lease ID as argument");
        q.id = ctl_lease_id(argv[0]);
        q.keys = arg_keys;
        const Etcdserverpb__LeaseTimeToLiveResponse *r =
                        ctl_call("/etcdserverpb.Lease/LeaseTimeToLive", ETCD_CALL_READ, &q,
                                 &etcdserverpb__lease_time_to_live_response__descriptor, NULL);
        switch (ctl_format) {
        case CTL_SIMPLE:
                show_ttl_simple(r, q.id);
                break;
        case CTL_JSON:
                show_ttl_json(r, q.id);
                break;
        case CTL_FIELDS:
                fields_id_ttl(r->header, q.id, r->ttl);
                printf("\"GrantedTTL\" : %" PRId64 "\n", r->grantedttl);
                for (size_t i = 0; i < r->n_keys; i++) {
                        _cleanup_free_ char *key = go_quote(r->keys[i].data, r->keys[i].len);
                        printf("\"Key\" : %s\n", key);
                }
                break;
        case CTL_TABLE:
                die_no_table();
        }
        return 0;
}

static void show_leases_json(const Etcdserverpb__LeaseLeasesResponse *r) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        begin_json(&j, r->header);
        jo_key(&j, "leases");
        jo_arr(&j);
        for (size_t i = 0; i < r->n_leases; i++) {
                jo_obj(&j);
                jo_kint(&j, "id", r->leases[i]->id);
                jo_end(&j);
        }
        jo_end(&j);
        end_json(&j);
}

int verb_lease_list(int argc, char **argv) {
        Etcdserverpb__LeaseLeasesRequest q = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
        const Etcdserverpb__LeaseLeasesResponse *r =
                        ctl_call("/etcdserverpb.Lease/LeaseLeases", ETCD_CALL_READ, &q,
                                 &etcdserverpb__lease_leases_response__descriptor, NULL);
        if (ctl_format == CTL_TABLE)
                die_no_table();
        if (ctl_format == CTL_JSON) {
                show_leases_json(r);
                return 0;
        }
        if (ctl_format == CTL_SIMPLE)
                printf("found %zu leases\n", r->n_leases);
        else
                print_header_fields(r->header);
        for (size_t i = 0; i < r->n_leases; i++) {
                if (ctl_format == CTL_SIMPLE)
                        printf("%016" PRIx64 "\n", (uint64_t) r->leases[i]->id);
                else
                        printf("\"ID\" : %" PRId64 "\n", r->leases[i]->id);
        }
        return 0;
}

/* ---- keep-alive ---- */

static void show_renewal(const Etcdserverpb__ResponseHeader *h, int64_t id, int64_t ttl) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        switch (ctl_format) {
        case CTL_SIMPLE:
                printf("lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n", (uint64_t) id, ttl);
                break;
        case CTL_JSON:
                begin_json(&j, h);
                jo_kint(&j, "ID", id);
                jo_kint(&j, "TTL", ttl);
                end_json(&j);
                break;
        case CTL_FIELDS:
                fields_id_ttl(h, id, ttl);
                break;
        case CTL_TABLE:
                die_no_table();
        }
        (void) fflush(stdout);
}

static const Etcdserverpb__LeaseKeepAliveResponse *renew(int64_t id) {
        Etcdserverpb__LeaseKeepAliveRequest q = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
        q.id = id;
        return ctl_call("/etcdserverpb.Lease/LeaseKeepAlive", ETCD_CALL_READ, &q,
                        &etcdserverpb__lease_keep_alive_response__descriptor, NULL);
}

int verb_lease_keep_alive(int argc, char **argv) {
        if (argc != 1)
                ctl_die(CTL_BAD_ARGS, "lease keep-alive command needs lease ID as argument");
        int64_t id = ctl_lease_id(argv[0]);
        for (;;) {
                const Etcdserverpb__LeaseKeepAliveResponse *r = renew(id);
                if (r->ttl <= 0 && arg_once)
                        ctl_die(CTL_BAD_CONNECTION, "etcdserver: requested lease not found");
                if (r->ttl <= 0) {
                        printf("lease %016" PRIx64 " expired or revoked.\n", (uint64_t) id);
                        return 0;
                }
                show_renewal(r->header, id, r->ttl);
                if (arg_once)
                        return 0;
                Usec end = now_monotonic() + (Usec) r->ttl * USEC_PER_SEC / 3;
                for (Usec now; (now = now_monotonic()) < end;)
                        (void) sd_event_run(ctl_event(), end - now);
        }
}

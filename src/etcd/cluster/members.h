/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who belongs to the cluster: the replicated list of members, their URLs and names, and the ids that were
 * removed for good. It changes only by applying log entries (membership changes carry a MemberChange as
 * their context, attributes are ordinary commands), and it travels inside snapshots, so every member has the
 * same list at the same index. Pure.
 *
 * Ids are etcd's: the first eight bytes of SHA-1 over the sorted peer URLs and the cluster token (spec a.7),
 * hence a new cluster needs no coordinator, and two configurations that differ make different clusters.
 *
 * Rejected: keeping members as keys of the store, as 2.x does: user writes could reach them, and a snapshot
 * could not be checked without loading the store. */

#include "base/buf.h"
#include "base/err.h"
#include "etcd/cluster/urls.h"

#define MEMBERS_MAX 32U          /* voters and learners together stay below what raft takes */
#define MEMBERS_LEARNERS_MAX 1U  /* as 3.4 */
#define MEMBERS_REMOVED_MAX 4096U /* ids remembered; older ones are forgotten first */
#define MEMBER_URLS_MAX 64U

typedef struct Member {
        uint64_t id;
        char *name;         /* owned; "" until the member has published itself */
        char **peer_urls;   /* owned, sorted */
        char **client_urls; /* owned */
        bool learner;
} Member;

typedef struct Members {
        Member list[MEMBERS_MAX]; /* ascending by id */
        size_t n;
        uint64_t *removed; /* owned; in the order of removal */
        size_t n_removed, cap_removed;
        uint64_t cluster_id;
        char *version; /* owned; "3.4.0", or NULL while nobody has decided */
} Members;

/* What a change came to. Not errors: each API has its own words for them (member_result_text). */
typedef enum MemberResult {
        MEMBER_OK,
        MEMBER_ID_EXISTS,
        MEMBER_URL_EXISTS,
        MEMBER_REMOVED,   /* the id was removed before */
        MEMBER_NOT_FOUND, /* no such id */
        MEMBER_NOT_LEARNER,
        MEMBER_TOO_MANY_LEARNERS,
        MEMBER_NOT_ENOUGH_STARTED, /* strict reconfiguration check */
        MEMBER_LEARNER_NOT_READY,
        MEMBER_UNHEALTHY,
        MEMBER_TOO_MANY,
        _MEMBER_RESULT_MAX,
} MemberResult;
/* "etcdserver: ..." as v3 clients match on it. */
const char *member_result_text(MemberResult r);

typedef enum MemberChangeType {
        MEMBER_ADD = 1,
        MEMBER_ADD_LEARNER,
        MEMBER_PROMOTE,
        MEMBER_REMOVE,
        MEMBER_UPDATE, /* new peer URLs */
        _MEMBER_CHANGE_MAX,
} MemberChangeType;

typedef struct MemberChange {
        MemberChangeType type;
        uint64_t id;
        char *name;       /* owned; only founding members have one */
        char **peer_urls; /* owned */
} MemberChange;

void member_change_done(MemberChange *c);
void member_change_encode(const MemberChange *c, Buf *to);
int member_change_decode(const void *p, size_t n, MemberChange *ret); /* -EBADMSG */

/* `time_text` is "" for founding members, the unix time in decimal for members added later. */
uint64_t member_id_of(char *const *peer_urls, const char *token, const char *time_text);
/* Of a new cluster; the list must be sorted by id, as Members.list is. */
uint64_t members_cluster_id(const Members *m);

void members_done(Members *m);
void members_copy(const Members *m, Members *ret);
const Member *members_find(const Members *m, uint64_t id);
const Member *members_find_name(const Members *m, const char *name);
/* The member whose peer URLs are exactly these, or NULL. */
const Member *members_find_urls(const Members *m, char *const *peer_urls);
bool members_was_removed(const Members *m, uint64_t id);
size_t members_voters(const Members *m);

/* May the change be made? The strict check (--strict-reconfig-check) is the proposer's business only, the
 * rest is asked again when the entry is applied. */
MemberResult members_check(const Members *m, const MemberChange *c);
MemberResult members_check_strict(const Members *m, const MemberChange *c);
/* Applies a change that members_check() allows. */
void members_apply(Members *m, const MemberChange *c);
/* Name and client URLs, published by the member itself; false when there is no such member. */
bool members_set_attributes(Members *m, uint64_t id, const char *name, char *const *client_urls);
void members_set_version(Members *m, const char *version);

/* For snapshots and for the attributes command. Decoding checks everything; -EBADMSG. */
void members_encode(const Members *m, Buf *to);
int members_decode(Rd *rd, Members *ret);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The URLs members are known by: http(s)://host:port without a path (or unix(s)://file:0), in sorted lists.
 * A member's id is computed from them, so their text is kept exactly as it was given, apart from white
 * space (spec a.7). Pure. */

#include "base/err.h"

typedef struct EtcdUrl {
        bool tls;
        bool is_unix;
        char *host; /* owned; without the brackets of an IPv6 address; for unix the path */
        uint16_t port;
} EtcdUrl;

void etcd_url_done(EtcdUrl *u);
/* Parses one URL; the messages are etcd's own. -EINVAL. */
int etcd_url_parse(const char *s, EtcdUrl *ret, Err *err);
/* "a,b" to a sorted list, every entry checked; -EINVAL, also when the list is empty. */
int etcd_urls_parse(const char *s, char ***ret, Err *err);
/* The checks of etcd_urls_parse() for a list that is already split; sorts it. */
int etcd_urls_check(char **urls, Err *err);
/* True when both sorted lists hold the same URLs, where "localhost" equals nothing but itself. */
bool etcd_urls_equal(char *const *a, char *const *b);

/* An initial cluster: "name=url,name=url". A name that comes twice has several URLs. Entries are sorted by
 * name, the URLs of each are sorted. */
typedef struct EtcdNamedUrls {
        char *name;
        char **urls;
} EtcdNamedUrls;

typedef struct EtcdInitialCluster {
        EtcdNamedUrls *members; /* owned */
        size_t n, cap;
} EtcdInitialCluster;

void etcd_initial_cluster_done(EtcdInitialCluster *c);
int etcd_initial_cluster_parse(const char *s, EtcdInitialCluster *ret, Err *err);
const EtcdNamedUrls *etcd_initial_cluster_find(const EtcdInitialCluster *c, const char *name);
/* "name=url,..." as it would be given on a command line; owned by the caller. */
char *etcd_initial_cluster_text(const EtcdInitialCluster *c);
/* The first URL that belongs to two entries, or NULL. */
const char *etcd_initial_cluster_duplicate(const EtcdInitialCluster *c);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which groups of watchers watch a given key: exact keys by hash, ranges by a treap over (from, to) where
 * every node knows the furthest end below it. A lookup costs O(1) plus O(log n) per range found. The treap's
 * priorities are hashes of a counter: no randomness, and nothing of it is replicated state. */

#include "base/hash.h"
#include "base/list.h"
#include "etcd/store/types.h"

typedef struct Watcher Watcher;
typedef struct Group Group;

/* All watchers of one key or one range. */
struct Group {
        Bytes from, to; /* bytes owned */
        bool single, open;
        LIST_HEAD(Watcher) watchers;
        size_t n_watchers;
        /* in the treap */
        Group *left, *right;
        uint64_t priority;
        const Group *furthest; /* the one below (or this) whose range ends last */
};

typedef struct Intervals {
        Map singles; /* key -> Group */
        Group *root;
        uint64_t counter;
} Intervals;

Group *intervals_get(Intervals *iv, Bytes from, Bytes to, bool single, bool open); /* made when missing */
void intervals_drop(Intervals *iv, Group *g); /* when its last watcher is gone: frees it */
typedef void (*GroupFunc)(Group *g, void *arg);
void intervals_find(const Intervals *iv, Bytes key, GroupFunc func, void *arg);
/* Every group, in no order that means anything. */
void intervals_each(const Intervals *iv, GroupFunc func, void *arg);
void intervals_done(Intervals *iv); /* must be empty */

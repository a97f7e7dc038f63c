/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inside of the v2 view, shared by v2-*.c and snapshot.c. */

#include "etcd/store/state.h"

/* A value, shared by its node and the events that show it. */
typedef struct Blob {
        unsigned refs;
        uint32_t n;
        char data[];
} Blob;

/* A file or directory. Children are found in the index under the directory's id as space, so a node has no
 * lists. */
typedef struct Node Node;
struct Node {
        IndexItem it; /* space: the parent's id; bytes: the name */
        Node *parent; /* weak; NULL only at the root */
        uint64_t id;  /* of a directory: its space; local to this process */
        uint64_t path_hash;
        uint64_t modified, created;
        int64_t expire; /* nsec since 1970; 0: permanent */
        uint64_t epoch; /* the snapshot that has seen it already */
        Blob *value;    /* owned reference; NULL in a directory */
        uint32_t n_children;
        uint32_t heap_at; /* while expire != 0 */
        uint32_t depth;
        bool dir;
        char name[];
};

typedef struct V2Group V2Group;

struct V2 {
        Index nodes;
        Node *root;
        uint64_t next_id;
        uint64_t index;
        uint64_t hash; /* sum over the nodes */
        Node **heap;   /* owned; by expiry */
        size_t n_heap, cap_heap;
        V2Event *history[V2_HISTORY]; /* the event of index i at i % V2_HISTORY */
        uint64_t first;               /* the oldest index in there; 0: none */
        V2Stats stats;
        size_t bytes;

        Map groups; /* path -> V2Group */
        LIST_HEAD(V2Watcher) ready;
        size_t n_watchers;

        /* the open snapshot: nodes it has not seen are handed to it before they change */
        uint64_t epoch;
        Buf *aside; /* weak; framed records */
        uint64_t n_aside;
};

/* ---- v2-tree.c ---- */
bool v2_path_ok(Bytes path); /* clean and within the limits */
/* 0, or the v2 error code and its cause, a beginning of `path`. */
int v2_find(const V2 *v, Bytes path, Node **ret, Bytes *ret_cause);
Node *node_child(const V2 *v, const Node *dir, Bytes name);
/* A new child; the caller fills it and adds node_hash() of it to the sum. */
Node *node_add(V2 *v, Node *parent, Bytes name, bool dir);
void node_set_value(V2 *v, Node *n, Blob *value);
void node_set_expire(V2 *v, Node *n, int64_t expire);
/* With all below it. `path` is the node's, room to work in; `e` NULL: nobody is told. */
void node_remove(V2 *v, Node *n, V2Event *e, Buf *path);
/* In front of a change to a node: the open snapshot gets its present state. */
void node_save(V2 *v, Node *n);
void node_write(const Node *n, Bytes path, Buf *out); /* as a snapshot record */
void node_path(const Node *n, Buf *out);
uint64_t node_hash(const Node *n);
/* Restore: the node of a path as it stood, missing parents made for later. */
int v2_restore_node(V2 *v, Bytes path, bool dir, Bytes value, uint64_t modified, uint64_t created,
                    int64_t expire);
int v2_restore_end(V2 *v); /* every placeholder must have come */
Blob *blob_new(Bytes b);
Blob *blob_ref(Blob *b);
Blob *blob_unref(Blob *b);

/* ---- v2-event.c ---- */
typedef struct EventSpec {
        V2Action action;
        uint64_t index;
        Bytes key;
        bool dir, internal, refresh;
        Blob *value; /* referenced; NULL: none shown */
        uint64_t created;
        int64_t expire, wall;
        const Node *prev; /* state before the change, or NULL */
} EventSpec;
V2Event *event_new(const EventSpec *spec);
int64_t v2_ttl(int64_t expire, int64_t wall);
void history_add(V2 *v, V2Event *e);               /* takes the reference */
V2Event *history_get(const V2 *v, uint64_t index); /* borrowed; NULL when not there */
uint64_t event_hash(const V2Event *e);
void event_write(const V2Event *e, Buf *out);
int event_read(Rd *rd, V2Event **ret);

/* ---- v2-watch.c ---- */
/* Watchers of `path` hear of an event of its node, or (deleted) of the removal of an ancestor. */
void v2_notify_path(V2 *v, V2Event *e, Bytes path, bool deleted);
void v2_notify(V2 *v, V2Event *e); /* along the whole path of the event */
void v2_move_watchers(V2 *from, V2 *to);
void v2_watch_done(V2 *v);

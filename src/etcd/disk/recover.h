/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a start does with the data folder: log and snapshots become one RaftInitial. Leftovers of unfinished
 * work are removed. If the newest snapshot is damaged, the one before it serves, with the longer log behind
 * it. */

#include "etcd/disk/snap.h"
#include "etcd/disk/wal.h"

typedef struct Recovered {
        Wal *wal;             /* owned: open for writing; TAKE_PTR it */
        WalState state;       /* owned: ids, entries */
        SnapReader *snapshot; /* owned: restore the state machine from it; NULL: begin with an empty one */
        RaftSnapMeta meta;    /* of that snapshot; index 0: none */
        RaftInitial initial;  /* for raft_new(); its entries point into state: keep that until then */
        bool fell_back;       /* the newest snapshot was damaged: log `warning` */
        char *warning;        /* owned */
} Recovered;

/* -ENOENT: no log yet, call wal_create(). -EUCLEAN: damaged, the message says what to do. */
int disk_recover(Disk *d, const WalConfig *config, Recovered *ret, Err *err);
void recovered_done(Recovered *r);

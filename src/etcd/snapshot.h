/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Saving snapshots without stopping anything: the loop serialises the frozen view of the store in slices, a
 * thread writes the file and syncs it. One at a time. The loop stops serialising while the thread is behind,
 * so at most SNAP_QUEUE_MAX bytes wait in memory. */

#include "etcd/disk/snap.h"
#include "etcd/store/store.h"

#include <systemd/sd-event.h>

#define SNAP_QUEUE_MAX (4U << 20)

typedef struct SnapSaver SnapSaver;
typedef void (*SnapSaved)(void *user, uint64_t index, uint64_t term, int r, const char *error);

int snap_saver_new(sd_event *event, Disk *disk, SnapSaved saved, void *user, SnapSaver **ret, Err *err);
/* Takes the view over (NULL: what could not be begun; reported as a failure). saved() follows, always. */
void snap_saver_start(SnapSaver *s, const RaftSnapMeta *meta, StoreSnapshot *view);
/* Gives up what is being saved, at once as far as the view is concerned; saved() follows with -ECANCELED, or with
 * success when it was already done. */
void snap_saver_abort(SnapSaver *s);
/* Waits for the thread; an unfinished file is removed. */
SnapSaver *snap_saver_free(SnapSaver *s);
DEFINE_CLEANUP(SnapSaver *, snap_saver_free)

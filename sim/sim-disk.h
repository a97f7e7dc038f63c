/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A disk in memory that behaves as badly as a real one may. It keeps, per file, what is durable and, in
 * order, what was done since the last fdatasync(); the names likewise. sim_disk_power_cut() makes of this
 * what a machine would find after the lights went out: of the unsynced writes any sectors, of the unsynced
 * names a prefix. Faults strike by operation number or by chance. */

#include "etcd/disk/disk.h"
#include "sim/rng.h"

typedef enum SimDiskCut {
        SIM_CUT_LOSE,   /* nothing unsynced survives */
        SIM_CUT_KEEP,   /* all of it does, as after kill -9 */
        SIM_CUT_TEAR,   /* any sectors, any prefix of the names */
        SIM_CUT_PREFIX, /* in order up to some sector */
        _SIM_CUT_MAX,
} SimDiskCut;

typedef struct SimDisk SimDisk;

SimDisk *sim_disk_new(Rng rng);
SimDisk *sim_disk_free(SimDisk *d);
DEFINE_CLEANUP(SimDisk *, sim_disk_free)
/* Weak; disk_free() of it does nothing, so that the medium outlives the process that used it. */
Disk *sim_disk_ops(SimDisk *d);

/* The operation with this number (counted from 1 on, from now) does not return: the power goes. 0 = never.
 */
void sim_disk_cut_at(SimDisk *d, uint64_t op);
/* The operation with this number fails with `error`; `again`: and all that follow do too. 0 = never. */
void sim_disk_fail_at(SimDisk *d, uint64_t op, int error, bool again);
/* Chance per write, sync and allocation, in a million. */
void sim_disk_fail_chance(SimDisk *d, uint32_t enospc_ppm, uint32_t eio_ppm);
uint64_t sim_disk_operations(const SimDisk *d);
/* The power went at the chosen operation; everything returns -ENODEV until sim_disk_power_cut(). */
bool sim_disk_is_off(const SimDisk *d);
/* Whether an injected error was handed out since the last power cut. */
bool sim_disk_has_failed(const SimDisk *d);
/* From here on every operation fails, as for a process that is gone; the medium stays as it is. false: a new
 * process begins, and injected errors are forgotten. */
void sim_disk_detach(SimDisk *d, bool detached);
/* What a new start finds. Files that are still open must be closed (by their owner) before. */
void sim_disk_power_cut(SimDisk *d, SimDiskCut how);
/* A second medium with the same durable and volatile state. */
SimDisk *sim_disk_copy(const SimDisk *d, Rng rng);
/* The bytes of a file, to damage them; NULL when there is none. Changes count as durable. */
uint8_t *sim_disk_bytes(SimDisk *d, const char *name, size_t *ret_len);

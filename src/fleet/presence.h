/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* This machine's lease and its entry machines/<id>/object.
 *
 * The entry carries the boot id. A daemon that starts and finds an entry of the same boot takes over the lease that
 * it hangs on, so that nothing in the registry changes when fleetd is restarted. An entry of another boot is either
 * left over from before a reboot or belongs to a second machine with the same id: the lease tells, for only a live
 * machine renews it. A dead one is replaced; a live one is reported, and this machine stays out. */

#include "fleet/registry.h"

typedef struct Presence Presence;

typedef struct PresenceConfig {
        sd_event *event;
        Registry *registry;
        const MachineRecord *self; /* copied; lease is ignored */
        Usec ttl;
        void (*on_session)(int64_t lease, void *user); /* registered; `lease` may be the one from before */
        void (*on_lost)(void *user);                   /* not registered any more, trying again */
        void *user;
} PresenceConfig;

Presence *presence_new(const PresenceConfig *config);
Presence *presence_free(Presence *p); /* leaves the entry and the lease alone */
DEFINE_CLEANUP(Presence *, presence_free)
int64_t presence_lease(const Presence *p); /* 0 = no session */
const char *presence_problem(const Presence *p);
/* New address or metadata: the entry is written again. */
void presence_update(Presence *p, const char *ip, const Metadata *metadata);
/* Revokes the lease: the machine and all it said vanish at once. done() also when that failed. */
void presence_leave(Presence *p, void (*done)(void *user), void *user);

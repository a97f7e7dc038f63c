/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The agent: makes the local systemd agree with what the registry wants of this machine, and tells the registry
 * what systemd says. Decisions are plan/agent.h's; this is their hands and eyes.
 *
 * What was launched is remembered beside the units directory (launched/<name> with the unit's hash), in /run: it
 * outlives the daemon and not the machine. So a daemon that was killed adopts what runs, and does not start again
 * what ran and ended. */

#include "fleet/plan/agent.h"
#include "fleet/registry.h"

typedef struct Agent Agent;

typedef struct AgentConfig {
        sd_event *event;
        Registry *registry;
        const char *machine_id, *units_directory; /* copied */
        bool systemd_user;
        const Metadata *metadata; /* from the configuration */
} AgentConfig;

/* Discovers what is on the machine; does nothing to it before the first session. */
Agent *agent_new(const AgentConfig *config);
Agent *agent_free(Agent *a);
DEFINE_CLEANUP(Agent *, agent_free)
void agent_session(Agent *a, int64_t lease);
void agent_session_lost(Agent *a); /* goes on running what runs, stops publishing */
void agent_set_configured_metadata(Agent *a, const Metadata *metadata);
/* Stops and removes every unit; or, with `only_wait`, waits until none is active (the machine is going down and
 * systemd stops them by itself). Then done(), at the latest after `patience`. Nothing else is done from here on. */
void agent_leave(Agent *a, bool only_wait, Usec patience, void (*done)(void *user), void *user);
/* Asks systemd whether the whole machine is going down. */
void agent_machine_stopping(Agent *a, void (*answer)(bool stopping, void *user), void *user);
size_t agent_count(const Agent *a);

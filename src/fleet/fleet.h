/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* fleet: one systemd for a whole cluster. A user gives a unit to any machine; the engine, which is one of the
 * daemons, decides which machine runs it; the agent on that machine makes its own systemd agree.
 *
 *   plan/      pure decisions: names, [X-Fleet], engine, agent
 *   registry   keys and values in etcd v3, and the reads and transactions over them
 *   systemd/   the local systemd over sd-bus
 *   presence   this machine's lease and its entry in the registry
 *   agent, engine, api, server   the parts of fleetd
 *   client, table   what fleetctl needs
 *
 * What holds:
 *  - Every daemon may die at any time and be started again without any unit noticing: units belong to systemd,
 *    what was launched is remembered on the machine (/run) and in the registry, both are adopted.
 *  - All keys that speak for a machine hang on one lease; when it ends they vanish in one revision.
 *  - A machine that is missing just after the registry was away is not dead: see fleet_settled().
 *  - Agents and engine react to watches only; nothing is read periodically.
 *
 * Registry layout below <prefix> (default /_coreos.com/fleet); values are JSON:
 *   unit/<sha1>                   the unit's canonical text
 *   job/<name>                    the truth about a unit: hash, target state, machine, whether Global
 *   schedule/<machine>/<name>     copy of (hash, target) for the agent of that machine
 *   global/<name>                 the same for Global units, for all agents
 *   machines/<id>/object          presence, on the machine's lease
 *   machines/<id>/metadata/<key>  set through the API; survives the machine
 *   state/<machine>/<name>        what systemd says, on the machine's lease
 *   lease/engine-leader           on the leader's machine lease
 * job, schedule and global change in one transaction. The layout differs from fleet 1.0's (v2 keys) on purpose:
 * see docs/compat/fleet.md. */

#include "base/err.h"
#include "base/time.h"
#include "fleet/plan/xfleet.h"

#define FLEET_UNITS_DIRECTORY "/run/fleet/units/"
#define FLEET_KEY_PREFIX "/_coreos.com/fleet/"
#define FLEET_SOCKET "unix:///var/run/fleet.sock"
/* Added to the lease's TTL: how long machines that are missing after an outage of the registry are waited for. */
#define FLEET_SETTLE_EXTRA (2 * USEC_PER_SEC)

typedef struct FleetConfig {
        bool debug;
        char **etcd_servers;
        char *etcd_username, *etcd_password, *etcd_cafile, *etcd_certfile, *etcd_keyfile;
        char *prefix; /* without the last slash */
        Usec etcd_timeout;
        Usec engine_interval; /* accepted for compatibility; the engine reacts to watches */
        char *public_ip;
        Metadata metadata;
        Usec agent_ttl;
        char *units_directory;
        bool systemd_user;
        uint64_t token_limit;
        bool disable_engine, unload_on_stop;
        char **listen; /* when systemd hands over no socket */
} FleetConfig;

/* Reads `path` (NULL = /etc/fleet/fleet.conf when it exists), then FLEET_* from env, over the defaults. A value
 * that is wrong leaves what was there before it and is described in *problems (a strv), for the log: the daemon
 * starts all the same, for a machine without its fleetd is worse off than one with a default. */
int fleet_config_read(const char *path, char *const *env, FleetConfig *ret, char ***problems, Err *err);
/* The parser by itself; *problems (a strv) collects what is wrong. */
void fleet_config_defaults(FleetConfig *c);
void fleet_config_parse(FleetConfig *c, const char *text, size_t n, char ***problems);
void fleet_config_env(FleetConfig *c, char *const *env, char ***problems);
void fleet_config_done(FleetConfig *c);

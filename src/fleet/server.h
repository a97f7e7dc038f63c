/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* fleetd as a whole: builds the parts from the configuration, hands sessions to agent and engine, and ends well.
 *
 * Ending (SIGTERM, SIGINT): units are left running and the machine's entry stays until its lease runs out, so that
 * a restart, an upgrade or a crash is nothing that a unit could notice. Two exceptions: when the whole machine goes
 * down, the machine leaves the cluster as soon as systemd has stopped its units, and so others take them over at
 * once; and with unload_on_stop every unit is stopped and removed first, as fleet 1.0 did. */

#include "fleet/fleet.h"

#include <systemd/sd-event.h>

typedef struct Server Server;

/* Takes over *config. fds: listening sockets from socket activation (n may be 0), which the server closes. */
int server_new(sd_event *event, FleetConfig *config, const int *fds, size_t n, Server **ret, Err *err);
Server *server_free(Server *s);
DEFINE_CLEANUP(Server *, server_free)
/* A new configuration (taken over): what can change while running does, the rest is named in the log. */
void server_reload(Server *s, FleetConfig *config);
/* Begins the end; the event loop exits when it is done. A second call ends at once. */
void server_stop(Server *s);
/* One line of JSON about the state, owned. */
char *server_dump(const Server *s);

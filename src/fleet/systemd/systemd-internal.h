/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "base/time.h"
#include "fleet/systemd/systemd.h"

#include <systemd/sd-bus.h>

#define DESTINATION "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define UNIT_PATH "/org/freedesktop/systemd1/unit"
#define UNIT_INTERFACE "org.freedesktop.systemd1.Unit"
#define RECONNECT_USEC USEC_PER_SEC
#define CALL_TIMEOUT_USEC (90 * USEC_PER_SEC)
#define RELOAD_TIMEOUT_USEC (180 * USEC_PER_SEC)
#define RELOAD_GATHER_USEC (2 * USEC_PER_MSEC) /* units that are loaded together share one reload */

typedef enum OpKind { OP_CALL, OP_JOB, OP_RELOAD, OP_QUERY, OP_REFRESH } OpKind;

struct SystemdOp {
        Systemd *s; /* weak */
        OpKind kind;
        bool forgiving;   /* "no such unit" is a success */
        bool forgive_all; /* every error is */
        bool covered;     /* OP_RELOAD: the reload under way began after it was asked for */
        SystemdDone done;
        void *user;
        sd_bus_slot *slot;      /* owned; the call under way */
        char *job;              /* owned; the job waited for */
        char *error;            /* owned; what `later` will tell */
        sd_event_source *later; /* owned */
        LIST_LINK(SystemdOp) all;
};

typedef struct SystemdUnit {
        char *name, *load, *active, *sub; /* owned; the states NULL while unknown */
} SystemdUnit;

struct Systemd {
        sd_event *event; /* owned reference */
        bool user_manager;
        SystemdHandlers handlers;
        sd_bus *bus;                /* owned; NULL while there is no connection */
        char *problem;              /* owned */
        sd_event_source *reconnect; /* owned */
        LIST_HEAD(SystemdOp) ops;
        Map jobs;  /* job's object path to SystemdOp, weak */
        Map units; /* name to SystemdUnit, owned */
        sd_bus_slot *reload_slot;    /* owned; a reload is under way */
        sd_event_source *reload_due; /* owned */
};

void systemd_job_removed(Systemd *s, const char *job);
void systemd_fail_all(Systemd *s, const char *why);
void systemd_free_all(Systemd *s);
/* NULL = unchanged. Tells on_state() when the unit is watched and something is new. */
void systemd_unit_changed(Systemd *s, const char *name, const char *load, const char *active, const char *sub);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The [X-Fleet] section of a unit: what a machine must be, and who may be its neighbour (spec/fleet.md 3.3).
 * Deprecated spellings are folded into the same fields. All values have their specifiers replaced. */

#include "codec/unitfile.h"

typedef struct Metadata { /* pairs in no special order; one key may be there several times in a requirement */
        char **keys, **values; /* owned strvs of equal length */
} Metadata;

typedef struct XFleet {
        bool global;
        char *machine_id;     /* owned, NULL = any */
        char **peers;         /* owned strv: MachineOf */
        char **conflicts;     /* owned strv of globs */
        char **replaces;      /* owned strv of globs */
        Metadata metadata;    /* required: OR within a key, AND between keys */
} XFleet;

void metadata_add(Metadata *m, const char *key, const char *value);
/* Sets key to value, replacing; an empty value removes the key. */
void metadata_set(Metadata *m, const char *key, const char *value);
const char *metadata_get(const Metadata *m, const char *key);
void metadata_done(Metadata *m);
void metadata_copy(const Metadata *from, Metadata *ret);
bool metadata_equal(const Metadata *a, const Metadata *b); /* as sets of pairs */
/* "k=v,k=v" as in fleet.conf: trimmed, the last value of a key wins. Items without '=' are put into *bad
 * (a strv, may be NULL). */
void metadata_parse(const char *s, Metadata *ret, char ***bad);
/* "k=v,k=v" sorted by key, or "" when empty; owned. */
char *metadata_text(const Metadata *m);

void xfleet_read(const UnitFile *u, const char *name, XFleet *ret);
void xfleet_done(XFleet *x);
void xfleet_copy(const XFleet *from, XFleet *ret); /* ret must be empty */
/* Options that contradict each other: -EINVAL, messages as fleet's (section 3.5). */
int xfleet_validate(const XFleet *x, Err *err);
/* The first key in [X-Fleet] that means nothing, borrowed, or NULL. */
const char *xfleet_unknown(const UnitFile *u);
/* A MachineMetadata value that constrains nothing because it is not exactly key=value, owned, or NULL. */
char *xfleet_ignored_metadata(const UnitFile *u);

/* Either side names the other. */
bool xfleet_conflict(const char *a, const XFleet *xa, const char *b, const XFleet *xb);
/* `machine` has for every required key one of the values. On false *ret_lacks (may be NULL) says what is missing. */
bool xfleet_metadata_ok(const XFleet *x, const Metadata *machine, char **ret_lacks);
bool xfleet_machine_id_ok(const XFleet *x, const char *machine_id);

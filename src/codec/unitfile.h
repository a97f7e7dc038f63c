/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* systemd unit files as fleet reads them: an ordered list of (section, name, value), comments dropped, nothing
 * unquoted, continuation lines kept with their backslash and newline. Two files are the same unit when their
 * canonical text is the same; the SHA-1 of that text is the unit's hash, which every fleet client and server
 * computes for itself and which therefore may never change (spec/fleet.md 3.1, 3.2). */

#include "base/err.h"

#define UNITFILE_BYTES_MAX (1U << 20)
#define UNITFILE_OPTIONS_MAX 16384
#define UNITFILE_LINE_MAX (1U << 20)
#define UNITFILE_LINE_MAX_CLASSIC 2047 /* what fleet's own parser allowed for one physical line */

typedef struct UnitOption {
        char *section, *name, *value; /* owned, never NULL */
} UnitOption;

typedef struct UnitFile {
        UnitOption *options; /* owned */
        size_t n, cap;
} UnitFile;

/* Parses n bytes; line_max bounds one physical line (0 = UNITFILE_LINE_MAX). *ret must be empty and is left
 * empty on failure. -EINVAL, -E2BIG; messages as fleet's. */
int unitfile_parse(const char *s, size_t n, size_t line_max, UnitFile *ret, Err *err);
void unitfile_add(UnitFile *u, const char *section, const char *name, const char *value);
void unitfile_done(UnitFile *u);
void unitfile_copy(const UnitFile *from, UnitFile *ret);
/* The first value, borrowed, or NULL. */
const char *unitfile_get(const UnitFile *u, const char *section, const char *name);
bool unitfile_has_section(const UnitFile *u, const char *section);
/* The canonical text (owned) and its SHA-1 in lower-case hex (owned). */
char *unitfile_text(const UnitFile *u);
char *unitfile_hash(const UnitFile *u);

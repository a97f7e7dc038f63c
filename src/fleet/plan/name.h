/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

/* Unit names (spec/fleet.md 3.4, 1.2). All returned strings are owned by the caller. */

#define UNIT_NAME_MAX 256

/* -EINVAL with fleet's own message. */
int unit_name_validate(const char *name, Err *err);
/* The part before the first '@', or before the last dot when there is none. */
char *unit_name_prefix(const char *name);
/* Between the first '@' and the last dot; NULL when there is no '@'. */
char *unit_name_instance(const char *name);
/* "a@1.service" and "a@.service" give "a@.service"; NULL without '@'. */
char *unit_name_template(const char *name);
bool unit_name_is_instance(const char *name);
bool unit_name_is_template(const char *name);
/* What fleetctl makes of an argument: the file's name, with ".service" appended unless it ends in one of the
 * suffixes the agent recognises. */
char *unit_name_mangle(const char *arg);
/* Ends in .service .socket .timer .path .device .mount or .automount. */
bool unit_name_recognised(const char *name);
/* %n %N %p %i, replaced in that order, plain text, nothing else special. */
char *unit_specifiers(const char *text, const char *name);

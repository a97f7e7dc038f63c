/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Errors: functions return 0 or positive on success and a negative errno on failure. Where a person or an
 * API client will read the failure, the last parameter is an `Err *` that receives a message. Rules:
 *  - untouched on success; NULL is allowed ("I only want the code");
 *  - err_set() keeps the first message, so that the deepest cause wins; err_wrap() puts context before it;
 *  - the owner calls err_done() (or declares it _cleanup_(err_done)). */

#include "base/macro.h"

typedef struct Err {
        int code;  /* negative errno, 0 while unset */
        char *msg; /* owned */
} Err;

/* Sets code and message, returns code: `return err_set(err, -EINVAL, "bad port: %s", s);` */
int err_set(Err *err, int code, const char *fmt, ...) _printf_(3, 4);
/* As err_set(), and appends ": <strerror(-code)>". */
int err_errno(Err *err, int code, const char *fmt, ...) _printf_(3, 4);
/* Puts "context: " before an existing message (or sets strerror as the message); returns code. */
int err_wrap(Err *err, int code, const char *fmt, ...) _printf_(3, 4);
/* The message for a reader, never NULL. */
const char *err_msg(const Err *err);
void err_done(Err *err);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Messages as JSON and back, after their descriptors (spec b.4): bytes in base64, 64-bit numbers as strings (read
 * also as numbers), enums by name (read also by number), proto names (camelCase is read too), defaults left out.
 * Unknown members are ignored. Pure. */

#include "codec/jsonout.h"
#include "base/err.h"

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#define V3_JSON_DEPTH_MAX 24

/* Appends the packed message. -EINVAL with a message that names the field. */
int v3_from_json(const ProtobufCMessageDescriptor *d, const json_t *j, unsigned depth, Buf *to, Err *err);
/* -EBADMSG when p does not hold such a message. */
int v3_to_json(const ProtobufCMessageDescriptor *d, const void *p, size_t n, Buf *to);

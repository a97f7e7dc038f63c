/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The stream between a shim and its clients, over a unix socket: frames of an 8-byte header [kind, 0, 0, 0, u32
 * big-endian length] and a payload. Kinds 0 to 2 are the standard streams, exactly as on a hijacked connection of
 * the Engine API, so that an API server can pass them on; an empty FRAME_STDIN means end of input. FRAME_CONTROL
 * carries one JSON object:
 *
 *   to the shim:  {"op":"attach","stdin":true,"stdout":true,"stderr":true}
 *                 {"op":"wait"}                      → {"exit":N,…} after the exit
 *                 {"op":"wait","removed":true}       → the same, after an AutoRemove container's folder is gone
 *                 {"op":"kill","signal":N}           → {"ok":true}
 *                 {"op":"resize","width":W,"height":H}
 *                 {"op":"pause"}, {"op":"unpause"}   → {"ok":true}
 *                 {"op":"detach"}                    the container is to outlive this connection
 *                 {"op":"exec","args":[…],"env":[…],"user":"","cwd":"","tty":false,"stdin":false,
 *                  "privileged":false,"detach":false}   → {"started":true}, streams, {"exit":N}
 *   from it:      {"started":true}, {"warning":"…"}, {"ok":true}, {"exit":N,"oom":false},
 *                 {"error":"…","code":N} */

#include "base/buf.h"

#define FRAME_HEADER 8
#define FRAME_MAX (4U << 20)

typedef enum FrameKind { FRAME_STDIN, FRAME_STDOUT, FRAME_STDERR, FRAME_CONTROL, _FRAME_KIND_MAX } FrameKind;

typedef struct Frame {
        FrameKind kind;
        const char *data; /* borrowed from the buffer */
        size_t n;
} Frame;

void frame_add(Buf *b, FrameKind kind, const void *p, size_t n);
/* Looks at the start of `b`: 1 and *ret when a whole frame is there (then buf_consume(FRAME_HEADER + ret->n)), 0
 * when more bytes are needed, -EBADMSG for an impossible header. */
int frame_peek(const Buf *b, Frame *ret);

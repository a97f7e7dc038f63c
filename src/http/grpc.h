/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* gRPC on the server side of http/http.h. (The client side: http/client.h, grpc_call_*().)
 *
 *   static void on_range(HttpReq *q) {                       (a unary method: set as q->on_data)
 *           GrpcMsg m;
 *           int r = grpc_unary(q, &m);                       (0: not complete yet, <0: already answered)
 *           if (r > 0) ... grpc_send(q, p, n); grpc_finish(q, GRPC_OK, NULL);
 *   }
 * Streaming methods call grpc_next() in a loop from on_data; q->body_end with nothing left is the client's
 * end. */

#include "codec/grpc.h"
#include "http/http.h"

typedef struct GrpcMsg {
        const void *data; /* borrowed from q->body: valid until the next grpc_* or http_* call on q */
        size_t size;
} GrpcMsg;

/* True if the content type is application/grpc or application/grpc+proto. */
bool grpc_is_request(const HttpReq *q);
/* Takes the next message off the body. 1: *ret is set; 0: none complete yet; negative: the framing was bad,
 * the call was finished with the fitting status and q is gone. */
int grpc_next(HttpReq *q, GrpcMsg *ret);
/* As grpc_next() for a unary call: 1 once the client's only message and its end are here. */
int grpc_unary(HttpReq *q, GrpcMsg *ret);
/* Sends the response headers if they were not, then one message. Returns as http_write(). */
int grpc_send(HttpReq *q, const void *p, size_t n);
/* Ends the call with trailers; message may be NULL. Headers only ("trailers-only") if nothing was sent yet.
 */
void grpc_finish(HttpReq *q, GrpcCode code, const char *message);
void grpc_finishf(HttpReq *q, GrpcCode code, const char *fmt, ...) _printf_(3, 4);
/* Microseconds the client still waits, by grpc-timeout; USEC_NEVER without one. */
Usec grpc_timeout(const HttpReq *q);

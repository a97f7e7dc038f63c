/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One TLS connection over memory: encrypted bytes in and out, plain bytes in and out, no socket. */

#include "base/queue.h"
#include "http/tls.h"

#include <sys/types.h>

typedef struct TlsSession TlsSession;

/* server: host is NULL. Client: host is verified and sent as SNI unless it is an address; with `http2`, ALPN
 * offers h2 (alone if http2_only). */
TlsSession *tls_session_new_server(TlsContext *t);
TlsSession *tls_session_new_client(TlsContext *t, const char *host, bool http2_only);
TlsSession *tls_session_free(TlsSession *s);
DEFINE_CLEANUP(TlsSession *, tls_session_free)

void tls_session_feed(TlsSession *s, const void *p, size_t n); /* encrypted bytes arrived */
/* Drives the handshake: 1 done, 0 more bytes are needed, negative errno: failed (see tls_session_problem).
 */
int tls_session_handshake(TlsSession *s);
/* Plain bytes: > 0, 0 = closed by the peer, -EAGAIN, -EPROTO. */
ssize_t tls_session_read(TlsSession *s, void *to, size_t n);
/* Encrypts n bytes; all or an error. */
int tls_session_write(TlsSession *s, const void *p, size_t n);
void tls_session_take_output(TlsSession *s, ByteQueue *to); /* encrypted bytes to be sent */
bool tls_session_has_plain(const TlsSession *s);
void tls_session_close(TlsSession *s); /* close_notify into the output */
bool tls_session_is_http2(const TlsSession *s);
/* CN of the verified peer certificate, owned; NULL without one. */
char *tls_session_peer_name(const TlsSession *s);
const char *tls_session_problem(const TlsSession *s); /* why it failed, for a reader */
bool tls_session_ready(const TlsSession *s);          /* the handshake is complete */

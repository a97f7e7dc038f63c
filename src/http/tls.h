/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* TLS by OpenSSL 3, one context for a listener or a client. Minimum version 1.2; ALPN offers h2 and
 * http/1.1. Contexts are reference-counted; connections keep the one they began with, so certificates can be
 * renewed by making a new context. */

#include "base/err.h"

typedef struct TlsContext TlsContext;

typedef struct TlsServerConfig {
        const char *cert_file, *key_file; /* PEM, chain in cert_file */
        const char *ca_file; /* PEM: authorities of client certificates; NULL = none are asked for */
        bool require_client_cert;
} TlsServerConfig;
int tls_server_context_new(const TlsServerConfig *config, TlsContext **ret, Err *err);

typedef struct TlsClientConfig {
        const char *ca_file;              /* NULL = the system's */
        const char *cert_file, *key_file; /* own certificate; NULL = none */
        bool insecure;                    /* skip verification */
        const char *server_name;          /* expected instead of the URL's host; NULL = the URL's */
} TlsClientConfig;
int tls_client_context_new(const TlsClientConfig *config, TlsContext **ret, Err *err);

TlsContext *tls_context_ref(TlsContext *t);
TlsContext *tls_context_unref(TlsContext *t);
DEFINE_CLEANUP(TlsContext *, tls_context_unref)

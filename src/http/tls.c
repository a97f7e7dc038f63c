/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tls.h"
#include "base/alloc.h"
#include "base/str.h"
#include "http/tls-session.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define TLS_CHUNK (16U << 10)

struct TlsContext {
        unsigned refs;
        SSL_CTX *ctx; /* owned */
        bool insecure;
        char *server_name; /* owned; NULL = the URL's host */
};

struct TlsSession {
        SSL *ssl;      /* owned */
        BIO *in, *out; /* weak: of ssl */
        TlsContext *context;
        bool broken;
        char problem[256];
};

/* OpenSSL's error queue as one text; the queue is empty afterwards. */
static const char *ssl_reason(char *buf, size_t n) {
        unsigned long e = ERR_peek_last_error();
        const char *reason = e ? ERR_reason_error_string(e) : NULL;
        (void) snprintf(buf, n, "%s", reason ?: "unknown reason");
        ERR_clear_error();
        return buf;
}

static int ssl_error(Err *err, const char *what, const char *file) {
        char reason[200];
        return err_set(err, -EINVAL, "TLS: cannot use %s %s: %s", what, file,
                       ssl_reason(reason, sizeof(reason)));
}

TlsContext *tls_context_ref(TlsContext *t) {
        if (t)
                t->refs++;
        return t;
}

TlsContext *tls_context_unref(TlsContext *t) {
        if (!t || --t->refs > 0)
                return NULL;
        SSL_CTX_free(t->ctx);
        free(t->server_name);
        free(t);
        return NULL;
}

static TlsContext *context_new(const SSL_METHOD *method) {
        TlsContext *t = xnew(TlsContext, 1);
        t->refs = 1;
        t->ctx = SSL_CTX_new(method);
        if (!t->ctx)
                abort();
        (void) SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
        SSL_CTX_set_options(t->ctx,
                            SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        return t;
}

static int load_pair(TlsContext *t, const char *cert, const char *key, Err *err) {
        ERR_clear_error();
        if (!cert || !key)
                return err_set(err, -EINVAL, "TLS: a certificate file and a key file are both needed");
        if (SSL_CTX_use_certificate_chain_file(t->ctx, cert) != 1)
                return ssl_error(err, "certificate", cert);
        if (SSL_CTX_use_PrivateKey_file(t->ctx, key, SSL_FILETYPE_PEM) != 1)
                return ssl_error(err, "key", key);
        return 0;
}

static int load_ca(TlsContext *t, const char *file, Err *err) {
        ERR_clear_error();
        if (SSL_CTX_load_verify_locations(t->ctx, file, NULL) != 1)
                return ssl_error(err, "CA file", file);
        return 0;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *user) {
        static const unsigned char ours[] = "\x02h2\x08http/1.1";
        unsigned char *chosen;
        if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
            OPENSSL_NPN_NEGOTIATED)
                return SSL_TLSEXT_ERR_NOACK;
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
}

static int setup_server(TlsContext *t, const TlsServerConfig *config, Err *err) {
        int r = load_pair(t, config->cert_file, config->key_file, err);
        if (r < 0)
                return r;
        SSL_CTX_set_alpn_select_cb(t->ctx, choose_alpn, NULL);
        (void) SSL_CTX_set_session_id_context(t->ctx, (const unsigned char *) "coracle", 7);
        if (!config->ca_file) {
                if (config->require_client_cert)
                        return err_set(err, -EINVAL,
                                       "TLS: checking client certificates needs a trusted CA file");
                return 0;
        }
        r = load_ca(t, config->ca_file, err);
        if (r < 0)
                return r;
        SSL_CTX_set_client_CA_list(t->ctx, SSL_load_client_CA_file(config->ca_file));
        int mode = SSL_VERIFY_PEER | (config->require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
        SSL_CTX_set_verify(t->ctx, mode, NULL);
        return 0;
}

int tls_server_context_new(const TlsServerConfig *config, TlsContext **ret, Err *err) {
        _cleanup_(tls_context_unrefp) TlsContext *t = context_new(TLS_server_method());
        int r = setup_server(t, config, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}

int tls_client_context_new(const TlsClientConfig *config, TlsContext **ret, Err *err) {
        _cleanup_(tls_context_unrefp) TlsContext *t = context_new(TLS_client_method());
        int r = 0;
        if (config->cert_file || config->key_file)
                r = load_pair(t, config->cert_file, config->key_file, err);
        if (r >= 0 && config->ca_file)
                r = load_ca(t, config->ca_file, err);
        if (r < 0)
                return r;
        if (!config->ca_file)
                (void) SSL_CTX_set_default_verify_paths(t->ctx);
        t->insecure = config->insecure;
        t->server_name = config->server_name ? xstrdup(config->server_name) : NULL;
        SSL_CTX_set_verify(t->ctx, t->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
        *ret = TAKE_PTR(t);
        return 0;
}

/* ---- sessions ---- */

static TlsSession *session_new(TlsContext *t) {
        TlsSession *s = xnew(TlsSession, 1);
        s->context = tls_context_ref(t);
        s->ssl = SSL_new(t->ctx);
        s->in = BIO_new(BIO_s_mem());
        s->out = BIO_new(BIO_s_mem());
        if (!s->ssl || !s->in || !s->out)
                abort();
        BIO_set_mem_eof_return(s->in, -1);
        BIO_set_mem_eof_return(s->out, -1);
        SSL_set_bio(s->ssl, s->in, s->out);
        return s;
}

TlsSession *tls_session_new_server(TlsContext *t) {
        TlsSession *s = session_new(t);
        SSL_set_accept_state(s->ssl);
        return s;
}

static bool is_address(const char *host) {
        uint8_t tmp[16];
        return inet_pton(AF_INET, host, tmp) == 1 || inet_pton(AF_INET6, host, tmp) == 1;
}

TlsSession *tls_session_new_client(TlsContext *t, const char *host, bool http2_only) {
        static const unsigned char both[] = "\x02h2\x08http/1.1";
        TlsSession *s = session_new(t);
        SSL_set_connect_state(s->ssl);
        (void) SSL_set_alpn_protos(s->ssl, both, http2_only ? 3 : sizeof(both) - 1);
        host = t->server_name ?: host;
        if (is_address(host)) {
                (void) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), host);
        } else {
                (void) SSL_set_tlsext_host_name(s->ssl, host);
                (void) SSL_set1_host(s->ssl, host);
        }
        return s;
}

TlsSession *tls_session_free(TlsSession *s) {
        if (!s)
                return NULL;
        SSL_free(s->ssl);
        tls_context_unref(s->context);
        free(s);
        return NULL;
}

void tls_session_feed(TlsSession *s, const void *p, size_t n) {
        if (n > 0 && BIO_write(s->in, p, (int) n) != (int) n)
                abort();
}

static int broken(TlsSession *s) {
        char reason[200];
        long verify = SSL_get_verify_result(s->ssl);
        s->broken = true;
        if (verify != X509_V_OK && !s->context->insecure)
                (void) snprintf(s->problem, sizeof(s->problem), "TLS: the certificate was not accepted: %s",
                                X509_verify_cert_error_string(verify));
        else
                (void) snprintf(s->problem, sizeof(s->problem), "TLS: %s",
                                ssl_reason(reason, sizeof(reason)));
        ERR_clear_error();
        return -EPROTO;
}

static bool wants_more(TlsSession *s, int r) {
        int e = SSL_get_error(s->ssl, r);
        return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
}

int tls_session_handshake(TlsSession *s) {
        if (s->broken)
                return -EPROTO;
        ERR_clear_error();
        int r = SSL_do_handshake(s->ssl);
        if (r == 1)
                return 1;
        return wants_more(s, r) ? 0 : broken(s);
}

ssize_t tls_session_read(TlsSession *s, void *to, size_t n) {
        if (s->broken)
                return -EPROTO;
        ERR_clear_error();
        int r = SSL_read(s->ssl, to, (int) MIN(n, (size_t) INT32_MAX));
        if (r > 0)
                return r;
        if (SSL_get_error(s->ssl, r) == SSL_ERROR_ZERO_RETURN)
                return 0;
        return wants_more(s, r) ? -EAGAIN : broken(s);
}

int tls_session_write(TlsSession *s, const void *p, size_t n) {
        for (const char *at = p; n > 0;) {
                size_t k = MIN(n, (size_t) TLS_CHUNK);
                ERR_clear_error();
                if (s->broken || SSL_write(s->ssl, at, (int) k) != (int) k)
                        return broken(s);
                at += k;
                n -= k;
        }
        return 0;
}

void tls_session_take_output(TlsSession *s, ByteQueue *to) {
        for (size_t n; (n = (size_t) BIO_ctrl_pending(s->out)) > 0;) {
                int r = BIO_read(s->out, queue_room(to, n), (int) n);
                if (r <= 0)
                        return;
                queue_added(to, (size_t) r);
        }
}

bool tls_session_has_plain(const TlsSession *s) {
        return !s->broken &&
               (SSL_pending(s->ssl) > 0 || (SSL_is_init_finished(s->ssl) && BIO_ctrl_pending(s->in) > 0));
}

void tls_session_close(TlsSession *s) {
        if (s->broken || !SSL_is_init_finished(s->ssl))
                return;
        ERR_clear_error();
        (void) SSL_shutdown(s->ssl);
}

bool tls_session_is_http2(const TlsSession *s) {
        const unsigned char *name = NULL;
        unsigned n = 0;
        SSL_get0_alpn_selected(s->ssl, &name, &n);
        return n == 2 && memcmp(name, "h2", 2) == 0;
}

char *tls_session_peer_name(const TlsSession *s) {
        X509 *cert = SSL_get0_peer_certificate(s->ssl);
        char name[256];
        if (!cert || SSL_get_verify_result(s->ssl) != X509_V_OK ||
            X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name)) < 0)
                return NULL;
        return xstrdup(name);
}

const char *tls_session_problem(const TlsSession *s) {
        return s->problem[0] ? s->problem : "TLS: the connection was closed";
}

bool tls_session_ready(const TlsSession *s) {
        return SSL_is_init_finished(s->ssl);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "container/image/manifest.h"
#include "container/image/registry.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

/* The child of registry.h: libcurl, nothing trusted. */

#define ERROR_BODY_MAX (64U << 10)
#define TOKEN_BODY_MAX (64U << 10)
#define PROGRESS_USEC (100 * USEC_PER_MSEC)
#define CONNECT_TIMEOUT_SEC 30L
#define STALL_SEC 60L
#define REDIRECTS_MAX 5L
#define TAGS_PAGE 1000

typedef struct Transfer {
        LIST_LINK(Transfer) link;
        struct Worker *worker; /* weak */
        uint32_t id;
        RegistryKind kind;
        char *what; /* owned */
        int fd;     /* owned */
        uint64_t at, limit;
        uint64_t range_from; /* what the present attempt asked for */
        CURL *easy; /* owned; in the multi handle while an attempt is under way */
        Usec retry_at; /* 0 = under way */
        int attempts;
        bool fresh_token; /* this attempt had a token that was just fetched */
        int error;        /* set by callbacks that abort the attempt */
        Usec reported;
        /* of the present answer */
        char content_type[128], digest[160], challenge[4096];
        uint64_t content_range;
        bool more;
        Buf error_body;
} Transfer;

typedef struct Worker {
        const RegistryOptions *options; /* weak */
        int socket;
        CURLM *multi; /* owned */
        LIST_HEAD(Transfer) transfers;
        char *base;   /* owned: "https://host" once it is known which scheme works */
        char *token;  /* owned: bearer token, or NULL */
        bool basic;
        bool contacted, local, refused; /* see open_socket() */
        Err setup; /* why no request can work: the answer to all of them */
        int setup_code;
} Worker;

static const char *api_host(const char *domain) {
        return streq(domain, "docker.io") ? "registry-1.docker.io" : domain;
}

/* ---- what all requests share ---- */

static void set_blob(CURL *c, CURLoption option, const char *pem) {
        if (!pem)
                return;
        struct curl_blob blob = { .data = (void *) pem, .len = strlen(pem), .flags = CURL_BLOB_NOCOPY };
        (void) curl_easy_setopt(c, option, &blob);
}

static bool is_own_machine(const struct sockaddr *a) {
        if (a->sa_family == AF_INET) {
                uint32_t v4 = ntohl(((const struct sockaddr_in *) a)->sin_addr.s_addr);
                return v4 >> 24 == 127 || v4 >> 16 == 0xa9fe || v4 == 0;
        }
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *) a)->sin6_addr;
        if (a->sa_family != AF_INET6)
                return true;
        return IN6_IS_ADDR_LOOPBACK(v6) || IN6_IS_ADDR_LINKLOCAL(v6) || IN6_IS_ADDR_UNSPECIFIED(v6) ||
               (IN6_IS_ADDR_V4MAPPED(v6) && (v6->s6_addr[12] == 127 || (v6->s6_addr[12] == 169 && v6->s6_addr[13] == 254)));
}

/* A registry elsewhere may not send us (by redirect or realm) to services of this very machine, nor to the
 * metadata service of a cloud. If the registry itself is here (or a proxy), such addresses are allowed. */
static curl_socket_t open_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *a) {
        Worker *w = userdata;
        bool own = is_own_machine(&a->addr);
        if (!w->contacted)
                w->local = w->local || own;
        else if (own && !w->local) {
                w->refused = true;
                return CURL_SOCKET_BAD;
        }
        return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_common(CURL *c, Worker *w) {
        const RegistryOptions *o = w->options;
        (void) curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
        (void) curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, w);
        const char *protocols = o->insecure ? "https,http" : "https";
        (void) curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, protocols);
        (void) curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
        (void) curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
        (void) curl_easy_setopt(c, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
        (void) curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        (void) curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_SEC);
        (void) curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
        (void) curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALL_SEC);
        (void) curl_easy_setopt(c, CURLOPT_USERAGENT, "coracle/" CORACLE_VERSION);
        if (o->insecure) {
                (void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
                (void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
        }
        set_blob(c, CURLOPT_CAINFO_BLOB, o->ca);
        set_blob(c, CURLOPT_SSLCERT_BLOB, o->client_cert);
        set_blob(c, CURLOPT_SSLKEY_BLOB, o->client_key);
}

/* libcurl sends these to the first host only, never to one it is redirected to. */
static void set_auth(CURL *c, const Worker *w) {
        const Credentials *k = &w->options->credentials;
        if (w->token) {
                (void) curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long) CURLAUTH_BEARER);
                (void) curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, w->token);
        } else if (w->basic && k->user) {
                (void) curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
                (void) curl_easy_setopt(c, CURLOPT_USERNAME, k->user);
                (void) curl_easy_setopt(c, CURLOPT_PASSWORD, k->password);
        }
}

static size_t discard(char *p, size_t size, size_t n, void *userdata) {
        return size * n;
}

static size_t collect(char *p, size_t size, size_t n, void *userdata) {
        Buf *b = userdata;
        if (b->len + n > TOKEN_BODY_MAX)
                return 0;
        buf_add(b, p, n);
        return size * n;
}

/* The value when the header line is `name`, NUL-terminated into `to`. */
static bool header_value(const char *line, size_t n, const char *name, char *to, size_t size) {
        size_t k = strlen(name);
        if (n <= k || strncasecmp(line, name, k) != 0 || line[k] != ':')
                return false;
        const char *p = line + k + 1, *end = line + n;
        while (p < end && (*p == ' ' || *p == '\t'))
                p++;
        while (end > p && strchr(" \t\r\n", end[-1]))
                end--;
        if ((size_t) (end - p) >= size)
                return false;
        memcpy(to, p, (size_t) (end - p));
        to[end - p] = 0;
        return true;
}

/* ---- tokens ---- */

static char *token_of(const Buf *b) {
        _cleanup_json_ json_t *j = NULL;
        if (ji_parse(buf_str(b), b->len, TOKEN_BODY_MAX, &j, NULL) < 0)
                return NULL;
        const char *t = ji_str(j, "token");
        if (isempty(t))
                t = ji_str(j, "access_token");
        if (isempty(t))
                return NULL;
        for (const char *p = t; *p; p++)
                if (*p <= ' ' || *p >= 127)
                        return NULL; /* it becomes part of a header */
        return xstrdup(t);
}

static char *url_escape(CURL *c, const char *s) {
        char *e = curl_easy_escape(c, s, 0);
        char *own = xstrdup(strempty(e));
        curl_free(e);
        return own;
}

static int fetch_token(Worker *w, const Challenge *ch, Err *err) {
        const RegistryOptions *o = w->options;
        bool plain = startswith(w->base, "http://") != NULL;
        bool trusted = realm_trusted(o->domain, ch->realm, plain);
        if (!startswith(ch->realm, "https://") && !(plain && startswith(ch->realm, "http://")))
                return err_set(err, -EACCES, "registry %s sends us to an unsafe token server: %s", o->domain, ch->realm);
        if (!trusted && (o->credentials.user || o->credentials.identity_token))
                return err_set(err, -EACCES, "registry %s wants the password sent to another party: %s", o->domain, ch->realm);
        CURL *c = curl_easy_init();
        _cleanup_(buf_done) Buf body = {};
        _cleanup_free_ char *service = url_escape(c, strempty(ch->service));
        _cleanup_free_ char *raw_scope = xasprintf("repository:%s:pull", o->repo);
        _cleanup_free_ char *scope = url_escape(c, raw_scope);
        _cleanup_free_ char *query = xasprintf("service=%s&scope=%s", service, scope);
        _cleanup_free_ char *url = NULL, *form = NULL;
        set_common(c, w);
        if (o->credentials.identity_token) {
                _cleanup_free_ char *refresh = url_escape(c, o->credentials.identity_token);
                form = xasprintf("grant_type=refresh_token&client_id=coracle&refresh_token=%s&%s", refresh, query);
                url = xstrdup(ch->realm);
                (void) curl_easy_setopt(c, CURLOPT_POSTFIELDS, form);
        } else {
                url = xasprintf("%s%s%s", ch->realm, strchr(ch->realm, '?') ? "&" : "?", query);
                if (o->credentials.user) {
                        (void) curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
                        (void) curl_easy_setopt(c, CURLOPT_USERNAME, o->credentials.user);
                        (void) curl_easy_setopt(c, CURLOPT_PASSWORD, o->credentials.password);
                }
        }
        (void) curl_easy_setopt(c, CURLOPT_URL, url);
        (void) curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
        (void) curl_easy_setopt(c, CURLOPT_WRITEDATA, &body);
        CURLcode k = curl_easy_perform(c);
        long code = 0;
        (void) curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
        curl_easy_cleanup(c);
        if (k != CURLE_OK)
                return err_set(err, -EIO, "token server %s: %s", ch->realm,
                               w->refused ? "it is an address of this machine" : curl_easy_strerror(k));
        if (code != 200)
                return err_set(err, code == 401 || code == 403 ? -EACCES : -EIO,
                               "token server %s answered %ld: %s", ch->realm, code,
                               code == 401 ? "unauthorized: incorrect username or password" : "no token");
        free(w->token);
        w->token = token_of(&body);
        return w->token ? 0 : err_set(err, -EIO, "token server %s sent no usable token", ch->realm);
}

static int authenticate(Worker *w, const char *header, Err *err) {
        _cleanup_(challenge_done) Challenge ch = {};
        if (!*header || challenge_parse(header, &ch) < 0)
                return err_set(err, -EACCES, "unauthorized: authentication required");
        if (ch.bearer)
                return fetch_token(w, &ch, err);
        if (w->options->credentials.user && !w->basic) {
                w->basic = true;
                return 0;
        }
        if (w->options->credentials.helper)
                return err_set(err, -EACCES, "unauthorized: the password for %s is in the credential helper \"%s\", which is "
                               "not supported: put it into the \"auths\" of config.json",
                               w->options->domain, w->options->credentials.helper);
        return err_set(err, -EACCES, "unauthorized: authentication required (no basic auth credentials)");
}

/* ---- the first contact ---- */

typedef struct Ping {
        char challenge[4096];
        bool is_registry;
} Ping;

static size_t on_ping_header(char *p, size_t size, size_t n, void *userdata) {
        Ping *ping = userdata;
        char version[64];
        (void) header_value(p, n, "WWW-Authenticate", ping->challenge, sizeof(ping->challenge));
        if (header_value(p, n, "Docker-Distribution-Api-Version", version, sizeof(version)))
                ping->is_registry = true;
        return size * n;
}

static CURLcode ping_once(Worker *w, const char *scheme, Ping *ping, long *ret_code) {
        CURL *c = curl_easy_init();
        _cleanup_free_ char *url = xasprintf("%s://%s/v2/", scheme, api_host(w->options->domain));
        set_common(c, w);
        (void) curl_easy_setopt(c, CURLOPT_URL, url);
        (void) curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_ping_header);
        (void) curl_easy_setopt(c, CURLOPT_HEADERDATA, ping);
        (void) curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, discard);
        CURLcode k = curl_easy_perform(c);
        (void) curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, ret_code);
        curl_easy_cleanup(c);
        return k;
}

/* TLS first; only a registry on this machine or one listed as insecure may be spoken to in the clear. */
static int contact(Worker *w, Err *err) {
        Ping ping = {};
        long code = 0;
        const char *scheme = "https";
        CURLcode k = ping_once(w, scheme, &ping, &code);
        if (k != CURLE_OK && w->options->insecure) {
                ping = (Ping){};
                scheme = "http";
                k = ping_once(w, scheme, &ping, &code);
        }
        const char *host = api_host(w->options->domain);
        if (k != CURLE_OK)
                return err_set(err, -EIO, "Get \"%s://%s/v2/\": %s%s", scheme, host, curl_easy_strerror(k),
                               k == CURLE_SSL_CONNECT_ERROR && !w->options->insecure ?
                                       " (a registry without TLS must be listed in \"insecure-registries\" of "
                                       "/etc/docker/daemon.json)" : "");
        w->contacted = true;
        w->base = xasprintf("%s://%s", scheme, host);
        if (code == 401)
                return authenticate(w, ping.challenge, err);
        if (code != 200 && !(code == 404 && ping.is_registry))
                return err_set(err, -EIO, "%s/v2/ answered %ld: is this a registry?", w->base, code);
        return 0;
}

/* ---- transfers ---- */

static void transfer_free(Transfer *t) {
        LIST_REMOVE(&t->worker->transfers, t, link);
        if (t->easy) {
                (void) curl_multi_remove_handle(t->worker->multi, t->easy);
                curl_easy_cleanup(t->easy);
        }
        (void) safe_close(t->fd);
        free(t->what);
        buf_done(&t->error_body);
        free(t);
}

static void add_text(Buf *b, const char *s, size_t max) {
        buf_add_bytes(b, s, MIN(strlen(s), max - 1));
}

static void send_event(Worker *w, const Transfer *t, bool done, int error, long http_code, const char *message) {
        _cleanup_(buf_done) Buf b = {};
        buf_add_le32(&b, t->id);
        buf_addc(&b, done);
        buf_add_le64(&b, t->at);
        buf_add_le32(&b, (uint32_t) -error);
        buf_add_le32(&b, (uint32_t) http_code);
        buf_addc(&b, t->more);
        add_text(&b, t->content_type, sizeof(t->content_type));
        add_text(&b, t->digest, sizeof(t->digest));
        add_text(&b, message, 1024);
        /* Progress may get lost when the parent is busy; the end may not. */
        (void) send(w->socket, b.data, b.len, MSG_NOSIGNAL | (done ? 0 : MSG_DONTWAIT));
}

static void report_progress(Transfer *t) {
        Usec now = now_monotonic();
        if (now - t->reported < PROGRESS_USEC)
                return;
        t->reported = now;
        send_event(t->worker, t, false, 0, 0, "");
}

static size_t on_header(char *p, size_t size, size_t n, void *userdata) {
        Transfer *t = userdata;
        char text[256];
        if (n > 5 && memcmp(p, "HTTP/", 5) == 0) { /* the next answer, after a redirect or 100 Continue */
                t->content_type[0] = t->digest[0] = t->challenge[0] = 0;
                t->content_range = 0;
                t->more = false;
        }
        (void) header_value(p, n, "Content-Type", t->content_type, sizeof(t->content_type));
        (void) header_value(p, n, "Docker-Content-Digest", t->digest, sizeof(t->digest));
        (void) header_value(p, n, "WWW-Authenticate", t->challenge, sizeof(t->challenge));
        if (header_value(p, n, "Link", text, sizeof(text)))
                t->more = strstr(text, "next") != NULL;
        if (header_value(p, n, "Content-Range", text, sizeof(text))) {
                const char *from = startswith(text, "bytes ");
                _cleanup_free_ char *number = from ? xstrndup(from, strspn(from, "0123456789")) : NULL;
                if (number && parse_u64(number, &t->content_range) < 0)
                        t->content_range = UINT64_MAX;
        }
        return size * n;
}

/* The first bytes of an answer decide where they go: a registry may ignore our Range and send it all. */
static int begin_body(Transfer *t, long code) {
        if (code == 206 && t->range_from > 0 && t->content_range == t->range_from)
                return 0;
        if (code == 206)
                return -EPROTO;
        if (t->at > 0) {
                t->at = 0;
                if (ftruncate(t->fd, 0) < 0)
                        return -errno;
        }
        t->range_from = 0;
        return 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *userdata) {
        Transfer *t = userdata;
        long code = 0;
        (void) curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
        if (code != 200 && code != 206) {
                if (t->error_body.len + n <= ERROR_BODY_MAX)
                        buf_add(&t->error_body, p, n);
                return n;
        }
        if (t->at == t->range_from) {
                t->error = begin_body(t, code);
                if (t->error < 0)
                        return 0;
        }
        if (n > t->limit || t->at > t->limit - n) {
                t->error = -EFBIG;
                return 0;
        }
        for (size_t done = 0; done < n;) {
                ssize_t k = pwrite(t->fd, p + done, n - done, (off_t) (t->at + done));
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0) {
                        t->error = -errno;
                        return 0;
                }
                done += (size_t) k;
        }
        t->at += n;
        report_progress(t);
        return n;
}

static char *request_url(const Worker *w, const Transfer *t) {
        const char *repo = w->options->repo;
        switch (t->kind) {
        case REGISTRY_MANIFEST:
                return xasprintf("%s/v2/%s/manifests/%s", w->base, repo, t->what);
        case REGISTRY_BLOB:
                return xasprintf("%s/v2/%s/blobs/%s", w->base, repo, t->what);
        case REGISTRY_TAGS:
                return xasprintf("%s/v2/%s/tags/list?n=%d%s%s", w->base, repo, TAGS_PAGE, *t->what ? "&last=" : "", t->what);
        }
        abort();
}

static struct curl_slist *accept_headers(void) {
        static const char *const accept[] = { MEDIA_DOCKER_MANIFEST, MEDIA_DOCKER_LIST, MEDIA_OCI_MANIFEST, MEDIA_OCI_INDEX };
        struct curl_slist *l = NULL;
        for (size_t i = 0; i < ELEMENTSOF(accept); i++) {
                char line[160];
                (void) snprintf(line, sizeof(line), "Accept: %s", accept[i]);
                l = curl_slist_append(l, line);
        }
        return l;
}

static struct curl_slist *manifest_headers; /* one list for the life of the child */

static void start_attempt(Worker *w, Transfer *t) {
        if (!t->easy)
                t->easy = curl_easy_init();
        else
                curl_easy_reset(t->easy);
        _cleanup_free_ char *url = request_url(w, t);
        set_common(t->easy, w);
        set_auth(t->easy, w);
        (void) curl_easy_setopt(t->easy, CURLOPT_URL, url);
        (void) curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
        (void) curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
        (void) curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
        (void) curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
        (void) curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
        if (t->kind == REGISTRY_MANIFEST) {
                if (!manifest_headers)
                        manifest_headers = accept_headers();
                (void) curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, manifest_headers);
        }
        t->range_from = t->at;
        if (t->at > 0) { /* not RESUME_FROM, which fails when the registry sends everything */
                _cleanup_free_ char *range = xasprintf("%" PRIu64 "-", t->at);
                (void) curl_easy_setopt(t->easy, CURLOPT_RANGE, range);
        }
        t->error = 0;
        t->retry_at = 0;
        buf_clear(&t->error_body);
        (void) curl_multi_add_handle(w->multi, t->easy);
}

static void finish(Transfer *t, int error, long http_code, const char *message) {
        send_event(t->worker, t, true, error, http_code, message);
        transfer_free(t);
}

/* "manifest unknown: manifest unknown" out of {"errors":[{"code":"MANIFEST_UNKNOWN","message":"…"}]}. */
static char *registry_message(const Buf *body, long http_code) {
        _cleanup_json_ json_t *j = NULL;
        (void) ji_parse(buf_str(body), body->len, ERROR_BODY_MAX, &j, NULL);
        const json_t *e = json_array_get(ji_arr(j, "errors"), 0);
        const char *code = e ? ji_str(e, "code") : NULL, *message = e ? ji_str(e, "message") : NULL;
        if (!code)
                return xasprintf("the registry answered %ld", http_code);
        _cleanup_free_ char *words = xstrdup(code);
        for (char *p = words; *p; p++)
                *p = *p == '_' ? ' ' : (char) (*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        return xasprintf("%s: %s", words, strempty(message));
}

/* Tries again with growing pauses; false when it was often enough. */
static bool retry(Transfer *t) {
        if (++t->attempts >= REGISTRY_ATTEMPTS_MAX)
                return false;
        t->retry_at = now_monotonic() + (Usec) (200 << t->attempts) * USEC_PER_MSEC;
        return true;
}

static void on_http_error(Worker *w, Transfer *t, long code) {
        _cleanup_(err_done) Err err = {};
        if (code == 401 && !t->fresh_token) {
                int r = authenticate(w, t->challenge, &err);
                if (r < 0) {
                        finish(t, r, code, err_msg(&err));
                        return;
                }
                t->fresh_token = true;
                start_attempt(w, t);
                return;
        }
        if (code == 416 && t->at > 0) { /* our part is longer than the blob: start over */
                t->at = 0;
                if (ftruncate(t->fd, 0) < 0)
                        finish(t, -errno, code, strerror(errno));
                else
                        start_attempt(w, t);
                return;
        }
        if ((code == 429 || code >= 500) && code != 501 && retry(t))
                return;
        _cleanup_free_ char *message = registry_message(&t->error_body, code);
        int error = code == 404 ? -ENOENT : code == 401 || code == 403 ? -EACCES : -EIO;
        finish(t, error, code, message);
}

static void on_attempt_done(Worker *w, Transfer *t, CURLcode k) {
        long code = 0;
        (void) curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
        (void) curl_multi_remove_handle(w->multi, t->easy);
        if (t->error < 0) {
                finish(t, t->error, code, t->error == -EFBIG ? "it is larger than announced or allowed" : strerror(-t->error));
                return;
        }
        if (k == CURLE_UNSUPPORTED_PROTOCOL || k == CURLE_TOO_MANY_REDIRECTS) {
                finish(t, -EPROTO, code, k == CURLE_TOO_MANY_REDIRECTS ? "redirected too often"
                                                                       : "redirected to an address of a forbidden kind");
                return;
        }
        if (k == CURLE_COULDNT_CONNECT && w->refused) {
                finish(t, -EPROTO, code, "redirected to an address of this machine");
                return;
        }
        if (k != CURLE_OK) {
                if (!retry(t))
                        finish(t, -EIO, code, curl_easy_strerror(k));
                return;
        }
        if (code == 200 || code == 206) {
                finish(t, 0, code, "");
                return;
        }
        on_http_error(w, t, code);
}

/* ---- the loop ---- */

static int receive_fd(struct msghdr *m) {
        struct cmsghdr *c = CMSG_FIRSTHDR(m);
        int fd;
        if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
                return -EBADF;
        memcpy(&fd, CMSG_DATA(c), sizeof(int));
        return fd;
}

/* 1 = took a request, 0 = none waiting, -EPIPE = the parent has closed. */
static int take_request(Worker *w) {
        char buf[4096];
        union {
                char space[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
        struct msghdr m = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space),
        };
        ssize_t n = recvmsg(w->socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -EPIPE;
        Transfer *t = xnew(Transfer, 1);
        t->fd = receive_fd(&m);
        t->worker = w;
        LIST_APPEND(&w->transfers, t, link);
        Rd rd = rd_new(buf, (size_t) n);
        uint8_t kind = 0;
        const void *what;
        size_t len;
        int r = rd_le32(&rd, &t->id);
        if (r >= 0)
                r = rd_u8(&rd, &kind);
        if (r >= 0)
                r = rd_le64(&rd, &t->at);
        if (r >= 0)
                r = rd_le64(&rd, &t->limit);
        if (r >= 0)
                r = rd_bytes(&rd, &what, &len);
        if (r < 0 || kind > REGISTRY_TAGS)
                return -EBADMSG;
        t->kind = kind;
        t->what = xstrndup(what, len);
        if (w->setup_code < 0)
                finish(t, w->setup_code, 0, err_msg(&w->setup));
        else
                start_attempt(w, t);
        return 1;
}

/* Starts what waited long enough; returns how long the loop may sleep. */
static int start_due(Worker *w) {
        int sleep_ms = 1000;
        Usec now = now_monotonic();
        LIST_FOREACH(t, &w->transfers, link) {
                if (t->retry_at == 0)
                        continue;
                if (t->retry_at <= now)
                        start_attempt(w, t);
                else
                        sleep_ms = MIN(sleep_ms, (int) ((t->retry_at - now) / USEC_PER_MSEC) + 1);
        }
        return sleep_ms;
}

static void collect_done(Worker *w) {
        int left;
        for (CURLMsg *m; (m = curl_multi_info_read(w->multi, &left));) {
                if (m->msg != CURLMSG_DONE)
                        continue;
                Transfer *t = NULL;
                CURLcode k = m->data.result;
                (void) curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
                on_attempt_done(w, t, k);
        }
}

static int run(Worker *w) {
        for (;;) {
                int r, running;
                while ((r = take_request(w)) > 0)
                        ;
                if (r < 0)
                        return r == -EPIPE || r == -ECONNRESET ? 0 : r;
                (void) curl_multi_perform(w->multi, &running);
                collect_done(w);
                struct curl_waitfd extra = { .fd = w->socket, .events = CURL_WAIT_POLLIN };
                (void) curl_multi_poll(w->multi, &extra, 1, start_due(w), NULL);
        }
}

int registry_worker(void *userdata, Buf *reply, Err *err) {
        const RegistryWorkerArgs *args = userdata;
        Worker w = { .options = args->options, .socket = args->socket };
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return err_set(err, -ENOMEM, "libcurl does not start");
        w.multi = curl_multi_init();
        w.setup_code = contact(&w, &w.setup);
        int r = run(&w);
        while (w.transfers.first)
                transfer_free(w.transfers.first);
        (void) curl_multi_cleanup(w.multi);
        curl_slist_free_all(manifest_headers);
        manifest_headers = NULL;
        free(w.base);
        free(w.token);
        err_done(&w.setup);
        return r;
}

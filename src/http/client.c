/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"
#include "http/client-internal.h"
#include "http/listen.h"
#include "sys/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

typedef struct CallBlock { /* one allocation for both halves */
        HttpCall call;
        HttpCallPrivate p;
} CallBlock;

void client_wake(HttpClient *c) {
        if (!c->freeing)
                (void) sd_event_source_set_enabled(c->pump, SD_EVENT_ONESHOT);
}

/* ---- calls on and off connections ---- */

void call_attach(HttpCallPrivate *p, ClientConn *conn) {
        assert(!p->conn);
        p->conn = conn;
        LIST_APPEND(&conn->calls, p, link);
        conn->n_calls++;
}

void call_detach(HttpCallPrivate *p) {
        if (p->conn) {
                LIST_REMOVE(&p->conn->calls, p, link);
                assert(p->conn->n_calls > 0);
                p->conn->n_calls--;
                p->conn = NULL;
        } else {
                LIST_REMOVE(&p->origin->waiting, p, link);
        }
}

/* The end of a call's life as far as everybody else is concerned; its memory goes with the next pump. */
static void call_kill(HttpCallPrivate *p) {
        assert(!p->dead);
        call_detach(p);
        p->dead = true;
        p->timer = sd_event_source_disable_unref(p->timer);
        LIST_REMOVE(&p->client->calls, p, all_link);
        LIST_APPEND(&p->client->dead_calls, p, link);
        client_wake(p->client);
}

static void call_free(HttpCallPrivate *p) {
        CallBlock *b = container_of(p, CallBlock, p);
        sd_event_source_disable_unref(p->timer);
        for (size_t i = 0; i < p->n_headers; i++) {
                free((char *) p->headers[i].name);
                free((char *) p->headers[i].value);
        }
        free(p->headers);
        free(p->method);
        free(p->target);
        free(p->authority);
        buf_done(&p->request);
        queue_done(&p->out);
        buf_done(&p->head);
        buf_done(&b->call.body);
        arena_done(&b->call.arena);
        free(b);
}

void call_end(HttpCallPrivate *p, int r, const char *problem) {
        if (p->dead)
                return;
        if (problem)
                (void) snprintf(p->problem, sizeof(p->problem), "%s", problem);
        call_kill(p);
        p->config.on_done(p->call, r, p->config.user);
}

bool call_repeat(HttpCallPrivate *p) {
        if (p->dead || p->streaming || p->repeats >= CLIENT_REPEATS_MAX || p->client->freeing)
                return false;
        p->repeats++;
        call_detach(p);
        p->call->sent = false;
        p->sent_body = 0;
        p->stream_id = 0;
        p->debt = 0;
        p->deferred = p->head_done = false;
        p->n_head = 0;
        buf_clear(&p->head);
        LIST_APPEND(&p->origin->waiting, p, link);
        client_wake(p->client);
        return true;
}

/* ---- what comes in ---- */

int call_add_head(HttpCallPrivate *p, const void *s, size_t n) {
        if (p->head.len + n > CLIENT_HEADER_BYTES_MAX || p->n_head > CLIENT_HEADER_COUNT_MAX)
                return -EMSGSIZE;
        buf_add(&p->head, s, n);
        return 0;
}

static HttpHeader *take_head(HttpCallPrivate *p) {
        Arena *a = &p->call->arena;
        char *text = arena_strndup(a, buf_str(&p->head), p->head.len);
        HttpHeader *h = p->n_head > 0 ? arena_new(a, HttpHeader, p->n_head) : NULL;
        for (size_t i = 0; i < p->n_head; i++) {
                h[i].name = text;
                text += strlen(text) + 1;
                h[i].value = text;
                text += strlen(text) + 1;
        }
        buf_clear(&p->head);
        return h;
}

void call_headers(HttpCallPrivate *p) {
        p->call->n_headers = p->n_head;
        p->call->headers = take_head(p);
        p->n_head = 0;
        p->head_done = true;
        if (p->config.on_headers)
                p->config.on_headers(p->call, p->config.user);
}

void call_trailers(HttpCallPrivate *p) {
        p->call->n_trailers = p->n_head;
        p->call->trailers = take_head(p);
        p->n_head = 0;
}

void call_data(HttpCallPrivate *p, const void *data, size_t n) {
        if (p->dead || n == 0)
                return;
        size_t max = p->config.body_max ?: HTTP_CLIENT_BODY_MAX;
        if (!p->config.on_data && n > max - MIN(max, p->call->body.len)) {
                p->too_large = true;
                return;
        }
        buf_add(&p->call->body, data, n);
        if (p->config.on_data)
                p->config.on_data(p->call, p->config.user);
}

static const char *find(const HttpHeader *h, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (strcasecmp(h[i].name, name) == 0)
                        return h[i].value;
        return NULL;
}

const char *http_call_header(const HttpCall *call, const char *name) {
        return find(call->headers, call->n_headers, name);
}

const char *http_call_trailer(const HttpCall *call, const char *name) {
        return find(call->trailers, call->n_trailers, name);
}

const char *http_call_error(const HttpCall *call) {
        return call->priv->problem;
}

/* ---- origins ---- */

static Origin *origin_get(HttpClient *c, const Url *u, const char *unix_path, bool h2) {
        _cleanup_free_ char *key = xasprintf("%s|%s|%u|%s|%d", u->scheme, u->host, url_port(u),
                                             strempty(unix_path), h2);
        LIST_FOREACH(o, &c->origins, link)
                if (streq(o->key, key))
                        return o;
        Origin *o = xnew(Origin, 1);
        o->client = c;
        o->key = TAKE_PTR(key);
        o->host = xstrdup(u->host);
        o->unix_path = unix_path ? xstrdup(unix_path) : NULL;
        o->port = url_port(u);
        o->tls = streq(u->scheme, "https");
        o->h2 = h2;
        LIST_APPEND(&c->origins, o, link);
        return o;
}

static void origin_free(Origin *o) {
        LIST_REMOVE(&o->client->origins, o, link);
        free(o->key);
        free(o->host);
        free(o->unix_path);
        free(o);
}

static ClientConn *usable_conn(Origin *o) {
        LIST_FOREACH(c, &o->conns, link)
                if (c->state == CONN_READY && !c->going_away && (c->h2 ? ch2_has_room(c) : c->n_calls == 0))
                        return c;
        return NULL;
}

static void count_states(const Origin *o, size_t *ret_waiting, size_t *ret_opening) {
        *ret_waiting = *ret_opening = 0;
        LIST_FOREACH(p, &o->waiting, link)
                (*ret_waiting)++;
        LIST_FOREACH(c, &o->conns, link)
                if (c->state < CONN_READY)
                        (*ret_opening)++;
}

void origin_dispatch(Origin *o) {
        for (ClientConn *c; o->waiting.first && (c = usable_conn(o));) {
                HttpCallPrivate *p = o->waiting.first;
                LIST_REMOVE(&o->waiting, p, link);
                call_attach(p, c);
                if (c->h2)
                        ch2_send(c, p);
                else
                        ch1_send(c, p);
                c->reused = c->used;
                c->used = true;
                conn_touch(c);
        }
        size_t waiting, opening;
        count_states(o, &waiting, &opening);
        size_t want = o->h2 ? MIN(waiting, (size_t) 1) : waiting;
        for (; opening < want; opening++)
                if (!conn_open(o))
                        break;
}

/* ---- the pump ---- */

static void bury(HttpClient *c) {
        LIST_FOREACH(o, &c->origins, link) {
                LIST_FOREACH(conn, &o->conns, link)
                        if (conn->state == CONN_CLOSED && !conn->in_poller)
                                conn_free_now(conn);
                if (!o->conns.first && !o->waiting.first)
                        origin_free(o);
        }
        while (c->dead_calls.first) {
                HttpCallPrivate *p = c->dead_calls.first;
                LIST_REMOVE(&c->dead_calls, p, link);
                call_free(p);
        }
}

static int on_pump(sd_event_source *s, void *user) {
        HttpClient *c = user;
        LIST_FOREACH(o, &c->origins, link)
                origin_dispatch(o);
        bury(c);
        return 0;
}

HttpClient *http_client_new(const HttpClientConfig *config) {
        HttpClient *c = xnew(HttpClient, 1);
        c->config = *config;
        c->config.connect_timeout = config->connect_timeout ?: HTTP_CLIENT_CONNECT_TIMEOUT;
        c->config.idle_timeout = config->idle_timeout ?: HTTP_CLIENT_IDLE_TIMEOUT;
        c->config.ping_interval = config->ping_interval ?: HTTP_CLIENT_PING_INTERVAL;
        c->config.ping_timeout = config->ping_timeout ?: HTTP_CLIENT_PING_TIMEOUT;
        c->user_agent = config->user_agent ? xstrdup(config->user_agent) : NULL;
        c->event = sd_event_ref(config->event);
        c->tls = tls_context_ref(config->tls);
        c->poller = poller_new(c->event);
        if (!c->poller || sd_event_add_defer(c->event, &c->pump, on_pump, c) < 0)
                return http_client_free(c);
        (void) sd_event_source_set_enabled(c->pump, SD_EVENT_OFF);
        return c;
}

HttpClient *http_client_free(HttpClient *c) {
        if (!c)
                return NULL;
        c->freeing = true;
        while (c->calls.first)
                call_kill(c->calls.first);
        LIST_FOREACH(o, &c->origins, link)
                LIST_FOREACH(conn, &o->conns, link)
                        conn_fail(conn, -ECANCELED, "the client was closed");
        if (c->poller)
                poller_bury(c->poller);
        bury(c);
        sd_event_source_disable_unref(c->pump);
        poller_unref(c->poller);
        tls_context_unref(c->tls);
        sd_event_unref(c->event);
        free(c->user_agent);
        free(c);
        return NULL;
}

/* ---- making a call ---- */

static void add_header(HttpCallPrivate *p, const char *name, const char *value) {
        char *n = xstrdup(name), *v = xstrdup(value);
        for (char *i = n; *i; i++)
                *i = (char) tolower((unsigned char) *i);
        for (char *i = v; *i; i++)
                if (*i == '\r' || *i == '\n')
                        *i = ' ';
        p->headers[p->n_headers++] = (HttpHeader){ n, v };
}

static void set_headers(HttpCallPrivate *p, const HttpCallConfig *config) {
        HttpClient *c = p->client;
        p->headers = xnew(HttpHeader, config->n_headers + 2);
        if (c->user_agent)
                add_header(p, "user-agent", c->user_agent);
        for (size_t i = 0; i < config->n_headers; i++)
                add_header(p, config->headers[i].name, config->headers[i].value);
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *user) {
        HttpCallPrivate *p = user;
        char text[256];
        const char *where = p->conn ? NULL : "could not connect in time";
        LIST_FOREACH(c, &p->origin->conns, link)
                if (!p->conn && c->problem[0])
                        where = c->problem;
        (void) snprintf(text, sizeof(text), "%s", where ?: "no answer in time");
        HttpCall *call = p->call;
        void (*done)(HttpCall *, int, void *) = p->config.on_done;
        void *u = p->config.user;
        (void) snprintf(p->problem, sizeof(p->problem), "%s", text);
        http_call_cancel(call);
        done(call, -ETIMEDOUT, u);
        return 0;
}

static char *make_authority(const Url *u) {
        bool standard = u->port == 0 || u->port == (streq(u->scheme, "https") ? 443 : 80);
        if (!standard)
                return url_host_port(u);
        return u->ipv6 ? xasprintf("[%s]", u->host) : xstrdup(isempty(u->host) ? "localhost" : u->host);
}

static int check_config(const HttpCallConfig *config, Url *u, Err *err) {
        int r = url_parse(config->url, u, err);
        if (r < 0)
                return r;
        if (!streq(u->scheme, "http") && !streq(u->scheme, "https"))
                return err_set(err, -EINVAL, "URL \"%s\": the scheme is not http or https", config->url);
        if (isempty(u->host) && !config->unix_path)
                return err_set(err, -EINVAL, "URL \"%s\" has no host", config->url);
        return 0;
}

int http_call(HttpClient *c, const HttpCallConfig *config, HttpCall **ret, Err *err) {
        _cleanup_(url_done) Url u = {};
        assert(config->on_done && config->url);
        int r = check_config(config, &u, err);
        if (r < 0)
                return r;
        CallBlock *b = xnew(CallBlock, 1);
        HttpCallPrivate *p = &b->p;
        b->call.priv = p;
        *p = (HttpCallPrivate){ .call = &b->call, .client = c, .config = *config };
        p->method = xstrdup(config->method ?: "GET");
        p->target = xasprintf("%s%s%s", isempty(u.path) ? "/" : u.path, u.query ? "?" : "",
                              strempty(u.query));
        p->authority = make_authority(&u);
        p->streaming = config->flags & HTTP_CALL_STREAM_REQUEST;
        p->request_end = !p->streaming;
        set_headers(p, config);
        if (config->body_size > 0 && p->streaming)
                queue_add(&p->out, config->body, config->body_size);
        else if (config->body_size > 0)
                buf_add(&p->request, config->body, config->body_size);
        if (config->timeout > 0)
                (void) sd_event_add_time_relative(c->event, &p->timer, CLOCK_MONOTONIC, config->timeout, 1,
                                                  on_timeout, p);
        p->origin = origin_get(c, &u, config->unix_path, config->flags & HTTP_CALL_H2);
        LIST_APPEND(&p->origin->waiting, p, link);
        LIST_APPEND(&c->calls, p, all_link);
        client_wake(c);
        *ret = &b->call;
        return 0;
}

void http_call_consume(HttpCall *call, size_t n) {
        HttpCallPrivate *p = call->priv;
        buf_consume(&call->body, n);
        if (p->dead || !p->conn)
                return;
        if (p->conn->h2)
                ch2_consume(p, n);
        else
                conn_touch(p->conn);
}

int http_call_write(HttpCall *call, const void *data, size_t n) {
        HttpCallPrivate *p = call->priv;
        assert(p->streaming);
        if (p->dead || p->request_end)
                return -ECONNRESET;
        if (n > HTTP_WRITE_MAX || queue_len(&p->out) > HTTP_WRITE_MAX - n)
                return -ENOBUFS;
        if (p->conn && !p->conn->h2)
                ch1_write(p, data, n);
        else
                queue_add(&p->out, data, n);
        if (p->conn && p->conn->h2)
                ch2_resume(p);
        if (p->conn)
                conn_touch(p->conn);
        size_t queued = p->conn && !p->conn->h2 ? queue_len(&p->conn->out) : queue_len(&p->out);
        p->high = queued >= HTTP_WRITE_HIGH;
        return p->high;
}

void http_call_end(HttpCall *call) {
        HttpCallPrivate *p = call->priv;
        if (p->dead || p->request_end)
                return;
        p->request_end = true;
        if (!p->conn)
                return;
        if (p->conn->h2)
                ch2_resume(p);
        else
                ch1_end(p);
        conn_touch(p->conn);
}

HttpCall *http_call_cancel(HttpCall *call) {
        if (!call || call->priv->dead)
                return NULL;
        HttpCallPrivate *p = call->priv;
        ClientConn *c = p->conn;
        if (c && c->h2 && c->state == CONN_READY)
                ch2_cancel(p);
        call_kill(p);
        if (c && !c->h2)
                conn_fail(c, -ECANCELED, "cancelled");
        return NULL;
}

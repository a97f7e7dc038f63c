/* SPDX-License-Identifier: Apache-2.0 */
#include "etcdclient/v2.h"
#include "base/alloc.h"
#include "base/list.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/url.h"
#include "http/client.h"
#include "sys/clock.h"

#include <stdio.h>

struct Etcd2Client {
        sd_event *event;
        HttpClient *http;
        char **endpoints; /* owned */
        size_t current;
        Usec timeout, total_timeout;
        LIST_HEAD(Etcd2Call) calls;
};

struct Etcd2Call {
        Etcd2Client *client;
        LIST_LINK(Etcd2Call) link;
        char *method, *path, *query, *form, *json, *pinned, *endpoint; /* owned */
        bool wait, sync, finishing;
        HttpCall *http;
        sd_event_source *timer;
        Usec deadline;
        size_t attempts;
        Buf problems; /* "error #0: ..." lines */
        Etcd2Done done;
        void *user;
};

static void attempt(Etcd2Call *call);

char *const *etcd2_endpoints(const Etcd2Client *c) {
        return c->endpoints;
}

int etcd2_set_endpoints(Etcd2Client *c, char *const *endpoints, Err *err) {
        if (strv_len(endpoints) == 0)
                return err_set(err, -EINVAL, "no etcd endpoints given");
        STRV_FOREACH(e, endpoints) {
                _cleanup_(url_done) Url u = {};
                int r = url_parse(*e, &u, err);
                if (r < 0)
                        return r;
        }
        char **copy = strv_copy(endpoints);
        strv_free(c->endpoints);
        c->endpoints = copy;
        c->current = 0;
        return 0;
}

int etcd2_client_new(const Etcd2Config *config, Etcd2Client **ret, Err *err) {
        _cleanup_(etcd2_client_freep) Etcd2Client *c = xnew(Etcd2Client, 1);
        c->event = sd_event_ref(config->event);
        c->timeout = config->timeout ?: USEC_PER_SEC;
        c->total_timeout = config->total_timeout ?: ETCD2_TIMEOUT;
        int r = etcd2_set_endpoints(c, config->endpoints, err);
        if (r < 0)
                return r;
        HttpClientConfig http = { .event = config->event,
                                  .tls = config->tls,
                                  .connect_timeout = c->timeout };
        c->http = http_client_new(&http);
        if (!c->http)
                return err_set(err, -EMFILE, "cannot make an etcd client: out of file descriptors");
        *ret = TAKE_PTR(c);
        return 0;
}

static void call_free(Etcd2Call *call) {
        LIST_REMOVE(&call->client->calls, call, link);
        (void) http_call_cancel(call->http);
        sd_event_source_disable_unref(call->timer);
        free(call->method);
        free(call->path);
        free(call->query);
        free(call->form);
        free(call->json);
        free(call->pinned);
        free(call->endpoint);
        buf_done(&call->problems);
        free(call);
}

Etcd2Client *etcd2_client_free(Etcd2Client *c) {
        if (!c)
                return NULL;
        while (c->calls.first)
                call_free(c->calls.first);
        http_client_free(c->http);
        strv_free(c->endpoints);
        sd_event_unref(c->event);
        free(c);
        return NULL;
}

Etcd2Call *etcd2_cancel(Etcd2Call *call) {
        if (call && !call->finishing)
                call_free(call);
        return NULL;
}

/* ---- answers ---- */

static void take_members(Etcd2Call *call, const json_t *body) {
        _cleanup_strv_ char **list = NULL;
        size_t i, k;
        json_t *m, *u;
        json_array_foreach(ji_arr(body, "members"), i, m)
                        json_array_foreach(ji_arr(m, "clientURLs"), k, u) if (json_is_string(u))
                                        strv_add(&list, json_string_value(u));
        if (list)
                (void) etcd2_set_endpoints(call->client, list, NULL);
}

static void finish(Etcd2Call *call, Etcd2Result r) {
        r.message = strempty(r.message);
        r.text = strempty(r.text);
        call->finishing = true;
        if (call->sync && r.error == 0 && r.status == 200 && r.body)
                take_members(call, r.body);
        call->done(&r, call->user);
        call_free(call);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *user) {
        Etcd2Call *call = user;
        attempt(call);
        return 0;
}

static void later(Etcd2Call *call) {
        if (!call->timer) {
                (void) sd_event_add_time_relative(call->client->event, &call->timer, CLOCK_MONOTONIC, 0, 1,
                                                  on_timer, call);
                return;
        }
        (void) sd_event_source_set_time_relative(call->timer, 0);
        (void) sd_event_source_set_enabled(call->timer, SD_EVENT_ONESHOT);
}

/* Takes down why this endpoint did not do, and goes to the next; each gets one chance. */
static void next_endpoint(Etcd2Call *call, bool may_repeat, const char *problem) {
        Etcd2Client *c = call->client;
        size_t n = call->pinned ? 1 : strv_len(c->endpoints);
        buf_addf(&call->problems, "error #%zu: %s\n", call->attempts, problem);
        call->attempts++;
        if (!call->pinned)
                c->current = (c->current + 1) % n;
        if (may_repeat && call->attempts < n && now_monotonic() < call->deadline)
                later(call);
        else
                finish(call, (Etcd2Result){ .error = -ENOTCONN, .message = buf_str(&call->problems) });
}

static void on_done(HttpCall *http, int r, void *user) {
        Etcd2Call *call = user;
        bool read = streq(call->method, "GET");
        call->http = NULL;
        if (r < 0) {
                next_endpoint(call, read || !http->sent, http_call_error(http));
                return;
        }
        _cleanup_json_ json_t *body = NULL;
        (void) ji_parse(http->body.data, http->body.len, HTTP_CLIENT_BODY_MAX, &body, NULL);
        Etcd2Result result = { .status = http->status,
                               .body = body,
                               .text = buf_str(&http->body),
                               .endpoint = call->endpoint };
        const char *index = http_call_header(http, "x-etcd-index");
        if (index)
                (void) parse_u64(index, &result.index);
        if (body && http->status >= 400)
                result.code = (int) ji_int(body, "errorCode", 0);
        if (http->status / 100 == 5 && read && call->attempts + 1 < strv_len(call->client->endpoints)) {
                const char *message = body ? ji_str(body, "message") : NULL;
                next_endpoint(call, true, strempty(message));
                return;
        }
        finish(call, result);
}

static void attempt(Etcd2Call *call) {
        Etcd2Client *c = call->client;
        Usec now = now_monotonic();
        free(call->endpoint);
        call->endpoint = xstrdup(call->pinned ?: c->endpoints[c->current]);
        _cleanup_free_ char *url = xasprintf("%s%s%s%s", call->endpoint, call->path, call->query ? "?" : "",
                                             strempty(call->query));
        HttpHeader type = { "content-type",
                            call->json ? "application/json" : "application/x-www-form-urlencoded" };
        const char *body = call->json ?: call->form;
        HttpCallConfig config = {
                .method = call->method,
                .url = url,
                .headers = &type,
                .n_headers = body ? 1 : 0,
                .body = body,
                .body_size = body ? strlen(body) : 0,
                .timeout = call->wait ? 0
                                      : MAX(MIN(usec_sub(call->deadline, now), c->total_timeout),
                                            (Usec) 1000),
                .on_done = on_done,
                .user = call,
        };
        _cleanup_(err_done) Err err = {};
        if (http_call(c->http, &config, &call->http, &err) < 0)
                next_endpoint(call, true, err_msg(&err));
}

Etcd2Call *etcd2_request(Etcd2Client *c, const Etcd2Request *q, Etcd2Done done, void *user) {
        Etcd2Call *call = xnew(Etcd2Call, 1);
        call->client = c;
        call->method = xstrdup(q->method ?: "GET");
        call->path = xstrdup(q->path);
        call->query = q->query && *q->query ? xstrdup(q->query) : NULL;
        call->form = q->form ? xstrdup(q->form) : NULL;
        call->json = q->json ? xstrdup(q->json) : NULL;
        call->pinned = q->endpoint ? xstrdup(q->endpoint) : NULL;
        call->wait = q->wait;
        call->done = done;
        call->user = user;
        call->deadline = usec_add(now_monotonic(), c->total_timeout);
        LIST_APPEND(&c->calls, call, link);
        later(call); /* from the loop: done() never runs before this returned */
        return call;
}

/* ---- keys ---- */

char *etcd2_key_path(const char *key) {
        Buf b = {};
        buf_adds(&b, "/v2/keys");
        if (*key != '/')
                buf_addc(&b, '/');
        url_encode(&b, key, strlen(key), "/");
        return buf_take(&b);
}

static Etcd2Call *key_request(Etcd2Client *c, const char *method, const char *key, const char *query,
                              const char *form, bool wait, Etcd2Done done, void *user) {
        _cleanup_free_ char *path = etcd2_key_path(key);
        Etcd2Request q = { .method = method, .path = path, .query = query, .form = form, .wait = wait };
        return etcd2_request(c, &q, done, user);
}

static void add_ttl(Buf *form, int64_t ttl_sec) {
        char text[24];
        if (ttl_sec <= 0)
                return;
        (void) snprintf(text, sizeof(text), "%" PRId64, ttl_sec);
        url_form_add(form, "ttl", text);
}

Etcd2Call *etcd2_get(Etcd2Client *c, const char *key, bool recursive, Etcd2Done done, void *user) {
        return key_request(c, "GET", key, recursive ? "recursive=true" : NULL, NULL, false, done, user);
}

Etcd2Call *etcd2_set(Etcd2Client *c, const char *key, const char *value, int64_t ttl_sec, Etcd2Done done,
                     void *user) {
        _cleanup_(buf_done) Buf form = {};
        url_form_add(&form, "value", value);
        add_ttl(&form, ttl_sec);
        return key_request(c, "PUT", key, NULL, buf_str(&form), false, done, user);
}

Etcd2Call *etcd2_create(Etcd2Client *c, const char *key, const char *value, int64_t ttl_sec, Etcd2Done done,
                        void *user) {
        _cleanup_(buf_done) Buf form = {};
        url_form_add(&form, "value", value);
        add_ttl(&form, ttl_sec);
        return key_request(c, "PUT", key, "prevExist=false", buf_str(&form), false, done, user);
}

Etcd2Call *etcd2_compare_and_swap(Etcd2Client *c, const char *key, const char *value, const char *prev_value,
                                  uint64_t prev_index, Etcd2Done done, void *user) {
        _cleanup_(buf_done) Buf form = {}, query = {};
        url_form_add(&form, "value", value);
        if (prev_value)
                url_form_add(&query, "prevValue", prev_value);
        if (prev_index > 0)
                buf_addf(&query, "%sprevIndex=%" PRIu64, query.len > 0 ? "&" : "", prev_index);
        return key_request(c, "PUT", key, buf_str(&query), buf_str(&form), false, done, user);
}

Etcd2Call *etcd2_delete(Etcd2Client *c, const char *key, bool recursive, Etcd2Done done, void *user) {
        return key_request(c, "DELETE", key, recursive ? "recursive=true" : NULL, NULL, false, done, user);
}

Etcd2Call *etcd2_watch(Etcd2Client *c, const char *key, bool recursive, uint64_t wait_index, Etcd2Done done,
                       void *user) {
        _cleanup_(buf_done) Buf query = {};
        buf_adds(&query, "wait=true");
        if (recursive)
                buf_adds(&query, "&recursive=true");
        if (wait_index > 0)
                buf_addf(&query, "&waitIndex=%" PRIu64, wait_index);
        return key_request(c, "GET", key, buf_str(&query), NULL, true, done, user);
}

Etcd2Call *etcd2_sync(Etcd2Client *c, Etcd2Done done, void *user) {
        Etcd2Request q = { .path = "/v2/members" };
        Etcd2Call *call = etcd2_request(c, &q, done, user);
        call->sync = true;
        return call;
}

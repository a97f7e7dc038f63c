/* SPDX-License-Identifier: Apache-2.0 */

/* Watches. Each has a stream of its own and remembers the next revision it wants; whenever the stream ends,
 * a new one begins there, on the next endpoint. Events below that revision are dropped, so neither a
 * repeated answer nor a server that goes back in time is seen by the caller. */

#include "etcdclient/internal.h"
#include "sys/clock.h"

struct EtcdWatch {
        EtcdClient *client;
        LIST_LINK(EtcdWatch) link;
        EtcdWatchConfig config;
        char *key, *range_end; /* owned */
        char *endpoint;        /* owned; of the running stream */
        int64_t next;          /* 0 = from now */
        GrpcCall *grpc;
        sd_event_source *timer;
        unsigned failures;
        bool in_callback, cancelled;
        bool confirmed;                              /* the running stream was answered */
        const Etcdserverpb__WatchResponse *response; /* weak; during callbacks */
};

static void start(EtcdWatch *w);

static void watch_free(EtcdWatch *w) {
        LIST_REMOVE(&w->client->watches, w, link);
        grpc_call_cancel(w->grpc);
        sd_event_source_disable_unref(w->timer);
        free(w->key);
        free(w->range_end);
        free(w->endpoint);
        free(w);
}

EtcdWatch *etcd_watch_cancel(EtcdWatch *w) {
        if (!w || w->cancelled)
                return NULL;
        if (w->in_callback)
                w->cancelled = true; /* freed when the callback has returned */
        else
                watch_free(w);
        return NULL;
}

int64_t etcd_watch_next_revision(const EtcdWatch *w) {
        return w->next;
}

const Etcdserverpb__WatchResponse *etcd_watch_response(const EtcdWatch *w) {
        return w->response;
}

/* ---- answers ---- */

static void deliver(EtcdWatch *w, const Etcdserverpb__WatchResponse *m, int64_t revision) {
        size_t skip = 0;
        while (skip < m->n_events && m->events[skip]->kv && m->events[skip]->kv->mod_revision < w->next)
                skip++;
        if (skip == m->n_events)
                return;
        const Etcdserverpb__Event *last = m->events[m->n_events - 1];
        if (last->kv)
                w->next = MAX(w->next, last->kv->mod_revision + 1);
        w->config.on_events(w, m->events + skip, m->n_events - skip, revision, w->config.user);
}

static bool for_good(GrpcCode code) {
        return code == GRPC_PERMISSION_DENIED || code == GRPC_UNAUTHENTICATED ||
               code == GRPC_INVALID_ARGUMENT || code == GRPC_UNIMPLEMENTED ||
               code == GRPC_FAILED_PRECONDITION;
}

/* The end of w as its owner sees it; w is freed when the callbacks are through. */
static void ended(EtcdWatch *w, GrpcCode code, const char *message) {
        w->cancelled = true;
        if (w->config.on_failed)
                w->config.on_failed(w, code, message, w->config.user);
}

static void cancelled_by_server(EtcdWatch *w, const Etcdserverpb__WatchResponse *m) {
        if (m->compact_revision > 0) {
                w->cancelled = true;
                if (w->config.on_compacted)
                        w->config.on_compacted(w, m->compact_revision, w->config.user);
        } else if (isempty(m->cancel_reason) || strstr(m->cancel_reason, "no leader")) {
                w->grpc = grpc_call_cancel(w->grpc);
        } else {
                ended(w, GRPC_FAILED_PRECONDITION, m->cancel_reason);
        }
}

static void handle(EtcdWatch *w, const Etcdserverpb__WatchResponse *m) {
        int64_t revision = m->header ? m->header->revision : 0;
        w->failures = 0;
        w->confirmed = true;
        client_success(w->client, w->endpoint);
        if (m->created) {
                if (w->next == 0 && !m->canceled)
                        w->next = revision + 1;
                if (w->config.on_created && !m->canceled)
                        w->config.on_created(w, revision, w->config.user);
        }
        if (w->cancelled)
                return;
        if (m->canceled) {
                cancelled_by_server(w, m);
        } else if (m->n_events > 0) {
                deliver(w, m, revision);
        } else if (!m->created && m->watch_id >= 0 && w->config.progress_notify) {
                w->next = MAX(w->next, revision + 1);
                w->config.on_events(w, NULL, 0, revision, w->config.user);
        }
}

static int on_timer(sd_event_source *s, uint64_t usec, void *user);

static void start_in(EtcdWatch *w, Usec in) {
        if (!w->timer) {
                (void) sd_event_add_time_relative(w->client->event, &w->timer, CLOCK_MONOTONIC, in, 1,
                                                  on_timer, w);
                return;
        }
        (void) sd_event_source_set_time_relative(w->timer, in);
        (void) sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

/* The first endpoint after a failure is tried at once, then with pauses. */
static void restart(EtcdWatch *w) {
        size_t n = w->client->n_endpoints;
        Usec pause = w->failures < n ? 0 : backoff(w->failures - (unsigned) n);
        w->failures++;
        start_in(w, pause);
}

/* Either the pause is over, or a server has accepted the stream and says nothing. */
static int on_timer(sd_event_source *s, uint64_t usec, void *user) {
        EtcdWatch *w = user;
        if (!w->grpc) {
                start(w);
        } else if (!w->confirmed) {
                w->grpc = grpc_call_cancel(w->grpc);
                client_failure(w->client, w->endpoint, "the server does not answer to a watch");
                restart(w);
        }
        return 0;
}

static void on_message(GrpcCall *g, const void *p, size_t n, void *user) {
        EtcdWatch *w = user;
        Etcdserverpb__WatchResponse *m = etcdserverpb__watch_response__unpack(NULL, n, p);
        w->in_callback = true;
        if (m) {
                w->response = m;
                handle(w, m);
                w->response = NULL;
        } else {
                w->grpc = grpc_call_cancel(w->grpc);
        }
        w->in_callback = false;
        if (m)
                etcdserverpb__watch_response__free_unpacked(m, NULL);
        if (w->cancelled)
                watch_free(w);
        else if (!w->grpc)
                restart(w);
}

static void on_done(GrpcCall *g, GrpcCode code, const char *message, bool sent, void *user) {
        EtcdWatch *w = user;
        w->grpc = NULL;
        if (for_good(code)) {
                w->in_callback = true;
                ended(w, code, message);
                watch_free(w);
                return;
        }
        client_failure(w->client, w->endpoint, isempty(message) ? "the watch stream ended" : message);
        restart(w);
}

/* ---- requests ---- */

static char *pack_create(const EtcdWatch *w, size_t *ret_n) {
        static const Etcdserverpb__WatchCreateRequest__FilterType
                        no_put[] = { ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT },
                        no_delete[] = { ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE };
        const EtcdWatchConfig *k = &w->config;
        Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
        Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT;
        create.key = (ProtobufCBinaryData){ k->key_len, (uint8_t *) w->key };
        create.range_end = (ProtobufCBinaryData){ k->range_end_len, (uint8_t *) w->range_end };
        create.start_revision = w->next;
        create.prev_kv = k->prev_kv;
        create.progress_notify = k->progress_notify;
        if (k->no_put || k->no_delete) {
                create.n_filters = 1;
                create.filters = (Etcdserverpb__WatchCreateRequest__FilterType *) (k->no_put ? no_put
                                                                                             : no_delete);
        }
        q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
        q.create_request = &create;
        *ret_n = etcdserverpb__watch_request__get_packed_size(&q);
        char *out = xmalloc(*ret_n + 1);
        (void) etcdserverpb__watch_request__pack(&q, (uint8_t *) out);
        return out;
}

static void start(EtcdWatch *w) {
        static const HttpHeader leader = { "hasleader", "true" };
        size_t n;
        _cleanup_free_ char *message = pack_create(w, &n);
        free(w->endpoint);
        w->endpoint = xstrdup(client_endpoint(w->client));
        GrpcCallConfig config = {
                .origin = w->endpoint,
                .method = "/etcdserverpb.Watch/Watch",
                .message = message,
                .message_size = n,
                .stream = true,
                .metadata = &leader,
                .n_metadata = w->client->require_leader ? 1 : 0,
                .on_message = on_message,
                .on_done = on_done,
                .user = w,
        };
        w->confirmed = false;
        if (grpc_call(w->client->http, &config, &w->grpc, NULL) < 0)
                restart(w);
        else
                start_in(w, ETCD_CLIENT_WATCH_TIMEOUT);
}

EtcdWatch *etcd_watch(EtcdClient *c, const EtcdWatchConfig *config) {
        assert(config->on_events);
        assert(!(config->no_put && config->no_delete));
        EtcdWatch *w = xnew(EtcdWatch, 1);
        w->client = c;
        w->config = *config;
        w->next = config->start_revision;
        if (config->prefix) {
                w->range_end = etcd_prefix_end(config->key, config->key_len, &w->config.range_end_len);
        } else if (config->range_end) {
                w->range_end = xmemdup(config->range_end, config->range_end_len + 0);
        } else {
                w->config.range_end_len = 0;
        }
        if (config->key_len == 0) { /* etcd has no empty key: the first possible one is a single zero byte */
                w->key = xmemdup("", 1);
                w->config.key_len = 1;
        } else {
                w->key = xmemdup(config->key, config->key_len);
        }
        w->config.key = w->config.range_end = NULL;
        LIST_APPEND(&c->watches, w, link);
        start(w);
        return w;
}

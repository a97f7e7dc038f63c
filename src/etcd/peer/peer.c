/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/peer/peer-internal.h"
#include "base/alloc.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- outgoing streams ---- */

static void stream_down(PeerStream *st);

static void stream_done(HttpCall *call, int r, void *user) {
        PeerStream *st = user;
        Peer *p = st->peer;
        st->call = NULL;
        if (call->status == 410) {
                p->set->config.on_removed(p->set->config.user);
                return;
        }
        if (!p->complained) {
                p->complained = true;
                if (r == 0 && call->status != 200)
                        log_warning("peer %" PRIx64 " refuses our stream (%d): %s", p->id, call->status,
                                    buf_str(&call->body));
                else if (p->was_connected)
                        log_warning("lost the connection to peer %" PRIx64 ": %s", p->id,
                                    r < 0 ? http_call_error(call) : "closed");
                else
                        log_info("cannot reach peer %" PRIx64 " yet: %s", p->id,
                                 r < 0 ? http_call_error(call) : "closed");
        }
        p->url_at++;
        stream_down(st);
}

static void stream_headers(HttpCall *call, void *user) {
        PeerStream *st = user;
        if (call->status != 200)
                return;
        st->up = true;
        st->retry = PEER_RETRY_MIN;
        st->peer->was_connected = true;
        st->peer->complained = false;
        log_debug("stream %s to peer %" PRIx64 " stands", st->kind, st->peer->id);
}

size_t peer_headers(const Peer *p, HttpHeader *h, char (*text)[24]) {
        snprintf(text[0], sizeof(text[0]), "%" PRIx64, p->set->config.cluster_id);
        snprintf(text[1], sizeof(text[1]), "%" PRIx64, p->set->config.id);
        snprintf(text[2], sizeof(text[2]), "%" PRIx64, p->id);
        h[0] = (HttpHeader){ "X-Etcd-Cluster-ID", text[0] };
        h[1] = (HttpHeader){ "X-Server-From", text[1] };
        h[2] = (HttpHeader){ "X-Raft-To", text[2] };
        h[3] = (HttpHeader){ "X-Coracle-Raft", PEER_FORM };
        return 4;
}

char *peer_url(const Peer *p, const char *path) {
        size_t n = strv_len(p->urls);
        return n == 0 ? NULL : xasprintf("%s%s", p->urls[p->url_at % n], path);
}

static void stream_up(PeerStream *st) {
        Peer *p = st->peer;
        HttpHeader h[PEER_HEADERS];
        char text[PEER_HEADERS][24];
        _cleanup_free_ char *path = xasprintf("/raft/stream/%s", st->kind), *url = peer_url(p, path);
        if (!url || st->call)
                return;
        size_t n = peer_headers(p, h, text);
        HttpCallConfig c = { .method = "POST",
                             .url = url,
                             .headers = h,
                             .n_headers = n,
                             .flags = HTTP_CALL_STREAM_REQUEST,
                             .on_headers = stream_headers,
                             .on_done = stream_done,
                             .user = st };
        _cleanup_(err_done) Err err = {};
        if (http_call(p->set->client, &c, &st->call, &err) < 0) {
                log_warning("peer %" PRIx64 ": %s", p->id, err_msg(&err));
                st->call = NULL;
                stream_down(st);
                return;
        }
        (void) http_call_write(st->call, "\0\0\0\0", 4); /* lets the receiver see the head at once */
}

static int on_retry(sd_event_source *src, uint64_t usec, void *user) {
        stream_up(user);
        return 0;
}

static void stream_down(PeerStream *st) {
        Usec wait = st->retry;
        if (st->up)
                st->peer->set->config.on_unreachable(st->peer->set->config.user, st->peer->id);
        st->up = false;
        st->retry = MIN(st->retry * 2, PEER_RETRY_MAX);
        (void) sd_event_source_set_time(st->timer, now_monotonic() + wait);
        (void) sd_event_source_set_enabled(st->timer, SD_EVENT_ONESHOT);
}

static void stream_init(PeerStream *st, Peer *p, const char *kind) {
        *st = (PeerStream){ .peer = p, .kind = kind, .retry = PEER_RETRY_MIN };
        int r = sd_event_add_time(p->set->config.event, &st->timer, CLOCK_MONOTONIC, 0, 1, on_retry, st);
        assert(r >= 0);
}

static void stream_free(PeerStream *st) {
        st->call = http_call_cancel(st->call);
        st->timer = sd_event_source_disable_unref(st->timer);
}

/* ---- members ---- */

Peer *peers_find(const Peers *s, uint64_t id) {
        LIST_FOREACH(p, &s->list, link)
                if (p->id == id)
                        return p;
        return NULL;
}

static Peer *peer_free(Peer *p) {
        LIST_REMOVE(&p->set->list, p, link);
        stream_free(&p->app);
        stream_free(&p->msg);
        peer_snapshot_abort(p);
        strv_free(p->urls);
        free(p);
        return NULL;
}

static void take_members(Peers *s, const Members *m) {
        for (size_t i = 0; m && i < m->n; i++) {
                const Member *member = &m->list[i];
                if (member->id == s->config.id || members_was_removed(m, member->id))
                        continue;
                Peer *p = peers_find(s, member->id);
                if (!p) {
                        p = xnew(Peer, 1);
                        p->set = s;
                        p->id = member->id;
                        LIST_APPEND(&s->list, p, link);
                        stream_init(&p->app, p, "app");
                        stream_init(&p->msg, p, "msg");
                }
                p->keep = true;
                if (!etcd_urls_equal(p->urls, member->peer_urls)) {
                        strv_free(p->urls);
                        p->urls = strv_copy(member->peer_urls);
                }
        }
}

void peers_update(Peers *s, const Members *members, const Members *extra) {
        LIST_FOREACH(p, &s->list, link)
                p->keep = false;
        take_members(s, members);
        take_members(s, extra);
        LIST_FOREACH(p, &s->list, link) {
                if (!p->keep) {
                        /* a little longer, so that the last messages (its own removal) still reach it */
                        if (!p->leaving)
                                p->leaving = now_monotonic();
                        continue;
                }
                if (!p->app.call && !p->app.up)
                        stream_up(&p->app);
                if (!p->msg.call && !p->msg.up)
                        stream_up(&p->msg);
        }
}

/* Signs of life, and the end of members that left. */
static int on_alive(sd_event_source *src, uint64_t usec, void *user) {
        Peers *s = user;
        Usec now = now_monotonic();
        LIST_FOREACH(p, &s->list, link) {
                if (p->leaving && now > p->leaving + PEER_ALIVE_INTERVAL) {
                        peer_free(p);
                        continue;
                }
                PeerStream *both[] = { &p->app, &p->msg };
                for (size_t i = 0; i < ELEMENTSOF(both); i++)
                        if (both[i]->up)
                                (void) http_call_write(both[i]->call, "\0\0\0\0", 4);
        }
        (void) sd_event_source_set_time(s->alive, now + PEER_ALIVE_INTERVAL);
        (void) sd_event_source_set_enabled(s->alive, SD_EVENT_ONESHOT);
        return 0;
}

int peers_new(const PeersConfig *config, Peers **ret, Err *err) {
        Peers *s = xnew(Peers, 1);
        s->config = *config;
        HttpClientConfig c = { .event = config->event,
                               .tls = config->tls,
                               .connect_timeout = PEER_CONNECT_TIMEOUT,
                               .user_agent = "etcd-peer" };
        s->client = http_client_new(&c);
        int r = sd_event_add_time_relative(config->event, &s->alive, CLOCK_MONOTONIC, PEER_ALIVE_INTERVAL, 1,
                                           on_alive, s);
        if (r < 0) {
                peers_free(s);
                return err_errno(err, r, "cannot set up the peer transport");
        }
        *ret = s;
        return 0;
}

Peers *peers_free(Peers *s) {
        if (!s)
                return NULL;
        LIST_FOREACH(p, &s->list, link)
                peer_free(p);
        http_client_free(s->client);
        sd_event_source_disable_unref(s->alive);
        buf_done(&s->scratch);
        free(s);
        return NULL;
}

HttpClient *peers_client(Peers *s) {
        return s->client;
}

/* ---- sending ---- */

void peers_send(Peers *s, const RaftMsg *m) {
        Peer *p = peers_find(s, m->to);
        if (!p)
                return;
        PeerStream *st = m->type == RAFT_MSG_APP || m->type == RAFT_MSG_PROP ? &p->app : &p->msg;
        if (!st->up || st->blocked) {
                p->info.sent_fail++;
                if (m->type == RAFT_MSG_APP)
                        s->config.on_unreachable(s->config.user, m->to);
                return;
        }
        buf_clear(&s->scratch);
        buf_add_le32(&s->scratch, 0);
        raft_msg_encode(m, &s->scratch);
        uint32_t n = (uint32_t) (s->scratch.len - 4);
        for (int i = 0; i < 4; i++)
                s->scratch.data[i] = (char) (n >> (8 * i));
        int r = http_call_write(st->call, s->scratch.data, s->scratch.len);
        if (r < 0) {
                p->info.sent_fail++;
                s->config.on_unreachable(s->config.user, m->to);
                return;
        }
        p->info.sent_ok++;
        p->info.sent_bytes += s->scratch.len;
        p->info.sent_app += m->type == RAFT_MSG_APP;
        if (s->scratch.cap > PEER_SCRATCH_KEEP)
                buf_done(&s->scratch);
}

bool peers_info(const Peers *s, uint64_t id, PeerInfo *ret) {
        const Peer *p = peers_find(s, id);
        if (!p)
                return false;
        *ret = p->info;
        ret->id = id;
        ret->connected = p->app.up && p->msg.up;
        if (ret->last_heard && usec_sub(now_monotonic(), ret->last_heard) > 2 * PEER_ALIVE_INTERVAL)
                ret->active_since = 0;
        return true;
}

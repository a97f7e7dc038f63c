/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/peer/peer-internal.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdlib.h>

/* ---- sending ---- */

void peer_snapshot_abort(Peer *p) {
        SnapshotSend *t = p->snapshot;
        if (!t)
                return;
        http_call_cancel(t->call);
        snap_source_free(t->source);
        p->snapshot = NULL;
        free(t);
}

static void send_ended(Peer *p, bool ok) {
        uint64_t index = p->snapshot->index;
        p->snapshot->call = NULL;
        peer_snapshot_abort(p);
        p->set->config.on_snapshot_sent(p->set->config.user, p->id, index, ok);
}

static void send_done(HttpCall *call, int r, void *user) {
        Peer *p = user;
        bool ok = r == 0 && call->status == 204;
        if (ok)
                log_info("sent the snapshot at index %" PRIu64 " to peer %" PRIx64, p->snapshot->index, p->id);
        else
                log_warning("sending a snapshot to peer %" PRIx64 " failed: %s", p->id,
                            r < 0 ? http_call_error(call) : buf_str(&call->body));
        send_ended(p, ok);
}

static void feed(HttpCall *call, void *user) {
        Peer *p = user;
        SnapshotSend *t = p->snapshot;
        _cleanup_free_ char *piece = xmalloc(PEER_SNAPSHOT_PIECE);
        while (t->source) {
                _cleanup_(err_done) Err err = {};
                ssize_t n = snap_source_read(t->source, t->offset, piece, PEER_SNAPSHOT_PIECE, &err);
                if (n < 0) {
                        log_error("cannot read the snapshot for peer %" PRIx64 ": %s", p->id, err_msg(&err));
                        http_call_cancel(t->call);
                        send_ended(p, false);
                        return;
                }
                if (n == 0) {
                        t->source = snap_source_free(t->source);
                        http_call_end(t->call);
                        return;
                }
                t->offset += (uint64_t) n;
                if (http_call_write(t->call, piece, (size_t) n) != 0)
                        return; /* on_writable or on_done comes */
        }
}

void peers_send_snapshot(Peers *s, const RaftMsg *head) {
        Peer *p = peers_find(s, head->to);
        _cleanup_(err_done) Err err = {};
        uint64_t index = head->snap->index;
        if (!p || p->snapshot) {
                s->config.on_snapshot_sent(s->config.user, head->to, index, false);
                return;
        }
        SnapshotSend *t = p->snapshot = xnew(SnapshotSend, 1);
        *t = (SnapshotSend){ .index = index, .started = now_monotonic() };
        HttpHeader h[PEER_HEADERS];
        char text[PEER_HEADERS][24];
        size_t n = peer_headers(p, h, text);
        _cleanup_free_ char *url = peer_url(p, "/raft/snapshot");
        HttpCallConfig c = { .method = "POST",
                             .url = strempty(url),
                             .headers = h,
                             .n_headers = n,
                             .flags = HTTP_CALL_STREAM_REQUEST,
                             .on_writable = feed,
                             .on_done = send_done,
                             .user = p };
        int r = snap_source_open(s->config.disk, index, head->snap->term, &t->source, &err);
        if (r >= 0)
                r = http_call(s->client, &c, &t->call, &err);
        if (r < 0) {
                log_error("cannot send the snapshot at index %" PRIu64 " to peer %" PRIx64 ": %s", index, p->id,
                          err_msg(&err));
                t->call = NULL;
                send_ended(p, false);
                return;
        }
        log_info("sending the snapshot at index %" PRIu64 " (%" PRIu64 " bytes) to peer %" PRIx64, index,
                 snap_source_size(t->source), p->id);
        _cleanup_(buf_done) Buf frame = {}, msg = {};
        raft_msg_encode(head, &msg);
        buf_add_le32(&frame, (uint32_t) msg.len);
        buf_add(&frame, msg.data, msg.len);
        (void) http_call_write(t->call, frame.data, frame.len);
        feed(t->call, p);
}

/* ---- receiving ---- */

typedef struct SnapshotReceive {
        Peers *set;
        uint64_t from;
        bool have_head;
        RaftMsg head;
        SnapSink *sink; /* owned */
} SnapshotReceive;

static void receive_free(HttpReq *q) {
        SnapshotReceive *r = q->user;
        if (r->set->receiving == r)
                r->set->receiving = NULL;
        snap_sink_free(r->sink);
        if (r->have_head)
                raft_msg_done(&r->head);
}

static void receive_failed(HttpReq *q, int status, const char *why) {
        SnapshotReceive *r = q->user;
        log_warning("snapshot from peer %" PRIx64 " was not taken: %s", r->from, why);
        http_respondf(q, status, "%s\n", why);
}

/* 1: the head is there; 0: not yet; negative: the request has been answered. */
static int take_head(HttpReq *q, SnapshotReceive *r) {
        Rd rd = rd_new(q->body.data, q->body.len);
        uint32_t n;
        if (rd_le32(&rd, &n) < 0)
                return 0;
        if (n > PEER_FRAME_MAX) {
                receive_failed(q, 400, "its head is too long");
                return -EMSGSIZE;
        }
        if (rd.left < n)
                return 0;
        RaftBlock *block = raft_block_dup(rd.p, n);
        int e = block ? raft_msg_decode(block, block->bytes, n, &r->head) : -ENOMEM;
        raft_block_unref(block);
        r->have_head = e >= 0;
        if (e < 0 || r->head.type != RAFT_MSG_SNAP || !r->head.snap || r->head.from != r->from) {
                receive_failed(q, 400, "its head is not valid");
                return -EBADMSG;
        }
        if (!r->set->config.wants_snapshot(r->set->config.user, &r->head)) {
                receive_failed(q, 409, "it is not needed any more");
                return -EALREADY;
        }
        _cleanup_(err_done) Err err = {};
        e = snap_sink_open(r->set->config.disk, r->head.snap, &r->sink, &err);
        if (e < 0) {
                receive_failed(q, 500, err_msg(&err));
                return e;
        }
        http_consume(q, 4 + (size_t) n);
        return 1;
}

static void receive_data(HttpReq *q) {
        SnapshotReceive *r = q->user;
        _cleanup_(err_done) Err err = {};
        peer_heard(r->set, r->from, q->body.len);
        if (!r->sink && take_head(q, r) <= 0)
                return;
        int e = q->body.len > 0 ? snap_sink_add(r->sink, q->body.data, q->body.len, &err) : 0;
        bool end = q->body_end;
        if (e >= 0 && q->body.len > 0)
                http_consume(q, q->body.len);
        if (e >= 0 && end)
                e = snap_sink_finish(r->sink, &err);
        if (e < 0) {
                receive_failed(q, 500, err_msg(&err));
                return;
        }
        if (!end)
                return;
        r->set->config.on_snapshot(r->set->config.user, &r->head);
        http_respond(q, 204, NULL, NULL, 0);
}

static void receive_cancelled(HttpReq *q) {
}

void peers_receive_snapshot(Peers *s, HttpReq *q, uint64_t from) {
        SnapshotReceive *r = arena_new(&q->arena, SnapshotReceive, 1);
        *r = (SnapshotReceive){ .set = s, .from = from };
        q->user = r;
        q->on_free = receive_free;
        q->on_cancel = receive_cancelled;
        if (s->receiving) {
                receive_failed(q, 409, "another one is being received");
                return;
        }
        s->receiving = r;
        q->on_data = receive_data;
        if (q->body.len > 0 || q->body_end)
                receive_data(q);
}

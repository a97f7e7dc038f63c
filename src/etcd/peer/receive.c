/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/peer/peer-internal.h"
#include "sys/clock.h"
#include "sys/log.h"

typedef struct Receive {
        Peers *set;
        uint64_t from;
        Buf in; /* what no complete message has been made of yet */
        bool bad;
} Receive;

void peer_heard(Peers *s, uint64_t id, size_t n) {
        Peer *p = peers_find(s, id);
        if (!p)
                return;
        Usec now = now_monotonic();
        if (usec_sub(now, p->info.last_heard) > 2 * PEER_ALIVE_INTERVAL || !p->info.active_since)
                p->info.active_since = now;
        p->info.last_heard = now;
        p->info.received_bytes += n;
}

/* One frame: its bytes are copied once, into the block that the entries then share. False: nonsense. */
static bool take_frame(Receive *r, const char *p, size_t n) {
        if (n == 0)
                return true;
        RaftBlock *block = raft_block_dup(p, n);
        if (!block)
                return false;
        RaftMsg m = {};
        int e = raft_msg_decode(block, block->bytes, n, &m);
        raft_block_unref(block);
        if (e < 0)
                return false;
        if (m.from == r->from && m.to == r->set->config.id && m.type != RAFT_MSG_SNAP)
                r->set->config.on_message(r->set->config.user, &m);
        raft_msg_done(&m);
        return true;
}

/* All that has come is taken out of the request at once: a message may be larger than what the HTTP layer lets
 * an unread body hold, and would otherwise never become complete. */
static void on_data(HttpReq *q) {
        Receive *r = q->user;
        bool end = q->body_end;
        size_t at = 0, got = q->body.len;
        peer_heard(r->set, r->from, got);
        buf_add(&r->in, buf_str(&q->body), got);
        if (got > 0)
                http_consume(q, got);
        while (!r->bad && r->in.len - at >= 4) {
                Rd rd = rd_new(r->in.data + at, 4);
                uint32_t n = 0;
                (void) rd_le32(&rd, &n);
                if (n > PEER_FRAME_MAX) {
                        r->bad = true;
                        break;
                }
                if (r->in.len - at - 4 < n)
                        break;
                r->bad = !take_frame(r, r->in.data + at + 4, n);
                at += 4 + (size_t) n;
        }
        if (r->bad) {
                log_warning("peer %" PRIx64 " (%s) sent something that is no raft message", r->from, q->peer);
                http_abort(q);
                return;
        }
        buf_consume(&r->in, at);
        if (end)
                http_finish(q);
}

static void free_receive(HttpReq *q) {
        Receive *r = q->user;
        buf_done(&r->in);
}

static void ignore_cancel(HttpReq *q) {
}

static void refuse(HttpReq *q, int status, const char *text) {
        http_respondf(q, status, "%s\n", text);
}

bool peers_handle(Peers *s, HttpReq *q) {
        if (!startswith(q->path, "/raft/"))
                return false;
        const char *cluster = http_header(q, "x-etcd-cluster-id"), *from = http_header(q, "x-server-from"),
                   *to = http_header(q, "x-raft-to"), *form = http_header(q, "x-coracle-raft");
        uint64_t cluster_id, from_id, to_id;
        if (!streq(q->method, "POST"))
                refuse(q, 405, "Method Not Allowed");
        else if (!form)
                refuse(q, 412, "this member speaks coracle's raft form, the request does not");
        else if (!streq(form, PEER_FORM))
                refuse(q, 412, "unknown version of the raft form");
        else if (!cluster || parse_u64_base(cluster, 16, &cluster_id) < 0 || cluster_id != s->config.cluster_id)
                refuse(q, 412, "cluster ID mismatch");
        else if (!to || parse_u64_base(to, 16, &to_id) < 0 || to_id != s->config.id)
                refuse(q, 412, "this is another member than you take it for");
        else if (!from || parse_u64_base(from, 16, &from_id) < 0)
                refuse(q, 400, "X-Server-From is missing");
        else if (s->config.was_removed(s->config.user, from_id))
                refuse(q, 410, "the member has been permanently removed from the cluster");
        else if (streq(q->path, "/raft/snapshot"))
                peers_receive_snapshot(s, q, from_id);
        else if (streq(q->path, "/raft/stream/app") || streq(q->path, "/raft/stream/msg")) {
                Receive *r = arena_new(&q->arena, Receive, 1);
                *r = (Receive){ .set = s, .from = from_id };
                q->user = r;
                q->on_data = on_data;
                q->on_cancel = ignore_cancel;
                q->on_free = free_receive;
                http_start(q, 200);
                if (q->body.len > 0 || q->body_end)
                        on_data(q);
        } else
                refuse(q, 404, "404 page not found");
        return true;
}

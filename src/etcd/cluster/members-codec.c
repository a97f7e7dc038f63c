/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "etcd/cluster/members.h"

/* Both forms begin with a version byte. Strings and lists are length-prefixed by varints; a list is its count
 * and its strings. */
#define MEMBERS_FORMAT 1
#define STRING_MAX 65536U

static void add_text(Buf *b, const char *s) {
        buf_add_bytes(b, strempty(s), strlen(strempty(s)));
}

static void add_list(Buf *b, char *const *l) {
        buf_add_varint(b, strv_len(l));
        STRV_FOREACH(i, l)
                add_text(b, *i);
}

static int rd_text(Rd *rd, char **ret) {
        const void *p;
        size_t n;
        if (rd_bytes(rd, &p, &n) < 0 || n > STRING_MAX || memchr(p, 0, n))
                return -EBADMSG;
        *ret = xstrndup(p, n);
        return 0;
}

static int rd_list(Rd *rd, char ***ret) {
        _cleanup_strv_ char **l = NULL;
        uint64_t n;
        if (rd_varint(rd, &n) < 0 || n > MEMBER_URLS_MAX)
                return -EBADMSG;
        for (uint64_t i = 0; i < n; i++) {
                char *s;
                if (rd_text(rd, &s) < 0)
                        return -EBADMSG;
                strv_push(&l, s);
        }
        *ret = TAKE_PTR(l);
        return 0;
}

void member_change_encode(const MemberChange *c, Buf *to) {
        buf_addc(to, MEMBERS_FORMAT);
        buf_addc(to, (char) c->type);
        buf_add_le64(to, c->id);
        add_text(to, c->name);
        add_list(to, c->peer_urls);
}

int member_change_decode(const void *p, size_t n, MemberChange *ret) {
        Rd rd = rd_new(p, n);
        uint8_t format, type;
        _cleanup_(member_change_done) MemberChange c = {};
        if (rd_u8(&rd, &format) < 0 || format != MEMBERS_FORMAT || rd_u8(&rd, &type) < 0 || type == 0 ||
            type >= _MEMBER_CHANGE_MAX || rd_le64(&rd, &c.id) < 0 || c.id == 0 ||
            rd_text(&rd, &c.name) < 0 || rd_list(&rd, &c.peer_urls) < 0 ||
            rd.left > 0)
                return -EBADMSG;
        c.type = type;
        *ret = c;
        c = (MemberChange){};
        return 0;
}

void members_encode(const Members *m, Buf *to) {
        buf_addc(to, MEMBERS_FORMAT);
        buf_add_le64(to, m->cluster_id);
        add_text(to, m->version);
        buf_add_varint(to, m->n);
        for (size_t i = 0; i < m->n; i++) {
                buf_add_le64(to, m->list[i].id);
                buf_addc(to, m->list[i].learner);
                add_text(to, m->list[i].name);
                add_list(to, m->list[i].peer_urls);
                add_list(to, m->list[i].client_urls);
        }
        buf_add_varint(to, m->n_removed);
        for (size_t i = 0; i < m->n_removed; i++)
                buf_add_le64(to, m->removed[i]);
}

static int rd_member(Rd *rd, Members *m) {
        Member *p = &m->list[m->n];
        uint8_t learner;
        if (rd_le64(rd, &p->id) < 0 || rd_u8(rd, &learner) < 0 || learner > 1)
                return -EBADMSG;
        if (p->id == 0 || (m->n > 0 && m->list[m->n - 1].id >= p->id))
                return -EBADMSG;
        m->n++; /* from here on members_done() frees it */
        p->learner = learner;
        if (rd_text(rd, &p->name) < 0)
                return -EBADMSG;
        if (rd_list(rd, &p->peer_urls) < 0 || rd_list(rd, &p->client_urls) < 0)
                return -EBADMSG;
        return 0;
}

int members_decode(Rd *rd, Members *ret) {
        _cleanup_(members_done) Members m = {};
        uint8_t format;
        uint64_t n, n_removed;
        if (rd_u8(rd, &format) < 0 || format != MEMBERS_FORMAT || rd_le64(rd, &m.cluster_id) < 0 ||
            rd_text(rd, &m.version) < 0 || rd_varint(rd, &n) < 0 || n > MEMBERS_MAX)
                return -EBADMSG;
        if (!*m.version)
                m.version = xfree(m.version);
        for (uint64_t i = 0; i < n; i++)
                if (rd_member(rd, &m) < 0)
                        return -EBADMSG;
        if (rd_varint(rd, &n_removed) < 0 || n_removed > MEMBERS_REMOVED_MAX)
                return -EBADMSG;
        for (uint64_t i = 0; i < n_removed; i++) {
                GROW(m.removed, m.cap_removed, m.n_removed + 1);
                if (rd_le64(rd, &m.removed[m.n_removed]) < 0)
                        return -EBADMSG;
                m.n_removed++;
        }
        *ret = m;
        m = (Members){};
        return 0;
}

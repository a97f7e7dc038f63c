/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/cluster/members.h"
#include "base/alloc.h"
#include "base/str.h"
#include "codec/digest.h"

const char *member_result_text(MemberResult r) {
        static const char *const texts[_MEMBER_RESULT_MAX] = {
                [MEMBER_OK] = "ok",
                [MEMBER_ID_EXISTS] = "etcdserver: member ID already exist",
                [MEMBER_URL_EXISTS] = "etcdserver: Peer URLs already exists",
                [MEMBER_REMOVED] = "etcdserver: member not found",
                [MEMBER_NOT_FOUND] = "etcdserver: member not found",
                [MEMBER_NOT_LEARNER] = "etcdserver: can only promote a learner member",
                [MEMBER_TOO_MANY_LEARNERS] = "etcdserver: too many learner members in cluster",
                [MEMBER_NOT_ENOUGH_STARTED] =
                                "etcdserver: re-configuration failed due to not enough started members",
                [MEMBER_LEARNER_NOT_READY] =
                                "etcdserver: can only promote a learner member which is in sync with leader",
                [MEMBER_UNHEALTHY] = "etcdserver: unhealthy cluster",
                [MEMBER_TOO_MANY] = "etcdserver: too many members in cluster",
        };
        assert(r < _MEMBER_RESULT_MAX);
        return texts[r];
}

static void member_done(Member *m) {
        free(m->name);
        strv_free(m->peer_urls);
        strv_free(m->client_urls);
        *m = (Member){};
}

void member_change_done(MemberChange *c) {
        free(c->name);
        strv_free(c->peer_urls);
        *c = (MemberChange){};
}

static uint64_t first8(const uint8_t *sum) {
        uint64_t id = 0;
        for (size_t i = 0; i < 8; i++)
                id = id << 8 | sum[i];
        return id;
}

uint64_t member_id_of(char *const *peer_urls, const char *token, const char *time_text) {
        _cleanup_strv_ char **sorted = strv_copy(peer_urls);
        if (sorted)
                strv_sort(sorted);
        _cleanup_(buf_done) Buf b = {};
        STRV_FOREACH(i, sorted)
                buf_adds(&b, *i);
        buf_adds(&b, token);
        buf_adds(&b, time_text);
        uint8_t sum[DIGEST_BYTES_MAX];
        digest_of(DIGEST_SHA1, buf_str(&b), b.len, sum);
        return first8(sum);
}

uint64_t members_cluster_id(const Members *m) {
        _cleanup_(buf_done) Buf b = {};
        for (size_t i = 0; i < m->n; i++)
                buf_add_be64(&b, m->list[i].id);
        uint8_t sum[DIGEST_BYTES_MAX];
        digest_of(DIGEST_SHA1, buf_str(&b), b.len, sum);
        return first8(sum);
}

void members_done(Members *m) {
        for (size_t i = 0; i < m->n; i++)
                member_done(&m->list[i]);
        free(m->removed);
        free(m->version);
        *m = (Members){};
}

void members_copy(const Members *m, Members *ret) {
        *ret = (Members){ .n = m->n, .cluster_id = m->cluster_id, .n_removed = m->n_removed };
        for (size_t i = 0; i < m->n; i++)
                ret->list[i] = (Member){ .id = m->list[i].id,
                                         .name = xstrdup(m->list[i].name),
                                         .peer_urls = strv_copy(m->list[i].peer_urls),
                                         .client_urls = strv_copy(m->list[i].client_urls),
                                         .learner = m->list[i].learner };
        GROW(ret->removed, ret->cap_removed, m->n_removed + 1);
        if (m->n_removed > 0)
                memcpy(ret->removed, m->removed, sizeof(*m->removed) * m->n_removed);
        ret->version = m->version ? xstrdup(m->version) : NULL;
}

static Member *find(Members *m, uint64_t id) {
        for (size_t i = 0; i < m->n; i++)
                if (m->list[i].id == id)
                        return &m->list[i];
        return NULL;
}

const Member *members_find(const Members *m, uint64_t id) {
        return find((Members *) m, id);
}

const Member *members_find_name(const Members *m, const char *name) {
        for (size_t i = 0; i < m->n; i++)
                if (streq(m->list[i].name, name))
                        return &m->list[i];
        return NULL;
}

const Member *members_find_urls(const Members *m, char *const *peer_urls) {
        for (size_t i = 0; i < m->n; i++)
                if (etcd_urls_equal(m->list[i].peer_urls, peer_urls))
                        return &m->list[i];
        return NULL;
}

bool members_was_removed(const Members *m, uint64_t id) {
        for (size_t i = 0; i < m->n_removed; i++)
                if (m->removed[i] == id)
                        return true;
        return false;
}

size_t members_voters(const Members *m) {
        size_t n = 0;
        for (size_t i = 0; i < m->n; i++)
                n += !m->list[i].learner;
        return n;
}

static bool url_taken(const Members *m, const MemberChange *c) {
        for (size_t i = 0; i < m->n; i++)
                if (m->list[i].id != c->id)
                        STRV_FOREACH(u, c->peer_urls)
                                if (strv_contains(m->list[i].peer_urls, *u))
                                        return true;
        return false;
}

MemberResult members_check(const Members *m, const MemberChange *c) {
        const Member *old = members_find(m, c->id);
        if (members_was_removed(m, c->id))
                return MEMBER_REMOVED;
        switch (c->type) {
        case MEMBER_ADD:
        case MEMBER_ADD_LEARNER:
                if (old)
                        return MEMBER_ID_EXISTS;
                if (url_taken(m, c))
                        return MEMBER_URL_EXISTS;
                if (m->n >= MEMBERS_MAX)
                        return MEMBER_TOO_MANY;
                if (c->type == MEMBER_ADD_LEARNER && m->n - members_voters(m) >= MEMBERS_LEARNERS_MAX)
                        return MEMBER_TOO_MANY_LEARNERS;
                return MEMBER_OK;
        case MEMBER_PROMOTE:
                if (!old)
                        return MEMBER_NOT_FOUND;
                return old->learner ? MEMBER_OK : MEMBER_NOT_LEARNER;
        case MEMBER_REMOVE:
                return old ? MEMBER_OK : MEMBER_NOT_FOUND;
        case MEMBER_UPDATE:
                if (!old)
                        return MEMBER_NOT_FOUND;
                return url_taken(m, c) ? MEMBER_URL_EXISTS : MEMBER_OK;
        case _MEMBER_CHANGE_MAX:
                break;
        }
        return MEMBER_NOT_FOUND;
}

MemberResult members_check_strict(const Members *m, const MemberChange *c) {
        size_t voters = 0, started = 0;
        for (size_t i = 0; i < m->n; i++) {
                const Member *p = &m->list[i];
                if (p->learner || (c->type == MEMBER_REMOVE && p->id == c->id))
                        continue;
                voters++;
                started += *p->name != 0;
        }
        const Member *old = members_find(m, c->id);
        switch (c->type) {
        case MEMBER_ADD:
                voters++;
                if (started == 1 && voters == 2) /* growing a one-member cluster has to be possible */
                        return MEMBER_OK;
                break;
        case MEMBER_PROMOTE:
                voters++;
                started += old && *old->name;
                break;
        case MEMBER_REMOVE:
                if (old && old->learner)
                        return MEMBER_OK;
                if (voters == 0)
                        return MEMBER_NOT_ENOUGH_STARTED;
                break;
        case MEMBER_ADD_LEARNER:
        case MEMBER_UPDATE:
        case _MEMBER_CHANGE_MAX:
                return MEMBER_OK;
        }
        return started < voters / 2 + 1 ? MEMBER_NOT_ENOUGH_STARTED : MEMBER_OK;
}

static void insert(Members *m, const MemberChange *c) {
        size_t at = 0;
        while (at < m->n && m->list[at].id < c->id)
                at++;
        memmove(m->list + at + 1, m->list + at, sizeof(Member) * (m->n - at));
        m->list[at] = (Member){ .id = c->id,
                                .name = xstrdup(strempty(c->name)),
                                .peer_urls = strv_copy(c->peer_urls),
                                .learner = c->type == MEMBER_ADD_LEARNER };
        m->n++;
}

static void remember_removed(Members *m, uint64_t id) {
        if (m->n_removed == MEMBERS_REMOVED_MAX) {
                memmove(m->removed, m->removed + 1, sizeof(*m->removed) * (m->n_removed - 1));
                m->n_removed--;
        }
        GROW(m->removed, m->cap_removed, m->n_removed + 1);
        m->removed[m->n_removed++] = id;
}

void members_apply(Members *m, const MemberChange *c) {
        assert(members_check(m, c) == MEMBER_OK);
        Member *old = find(m, c->id);
        switch (c->type) {
        case MEMBER_ADD:
        case MEMBER_ADD_LEARNER:
                insert(m, c);
                break;
        case MEMBER_PROMOTE:
                old->learner = false;
                break;
        case MEMBER_REMOVE:
                member_done(old);
                memmove(old, old + 1, sizeof(Member) * (size_t) (m->list + m->n - old - 1));
                m->n--;
                m->list[m->n] = (Member){};
                remember_removed(m, c->id);
                break;
        case MEMBER_UPDATE:
                strv_free(old->peer_urls);
                old->peer_urls = strv_copy(c->peer_urls);
                break;
        case _MEMBER_CHANGE_MAX:
                break;
        }
}

bool members_set_attributes(Members *m, uint64_t id, const char *name, char *const *client_urls) {
        Member *p = find(m, id);
        if (!p)
                return false;
        char **urls = strv_copy(client_urls);
        free(p->name);
        p->name = xstrdup(name);
        strv_free(p->client_urls);
        p->client_urls = urls;
        return true;
}

void members_set_version(Members *m, const char *version) {
        char *v = xstrdup(version);
        free(m->version);
        m->version = v;
}

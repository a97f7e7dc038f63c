/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/user.h"
#include "base/alloc.h"
#include "base/str.h"

void user_ids_done(UserIds *u) {
        u->home = xfree(u->home);
}

#define FIELDS_MAX 7

/* Splits one line into fields at ':'; the text is not changed. Returns the number of fields. */
typedef struct Line {
        struct {
                const char *p;
                size_t n;
        } field[FIELDS_MAX];
        size_t n;
} Line;

static bool next_line(const char **text, Line *l) {
        const char *p = *text;
        if (!*p)
                return false;
        l->n = 0;
        for (;;) {
                size_t n = strcspn(p, ":\n");
                if (l->n < FIELDS_MAX) {
                        l->field[l->n].p = p;
                        l->field[l->n++].n = n;
                }
                p += n;
                if (*p != ':')
                        break;
                p++;
        }
        *text = *p ? p + 1 : p;
        return true;
}

static bool field_is(const Line *l, size_t i, const char *s) {
        return i < l->n && strlen(s) == l->field[i].n && strncmp(l->field[i].p, s, l->field[i].n) == 0;
}

/* -1 is not an id: chown() and setuid() take it for "leave alone". */
static int parse_id(const char *s, uint32_t *ret) {
        uint32_t v;
        int r = parse_u32(s, &v);
        if (r < 0 || v == UINT32_MAX)
                return -EINVAL;
        *ret = v;
        return 0;
}

static int field_id(const Line *l, size_t i, uint32_t *ret) {
        if (i >= l->n || l->field[i].n == 0 || l->field[i].n > 10)
                return -EINVAL;
        char s[16] = "";
        memcpy(s, l->field[i].p, l->field[i].n);
        return parse_id(s, ret);
}

/* By name first, then by number, as docker: a user may be called "1000". */
static int find_user(const char *passwd, const char *user, UserIds *u, char **ret_name, Err *err) {
        uint32_t number = 0, id, gid;
        bool is_number = parse_id(user, &number) >= 0;
        for (unsigned by_number = 0; by_number <= (is_number ? 1U : 0U); by_number++) {
                const char *p = passwd;
                for (Line l; next_line(&p, &l);) {
                        if (field_id(&l, 2, &id) < 0 || field_id(&l, 3, &gid) < 0)
                                continue;
                        if (by_number ? id != number : !field_is(&l, 0, user))
                                continue;
                        u->uid = id;
                        u->gid = gid;
                        u->home = l.n > 5 && l.field[5].n > 0 ? xstrndup(l.field[5].p, l.field[5].n) : xstrdup("/");
                        *ret_name = xstrndup(l.field[0].p, l.field[0].n);
                        return 0;
                }
        }
        if (!is_number)
                return err_set(err, -ENOENT, "unable to find user %s: no matching entries in passwd file", user);
        u->uid = number;
        u->gid = 0;
        u->home = xstrdup(number == 0 ? "/root" : "/");
        *ret_name = NULL;
        return 0;
}

static int find_group(const char *group, const char *name, gid_t *ret, Err *err) {
        uint32_t id;
        const char *p = group;
        for (Line l; next_line(&p, &l);)
                if (field_is(&l, 0, name) && field_id(&l, 2, &id) >= 0) {
                        *ret = id;
                        return 0;
                }
        if (parse_id(name, &id) < 0)
                return err_set(err, -ENOENT, "unable to find group %s: no matching entries in group file", name);
        *ret = id;
        return 0;
}

static void add_group(UserIds *u, gid_t gid) {
        for (size_t i = 0; i < u->n_groups; i++)
                if (u->groups[i] == gid)
                        return;
        if (u->n_groups < USER_GROUPS_MAX)
                u->groups[u->n_groups++] = gid;
}

static void add_memberships(const char *group, const char *name, UserIds *u) {
        size_t name_n = strlen(name);
        const char *p = group;
        for (Line l; next_line(&p, &l);) {
                uint32_t gid;
                if (l.n < 4 || field_id(&l, 2, &gid) < 0)
                        continue;
                const char *m = l.field[3].p, *end = m + l.field[3].n;
                while (m < end) {
                        const char *comma = memchr(m, ',', (size_t) (end - m));
                        size_t n = (size_t) ((comma ? comma : end) - m);
                        if (n == name_n && memcmp(m, name, n) == 0)
                                add_group(u, gid);
                        m += n + 1;
                }
        }
}

int user_resolve(const char *passwd, const char *group, const char *user, char *const *group_add, UserIds *ret,
                 Err *err) {
        const char *colon = user ? strchr(user, ':') : NULL;
        _cleanup_free_ char *user_part = colon ? xstrndup(user, (size_t) (colon - user)) : xstrdup(strempty(user));
        UserIds u = {};
        _cleanup_free_ char *name = NULL;
        int r = find_user(passwd, *user_part ? user_part : "0", &u, &name, err);
        if (r < 0)
                return r;
        if (colon && colon[1])
                r = find_group(group, colon + 1, &u.gid, err);
        else if (name)
                add_memberships(group, name, &u);
        STRV_FOREACH(g, group_add) {
                gid_t gid = 0;
                r = r < 0 ? r : find_group(group, *g, &gid, err);
                if (r >= 0)
                        add_group(&u, gid);
        }
        if (r < 0) {
                user_ids_done(&u);
                return r;
        }
        *ret = u;
        return 0;
}

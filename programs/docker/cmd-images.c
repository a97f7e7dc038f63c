/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/image.h"
#include "container/image/reference.h"
#include "docker.h"
#include "image-rows.h"
#include "sys/clock.h"

#include <fnmatch.h>
#include <stdio.h>

static bool arg_all, arg_quiet, arg_no_trunc, arg_digests;
static char **arg_filters;
static char *arg_format;

static const Option options[] = {
        { "all", 'a', OPT_BOOL, &arg_all, NULL, "Show all images (this engine has no hidden ones)", NULL },
        { "quiet", 'q', OPT_BOOL, &arg_quiet, NULL, "Only show ids", NULL },
        { "no-trunc", 0, OPT_BOOL, &arg_no_trunc, NULL, "Do not shorten ids", NULL },
        { "digests", 0, OPT_BOOL, &arg_digests, NULL, "Show digests", NULL },
        { "filter", 'f', OPT_LIST, &arg_filters, "KEY=VALUE",
          "Show only what matches: dangling=BOOL, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE",
          NULL },
        { "format", 0, OPT_STR, &arg_format, "TEMPLATE", "Print {{.Field}}s of each image, \"table …\", or \"json\"",
          NULL },
        {},
};

typedef struct Filters {
        int dangling; /* -1 = any */
        char **references, **labels; /* weak strings */
        int64_t before, since;       /* created; INT64_MAX and INT64_MIN = any */
} Filters;

static int created_of(ImageStore *store, const char *name, int64_t *ret, Err *err) {
        _cleanup_(image_freep) Image *i = NULL;
        int r = image_resolve(store, name, &i, err);
        if (r >= 0)
                *ret = i->created_nsec;
        return r;
}

static int parse_filters(ImageStore *store, Filters *f, Err *err) {
        STRV_FOREACH(i, arg_filters) {
                const char *v;
                bool yes;
                int r = 0;
                if ((v = startswith(*i, "dangling="))) {
                        if (parse_bool_go(v, &yes) < 0)
                                return err_set(err, -EINVAL, "Invalid filter 'dangling=%s'", v);
                        f->dangling = yes;
                } else if ((v = startswith(*i, "reference=")))
                        strv_add(&f->references, v);
                else if ((v = startswith(*i, "label=")))
                        strv_add(&f->labels, v);
                else if ((v = startswith(*i, "before=")))
                        r = created_of(store, v, &f->before, err);
                else if ((v = startswith(*i, "since=")))
                        r = created_of(store, v, &f->since, err);
                else
                        return err_set(err, -EINVAL, "Invalid filter '%s'", *i);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool label_matches(char *const *labels, const char *want) {
        STRV_FOREACH(i, labels) {
                const char *rest = startswith(*i, want);
                if (rest && (!*rest || (*rest == '=' && !strchr(want, '='))))
                        return true;
        }
        return false;
}

static bool image_matches(const Image *i, const Filters *f) {
        bool dangling = !i->repo_tags && !i->repo_digests;
        if (f->dangling >= 0 && dangling != (f->dangling > 0))
                return false;
        STRV_FOREACH(l, f->labels)
                if (!label_matches(i->config.labels, *l))
                        return false;
        return i->created_nsec < f->before && i->created_nsec > f->since;
}

/* `pattern` against "repo" and "repo:tag", as docker's path.Match. */
static bool name_matches(char *const *patterns, const char *repo, const char *tag) {
        if (strv_len(patterns) == 0)
                return true;
        _cleanup_free_ char *full = xasprintf("%s:%s", repo, tag);
        STRV_FOREACH(p, patterns)
                if (fnmatch(*p, repo, FNM_PATHNAME) == 0 || fnmatch(*p, full, FNM_PATHNAME) == 0)
                        return true;
        return false;
}

enum { F_ID, F_REPOSITORY, F_TAG, F_DIGEST, F_CREATED_SINCE, F_CREATED_AT, F_SIZE, N_FIELDS };
static FormatField fields[N_FIELDS] = {
        [F_ID] = { "ID", "IMAGE ID", NULL },
        [F_REPOSITORY] = { "Repository", "REPOSITORY", NULL },
        [F_TAG] = { "Tag", "TAG", NULL },
        [F_DIGEST] = { "Digest", "DIGEST", NULL },
        [F_CREATED_SINCE] = { "CreatedSince", "CREATED", NULL },
        [F_CREATED_AT] = { "CreatedAt", "CREATED AT", NULL },
        [F_SIZE] = { "Size", "SIZE", NULL },
};

static int add_row(Rows *rows, const Image *i, const char *repo, const char *tag, const char *digest, Err *err) {
        char buf[40];
        fields[F_ID].value = arg_no_trunc ? xasprintf("sha256:%s", i->id) : xstrndup(i->id, 12);
        fields[F_REPOSITORY].value = xstrdup(repo);
        fields[F_TAG].value = xstrdup(tag);
        fields[F_DIGEST].value = xstrdup(digest);
        fields[F_CREATED_SINCE].value = xstrdup(format_ago(buf, i->created_nsec, now_wall_nsec()));
        fields[F_CREATED_AT].value = xstrdup(format_go_time(buf, i->created_nsec));
        fields[F_SIZE].value = xstrdup(format_size_short(buf, i->size));
        return rows_add(rows, fields, N_FIELDS, err);
}

static const char *digest_for(const Image *i, const char *repo) {
        STRV_FOREACH(d, i->repo_digests) {
                const char *rest = startswith(*d, repo);
                if (rest && *rest == '@')
                        return rest + 1;
        }
        return "<none>";
}

static bool repo_has_tag(const Image *i, const char *repo) {
        STRV_FOREACH(t, i->repo_tags) {
                const char *rest = startswith(*t, repo);
                if (rest && *rest == ':' && !strchr(rest, '/'))
                        return true;
        }
        return false;
}

/* One row per tag; for a repository that is known by digest only, one without a tag. */
static int add_image(Rows *rows, const Image *i, char *const *patterns, Err *err) {
        int r = 0;
        STRV_FOREACH(t, i->repo_tags) {
                const char *colon = strrchr(*t, ':');
                _cleanup_free_ char *repo = xstrndup(*t, (size_t) (colon - *t));
                if (r >= 0 && name_matches(patterns, repo, colon + 1))
                        r = add_row(rows, i, repo, colon + 1, digest_for(i, repo), err);
        }
        STRV_FOREACH(d, i->repo_digests) {
                const char *at = strchr(*d, '@');
                _cleanup_free_ char *repo = xstrndup(*d, (size_t) (at - *d));
                if (r >= 0 && !repo_has_tag(i, repo) && name_matches(patterns, repo, "<none>"))
                        r = add_row(rows, i, repo, "<none>", at + 1, err);
        }
        if (!i->repo_tags && !i->repo_digests && strv_len(patterns) == 0)
                r = add_row(rows, i, "<none>", "<none>", "<none>", err);
        return r;
}

static int show(ImageStore *store, const char *pattern, Err *err) {
        Filters f = { .dangling = -1, .before = INT64_MAX, .since = INT64_MIN };
        if (pattern)
                strv_add(&f.references, pattern);
        Image **l = NULL;
        size_t n = 0;
        int r = parse_filters(store, &f, err);
        if (r >= 0)
                r = image_list(store, &l, &n, err);
        Rows rows = {
                .format = arg_quiet ? "{{.ID}}" : arg_format,
                .table = arg_digests ? "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
                                     : "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
        };
        for (size_t i = 0; i < n; i++) {
                if (r >= 0 && image_matches(l[i], &f))
                        r = add_image(&rows, l[i], f.references, err);
                image_free(l[i]);
        }
        free(l);
        if (r >= 0)
                r = rows_print(&rows, fields, N_FIELDS, err);
        buf_done(&rows.text);
        strv_free(f.references);
        strv_free(f.labels);
        return r;
}

int cmd_images(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        int r = docker_options("images", options, 0, argc, argv, &rest);
        if (r != 0)
                return docker_exit(r);
        _cleanup_(err_done) Err err = {};
        _cleanup_(image_store_closep) ImageStore *store = NULL;
        r = image_store_open(docker_root(), &store, &err);
        if (r >= 0)
                r = show(store, rest[0], &err);
        return r < 0 ? docker_error(&err) : 0;
}

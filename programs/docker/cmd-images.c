/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonin.h"
#include "container/image/format.h"
#include "container/image/image.h"
#include "container/image/reference.h"
#include "docker.h"
#include "format.h"
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
        { "format", 0, OPT_STR, &arg_format, "TEMPLATE", "Go template for every image, \"table …\", or \"json\"",
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

static const char *const headers[] = { "ID", "IMAGE ID", "Repository", "REPOSITORY", "Tag", "TAG", "Digest", "DIGEST",
                                       "CreatedSince", "CREATED", "CreatedAt", "CREATED AT", "Size", "SIZE", NULL };
#define FORMAT_DEFAULT "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
#define FORMAT_DIGESTS "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"

static void set(json_t *row, const char *key, const char *value) {
        (void) json_object_set_new(row, key, json_string(value));
}

static void add_row(json_t *rows, const Image *i, const char *repo, const char *tag, const char *digest) {
        char buf[40];
        json_t *row = json_object();
        _cleanup_free_ char *id = arg_no_trunc ? xasprintf("sha256:%s", i->id) : xstrndup(i->id, 12);
        set(row, "ID", id);
        set(row, "Repository", repo);
        set(row, "Tag", tag);
        set(row, "Digest", digest);
        set(row, "CreatedSince", format_ago(buf, i->created_nsec, now_wall_nsec()));
        set(row, "CreatedAt", format_go_time(buf, i->created_nsec));
        set(row, "Size", format_size_short(buf, i->size));
        (void) json_array_append_new(rows, row);
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
static void add_image(json_t *rows, const Image *i, char *const *patterns) {
        STRV_FOREACH(t, i->repo_tags) {
                const char *colon = strrchr(*t, ':');
                _cleanup_free_ char *repo = xstrndup(*t, (size_t) (colon - *t));
                if (name_matches(patterns, repo, colon + 1))
                        add_row(rows, i, repo, colon + 1, digest_for(i, repo));
        }
        STRV_FOREACH(d, i->repo_digests) {
                const char *at = strchr(*d, '@');
                _cleanup_free_ char *repo = xstrndup(*d, (size_t) (at - *d));
                if (!repo_has_tag(i, repo) && name_matches(patterns, repo, "<none>"))
                        add_row(rows, i, repo, "<none>", at + 1);
        }
        if (!i->repo_tags && !i->repo_digests && strv_len(patterns) == 0)
                add_row(rows, i, "<none>", "<none>", "<none>");
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
        _cleanup_json_ json_t *rows = json_array();
        for (size_t i = 0; i < n; i++) {
                if (image_matches(l[i], &f))
                        add_image(rows, l[i], f.references);
                image_free(l[i]);
        }
        free(l);
        strv_free(f.references);
        strv_free(f.labels);
        const char *standard = arg_digests ? FORMAT_DIGESTS : FORMAT_DEFAULT;
        if (arg_format && !streq(arg_format, "table"))
                standard = arg_format;
        return r < 0 ? r : format_rows(arg_quiet ? "{{.ID}}" : standard, rows, headers, err);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/store-internal.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>

#define ID_PREFIX_MIN 1

static void config_done(ImageConfig *c) {
        strv_free(c->entrypoint);
        strv_free(c->cmd);
        strv_free(c->env);
        strv_free(c->volumes);
        strv_free(c->exposed_ports);
        strv_free(c->labels);
        strv_free(c->shell);
        strv_free(c->healthcheck_test);
        free(c->user);
        free(c->working_dir);
        free(c->stop_signal);
}

Image *image_free(Image *i) {
        if (!i)
                return NULL;
        free(i->id);
        strv_free(i->repo_tags);
        strv_free(i->repo_digests);
        free(i->architecture);
        free(i->os);
        free(i->variant);
        free(i->author);
        free(i->comment);
        free(i->docker_version);
        strv_free(i->diff_ids);
        strv_free(i->chain_ids);
        strv_free(i->lowerdirs);
        config_done(&i->config);
        for (size_t k = 0; k < i->n_history; k++) {
                free(i->history[k].created_by);
                free(i->history[k].comment);
                free(i->history[k].author);
        }
        free(i->history);
        return xfree(i);
}

/* Sizes of the layers go to the history's entries that made one; lowerdirs stop at a layer that hides all. */
static int load_layers(const ImageStore *s, Image *i, Err *err) {
        size_t n = strv_len(i->diff_ids), step = 0;
        i->chain_ids = chain_ids(i->diff_ids);
        i->lowerdirs = NULL;
        _cleanup_strv_ char **dirs = xnew(char *, n + 1);
        for (size_t k = 0; k < n; k++) {
                _cleanup_(layer_info_done) LayerInfo l = {};
                int r = layer_load(s, i->chain_ids[k], &l, err);
                if (r < 0)
                        return r;
                dirs[k] = store_path(s, "l/%s", l.link);
                i->size += (int64_t) l.bytes;
                if (l.opaque_root)
                        i->lowerdirs = strv_free(i->lowerdirs);
                strv_add(&i->lowerdirs, dirs[k]);
                while (step < i->n_history && i->history[step].empty_layer)
                        step++;
                if (step < i->n_history)
                        i->history[step++].size = (int64_t) l.bytes;
        }
        for (size_t a = 0, b = strv_len(i->lowerdirs); b > a + 1; a++) {
                char *tmp = i->lowerdirs[--b];
                i->lowerdirs[b] = i->lowerdirs[a];
                i->lowerdirs[a] = tmp;
        }
        return 0;
}

static void load_names(const Names *names, Image *i) {
        for (size_t k = 0; k < names->n; k++) {
                if (!streq(names->items[k].id, i->id))
                        continue;
                _cleanup_(reference_done) Reference ref = {};
                if (reference_parse(names->items[k].name, &ref, NULL) < 0)
                        continue;
                strv_push(ref.digest ? &i->repo_digests : &i->repo_tags, reference_familiar(&ref));
        }
        strv_sort(i->repo_tags);
        strv_sort(i->repo_digests);
}

int image_load(ImageStore *s, const Names *names, const char *id, Image **ret, Err *err) {
        assert(hex64_valid(id));
        _cleanup_free_ char *record = store_path(s, "images/%s.json", id);
        if (access(record, F_OK) < 0)
                return errno == ENOENT ? -ENOENT : err_errno(err, -errno, "%s", record);
        _cleanup_(buf_done) Buf config = {};
        _cleanup_(image_freep) Image *i = xnew(Image, 1);
        i->id = xstrdup(id);
        int r = blob_read(s, id, CONFIG_BYTES_MAX, &config, err);
        if (r >= 0)
                r = config_parse(config.data, config.len, i, err);
        if (r >= 0)
                r = load_layers(s, i, err);
        if (r < 0) /* never -ENOENT, which means "no such image" */
                return err_wrap(err, r == -ENOENT ? -EBADMSG : r, "image %.12s is damaged", id);
        load_names(names, i);
        *ret = TAKE_PTR(i);
        return 0;
}

int image_ids(const ImageStore *s, char ***ret, Err *err) {
        _cleanup_free_ char *path = store_path(s, "images");
        DIR *d = opendir(path);
        if (!d)
                return err_errno(err, -errno, "%s", path);
        char **ids = xnew(char *, 1);
        size_t n = 0, cap = 1;
        for (struct dirent *e; (e = readdir(d));) {
                const char *dot = endswith(e->d_name, ".json");
                if (!dot || dot - e->d_name != 64)
                        continue;
                _cleanup_free_ char *id = xstrndup(e->d_name, 64);
                if (!hex64_valid(id))
                        continue;
                GROW(ids, cap, n + 2);
                ids[n++] = TAKE_PTR(id);
                ids[n] = NULL;
        }
        (void) closedir(d);
        strv_sort(ids);
        *ret = ids;
        return 0;
}

static bool is_hex(const char *s) {
        return *s && !s[strspn(s, "0123456789abcdef")];
}

/* The one id that begins with `prefix`. 1 = found, 0 = none. */
static int find_prefix(const ImageStore *s, const char *prefix, char **ret, Err *err) {
        _cleanup_strv_ char **ids = NULL;
        int r = image_ids(s, &ids, err);
        if (r < 0)
                return r;
        const char *hit = NULL;
        STRV_FOREACH(i, ids) {
                if (!startswith(*i, prefix))
                        continue;
                if (hit)
                        return err_set(err, -ENOTUNIQ, "image id prefix \"%s\" is ambiguous", prefix);
                hit = *i;
        }
        if (!hit)
                return 0;
        *ret = xstrdup(hit);
        return 1;
}

/* A repository may hold the digest under several names; "x:tag@sha256:…" goes by the digest alone. */
static const char *find_reference(const Names *names, const Reference *ref) {
        _cleanup_free_ char *repo = reference_name(ref);
        _cleanup_free_ char *key = ref->digest ? xasprintf("%s@%s", repo, ref->digest)
                                               : xasprintf("%s:%s", repo, ref->tag);
        return names_get(names, key);
}

static int no_such_image(const char *name, const Reference *ref, Err *err) {
        _cleanup_free_ char *familiar = ref->path ? reference_familiar(ref) : NULL;
        return err_set(err, -ENOENT, "No such image: %s", familiar ? familiar : name);
}

/* Full id, reference, unique id prefix. *ret: 64 hex digits. */
static int resolve_id(ImageStore *s, const Names *names, const char *name, char **ret, Err *err) {
        const char *bare = startswith(name, "sha256:");
        _cleanup_(reference_done) Reference ref = {};
        _cleanup_(err_done) Err parse_err = {};
        if (!bare)
                bare = name;
        int r = reference_parse(name, &ref, &parse_err);
        if (hex64_valid(bare)) {
                *ret = xstrdup(bare);
                return 0;
        }
        if (r >= 0) {
                const char *id = find_reference(names, &ref);
                if (id) {
                        *ret = xstrdup(id);
                        return 0;
                }
        }
        if (is_hex(bare) && strlen(bare) >= ID_PREFIX_MIN && strlen(bare) < 64) {
                int k = find_prefix(s, bare, ret, err);
                if (k != 0)
                        return k < 0 ? k : 0;
        }
        return r < 0 ? err_set(err, r, "%s", err_msg(&parse_err)) : no_such_image(name, &ref, err);
}

int image_resolve_locked(ImageStore *s, const Names *names, const char *name, Image **ret, Err *err) {
        _cleanup_free_ char *id = NULL;
        int r = resolve_id(s, names, name, &id, err);
        if (r < 0)
                return r;
        r = image_load(s, names, id, ret, err);
        return r == -ENOENT ? err_set(err, r, "No such image: %s", name) : r;
}

int image_resolve(ImageStore *s, const char *name, Image **ret, Err *err) {
        _cleanup_close_ int lock = -EBADF;
        _cleanup_(names_done) Names names = {};
        int r = store_lock(s, "lock", LOCK_SH, &lock, err);
        if (r >= 0)
                r = names_load(s, &names, err);
        return r < 0 ? r : image_resolve_locked(s, &names, name, ret, err);
}

static int newest_first(const void *a, const void *b) {
        const Image *x = *(Image *const *) a, *y = *(Image *const *) b;
        if (x->created_nsec != y->created_nsec)
                return x->created_nsec < y->created_nsec ? 1 : -1;
        return strcmp(x->id, y->id);
}

int image_list(ImageStore *s, Image ***ret, size_t *ret_n, Err *err) {
        _cleanup_close_ int lock = -EBADF;
        _cleanup_(names_done) Names names = {};
        _cleanup_strv_ char **ids = NULL;
        int r = store_lock(s, "lock", LOCK_SH, &lock, err);
        if (r >= 0)
                r = names_load(s, &names, err);
        if (r >= 0)
                r = image_ids(s, &ids, err);
        if (r < 0)
                return r;
        Image **l = xnew(Image *, strv_len(ids) + 1);
        size_t n = 0;
        STRV_FOREACH(id, ids) {
                _cleanup_(err_done) Err ignored = {}; /* one damaged image must not hide the others */
                if (image_load(s, &names, *id, &l[n], &ignored) >= 0)
                        n++;
        }
        qsort(l, n, sizeof(*l), newest_first);
        *ret = l;
        *ret_n = n;
        return 0;
}

int image_pin(ImageStore *s, const char *image_id, const char *container_dir, Err *err) {
        if (!hex64_valid(image_id))
                return err_set(err, -EINVAL, "\"%s\" is no image id", image_id);
        _cleanup_close_ int lock = -EBADF;
        int r = store_lock(s, "lock", LOCK_SH, &lock, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *record = store_path(s, "images/%s.json", image_id);
        if (access(record, F_OK) < 0)
                return err_set(err, -ENOENT, "No such image: sha256:%s", image_id);
        _cleanup_free_ char *path = path_join(container_dir, "image");
        _cleanup_free_ char *line = xasprintf("%s\n", image_id);
        /* Not synced: the container's other files are not either, and after a power cut an unnamed or empty folder
         * is garbage (run/store.h). Two fsyncs would be a good part of a container's start. */
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        r = fd < 0 ? -errno : write_all(fd, line, strlen(line));
        return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

int image_pinned(const char *container_dir, char **ret_id) {
        _cleanup_free_ char *path = path_join(container_dir, "image"), *id = NULL;
        int r = read_line_file(path, &id);
        if (r < 0)
                return r;
        if (!hex64_valid(id))
                return -EBADMSG;
        *ret_id = TAKE_PTR(id);
        return 0;
}

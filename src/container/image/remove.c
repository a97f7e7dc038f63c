/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "container/image/store-internal.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PARTIAL_KEPT_SEC (24 * 3600)
#define RECORD_BYTES_MAX (64U << 10)

void remove_report_done(RemoveReport *r) {
        strv_free(r->untagged);
        strv_free(r->deleted);
        *r = (RemoveReport){};
}

/* ---- who uses an image ---- */

typedef struct User {
        char *container; /* owned id, NULL = nobody */
        bool running;
} User;

static void user_done(User *u) {
        free(u->container);
        *u = (User){};
}

/* The shim of a running container holds an flock on its folder's `lock`. */
static bool container_runs(const char *dir) {
        _cleanup_free_ char *path = path_join(dir, "lock");
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* A running user if there is one, else a stopped one. */
static int find_user(const ImageStore *s, const char *image_id, User *ret) {
        _cleanup_free_ char *path = store_path(s, "containers");
        _cleanup_(user_done) User user = {};
        DIR *d = opendir(path);
        if (!d)
                return errno == ENOENT ? 0 : -errno;
        for (struct dirent *e; !user.running && (e = readdir(d));) {
                if (e->d_name[0] == '.')
                        continue;
                _cleanup_free_ char *dir = path_join(path, e->d_name), *id = NULL;
                if (image_pinned(dir, &id) < 0 || !streq(id, image_id))
                        continue;
                free(user.container);
                user = (User){ .container = xstrdup(e->d_name), .running = container_runs(dir) };
        }
        (void) closedir(d);
        *ret = user;
        user = (User){};
        return 0;
}

/* ---- the sweep ---- */

typedef struct Marks {
        Map blobs, layers, links;
} Marks;

static void marks_done(Marks *m) {
        map_done(&m->blobs);
        map_done(&m->layers);
        map_done(&m->links);
}

static void mark_image(ImageStore *s, const char *id, Marks *m) {
        _cleanup_free_ char *record = store_path(s, "images/%s.json", id);
        _cleanup_(buf_done) Buf b = {};
        _cleanup_json_ json_t *j = NULL;
        map_puts(&m->blobs, id, m);
        if (read_file(record, RECORD_BYTES_MAX, &b) >= 0 && ji_parse(b.data, b.len, 0, &j, NULL) >= 0) {
                const char *manifest = ji_str(j, "manifest");
                if (manifest && hex64_valid(manifest))
                        map_puts(&m->blobs, manifest, m);
        }
        _cleanup_(buf_done) Buf config = {};
        _cleanup_(image_freep) Image *i = xnew(Image, 1);
        if (blob_read(s, id, CONFIG_BYTES_MAX, &config, NULL) < 0 || config_parse(config.data, config.len, i, NULL) < 0)
                return;
        _cleanup_strv_ char **chains = chain_ids(i->diff_ids);
        STRV_FOREACH(c, chains) {
                _cleanup_(layer_info_done) LayerInfo l = {};
                map_puts(&m->layers, *c, m);
                if (layer_load(s, *c, &l, NULL) < 0)
                        continue;
                map_puts(&m->blobs, l.blob, m);
                map_puts(&m->links, l.link, m);
        }
}

/* A stopped container whose image was removed by force keeps its layers. */
static void mark_containers(ImageStore *s, Marks *m) {
        _cleanup_free_ char *path = store_path(s, "containers");
        DIR *d = opendir(path);
        if (!d)
                return;
        for (struct dirent *e; (e = readdir(d));) {
                _cleanup_free_ char *dir = path_join(path, e->d_name), *id = NULL;
                if (e->d_name[0] != '.' && image_pinned(dir, &id) >= 0)
                        mark_image(s, id, m);
        }
        (void) closedir(d);
}

/* Deletes the entries of ROOT/<folder> that are not marked. */
static void sweep_folder(const ImageStore *s, const char *folder, const Map *marked) {
        _cleanup_free_ char *path = store_path(s, "%s", folder);
        DIR *d = opendir(path);
        if (!d)
                return;
        for (struct dirent *e; (e = readdir(d));) {
                if (streq(e->d_name, ".") || streq(e->d_name, "..") || map_has(marked, e->d_name, strlen(e->d_name)))
                        continue;
                _cleanup_free_ char *p = path_join(path, e->d_name);
                (void) rm_rf(p);
        }
        (void) closedir(d);
}

/* Layers are renamed to tmp/, so that a half-deleted one is never taken for a whole; the caller deletes them when
 * it no longer holds the locks, as that takes time. */
static void sweep_layers(const ImageStore *s, const Map *marked, char ***ret_dead) {
        _cleanup_free_ char *path = store_path(s, "layers");
        DIR *d = opendir(path);
        if (!d)
                return;
        for (struct dirent *e; (e = readdir(d));) {
                if (e->d_name[0] == '.' || map_has(marked, e->d_name, strlen(e->d_name)))
                        continue;
                _cleanup_free_ char *from = path_join(path, e->d_name);
                _cleanup_free_ char *to = store_path(s, "tmp/dead-%016" PRIx64, random_u64());
                if (rename(from, to) >= 0)
                        strv_push(ret_dead, TAKE_PTR(to));
        }
        (void) closedir(d);
}

/* What write_file_atomic() of a killed process left; nobody writes these files without the lock. */
static void sweep_temporaries(const ImageStore *s, const char *folder) {
        _cleanup_free_ char *path = store_path(s, "%s", folder);
        DIR *d = opendir(path);
        if (!d)
                return;
        for (struct dirent *e; (e = readdir(d));)
                if (strstr(e->d_name, ".json.tmp-"))
                        (void) unlinkat(dirfd(d), e->d_name, 0);
        (void) closedir(d);
}

static void sweep_partials(const ImageStore *s) {
        _cleanup_free_ char *path = store_path(s, "partial");
        DIR *d = opendir(path);
        if (!d)
                return;
        int64_t now = now_wall_nsec() / 1000000000;
        for (struct dirent *e; (e = readdir(d));) {
                struct stat st;
                if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                if (now - st.st_mtime > PARTIAL_KEPT_SEC)
                        (void) unlinkat(dirfd(d), e->d_name, 0);
        }
        (void) closedir(d);
}

/* Under LOCK_EX of both locks. */
static int sweep_locked(ImageStore *s, char ***ret_dead, Err *err) {
        _cleanup_(marks_done) Marks m = {};
        _cleanup_strv_ char **ids = NULL;
        int r = image_ids(s, &ids, err);
        if (r < 0)
                return r;
        STRV_FOREACH(i, ids)
                mark_image(s, *i, &m);
        mark_containers(s, &m);
        sweep_layers(s, &m.layers, ret_dead);
        sweep_folder(s, "l", &m.links);
        sweep_folder(s, "blobs/sha256", &m.blobs);
        sweep_temporaries(s, "images");
        sweep_temporaries(s, "");
        sweep_partials(s);
        return 0;
}

int store_sweep(ImageStore *s, Err *err) {
        _cleanup_strv_ char **dead = NULL;
        {
                _cleanup_close_ int ingest = -EBADF, lock = -EBADF;
                int r = store_lock(s, "ingest.lock", LOCK_EX | LOCK_NB, &ingest, err);
                if (r == -EWOULDBLOCK)
                        return 0; /* whoever ingests may rely on layers that no image has yet; another time */
                if (r >= 0)
                        r = store_lock(s, "lock", LOCK_EX, &lock, err);
                if (r >= 0)
                        r = sweep_locked(s, &dead, err);
                if (r < 0)
                        return r;
        }
        STRV_FOREACH(i, dead)
                (void) rm_rf(*i);
        return 0;
}

/* ---- rmi ---- */

typedef struct Removal {
        ImageStore *store; /* weak */
        Names names;
        Image *image;      /* owned */
        Reference ref;     /* of the name given; path NULL when it was an id */
        char *key;         /* owned: the name's key among names, NULL for an id */
        bool force;
        RemoveReport report;
} Removal;

static void removal_done(Removal *r) {
        names_done(&r->names);
        r->image = image_free(r->image);
        reference_done(&r->ref);
        free(r->key);
        remove_report_done(&r->report);
}

static void untag(Removal *r, const char *key) {
        _cleanup_(reference_done) Reference ref = {};
        if (reference_parse(key, &ref, NULL) >= 0)
                strv_push(&r->report.untagged, reference_familiar(&ref));
        names_remove(&r->names, key);
}

/* Untags every name of the image, tags before digests; only those of `repo` when it is given. */
static void untag_all(Removal *r, const char *repo) {
        for (int digests = 0; digests < 2; digests++) {
                for (size_t i = 0; i < r->names.n;) {
                        const NameEntry *e = &r->names.items[i];
                        const char *rest = repo ? startswith(e->name, repo) : NULL;
                        bool mine = streq(e->id, r->image->id) && (strchr(e->name, '@') != NULL) == (digests == 1) &&
                                    (!repo || (rest && (*rest == ':' || *rest == '@')));
                        if (!mine) {
                                i++;
                                continue;
                        }
                        _cleanup_free_ char *key = xstrdup(e->name);
                        untag(r, key);
                }
        }
}

/* How many repositories, and how many tags, still name the image. */
static void count_names(const Removal *r, size_t *ret_repos, size_t *ret_tags, size_t *ret_all) {
        _cleanup_(map_done) Map repos = {};
        *ret_tags = *ret_all = 0;
        for (size_t i = 0; i < r->names.n; i++) {
                const NameEntry *e = &r->names.items[i];
                if (!streq(e->id, r->image->id))
                        continue;
                const char *at = strchr(e->name, '@');
                const char *end = at ? at : strrchr(e->name, ':');
                map_put(&repos, e->name, (size_t) (end - e->name), r->image);
                *ret_tags += !at;
                (*ret_all)++;
        }
        *ret_repos = map_size(&repos);
}

static int in_use(const User *u, const Removal *r, Err *err) {
        if (u->running)
                return err_set(err, -EBUSY, "conflict: unable to delete %.12s (cannot be forced) - image is being used by "
                               "running container %.12s", r->image->id, u->container);
        return err_set(err, -EBUSY, "conflict: unable to delete %.12s (must be forced) - image is being used by stopped "
                       "container %.12s", r->image->id, u->container);
}

/* Takes the names away that the request takes away. *ret_delete: whether the image goes too. */
static int remove_names(Removal *r, const User *user, bool *ret_delete, Err *err) {
        size_t repos, tags, all;
        count_names(r, &repos, &tags, &all);
        if (r->key) {
                _cleanup_free_ char *repo = reference_name(&r->ref);
                bool last_tag = !r->ref.digest && tags == 1;
                if ((all == 1 || last_tag) && user->container && !r->force) {
                        _cleanup_free_ char *familiar = reference_familiar(&r->ref);
                        return err_set(err, -EBUSY, "conflict: unable to remove repository reference \"%s\" (must force) - "
                                       "container %.12s is using its referenced image %.12s", familiar, user->container,
                                       r->image->id);
                }
                untag(r, r->key);
                if (last_tag)
                        untag_all(r, repo);
                count_names(r, &repos, &tags, &all);
                *ret_delete = all == 0 && !user->container;
                return 0;
        }
        if (repos > 1 && !r->force)
                return err_set(err, -EBUSY, "conflict: unable to delete %.12s (must be forced) - image is referenced in "
                               "multiple repositories", r->image->id);
        if (user->container && (user->running || !r->force))
                return in_use(user, r, err);
        untag_all(r, NULL);
        *ret_delete = true;
        return 0;
}

/* The image's record goes first: from then on its layers are garbage, whatever happens. */
static int delete_image(Removal *r, Err *err) {
        _cleanup_free_ char *record = store_path(r->store, "images/%s.json", r->image->id);
        if (unlink(record) < 0)
                return err_errno(err, -errno, "%s", record);
        strv_addf(&r->report.deleted, "sha256:%s", r->image->id);
        _cleanup_(marks_done) Marks m = {};
        _cleanup_strv_ char **ids = NULL;
        int k = image_ids(r->store, &ids, err);
        if (k < 0)
                return k;
        STRV_FOREACH(i, ids)
                mark_image(r->store, *i, &m);
        mark_containers(r->store, &m);
        for (size_t i = strv_len(r->image->chain_ids); i-- > 0;)
                if (!map_has(&m.layers, r->image->chain_ids[i], 64))
                        strv_addf(&r->report.deleted, "sha256:%s", r->image->chain_ids[i]);
        return 0;
}

/* Was the name a reference (and which), or an id? */
static int find_target(Removal *r, const char *name, Err *err) {
        int k = image_resolve_locked(r->store, &r->names, name, &r->image, err);
        if (k < 0)
                return k;
        if (reference_parse(name, &r->ref, NULL) >= 0) {
                _cleanup_free_ char *repo = reference_name(&r->ref);
                _cleanup_free_ char *key = r->ref.digest ? xasprintf("%s@%s", repo, r->ref.digest)
                                                         : xasprintf("%s:%s", repo, r->ref.tag);
                if (streq_ptr(names_get(&r->names, key), r->image->id))
                        r->key = TAKE_PTR(key);
        }
        return 0;
}

static int remove_locked(Removal *r, const char *name, Err *err) {
        bool delete = false;
        _cleanup_(user_done) User user = {};
        int k = names_load(r->store, &r->names, err);
        if (k >= 0)
                k = find_target(r, name, err);
        if (k >= 0)
                k = find_user(r->store, r->image->id, &user);
        if (k >= 0)
                k = remove_names(r, &user, &delete, err);
        if (k >= 0 && r->report.untagged)
                k = names_save(r->store, &r->names, err);
        return k < 0 || !delete ? k : delete_image(r, err);
}

int image_remove(ImageStore *s, const char *name, bool force, RemoveReport *ret, Err *err) {
        _cleanup_(removal_done) Removal r = { .store = s, .force = force };
        int k = store_check_writable(s, err);
        if (k < 0)
                return k;
        {
                _cleanup_close_ int lock = -EBADF;
                k = store_lock(s, "lock", LOCK_EX, &lock, err);
                if (k >= 0)
                        k = remove_locked(&r, name, err);
        }
        if (k < 0)
                return k;
        if (r.report.deleted)
                k = store_sweep(s, err);
        *ret = r.report;
        r.report = (RemoveReport){};
        return k;
}

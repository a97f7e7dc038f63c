/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/str.h"
#include "codec/digest.h"
#include "codec/expand.h"
#include "codec/jsonout.h"
#include "codec/tar.h"
#include "container/image/confine.h"
#include "container/image/store-internal.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <sys/file.h>

/* docker save: an OCI layout with a manifest.json beside it, as dockers since 25 write. Layers go out
 * uncompressed, under their diff ids, so the same image always gives the same archive. */

#define COPY_BYTES (256U << 10)

typedef struct SavedImage {
        Image *image;      /* owned */
        char **tags;       /* owned full names: "docker.io/library/x:1" */
        char *manifest;    /* owned hex */
        size_t manifest_bytes;
} SavedImage;

typedef struct Save {
        ImageStore *store; /* weak */
        int out, work_fd;
        int64_t mtime_sec;
        SavedImage *images; /* n of them, owned */
        size_t n;
        Map written; /* hex of blobs that are in the archive already */
} Save;

static int put_entry(const Save *s, const char *path, TarType type, uint64_t size, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        TarEntry e = {
                .type = type, .path = (char *) path, .link = (char *) "", .size = size,
                .mode = type == TAR_DIR ? 0755 : 0644, .mtime_sec = s->mtime_sec,
        };
        tar_write_header(&b, &e);
        int r = write_all(s->out, b.data, b.len);
        return r < 0 ? err_errno(err, r, "write") : 0;
}

static int put_file(const Save *s, const char *path, const void *p, size_t n, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        int r = put_entry(s, path, TAR_FILE, n, err);
        if (r < 0)
                return r;
        buf_add(&b, p, n);
        tar_write_padding(&b, n);
        r = b.len > 0 ? write_all(s->out, b.data, b.len) : 0;
        return r < 0 ? err_errno(err, r, "write") : 0;
}

static int put_blob(Save *s, const char *hex, const void *p, size_t n, Err *err) {
        if (map_has(&s->written, hex, 64))
                return 0;
        map_puts(&s->written, hex, s);
        _cleanup_free_ char *path = xasprintf("blobs/sha256/%s", hex);
        return put_file(s, path, p, n, err);
}

/* ---- layers ---- */

typedef struct CopyJob {
        int in, out;
        uint64_t bytes;
} CopyJob;

static int64_t copy_source(void *userdata, void *buf, size_t n, Err *err) {
        for (;;) {
                ssize_t k = read(*(int *) userdata, buf, n);
                if (k >= 0 || errno != EINTR)
                        return k >= 0 ? k : err_errno(err, -errno, "read");
        }
}

/* In a confined child, since the decoder's input once came from anywhere. */
static int copy_layer(void *userdata, Buf *reply, Err *err) {
        CopyJob *job = userdata;
        ExpandLimits limits = { .bytes_max = job->bytes };
        _cleanup_(expander_freep) Expander *x = expander_new(copy_source, &job->in, &limits);
        _cleanup_free_ uint8_t *buf = xmalloc(COPY_BYTES);
        uint64_t total = 0;
        for (;;) {
                int64_t n = expander_read(x, buf, COPY_BYTES, err);
                if (n < 0)
                        return (int) n;
                if (n == 0)
                        break;
                int r = write_all(job->out, buf, (size_t) n);
                if (r < 0)
                        return err_errno(err, r, "write");
                total += (uint64_t) n;
        }
        if (total != job->bytes)
                return err_set(err, -EBADMSG, "a stored layer is damaged: it has %" PRIu64 " bytes instead of %" PRIu64, total,
                               job->bytes);
        static const char zeros[TAR_BLOCK];
        return write_all(job->out, zeros, (size_t) (-total % TAR_BLOCK));
}

static int put_layer(Save *s, const char *chain_id, Err *err) {
        _cleanup_(layer_info_done) LayerInfo l = {};
        int r = layer_load(s->store, chain_id, &l, err);
        if (r < 0 || map_has(&s->written, l.diff_id, 64))
                return r;
        map_puts(&s->written, l.diff_id, s);
        _cleanup_free_ char *path = xasprintf("blobs/sha256/%s", l.diff_id), *blob = blob_path(s->store, l.blob);
        _cleanup_close_ int fd = open(blob, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return err_errno(err, -errno, "%s", blob);
        r = put_entry(s, path, TAR_FILE, l.tar_bytes, err);
        if (r < 0)
                return r;
        CopyJob job = { .in = fd, .out = s->out, .bytes = l.tar_bytes };
        int fds[] = { fd, s->out };
        Confine c = { .kind = CONFINE_FILES, .root_fd = s->work_fd, .fds = fds, .n_fds = 2 };
        Confined child;
        _cleanup_(buf_done) Buf reply = {};
        r = confine_start(&c, copy_layer, &job, &child, err);
        return r < 0 ? r : confine_finish(&child, &reply, err);
}

/* ---- documents ---- */

static void put_descriptor(JsonOut *j, const char *media_type, const char *hex, uint64_t size) {
        _cleanup_free_ char *digest = xasprintf("sha256:%s", hex);
        jo_kstr(j, "mediaType", media_type);
        jo_kstr(j, "digest", digest);
        jo_kuint(j, "size", size);
}

static int put_manifest(Save *s, SavedImage *i, size_t config_bytes, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kint(&j, "schemaVersion", 2);
        jo_kstr(&j, "mediaType", MEDIA_OCI_MANIFEST);
        jo_key(&j, "config");
        jo_obj(&j);
        put_descriptor(&j, MEDIA_OCI_CONFIG, i->image->id, config_bytes);
        jo_end(&j);
        jo_key(&j, "layers");
        jo_arr(&j);
        STRV_FOREACH(chain, i->image->chain_ids) {
                _cleanup_(layer_info_done) LayerInfo l = {};
                int r = layer_load(s->store, *chain, &l, err);
                if (r < 0)
                        return r;
                jo_obj(&j);
                put_descriptor(&j, MEDIA_OCI_LAYER, l.diff_id, l.tar_bytes);
                jo_end(&j);
        }
        jo_end(&j);
        jo_end(&j);
        i->manifest = digest_hex(DIGEST_SHA256, b.data, b.len);
        i->manifest_bytes = b.len;
        return put_blob(s, i->manifest, b.data, b.len, err);
}

static int put_image(Save *s, SavedImage *i, Err *err) {
        _cleanup_(buf_done) Buf config = {};
        int r = blob_read(s->store, i->image->id, CONFIG_BYTES_MAX, &config, err);
        if (r >= 0)
                r = put_blob(s, i->image->id, buf_str(&config), config.len, err);
        STRV_FOREACH(chain, i->image->chain_ids)
                if (r >= 0)
                        r = put_layer(s, *chain, err);
        return r < 0 ? r : put_manifest(s, i, config.len, err);
}

static void index_entry(JsonOut *j, const SavedImage *i, const char *tag) {
        jo_obj(j);
        put_descriptor(j, MEDIA_OCI_MANIFEST, i->manifest, i->manifest_bytes);
        if (tag) {
                jo_key(j, "annotations");
                jo_obj(j);
                jo_kstr(j, "io.containerd.image.name", tag);
                jo_kstr(j, "org.opencontainers.image.ref.name", strrchr(tag, ':') + 1);
                jo_end(j);
        }
        jo_end(j);
}

static int put_index(Save *s, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kint(&j, "schemaVersion", 2);
        jo_kstr(&j, "mediaType", MEDIA_OCI_INDEX);
        jo_key(&j, "manifests");
        jo_arr(&j);
        for (size_t k = 0; k < s->n; k++) {
                STRV_FOREACH(tag, s->images[k].tags)
                        index_entry(&j, &s->images[k], *tag);
                if (!s->images[k].tags)
                        index_entry(&j, &s->images[k], NULL);
        }
        jo_end(&j);
        jo_end(&j);
        return put_file(s, "index.json", b.data, b.len, err);
}

static void docker_entry(JsonOut *j, const SavedImage *i) {
        _cleanup_free_ char *config = xasprintf("blobs/sha256/%s", i->image->id);
        jo_obj(j);
        jo_kstr(j, "Config", config);
        jo_key(j, "RepoTags");
        if (i->tags) {
                jo_arr(j);
                STRV_FOREACH(tag, i->tags) {
                        _cleanup_(reference_done) Reference ref = {};
                        _cleanup_free_ char *familiar = reference_parse(*tag, &ref, NULL) < 0 ? NULL : reference_familiar(&ref);
                        jo_str(j, familiar ? familiar : *tag);
                }
                jo_end(j);
        } else
                jo_null(j);
        jo_key(j, "Layers");
        jo_arr(j);
        STRV_FOREACH(d, i->image->diff_ids) {
                _cleanup_free_ char *path = xasprintf("blobs/sha256/%s", *d);
                jo_str(j, path);
        }
        jo_end(j);
        jo_end(j);
}

static int put_docker_manifest(Save *s, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_arr(&j);
        for (size_t k = 0; k < s->n; k++)
                docker_entry(&j, &s->images[k]);
        jo_end(&j);
        return put_file(s, "manifest.json", b.data, b.len, err);
}

static int put_all(Save *s, Err *err) {
        static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
        int r = put_entry(s, "blobs/", TAR_DIR, 0, err);
        if (r >= 0)
                r = put_entry(s, "blobs/sha256/", TAR_DIR, 0, err);
        for (size_t i = 0; i < s->n && r >= 0; i++)
                r = put_image(s, &s->images[i], err);
        if (r >= 0)
                r = put_index(s, err);
        if (r >= 0)
                r = put_docker_manifest(s, err);
        if (r >= 0)
                r = put_file(s, "oci-layout", layout, strlen(layout), err);
        _cleanup_(buf_done) Buf end = {};
        tar_write_end(&end);
        if (r >= 0)
                r = write_all(s->out, end.data, end.len);
        return r < 0 ? err_errno(err, r, "write") : 0;
}

/* ---- which images ---- */

static SavedImage *find_saved(Save *s, const char *id) {
        for (size_t i = 0; i < s->n; i++)
                if (streq(s->images[i].image->id, id))
                        return &s->images[i];
        return NULL;
}

/* An id carries no tag. */
static void add_tags(SavedImage *i, const Names *names, const char *name) {
        _cleanup_(reference_done) Reference ref = {};
        if (reference_parse(name, &ref, NULL) < 0 || ref.digest)
                return;
        _cleanup_free_ char *full = reference_full(&ref);
        if (streq_ptr(names_get(names, full), i->image->id) && !strv_contains(i->tags, full))
                strv_add(&i->tags, full);
}

static int collect(Save *s, char *const *wanted, Err *err) {
        _cleanup_close_ int lock = -EBADF;
        _cleanup_(names_done) Names names = {};
        int r = store_lock(s->store, "lock", LOCK_SH, &lock, err);
        if (r >= 0)
                r = names_load(s->store, &names, err);
        if (r < 0)
                return r;
        s->images = xnew(SavedImage, strv_len(wanted) + 1);
        STRV_FOREACH(name, wanted) {
                _cleanup_(image_freep) Image *image = NULL;
                r = image_resolve_locked(s->store, &names, *name, &image, err);
                if (r < 0)
                        return r;
                SavedImage *i = find_saved(s, image->id);
                if (!i) {
                        i = &s->images[s->n++];
                        i->image = TAKE_PTR(image);
                        s->mtime_sec = MAX(s->mtime_sec, i->image->created_nsec / 1000000000);
                }
                add_tags(i, &names, *name);
        }
        return 0;
}

int image_save_archive(ImageStore *store, char *const *wanted, int fd, Err *err) {
        Ingest g = {};
        int r = ingest_begin(store, &g, err); /* keeps the sweep away */
        if (r < 0)
                return r;
        Save s = { .store = store, .out = fd, .work_fd = g.work_fd };
        r = collect(&s, wanted, err);
        if (r >= 0)
                r = put_all(&s, err);
        for (size_t i = 0; i < s.n; i++) {
                image_free(s.images[i].image);
                strv_free(s.images[i].tags);
                free(s.images[i].manifest);
        }
        free(s.images);
        map_done(&s.written);
        ingest_end(&g);
        return r;
}

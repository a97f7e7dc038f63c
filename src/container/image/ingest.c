/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/digest.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "container/image/store-internal.h"
#include "container/image/unpack.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LINK_NAME_BYTES 8

/* A folder in ROOT/tmp that carries our flock. The reaper of another process may get in between mkdir and
 * flock, so afterwards the folder must still be there. */
static int make_work_folder(Ingest *g, Err *err) {
        for (int i = 0; i < 100; i++) {
                _cleanup_free_ char *path = store_path(g->store, "tmp/work-%016" PRIx64, random_u64());
                if (mkdir(path, 0700) < 0) {
                        if (errno == EEXIST)
                                continue;
                        return err_errno(err, -errno, "%s", path);
                }
                _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                struct stat st;
                if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)
                        continue;
                g->work = TAKE_PTR(path);
                g->work_fd = TAKE_FD(fd);
                return 0;
        }
        return err_set(err, -EAGAIN, "cannot make a work folder in %s/tmp", g->store->root);
}

int ingest_begin(ImageStore *s, Ingest *ret, Err *err) {
        Ingest g = { .store = s, .lock_fd = -EBADF, .work_fd = -EBADF };
        int r = store_check_writable(s, err);
        if (r >= 0)
                r = store_lock(s, "ingest.lock", LOCK_SH, &g.lock_fd, err);
        if (r >= 0)
                r = make_work_folder(&g, err);
        if (r < 0) {
                (void) safe_close(g.lock_fd);
                return r;
        }
        *ret = g;
        return 0;
}

void ingest_end(Ingest *g) {
        if (!g->store)
                return;
        if (g->work)
                (void) rm_rf(g->work);
        g->work = xfree(g->work);
        g->work_fd = safe_close(g->work_fd);
        g->lock_fd = safe_close(g->lock_fd);
        g->store = NULL;
}

/* ---- blobs ---- */

char *blob_path(const ImageStore *s, const char *hex) {
        assert(hex64_valid(hex));
        return store_path(s, "blobs/sha256/%s", hex);
}

bool blob_exists(const ImageStore *s, const char *hex) {
        _cleanup_free_ char *path = blob_path(s, hex);
        return access(path, F_OK) >= 0;
}

int blob_read(const ImageStore *s, const char *hex, size_t limit, Buf *ret, Err *err) {
        _cleanup_free_ char *path = blob_path(s, hex);
        int r = read_file(path, limit, ret);
        return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

int ingest_blob_bytes(Ingest *g, const void *p, size_t n, char **ret_hex, Err *err) {
        _cleanup_free_ char *hex = digest_hex(DIGEST_SHA256, p, n);
        if (!blob_exists(g->store, hex)) {
                _cleanup_free_ char *path = blob_path(g->store, hex);
                int r = write_file_atomic(path, p, n, 0600);
                if (r < 0)
                        return err_errno(err, r, "%s", path);
        }
        if (ret_hex)
                *ret_hex = TAKE_PTR(hex);
        return 0;
}

int ingest_blob_file(Ingest *g, const char *path, const char *hex, Err *err) {
        _cleanup_free_ char *to = blob_path(g->store, hex);
        if (rename(path, to) < 0)
                return err_errno(err, -errno, "%s", to);
        return chmod(to, 0600) < 0 ? err_errno(err, -errno, "%s", to) : 0;
}

int hash_file(int fd, char **ret_hex, uint64_t *ret_bytes, Err *err) {
        _cleanup_(digest_freep) Digest *d = digest_new(DIGEST_SHA256);
        _cleanup_free_ uint8_t *buf = xmalloc(256U << 10);
        uint64_t at = 0;
        for (;;) {
                ssize_t n = pread(fd, buf, 256U << 10, (off_t) at);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_errno(err, -errno, "read");
                if (n == 0)
                        break;
                digest_add(d, buf, (size_t) n);
                at += (uint64_t) n;
        }
        uint8_t sum[DIGEST_BYTES_MAX];
        digest_finish(d, sum);
        *ret_hex = hex_encode(sum, 32);
        if (ret_bytes)
                *ret_bytes = at;
        return 0;
}

/* ---- layers ---- */

void layer_info_done(LayerInfo *l) {
        free(l->media_type);
        free(l->link);
        *l = (LayerInfo){};
}

bool layer_exists(const ImageStore *s, const char *chain_id) {
        assert(hex64_valid(chain_id));
        _cleanup_free_ char *path = store_path(s, "layers/%s/layer.json", chain_id);
        return access(path, F_OK) >= 0;
}

int layer_load(const ImageStore *s, const char *chain_id, LayerInfo *ret, Err *err) {
        assert(hex64_valid(chain_id));
        _cleanup_free_ char *path = store_path(s, "layers/%s/layer.json", chain_id);
        _cleanup_(buf_done) Buf b = {};
        _cleanup_json_ json_t *j = NULL;
        int r = read_file(path, STORE_LAYER_JSON_MAX, &b);
        if (r < 0)
                return err_errno(err, r, "%s", path);
        r = ji_parse(b.data, b.len, STORE_LAYER_JSON_MAX, &j, err);
        if (r < 0)
                return err_wrap(err, r, "%s", path);
        const char *diff = ji_str(j, "diffId"), *blob = ji_str(j, "blob"), *link = ji_str(j, "link");
        if (!diff || !blob || !link || !hex64_valid(diff) || !hex64_valid(blob) || strchr(link, '/'))
                return err_set(err, -EBADMSG, "%s is damaged: remove the image and pull it again", path);
        LayerInfo l = {
                .media_type = xstrdup(strempty(ji_str(j, "mediaType"))),
                .blob_bytes = (uint64_t) ji_int(j, "blobSize", 0),
                .tar_bytes = (uint64_t) ji_int(j, "tarSize", 0),
                .bytes = (uint64_t) ji_int(j, "size", 0),
                .opaque_root = ji_bool(j, "opaqueRoot", false),
                .link = xstrdup(link),
        };
        memcpy(l.diff_id, diff, sizeof(l.diff_id));
        memcpy(l.blob, blob, sizeof(l.blob));
        *ret = l;
        return 0;
}

static int layer_save(const char *dir, const LayerInfo *l, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b, .indent = 1 };
        jo_obj(&j);
        jo_kstr(&j, "diffId", l->diff_id);
        jo_kstr(&j, "blob", l->blob);
        jo_kuint(&j, "blobSize", l->blob_bytes);
        jo_kstr(&j, "mediaType", l->media_type);
        jo_kuint(&j, "tarSize", l->tar_bytes);
        jo_kuint(&j, "size", l->bytes);
        jo_kbool(&j, "opaqueRoot", l->opaque_root);
        jo_kstr(&j, "link", l->link);
        jo_end(&j);
        buf_addc(&b, '\n');
        _cleanup_free_ char *path = path_join(dir, "layer.json");
        int r = write_file_atomic(path, b.data, b.len, 0644);
        return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

/* A short name for ROOT/layers/<chain>/fs. Made before the layer is in place: a dangling link is swept. */
static int make_link(const ImageStore *s, const char *chain_id, char **ret, Err *err) {
        static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
        _cleanup_free_ char *target = xasprintf("../layers/%s/fs", chain_id);
        for (int tries = 0; tries < 100; tries++) {
                char name[LINK_NAME_BYTES + 1] = {};
                uint64_t v = random_u64();
                for (size_t i = 0; i < LINK_NAME_BYTES; i++, v >>= 5)
                        name[i] = alphabet[v & 31];
                _cleanup_free_ char *path = store_path(s, "l/%s", name);
                if (symlink(target, path) >= 0) {
                        *ret = xstrdup(name);
                        return 0;
                }
                if (errno != EEXIST)
                        return err_errno(err, -errno, "%s", path);
        }
        return err_set(err, -EEXIST, "cannot find a free name in %s/l", s->root);
}

typedef struct TickState {
        const LayerIngest *layer;
        int fd;
} TickState;

static void on_tick(void *userdata) {
        TickState *t = userdata;
        off_t at = lseek(t->fd, 0, SEEK_CUR); /* the child reads through the same open file */
        if (at >= 0 && t->layer->tick)
                t->layer->tick((uint64_t) at, t->layer->userdata);
}

static char **lower_folders(const ImageStore *s, const LayerIngest *l) {
        char **lower = xnew(char *, l->n_below + 1);
        for (size_t i = 0; i < l->n_below; i++)
                lower[i] = store_path(s, "layers/%s/fs", l->below[l->n_below - 1 - i]);
        return lower;
}

/* Unpacks into `dir`/fs and fills *info. */
static int unpack_checked(Ingest *g, const LayerIngest *l, const char *dir, LayerInfo *info, Err *err) {
        _cleanup_free_ char *path = blob_path(g->store, l->blob), *fs = path_join(dir, "fs");
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_errno(err, -errno, "%s", path);
        _cleanup_strv_ char **lower = lower_folders(g->store, l);
        TickState tick = { .layer = l, .fd = fd };
        LayerUnpack u = { .blob_fd = fd, .target = fs, .lower = lower, .tick = on_tick, .userdata = &tick };
        LayerResult result = {};
        int r = layer_unpack(&u, &result, err);
        if (r < 0)
                return err_wrap(err, r, "failed to register layer");
        if (l->diff_id && !streq(result.diff_id, l->diff_id))
                return err_set(err, -EBADMSG, "layer sha256:%s unpacks to sha256:%s, but the image's config says "
                               "sha256:%s", l->blob, result.diff_id, l->diff_id);
        info->media_type = xstrdup(strempty(l->media_type));
        info->blob_bytes = (uint64_t) st.st_size;
        info->tar_bytes = result.tar_bytes;
        info->bytes = result.bytes;
        info->opaque_root = result.opaque_root;
        memcpy(info->diff_id, result.diff_id, sizeof(info->diff_id));
        (void) snprintf(info->blob, sizeof(info->blob), "%s", l->blob);
        return 0;
}

static int put_layer(Ingest *g, const char *dir, const char *chain_id, LayerInfo *info, Err *err) {
        _cleanup_free_ char *final = store_path(g->store, "layers/%s", chain_id);
        int r = make_link(g->store, chain_id, &info->link, err);
        if (r >= 0)
                r = layer_save(dir, info, err);
        if (r < 0)
                return r;
        /* A layer in its place is trusted for ever after, so its files must outlive a power cut: one sync of the
         * file system instead of an fsync of each. */
        if (syncfs(g->work_fd) < 0)
                return err_errno(err, -errno, "sync %s", g->store->root);
        if (rename(dir, final) < 0) {
                if (errno != EEXIST && errno != ENOTEMPTY)
                        return err_errno(err, -errno, "%s", final);
                _cleanup_free_ char *link = store_path(g->store, "l/%s", info->link);
                (void) unlink(link); /* somebody else was faster with the same layer */
        }
        return 0;
}

int ingest_layer(Ingest *g, const LayerIngest *l, Err *err) {
        assert(!l->diff_id == !l->chain_id);
        if (l->chain_id && layer_exists(g->store, l->chain_id))
                return 0;
        _cleanup_free_ char *dir = path_join(g->work, l->chain_id ? l->chain_id : "import");
        (void) rm_rf(dir);
        if (mkdir(dir, 0711) < 0)
                return err_errno(err, -errno, "%s", dir);
        _cleanup_(layer_info_done) LayerInfo info = {};
        int r = unpack_checked(g, l, dir, &info, err);
        if (r >= 0)
                r = put_layer(g, dir, l->chain_id ? l->chain_id : info.diff_id, &info, err);
        if (r >= 0 && l->ret_diff_id)
                memcpy(l->ret_diff_id, info.diff_id, sizeof(info.diff_id));
        return r;
}

/* ---- images ---- */

static int save_record(Ingest *g, const char *id, const char *manifest, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b, .indent = 1 };
        jo_obj(&j);
        jo_kint(&j, "version", 1);
        if (manifest)
                jo_kstr(&j, "manifest", manifest);
        jo_kint(&j, "added", now_wall_nsec());
        jo_end(&j);
        buf_addc(&b, '\n');
        _cleanup_free_ char *path = store_path(g->store, "images/%s.json", id);
        int r = write_file_atomic(path, b.data, b.len, 0644);
        return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

int ingest_image(Ingest *g, const char *id, const char *manifest, char *const *names, Err *err) {
        assert(hex64_valid(id));
        _cleanup_close_ int fd = -EBADF;
        int r = store_lock(g->store, "lock", LOCK_EX, &fd, err);
        if (r < 0)
                return r;
        _cleanup_(names_done) Names n = {};
        r = names_load(g->store, &n, err);
        if (r < 0)
                return r;
        r = save_record(g, id, manifest, err);
        if (r < 0 || strv_len(names) == 0)
                return r;
        STRV_FOREACH(i, names)
                names_set(&n, *i, id);
        return names_save(g->store, &n, err);
}

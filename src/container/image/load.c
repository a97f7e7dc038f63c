/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/digest.h"
#include "codec/jsonin.h"
#include "container/image/store-internal.h"
#include "container/image/unpack.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* docker load. The archive is unpacked by the same confined child as a layer; what it holds is then read with
 * paths that cannot leave that folder (symbolic links occur in archives of old dockers: they are resolved as if
 * the folder were "/"). */

#define ARCHIVE_IMAGES_MAX 1000
#define INDEX_DEPTH_MAX 4

typedef struct Load {
        Ingest ingest;
        int root; /* the unpacked archive */
        ImageEventFn event;
        void *userdata;
        char **lines; /* owned: what to report */
} Load;

static int open_file(const Load *l, const char *path, struct stat *ret_st, Err *err) {
        struct open_how how = {
                .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
        };
        int fd = (int) syscall(SYS_openat2, l->root, path, &how, sizeof(how));
        if (fd < 0)
                return errno == ENOENT ? err_set(err, -ENOENT, "the archive has no %s", path) : err_errno(err, -errno, "%s", path);
        if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode)) {
                (void) close(fd);
                return err_set(err, -EBADMSG, "%s in the archive is no file", path);
        }
        return fd;
}

static int read_member(const Load *l, const char *path, size_t limit, Buf *ret, Err *err) {
        struct stat st;
        _cleanup_close_ int fd = open_file(l, path, &st, err);
        if (fd < 0)
                return fd;
        if ((uint64_t) st.st_size > limit)
                return err_set(err, -EFBIG, "%s in the archive is larger than %zu bytes", path, limit);
        buf_reserve(ret, (size_t) st.st_size);
        while (ret->len < (size_t) st.st_size) {
                ssize_t n = read(fd, ret->data + ret->len, (size_t) st.st_size - ret->len);
                if (n <= 0)
                        return err_errno(err, n < 0 ? -errno : -EIO, "%s", path);
                ret->len += (size_t) n;
        }
        return 0;
}

/* A blob of an OCI layout, which must be what its name says. */
static int read_blob(const Load *l, const Descriptor *d, size_t limit, Buf *ret, Err *err) {
        _cleanup_free_ char *path = xasprintf("blobs/sha256/%s", d->hex);
        int r = read_member(l, path, limit, ret, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *hex = digest_hex(DIGEST_SHA256, buf_str(ret), ret->len);
        if (!streq(hex, d->hex) || ret->len != d->size)
                return err_set(err, -EBADMSG, "blob sha256:%s in the archive is not what its name and size say", d->hex);
        return 0;
}

/* The file becomes a blob of the store by a hard link: the archive was unpacked on the same file system. */
static int take_layer_file(Load *l, const char *path, const char *want_hex, char **ret_hex, Err *err) {
        struct stat st;
        _cleanup_close_ int fd = open_file(l, path, &st, err);
        if (fd < 0)
                return fd;
        _cleanup_free_ char *hex = NULL;
        int r = hash_file(fd, &hex, NULL, err);
        if (r < 0)
                return r;
        if (want_hex && !streq(hex, want_hex))
                return err_set(err, -EBADMSG, "%s in the archive has the digest sha256:%s", path, hex);
        if (!blob_exists(l->ingest.store, hex)) {
                _cleanup_free_ char *proc = xasprintf("/proc/self/fd/%d", fd), *to = blob_path(l->ingest.store, hex);
                if (fchown(fd, 0, 0) < 0 || fchmod(fd, 0600) < 0 ||
                    (linkat(AT_FDCWD, proc, AT_FDCWD, to, AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST))
                        return err_errno(err, -errno, "%s", to);
        }
        *ret_hex = TAKE_PTR(hex);
        return 0;
}

typedef struct Progress {
        Load *load;
        const char *id;
        uint64_t total;
} Progress;

static void on_tick(uint64_t at, void *userdata) {
        Progress *p = userdata;
        ImageEvent e = { .id = p->id, .status = "Loading layer", .current = at, .total = p->total };
        if (p->load->event)
                p->load->event(&e, p->load->userdata);
}

static int load_layer(Load *l, const Image *i, char *const *chains, size_t n, const char *path, const char *hex,
                      Err *err) {
        _cleanup_free_ char *blob = NULL, *id = xstrndup(i->diff_ids[n], 12);
        if (layer_exists(l->ingest.store, chains[n]))
                return 0;
        int r = take_layer_file(l, path, hex, &blob, err);
        if (r < 0)
                return r;
        struct stat st;
        _cleanup_free_ char *p = blob_path(l->ingest.store, blob);
        Progress progress = { .load = l, .id = id, .total = stat(p, &st) < 0 ? 0 : (uint64_t) st.st_size };
        LayerIngest layer = {
                .blob = blob, .diff_id = i->diff_ids[n], .chain_id = chains[n], .below = chains, .n_below = n,
                .tick = on_tick, .userdata = &progress,
        };
        r = ingest_layer(&l->ingest, &layer, err);
        if (r >= 0)
                on_tick(progress.total, &progress);
        return r;
}

/* `paths`: the layers' files, lowest first; `hexes`: their digests, or NULL when the archive does not say. */
static int load_image(Load *l, const Buf *config, char *const *paths, char *const *hexes, char *const *names,
                      Err *err) {
        _cleanup_(image_freep) Image *i = xnew(Image, 1);
        int r = config_parse(buf_str(config), config->len, i, err);
        if (r < 0)
                return r;
        size_t n = strv_len(i->diff_ids);
        if (n != strv_len(paths))
                return err_set(err, -EBADMSG, "invalid manifest, layers length mismatch: expected %zu, got %zu",
                               strv_len(paths), n);
        _cleanup_strv_ char **chains = chain_ids(i->diff_ids);
        for (size_t k = 0; k < n && r >= 0; k++)
                r = load_layer(l, i, chains, k, paths[k], hexes ? hexes[k] : NULL, err);
        _cleanup_free_ char *id = NULL;
        if (r >= 0)
                r = ingest_blob_bytes(&l->ingest, buf_str(config), config->len, &id, err);
        if (r >= 0)
                r = ingest_image(&l->ingest, id, NULL, names, err);
        if (r < 0)
                return r;
        STRV_FOREACH(name, names) {
                _cleanup_(reference_done) Reference ref = {};
                if (reference_parse(*name, &ref, NULL) >= 0)
                        {
                        _cleanup_free_ char *familiar = reference_familiar(&ref);
                        strv_addf(&l->lines, "Loaded image: %s", familiar);
                }
        }
        if (strv_len(names) == 0)
                strv_addf(&l->lines, "Loaded image ID: sha256:%s", id);
        return 0;
}

static int add_name(char ***names, const char *s, Err *err) {
        _cleanup_(reference_done) Reference ref = {};
        int r = reference_parse(s, &ref, err);
        if (r < 0)
                return err_wrap(err, r, "name \"%.200s\" in the archive", s);
        strv_push(names, reference_full(&ref));
        return 0;
}

/* ---- manifest.json ---- */

static int load_docker_entry(Load *l, const json_t *entry, Err *err) {
        const char *config_path = ji_str(entry, "Config");
        const json_t *layers = ji_arr(entry, "Layers"), *tags = ji_arr(entry, "RepoTags");
        if (!config_path || !layers || json_array_size(layers) > MANIFEST_LAYERS_MAX)
                return err_set(err, -EBADMSG, "malformed manifest.json in the archive");
        _cleanup_strv_ char **paths = NULL, **names = NULL;
        for (size_t i = 0; i < json_array_size(layers); i++)
                strv_add(&paths, strempty(json_string_value(json_array_get(layers, i))));
        for (size_t i = 0; i < json_array_size(tags); i++) {
                int r = add_name(&names, strempty(json_string_value(json_array_get(tags, i))), err);
                if (r < 0)
                        return r;
        }
        _cleanup_(buf_done) Buf config = {};
        int r = read_member(l, config_path, CONFIG_BYTES_MAX, &config, err);
        return r < 0 ? r : load_image(l, &config, paths, NULL, names, err);
}

static int load_docker_archive(Load *l, const Buf *text, Err *err) {
        _cleanup_json_ json_t *j = NULL;
        int r = ji_parse(buf_str(text), text->len, MANIFEST_BYTES_MAX, &j, err);
        if (r < 0)
                return err_wrap(err, r, "manifest.json");
        if (!json_is_array(j) || json_array_size(j) == 0 || json_array_size(j) > ARCHIVE_IMAGES_MAX)
                return err_set(err, -EBADMSG, "malformed manifest.json in the archive");
        for (size_t i = 0; i < json_array_size(j) && r >= 0; i++)
                r = load_docker_entry(l, json_array_get(j, i), err);
        return r;
}

/* ---- OCI layout ---- */

/* The manifest that a descriptor leads to, through nested indexes. */
static int find_manifest(Load *l, const Descriptor *d, Manifest *ret, Err *err) {
        _cleanup_(manifest_done) Manifest m = {};
        _cleanup_(descriptor_done) Descriptor at = { .hex = xstrdup(d->hex), .size = d->size };
        for (int depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
                _cleanup_(buf_done) Buf b = {};
                int r = read_blob(l, &at, MANIFEST_BYTES_MAX, &b, err);
                if (r >= 0)
                        r = manifest_parse(buf_str(&b), b.len, depth == 0 ? d->media_type : NULL, &m, err);
                if (r < 0)
                        return r;
                if (!m.index) {
                        *ret = m;
                        m = (Manifest){};
                        return 0;
                }
                const Descriptor *next = manifest_choose(&m, NULL);
                if (!next)
                        return err_set(err, -ENOENT, "the archive has no image for %s", platform_default());
                free(at.hex);
                at.hex = xstrdup(next->hex);
                at.size = next->size;
                manifest_done(&m);
        }
        return err_set(err, -ELOOP, "indexes in the archive are nested more than %d deep", INDEX_DEPTH_MAX);
}

static int load_oci_entry(Load *l, const Descriptor *d, Err *err) {
        _cleanup_(manifest_done) Manifest m = {};
        _cleanup_strv_ char **names = NULL, **paths = NULL, **hexes = NULL;
        int r = find_manifest(l, d, &m, err);
        /* A bare tag ("latest") names no repository. */
        if (r >= 0 && d->ref_name && strpbrk(d->ref_name, ":/"))
                r = add_name(&names, d->ref_name, err);
        _cleanup_(buf_done) Buf config = {};
        if (r >= 0)
                r = read_blob(l, &m.config, CONFIG_BYTES_MAX, &config, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < m.n_items; i++) {
                strv_addf(&paths, "blobs/sha256/%s", m.items[i].hex);
                strv_add(&hexes, m.items[i].hex);
        }
        return load_image(l, &config, paths, hexes, names, err);
}

static int load_oci_layout(Load *l, const Buf *text, Err *err) {
        _cleanup_(manifest_done) Manifest index = {};
        int r = manifest_parse(buf_str(text), text->len, MEDIA_OCI_INDEX, &index, err);
        if (r < 0)
                return err_wrap(err, r, "index.json");
        if (!index.index || index.n_items == 0)
                return err_set(err, -EBADMSG, "index.json in the archive lists no image");
        for (size_t i = 0; i < index.n_items && r >= 0; i++)
                r = load_oci_entry(l, &index.items[i], err);
        return r;
}

static int load_members(Load *l, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        _cleanup_(err_done) Err ignored = {};
        int r = read_member(l, "manifest.json", MANIFEST_BYTES_MAX, &b, &ignored);
        if (r >= 0)
                return load_docker_archive(l, &b, err);
        if (r != -ENOENT)
                return err_set(err, r, "%s", err_msg(&ignored));
        buf_clear(&b);
        err_done(&ignored);
        r = read_member(l, "index.json", MANIFEST_BYTES_MAX, &b, &ignored);
        if (r == -ENOENT)
                return err_set(err, -EBADMSG, "this is no image archive: it has neither manifest.json nor index.json (a plain "
                               "root file system is for 'docker import')");
        return r < 0 ? err_set(err, r, "%s", err_msg(&ignored)) : load_oci_layout(l, &b, err);
}

static int load_begun(Load *l, int fd, Err *err) {
        _cleanup_free_ char *target = path_join(l->ingest.work, "archive");
        LayerUnpack u = { .blob_fd = fd, .target = target };
        LayerResult result = {};
        int r = layer_unpack(&u, &result, err);
        if (r < 0)
                return err_wrap(err, r, "cannot read the archive");
        _cleanup_close_ int root = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return err_errno(err, -errno, "%s", target);
        l->root = root;
        r = load_members(l, err);
        l->root = -EBADF;
        return r;
}

int image_load_archive(ImageStore *s, int fd, ImageEventFn event, void *userdata, char ***ret_lines, Err *err) {
        Load l = { .event = event, .userdata = userdata, .root = -EBADF };
        int r = ingest_begin(s, &l.ingest, err);
        if (r < 0)
                return r;
        r = load_begun(&l, fd, err);
        ingest_end(&l.ingest);
        if (r < 0) {
                strv_free(l.lines);
                (void) store_sweep(s, NULL);
                return r;
        }
        *ret_lines = l.lines;
        return 0;
}

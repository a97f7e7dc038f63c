/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/digest.h"
#include "codec/jsonin.h"
#include "container/image/registry.h"
#include "container/image/store-internal.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* docker pull. The registry's child fills files; here every byte is hashed while the next ones arrive, and a
 * layer is unpacked (in order, as each may need the ones below) while later ones are still coming. */

#define PARALLEL_MAX 3
#define INDEX_DEPTH_MAX 2
#define TAGS_BYTES_MAX (4U << 20)
#define TAGS_MAX 100000
#define CONFIG_JSON_MAX (1U << 20)

typedef enum LayerState { LAYER_WAITING, LAYER_COMING, LAYER_HERE, LAYER_EXISTS } LayerState;

typedef struct PullLayer {
        const Descriptor *d; /* weak */
        LayerState state;
        char label[13];
        size_t duplicate_of; /* index of an earlier layer with the same blob, or its own */
        char *path; /* owned: the file it arrives in */
        int fd;     /* owned; holds the partial file's flock */
        Digest *digest;
        uint64_t hashed;
} PullLayer;

typedef struct Pull {
        Ingest ingest;
        const PullOptions *options;
        Reference ref;
        Registry *registry;
        PullLayer *layers; /* n_layers of them; owned */
        size_t n_layers, next_wanted, coming;
        size_t extracting; /* index, for ticks */
        Err failure; /* found while pumping */
        int failure_code;
        uint32_t next_id;
} Pull;

#define LAYER_ID_BASE 1000000U /* request ids of layers; smaller ones are manifests and configs */

static void say(const Pull *p, const char *id, const char *status, uint64_t current, uint64_t total) {
        ImageEvent e = { .id = id, .status = status, .current = current, .total = total };
        if (p->options->event)
                p->options->event(&e, p->options->userdata);
}

/* ---- small documents ---- */

static int fail_request(const Pull *p, const RegistryEvent *e, const char *what, Err *err) {
        _cleanup_free_ char *name = reference_familiar(&p->ref);
        if (e->error == -ENOENT)
                return err_set(err, -ENOENT, "%s for %s not found: %s", what, name, e->message);
        if (e->error == -EACCES && e->http_code != 0) {
                _cleanup_free_ char *repo = reference_familiar_name(&p->ref);
                return err_set(err, -EACCES, "pull access denied for %s, repository does not exist or may require "
                               "credentials: %s", repo, e->message);
        }
        return err_set(err, e->error, "%s", e->message);
}

static int handle_layer_event(Pull *p, const RegistryEvent *e, Err *err);

static int read_memfd(int fd, size_t limit, Buf *ret, Err *err) {
        struct stat st;
        if (fstat(fd, &st) < 0 || (uint64_t) st.st_size > limit)
                return err_set(err, -EFBIG, "the registry's answer is too large");
        buf_reserve(ret, (size_t) st.st_size);
        while (ret->len < (size_t) st.st_size) {
                ssize_t n = pread(fd, ret->data + ret->len, (size_t) st.st_size - ret->len, (off_t) ret->len);
                if (n <= 0)
                        return err_errno(err, n < 0 ? -errno : -EIO, "registry answer");
                ret->len += (size_t) n;
        }
        return 0;
}

/* Fetches one small document and waits for it. */
static int fetch(Pull *p, RegistryKind kind, const char *what, size_t limit, RegistryEvent *ret_event, Buf *ret,
                 Err *err) {
        _cleanup_close_ int fd = memfd_create("registry", MFD_CLOEXEC);
        if (fd < 0)
                return err_errno(err, -errno, "memfd");
        uint32_t id = p->next_id++;
        int r = registry_request(p->registry, id, kind, what, fd, 0, limit, err);
        if (r < 0)
                return r;
        do {
                r = registry_next(p->registry, -1, ret_event, err);
                if (r >= 0 && ret_event->id >= LAYER_ID_BASE)
                        r = handle_layer_event(p, ret_event, err);
                if (r < 0)
                        return r;
        } while (ret_event->id != id || !ret_event->done);
        if (ret_event->error < 0)
                return fail_request(p, ret_event, kind == REGISTRY_MANIFEST ? "manifest" :
                                    kind == REGISTRY_TAGS ? "tag list" : "config", err);
        return read_memfd(fd, limit, ret, err);
}

/* A manifest by tag or digest; its digest is what we compute, and nobody may claim another. */
static int fetch_manifest(Pull *p, const char *what, char **ret_hex, Buf *ret, Manifest *ret_manifest, Err *err) {
        RegistryEvent e;
        int r = fetch(p, REGISTRY_MANIFEST, what, MANIFEST_BYTES_MAX, &e, ret, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *hex = digest_hex(DIGEST_SHA256, buf_str(ret), ret->len);
        const char *asked = digest_sha256(what), *claimed = digest_sha256(e.digest);
        if (asked && !streq(asked, hex))
                return err_set(err, -EBADMSG, "manifest verification failed for digest sha256:%s: got sha256:%s", asked, hex);
        if (*e.digest && startswith(e.digest, "sha256:") && (!claimed || !streq(claimed, hex)))
                return err_set(err, -EBADMSG, "the registry calls this manifest %s, but it is sha256:%s", e.digest, hex);
        r = manifest_parse(buf_str(ret), ret->len, *e.content_type ? e.content_type : NULL, ret_manifest, err);
        if (r >= 0)
                *ret_hex = TAKE_PTR(hex);
        return r;
}

/* From a tag or digest to the manifest of our platform. *ret_top: the digest users see, of the index if any. */
static int find_manifest(Pull *p, const char *what, char **ret_top, Manifest *ret, Buf *ret_bytes, Err *err) {
        _cleanup_free_ char *next = xstrdup(what), *top = NULL;
        for (int depth = 0; depth <= INDEX_DEPTH_MAX; depth++) {
                _cleanup_(manifest_done) Manifest m = {};
                _cleanup_free_ char *hex = NULL;
                buf_clear(ret_bytes);
                int r = fetch_manifest(p, next, &hex, ret_bytes, &m, err);
                if (r < 0)
                        return r;
                if (!top)
                        top = xstrdup(hex);
                if (!m.index) {
                        *ret = m;
                        m = (Manifest){};
                        *ret_top = TAKE_PTR(top);
                        return 0;
                }
                const Descriptor *d = manifest_choose(&m, p->options->platform);
                if (!d)
                        return err_set(err, -ENOENT, "no matching manifest for %s in the manifest list entries",
                                       p->options->platform ? p->options->platform : platform_default());
                free(next);
                next = xasprintf("sha256:%s", d->hex);
        }
        return err_set(err, -ELOOP, "image indexes nested more than %d deep", INDEX_DEPTH_MAX);
}

static int fetch_config(Pull *p, const Descriptor *d, Buf *ret, Err *err) {
        if (blob_exists(p->ingest.store, d->hex))
                return blob_read(p->ingest.store, d->hex, CONFIG_BYTES_MAX, ret, err);
        if (d->size > CONFIG_BYTES_MAX)
                return err_set(err, -EFBIG, "the image's config of %" PRIu64 " bytes is too large", d->size);
        RegistryEvent e;
        _cleanup_free_ char *digest = xasprintf("sha256:%s", d->hex);
        int r = fetch(p, REGISTRY_BLOB, digest, (size_t) d->size, &e, ret, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *hex = digest_hex(DIGEST_SHA256, buf_str(ret), ret->len);
        if (ret->len != d->size || !streq(hex, d->hex))
                return err_set(err, -EBADMSG, "image config verification failed for digest %s", digest);
        return 0;
}

/* ---- layers ---- */

static void layer_release(PullLayer *l) {
        l->fd = safe_close(l->fd);
        l->digest = digest_free(l->digest);
        l->path = xfree(l->path);
}

/* Adds bytes [hashed, to) of the file to the digest. */
static int hash_up_to(PullLayer *l, uint64_t to, Err *err) {
        if (to < l->hashed) { /* the registry made us start over */
                l->digest = digest_free(l->digest);
                l->hashed = 0;
        }
        if (!l->digest)
                l->digest = digest_new(DIGEST_SHA256);
        char buf[64U << 10];
        while (l->hashed < to) {
                ssize_t n = pread(l->fd, buf, (size_t) MIN(to - l->hashed, (uint64_t) sizeof(buf)), (off_t) l->hashed);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return err_errno(err, n < 0 ? -errno : -EIO, "%s", l->path);
                digest_add(l->digest, buf, (size_t) n);
                l->hashed += (uint64_t) n;
        }
        return 0;
}

/* A file in partial/ survives us, so that the next pull continues. Another process at work on the same blob
 * holds its lock: then a private file it is. */
static int open_partial(Pull *p, PullLayer *l, uint64_t *ret_size, Err *err) {
        struct stat st;
        l->path = store_path(p->ingest.store, "partial/%s", l->d->hex);
        l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (l->fd < 0)
                return err_errno(err, -errno, "%s", l->path);
        bool mine = flock(l->fd, LOCK_EX | LOCK_NB) >= 0 && fstat(l->fd, &st) >= 0 && st.st_nlink > 0;
        if (!mine) {
                (void) safe_close(l->fd);
                free(l->path);
                l->path = xasprintf("%s/blob-%s", p->ingest.work, l->d->hex);
                l->fd = open(l->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
                if (l->fd < 0 || fstat(l->fd, &st) < 0)
                        return err_errno(err, -errno, "%s", l->path);
        }
        if ((uint64_t) st.st_size >= l->d->size && ftruncate(l->fd, 0) < 0)
                return err_errno(err, -errno, "%s", l->path);
        *ret_size = (uint64_t) st.st_size >= l->d->size ? 0 : (uint64_t) st.st_size;
        return 0;
}

static int request_layer(Pull *p, size_t i, Err *err) {
        PullLayer *l = &p->layers[i];
        uint64_t offset;
        int r = open_partial(p, l, &offset, err);
        if (r >= 0)
                r = hash_up_to(l, offset, err);
        _cleanup_free_ char *digest = xasprintf("sha256:%s", l->d->hex);
        if (r >= 0)
                r = registry_request(p->registry, LAYER_ID_BASE + (uint32_t) i, REGISTRY_BLOB, digest, l->fd, offset,
                                     l->d->size, err);
        if (r < 0)
                return r;
        l->state = LAYER_COMING;
        p->coming++;
        return 0;
}

/* Keeps PARALLEL_MAX requests going. */
static int request_more(Pull *p, Err *err) {
        for (; p->next_wanted < p->n_layers && p->coming < PARALLEL_MAX; p->next_wanted++) {
                PullLayer *l = &p->layers[p->next_wanted];
                if (l->state != LAYER_WAITING)
                        continue;
                if (l->duplicate_of != p->next_wanted)
                        continue;
                if (blob_exists(p->ingest.store, l->d->hex)) {
                        l->state = LAYER_HERE;
                        say(p, l->label, "Download complete", 0, 0);
                        continue;
                }
                int r = request_layer(p, p->next_wanted, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int finish_layer(Pull *p, PullLayer *l, Err *err) {
        struct stat st;
        if (fstat(l->fd, &st) < 0)
                return err_errno(err, -errno, "%s", l->path);
        say(p, l->label, "Verifying Checksum", 0, 0);
        int r = hash_up_to(l, (uint64_t) st.st_size, err);
        if (r < 0)
                return r;
        uint8_t sum[DIGEST_BYTES_MAX];
        digest_finish(l->digest, sum);
        _cleanup_free_ char *hex = hex_encode(sum, 32);
        if ((uint64_t) st.st_size != l->d->size || !streq(hex, l->d->hex)) {
                (void) unlink(l->path);
                return err_set(err, -EBADMSG, "filesystem layer verification failed for digest sha256:%s: got %" PRIu64
                               " of %" PRIu64 " bytes with digest sha256:%s", l->d->hex, (uint64_t) st.st_size, l->d->size, hex);
        }
        r = fsync(l->fd) < 0 ? err_errno(err, -errno, "%s", l->path) : 0;
        if (r >= 0)
                r = ingest_blob_file(&p->ingest, l->path, l->d->hex, err);
        if (r < 0)
                return r;
        layer_release(l);
        l->state = LAYER_HERE;
        say(p, l->label, "Download complete", 0, 0);
        return 0;
}

static int handle_layer_event(Pull *p, const RegistryEvent *e, Err *err) {
        size_t i = e->id - LAYER_ID_BASE;
        if (i >= p->n_layers || p->layers[i].state != LAYER_COMING)
                return err_set(err, -EPROTO, "the registry client answers what nobody asked");
        PullLayer *l = &p->layers[i];
        if (!e->done) {
                say(p, l->label, "Downloading", e->bytes, l->d->size);
                return e->bytes <= l->d->size ? hash_up_to(l, e->bytes, err) : 0;
        }
        p->coming--;
        if (e->error < 0)
                return err_set(err, e->error, "layer sha256:%s: %s", l->d->hex, e->message);
        int r = finish_layer(p, l, err);
        return r < 0 ? r : request_more(p, err);
}

/* Takes what has come without waiting longer than timeout_ms for the first. */
static int pump(Pull *p, int timeout_ms, Err *err) {
        RegistryEvent e;
        int r;
        while ((r = registry_next(p->registry, timeout_ms, &e, err)) > 0) {
                r = handle_layer_event(p, &e, err);
                if (r < 0)
                        return r;
                timeout_ms = 0;
        }
        return r;
}

static void on_extract_tick(uint64_t bytes, void *userdata) {
        Pull *p = userdata;
        const PullLayer *l = &p->layers[p->extracting];
        say(p, l->label, "Extracting", bytes, l->d->size);
        if (p->failure_code >= 0)
                p->failure_code = pump(p, 0, &p->failure);
}

static int extract_layer_at(Pull *p, const Image *config, char *const *chains, size_t i, Err *err) {
        PullLayer *l = &p->layers[i];
        p->extracting = i;
        LayerIngest in = {
                .blob = l->d->hex, .media_type = l->d->media_type, .diff_id = config->diff_ids[i],
                .chain_id = chains[i], .below = chains, .n_below = i, .tick = on_extract_tick, .userdata = p,
        };
        int r = ingest_layer(&p->ingest, &in, err);
        if (r < 0)
                return r;
        if (p->failure_code < 0)
                return err_set(err, p->failure_code, "%s", err_msg(&p->failure));
        say(p, l->label, "Pull complete", 0, 0);
        return 0;
}

static int pull_layers(Pull *p, const Image *config, char *const *chains, Err *err) {
        for (size_t i = 0; i < p->n_layers; i++) {
                PullLayer *l = &p->layers[i];
                if (layer_exists(p->ingest.store, chains[i]))
                        l->state = LAYER_EXISTS;
                say(p, l->label, l->state == LAYER_EXISTS ? "Already exists" : "Pulling fs layer", 0, 0);
        }
        int r = request_more(p, err);
        for (size_t i = p->next_wanted; i < p->n_layers; i++)
                if (p->layers[i].state == LAYER_WAITING)
                        say(p, p->layers[i].label, "Waiting", 0, 0);
        for (size_t i = 0; i < p->n_layers && r >= 0; i++) {
                PullLayer *l = &p->layers[i];
                if (l->state == LAYER_EXISTS)
                        continue;
                const PullLayer *source = &p->layers[l->duplicate_of];
                while (r >= 0 && source->state != LAYER_HERE && !blob_exists(p->ingest.store, l->d->hex)) {
                        if (source->state == LAYER_EXISTS) { /* known as a layer, but this blob was not kept */
                                l->duplicate_of = i;
                                source = l;
                                p->next_wanted = MIN(p->next_wanted, i);
                                r = request_more(p, err);
                        }
                        if (r >= 0)
                                r = pump(p, -1, err);
                }
                if (r >= 0)
                        r = extract_layer_at(p, config, chains, i, err);
        }
        return r;
}

static void prepare_layers(Pull *p, const Manifest *m) {
        p->layers = xnew(PullLayer, m->n_items + 1);
        p->n_layers = m->n_items;
        p->next_wanted = p->coming = 0;
        for (size_t i = 0; i < m->n_items; i++) {
                PullLayer *l = &p->layers[i];
                *l = (PullLayer){ .d = &m->items[i], .fd = -EBADF, .duplicate_of = i };
                memcpy(l->label, l->d->hex, 12);
                for (size_t k = 0; k < i; k++)
                        if (streq(p->layers[k].d->hex, l->d->hex)) {
                                l->duplicate_of = k;
                                break;
                        }
        }
}

static void drop_layers(Pull *p) {
        for (size_t i = 0; i < p->n_layers; i++)
                layer_release(&p->layers[i]);
        p->layers = xfree(p->layers);
        p->n_layers = 0;
}

/* ---- one image ---- */

static int check_sizes(const Manifest *m, const Image *config, Err *err) {
        if (strv_len(config->diff_ids) != m->n_items)
                return err_set(err, -EBADMSG, "the manifest has %zu layers, the image's config %zu", m->n_items,
                               strv_len(config->diff_ids));
        for (size_t i = 0; i < m->n_items; i++)
                if (m->items[i].size > STORE_BLOB_BYTES_MAX)
                        return err_set(err, -EFBIG, "layer sha256:%s of %" PRIu64 " bytes is too large", m->items[i].hex,
                                       m->items[i].size);
        return 0;
}

/* The keys under which the image will be found: by tag if one was asked for, and by digest. */
static char **store_names(const Reference *ref, const char *tag, const char *top_hex) {
        _cleanup_free_ char *repo = reference_name(ref);
        char **names = NULL;
        strv_addf(&names, "%s@sha256:%s", repo, top_hex);
        if (tag)
                strv_addf(&names, "%s:%s", repo, tag);
        return names;
}

static bool up_to_date(Pull *p, char *const *names, const char *id) {
        _cleanup_close_ int lock = -EBADF;
        _cleanup_(names_done) Names n = {};
        _cleanup_(image_freep) Image *i = NULL;
        if (store_lock(p->ingest.store, "lock", LOCK_SH, &lock, NULL) < 0 || names_load(p->ingest.store, &n, NULL) < 0)
                return false;
        STRV_FOREACH(name, names)
                if (!streq_ptr(names_get(&n, *name), id))
                        return false;
        return image_load(p->ingest.store, &n, id, &i, NULL) >= 0;
}

static void say_status(const Pull *p, const char *top_hex, bool was_there) {
        _cleanup_free_ char *digest = xasprintf("Digest: sha256:%s", top_hex);
        _cleanup_free_ char *name = reference_familiar(&p->ref);
        _cleanup_free_ char *status = xasprintf("Status: %s for %s", was_there ? "Image is up to date" :
                                                "Downloaded newer image", name);
        say(p, NULL, digest, 0, 0);
        say(p, NULL, status, 0, 0);
}

static int pull_manifest(Pull *p, const Manifest *m, const Buf *bytes, const char *top_hex, char **ret_id, Err *err) {
        _cleanup_(buf_done) Buf config = {};
        _cleanup_(image_freep) Image *image = xnew(Image, 1);
        int r = fetch_config(p, &m->config, &config, err);
        if (r >= 0)
                r = config_parse(buf_str(&config), config.len, image, err);
        if (r >= 0)
                r = check_sizes(m, image, err);
        if (r < 0)
                return r;
        _cleanup_strv_ char **chains = chain_ids(image->diff_ids), **names = store_names(&p->ref, p->ref.tag, top_hex);
        bool was_there = up_to_date(p, names, m->config.hex);
        if (!was_there) {
                prepare_layers(p, m);
                r = pull_layers(p, image, chains, err);
                drop_layers(p);
                _cleanup_free_ char *manifest_hex = NULL, *id = NULL;
                if (r >= 0)
                        r = ingest_blob_bytes(&p->ingest, buf_str(&config), config.len, &id, err);
                if (r >= 0)
                        r = ingest_blob_bytes(&p->ingest, buf_str(bytes), bytes->len, &manifest_hex, err);
                if (r >= 0)
                        r = ingest_image(&p->ingest, m->config.hex, manifest_hex, names, err);
                if (r < 0)
                        return r;
        }
        say_status(p, top_hex, was_there);
        *ret_id = xstrdup(m->config.hex);
        return 0;
}

static int pull_one(Pull *p, char **ret_id, Err *err) {
        const char *what = p->ref.digest ? p->ref.digest : p->ref.tag;
        if (p->ref.digest && !digest_sha256(p->ref.digest))
                return err_set(err, -EINVAL, "only sha256 digests are supported, not %s", p->ref.digest);
        _cleanup_free_ char *line = xasprintf("Pulling from %s", p->ref.path), *top = NULL;
        _cleanup_(manifest_done) Manifest m = {};
        _cleanup_(buf_done) Buf bytes = {};
        int r = find_manifest(p, what, &top, &m, &bytes, err);
        if (r < 0)
                return r;
        say(p, what, line, 0, 0);
        return pull_manifest(p, &m, &bytes, top, ret_id, err);
}

/* ---- all tags ---- */

static int fetch_tags(Pull *p, char ***ret, Err *err) {
        _cleanup_strv_ char **tags = NULL;
        for (bool more = true; more;) {
                _cleanup_(buf_done) Buf b = {};
                _cleanup_json_ json_t *j = NULL;
                RegistryEvent e;
                size_t n = strv_len(tags);
                int r = fetch(p, REGISTRY_TAGS, n > 0 ? tags[n - 1] : "", TAGS_BYTES_MAX, &e, &b, err);
                if (r >= 0)
                        r = ji_parse(buf_str(&b), b.len, TAGS_BYTES_MAX, &j, err);
                if (r < 0)
                        return r;
                const json_t *list = ji_arr(j, "tags");
                for (size_t i = 0; i < json_array_size(list); i++) {
                        const char *tag = json_string_value(json_array_get(list, i));
                        if (!tag || !reference_tag_valid(tag))
                                return err_set(err, -EBADMSG, "the registry lists an invalid tag");
                        strv_add(&tags, tag);
                }
                more = e.more && json_array_size(list) > 0;
                if (strv_len(tags) > TAGS_MAX)
                        return err_set(err, -E2BIG, "the repository has more than %d tags", TAGS_MAX);
        }
        *ret = TAKE_PTR(tags);
        return 0;
}

static int pull_tags(Pull *p, char **ret_id, Err *err) {
        _cleanup_strv_ char **tags = NULL;
        int r = fetch_tags(p, &tags, err);
        STRV_FOREACH(t, tags) {
                if (r < 0)
                        break;
                free(p->ref.tag);
                p->ref.tag = xstrdup(*t);
                *ret_id = xfree(*ret_id);
                r = pull_one(p, ret_id, err);
        }
        if (r >= 0 && strv_len(tags) == 0)
                return err_set(err, -ENOENT, "the repository has no tags");
        return r;
}

/* ---- configuration, then the work ---- */

static char *read_text(const char *path) {
        Buf b = {};
        if (read_file(path, CONFIG_JSON_MAX, &b) < 0) {
                buf_done(&b);
                return NULL;
        }
        return buf_take(&b);
}

static int load_credentials(const PullOptions *o, const char *domain, Credentials *ret, Err *err) {
        if (o->auth)
                return credentials_parse_header(o->auth, ret, err);
        const char *home = getenv("HOME"), *dir = getenv("DOCKER_CONFIG");
        _cleanup_free_ char *path = o->authfile ? xstrdup(o->authfile) :
                                    !isempty(dir) ? path_join(dir, "config.json") :
                                    path_join(isempty(home) ? "/root" : home, ".docker/config.json");
        _cleanup_free_ char *text = read_text(path);
        if (!text)
                return 0;
        int r = credentials_parse(text, strlen(text), domain, ret, err);
        return r < 0 ? err_wrap(err, r, "%s", path) : 0;
}

/* /etc/docker/certs.d/<domain>/: ca.crt, client.cert, client.key. Read here, because the child may not. */
static char *read_cert(const char *domain, const char *name) {
        _cleanup_free_ char *path = xasprintf("/etc/docker/certs.d/%s/%s", domain, name);
        return read_text(path);
}

/* From one registry, which is the reference's own or a mirror of it. */
static int pull_from(Pull *p, const char *domain, bool insecure, char **ret_id, Err *err) {
        Credentials credentials = {};
        int r = load_credentials(p->options, domain, &credentials, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *ca = read_cert(domain, "ca.crt"), *cert = read_cert(domain, "client.cert"),
                            *key = read_cert(domain, "client.key");
        RegistryOptions o = {
                .domain = domain, .repo = p->ref.path, .credentials = credentials, .insecure = insecure,
                .ca = ca, .client_cert = cert, .client_key = key,
        };
        r = registry_start(&o, &p->registry, err);
        credentials_done(&credentials);
        if (r < 0)
                return r;
        r = p->options->all_tags ? pull_tags(p, ret_id, err) : pull_one(p, ret_id, err);
        p->registry = registry_stop(p->registry);
        return r;
}

/* daemon.json's "registry-mirrors" stand in for docker.io only, as with docker. What a mirror cannot give is asked
 * of docker.io itself. */
static int pull_mirrored(Pull *p, const char *daemon_json, char **ret_id) {
        _cleanup_strv_ char **mirrors = streq(p->ref.domain, "docker.io") && daemon_json
                        ? mirrors_listed(daemon_json, strlen(daemon_json)) : NULL;
        STRV_FOREACH(m, mirrors) {
                const char *plain = startswith(*m, "http://"), *tls = startswith(*m, "https://");
                _cleanup_free_ char *domain = xstrdup(plain ? plain : strempty(tls));
                domain[strcspn(domain, "/")] = 0;
                if (!*domain)
                        continue;
                bool insecure = plain || insecure_listed(daemon_json, strlen(daemon_json), domain);
                if (pull_from(p, domain, insecure, ret_id, NULL) >= 0)
                        return 1;
                drop_layers(p);
                err_done(&p->failure);
        }
        return 0;
}

static int pull_connected(Pull *p, char **ret_id, Err *err) {
        const char *domain = p->ref.domain;
        _cleanup_free_ char *daemon_json = read_text(p->options->daemon_json ? p->options->daemon_json
                                                                            : "/etc/docker/daemon.json");
        if (pull_mirrored(p, daemon_json, ret_id) > 0)
                return 0;
        return pull_from(p, domain,
                         domain_is_loopback(domain) ||
                                         (daemon_json && insecure_listed(daemon_json, strlen(daemon_json), domain)),
                         ret_id, err);
}

int image_pull(ImageStore *s, const char *reference, const PullOptions *options, char **ret_id, Err *err) {
        static const PullOptions defaults;
        Pull p = { .options = options ? options : &defaults, .next_id = 1 };
        int r = reference_parse(reference, &p.ref, err);
        if (r < 0)
                return r;
        if (p.options->all_tags && (p.ref.digest || strchr(path_base(reference), ':'))) {
                reference_done(&p.ref);
                return err_set(err, -EINVAL, "tag can't be used with --all-tags/-a");
        }
        _cleanup_free_ char *id = NULL;
        r = ingest_begin(s, &p.ingest, err);
        if (r >= 0) {
                r = pull_connected(&p, &id, err);
                drop_layers(&p);
                ingest_end(&p.ingest);
        }
        err_done(&p.failure);
        reference_done(&p.ref);
        if (r < 0)
                return r;
        (void) store_sweep(s, NULL); /* what this pull's new tag left behind, or an interrupted one before it */
        if (ret_id)
                *ret_id = TAKE_PTR(id);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/manifest.h"
#include "base/alloc.h"
#include "base/str.h"
#include "base/time.h"
#include "codec/digest.h"
#include "codec/jsonin.h"
#include "container/image/reference.h"

void descriptor_done(Descriptor *d) {
        free(d->media_type);
        free(d->hex);
        free(d->os);
        free(d->architecture);
        free(d->variant);
        free(d->ref_name);
        *d = (Descriptor){};
}

void manifest_done(Manifest *m) {
        descriptor_done(&m->config);
        for (size_t i = 0; i < m->n_items; i++)
                descriptor_done(&m->items[i]);
        free(m->items);
        *m = (Manifest){};
}

static char *dup_or_null(const char *s) {
        return isempty(s) ? NULL : xstrdup(s);
}

static int parse_descriptor(const json_t *j, Descriptor *ret, Err *err) {
        const char *digest = ji_str(j, "digest");
        int64_t size = ji_int(j, "size", -1);
        if (!digest)
                return err_set(err, -EBADMSG, "malformed manifest: a descriptor without a digest");
        if (!digest_sha256(digest))
                return err_set(err, -EBADMSG, "malformed manifest: unsupported digest \"%.100s\"", digest);
        if (size < 0)
                return err_set(err, -EBADMSG, "malformed manifest: %s has no valid size", digest);
        *ret = (Descriptor){
                .media_type = dup_or_null(ji_str(j, "mediaType")),
                .hex = xstrdup(digest_sha256(digest)),
                .size = (uint64_t) size,
        };
        const json_t *platform = ji_obj(j, "platform");
        if (platform) {
                ret->os = dup_or_null(ji_str(platform, "os"));
                ret->architecture = dup_or_null(ji_str(platform, "architecture"));
                ret->variant = dup_or_null(ji_str(platform, "variant"));
        }
        const json_t *notes = ji_obj(j, "annotations");
        const char *name = notes ? ji_str(notes, "io.containerd.image.name") : NULL;
        if (!name && notes)
                name = ji_str(notes, "org.opencontainers.image.ref.name");
        ret->ref_name = dup_or_null(name);
        return 0;
}

static int parse_items(const json_t *list, size_t max, Manifest *m, Err *err) {
        size_t n = json_array_size(list);
        if (n > max)
                return err_set(err, -E2BIG, "the manifest lists %zu items; at most %zu are supported", n, max);
        m->items = xnew(Descriptor, n + 1);
        for (size_t i = 0; i < n; i++) {
                int r = parse_descriptor(json_array_get(list, i), &m->items[i], err);
                if (r < 0)
                        return r;
                m->n_items = i + 1;
        }
        return 0;
}

static bool is_index_type(const char *type) {
        return type && (streq(type, MEDIA_OCI_INDEX) || streq(type, MEDIA_DOCKER_LIST));
}

static bool is_manifest_type(const char *type) {
        return type && (streq(type, MEDIA_OCI_MANIFEST) || streq(type, MEDIA_DOCKER_MANIFEST));
}

/* What it is by its structure; what it says of itself must agree. */
static int decide_kind(const json_t *j, const char *content_type, bool *ret_index, Err *err) {
        bool index = json_object_get(j, "manifests") != NULL;
        bool manifest = json_object_get(j, "layers") || json_object_get(j, "config");
        if (json_object_get(j, "fsLayers") || ji_int(j, "schemaVersion", 2) == 1)
                return err_set(err, -EBADMSG, "the image has an old schema 1 manifest, which is not supported: push "
                               "it again with a current tool");
        if (index && manifest)
                return err_set(err, -EBADMSG, "malformed manifest: it claims to be both an index and a manifest");
        if (!index && !manifest)
                return err_set(err, -EBADMSG, "malformed manifest: neither layers nor manifests in it");
        _cleanup_free_ char *type = content_type ? xstrndup(content_type, strcspn(content_type, "; ")) : NULL;
        const char *own = ji_str(j, "mediaType");
        if ((index && (is_manifest_type(type) || is_manifest_type(own))) ||
            (manifest && (is_index_type(type) || is_index_type(own))))
                return err_set(err, -EBADMSG, "malformed manifest: its media type does not agree with its content");
        *ret_index = index;
        return 0;
}

int manifest_parse(const void *p, size_t n, const char *content_type, Manifest *ret, Err *err) {
        _cleanup_json_ json_t *j = NULL;
        int r = ji_parse(p, n, MANIFEST_BYTES_MAX, &j, err);
        if (r < 0)
                return err_wrap(err, r, "malformed manifest");
        if (!json_is_object(j))
                return err_set(err, -EBADMSG, "malformed manifest: not an object");
        _cleanup_(manifest_done) Manifest m = {};
        r = decide_kind(j, content_type, &m.index, err);
        if (r < 0)
                return r;
        const json_t *list = ji_arr(j, m.index ? "manifests" : "layers");
        if (!list)
                return err_set(err, -EBADMSG, "malformed manifest: its list is missing");
        if (!m.index) {
                const json_t *config = ji_obj(j, "config");
                r = config ? parse_descriptor(config, &m.config, err)
                           : err_set(err, -EBADMSG, "malformed manifest: no config");
        }
        if (r >= 0)
                r = parse_items(list, m.index ? INDEX_ENTRIES_MAX : MANIFEST_LAYERS_MAX, &m, err);
        if (r < 0)
                return r;
        *ret = m;
        m = (Manifest){};
        return 0;
}

const char *platform_default(void) {
#if defined(__x86_64__)
        return "linux/amd64";
#elif defined(__aarch64__)
        return "linux/arm64/v8";
#elif defined(__i386__)
        return "linux/386";
#else
#error "which architecture is this?"
#endif
}

const Descriptor *manifest_choose(const Manifest *index, const char *platform) {
        _cleanup_strv_ char **want = strv_split(platform ? platform : platform_default(), "/", false);
        if (strv_len(want) < 2)
                return NULL;
        const Descriptor *loose = NULL;
        for (size_t i = 0; i < index->n_items; i++) {
                const Descriptor *d = &index->items[i];
                if (!streq_ptr(d->os, want[0]) || !streq_ptr(d->architecture, want[1]))
                        continue;
                if (streq_ptr(d->variant, want[2]))
                        return d;
                if (!loose && (!d->variant || !want[2]))
                        loose = d;
        }
        return loose;
}

/* ---- config ---- */

static int string_list(const json_t *obj, const char *key, char ***ret, Err *err) {
        const json_t *l = json_object_get(obj, key);
        if (json_is_string(l)) { /* some old tools wrote "Cmd": "x" */
                strv_add(ret, json_string_value(l));
                return 0;
        }
        if (!l || json_is_null(l))
                return 0;
        if (!json_is_array(l) || json_array_size(l) > CONFIG_LIST_MAX)
                return err_set(err, -EBADMSG, "malformed image config: %s", key);
        char **list = xnew(char *, json_array_size(l) + 1);
        for (size_t i = 0; i < json_array_size(l); i++) {
                const char *s = json_string_value(json_array_get(l, i));
                if (!s) {
                        strv_free(list);
                        return err_set(err, -EBADMSG, "malformed image config: %s", key);
                }
                list[i] = xstrdup(s);
        }
        *ret = list;
        return 0;
}

/* The keys of a set ({"80/tcp":{}}), or K=V of a map of strings; sorted. */
static int key_list(const json_t *obj, const char *key, bool with_value, char ***ret, Err *err) {
        const json_t *o = json_object_get(obj, key);
        if (!o || json_is_null(o))
                return 0;
        if (!json_is_object(o) || json_object_size(o) > CONFIG_LIST_MAX)
                return err_set(err, -EBADMSG, "malformed image config: %s", key);
        if (json_object_size(o) == 0)
                return 0;
        char **list = xnew(char *, json_object_size(o) + 1);
        size_t n = 0;
        const char *name;
        json_t *value;
        json_object_foreach((json_t *) o, name, value)
                list[n++] = with_value ? xasprintf("%s=%s", name, strempty(json_string_value(value))) : xstrdup(name);
        strv_sort(list);
        *ret = list;
        return 0;
}

static int parse_process(const json_t *c, ImageConfig *ret, Err *err) {
        int r = string_list(c, "Entrypoint", &ret->entrypoint, err);
        if (r >= 0)
                r = string_list(c, "Cmd", &ret->cmd, err);
        if (r >= 0)
                r = string_list(c, "Env", &ret->env, err);
        if (r >= 0)
                r = string_list(c, "Shell", &ret->shell, err);
        if (r >= 0)
                r = key_list(c, "Volumes", false, &ret->volumes, err);
        if (r >= 0)
                r = key_list(c, "ExposedPorts", false, &ret->exposed_ports, err);
        if (r >= 0)
                r = key_list(c, "Labels", true, &ret->labels, err);
        const json_t *health = ji_obj(c, "Healthcheck");
        if (r >= 0 && health) {
                r = string_list(health, "Test", &ret->healthcheck_test, err);
                ret->healthcheck_interval_nsec = ji_int(health, "Interval", 0);
                ret->healthcheck_timeout_nsec = ji_int(health, "Timeout", 0);
                ret->healthcheck_start_period_nsec = ji_int(health, "StartPeriod", 0);
                ret->healthcheck_retries = ji_int(health, "Retries", 0);
        }
        ret->user = dup_or_null(ji_str(c, "User"));
        ret->working_dir = dup_or_null(ji_str(c, "WorkingDir"));
        ret->stop_signal = dup_or_null(ji_str(c, "StopSignal"));
        return r;
}

static int64_t parse_time(const char *s) {
        int64_t nsec;
        return s && parse_rfc3339(s, &nsec) >= 0 ? nsec : 0;
}

static int parse_history(const json_t *list, Image *ret, Err *err) {
        size_t n = json_array_size(list);
        if (n > CONFIG_HISTORY_MAX)
                return err_set(err, -E2BIG, "malformed image config: a history of %zu entries", n);
        ret->history = xnew(ImageHistory, n + 1);
        ret->n_history = n;
        for (size_t i = 0; i < n; i++) {
                const json_t *h = json_array_get(list, i);
                ret->history[i] = (ImageHistory){
                        .created_nsec = parse_time(ji_str(h, "created")),
                        .created_by = dup_or_null(ji_str(h, "created_by")),
                        .comment = dup_or_null(ji_str(h, "comment")),
                        .author = dup_or_null(ji_str(h, "author")),
                        .empty_layer = ji_bool(h, "empty_layer", false),
                };
        }
        return 0;
}

static int parse_diff_ids(const json_t *rootfs, char ***ret, Err *err) {
        const json_t *list = rootfs ? ji_arr(rootfs, "diff_ids") : NULL;
        size_t n = json_array_size(list);
        if (n > MANIFEST_LAYERS_MAX)
                return err_set(err, -E2BIG, "the image has %zu layers; at most %d are supported", n, MANIFEST_LAYERS_MAX);
        char **l = xnew(char *, n + 1);
        for (size_t i = 0; i < n; i++) {
                const char *hex = digest_sha256(json_string_value(json_array_get(list, i)));
                if (!hex) {
                        strv_free(l);
                        return err_set(err, -EBADMSG, "malformed image config: diff_ids");
                }
                l[i] = xstrdup(hex);
        }
        *ret = l;
        return 0;
}

int config_parse(const void *p, size_t n, Image *ret, Err *err) {
        _cleanup_json_ json_t *j = NULL;
        int r = ji_parse(p, n, CONFIG_BYTES_MAX, &j, err);
        if (r < 0)
                return err_wrap(err, r, "malformed image config");
        if (!json_is_object(j) || json_object_get(j, "manifests") || json_object_get(j, "layers"))
                return err_set(err, -EBADMSG, "malformed image config: this is something else");
        ret->architecture = dup_or_null(ji_str(j, "architecture"));
        ret->os = dup_or_null(ji_str(j, "os"));
        ret->variant = dup_or_null(ji_str(j, "variant"));
        ret->author = dup_or_null(ji_str(j, "author"));
        ret->comment = dup_or_null(ji_str(j, "comment"));
        ret->docker_version = dup_or_null(ji_str(j, "docker_version"));
        ret->created_nsec = parse_time(ji_str(j, "created"));
        const json_t *config = ji_obj(j, "config"), *history = ji_arr(j, "history");
        r = parse_diff_ids(ji_obj(j, "rootfs"), &ret->diff_ids, err);
        if (r >= 0 && config)
                r = parse_process(config, &ret->config, err);
        if (r >= 0 && history)
                r = parse_history(history, ret, err);
        return r;
}

char **chain_ids(char *const *diff_ids) {
        size_t n = strv_len(diff_ids);
        char **l = xnew(char *, n + 1);
        for (size_t i = 0; i < n; i++) {
                if (i == 0) {
                        l[i] = xstrdup(diff_ids[i]);
                        continue;
                }
                _cleanup_free_ char *pair = xasprintf("sha256:%s sha256:%s", l[i - 1], diff_ids[i]);
                l[i] = digest_hex(DIGEST_SHA256, pair, strlen(pair));
        }
        return l;
}

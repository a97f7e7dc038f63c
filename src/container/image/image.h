/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Images: names, the store on disk, pulling, loading and saving. The rest of the engine includes only this
 * header (and reference.h).
 *
 * ROOT (default IMAGE_ROOT_DEFAULT) is shared with the runtime:
 *
 *   ROOT/lock                flock: LOCK_SH to read names and pin an image, LOCK_EX to change names or delete
 *   ROOT/ingest.lock         flock: LOCK_SH as long as something is being pulled or loaded; the sweep of
 *                            unreferenced layers takes it LOCK_EX without waiting, or leaves the sweep to the
 *                            next one
 *   ROOT/repositories.json   names ("docker.io/library/nginx:1", "…@sha256:…") to image ids
 *   ROOT/images/<id>.json    what this store knows about an image: its layers, where it came from
 *   ROOT/blobs/sha256/<hex>  configs, manifests, and layers as they arrived (compressed), for `save`
 *   ROOT/layers/<chain id>/  fs/ (one overlayfs lower folder), layer.json
 *   ROOT/l/<short>           symlinks to layers/<chain id>/fs: mount(2) options fit one page (spec F.2)
 *   ROOT/tmp/                unfinished work; whatever nobody holds a flock on is deleted by the next opener
 *   ROOT/containers/<id>/    the runtime's. `image` in it (written by image_pin()) holds the 64 hex digits of
 *                            the image id; that file alone makes an image "in use". While the container runs,
 *                            its shim holds an flock on `lock` in the same folder.
 *
 * Invariants: a file or folder under its final name is complete and verified (everything is made in tmp/ and
 * renamed); images/<id>.json is written after all it refers to, and deleted before any of it; so kill -9 at
 * any time leaves a usable store and some garbage, which the next sweep finds by marking from images/.
 *
 * Layers are keyed by chain id and not by diff id, because a layer's tar may lack parent folders, whose owner
 * and mode then come from the layers below. Rejected: keeping only the unpacked tree (docker's overlay2),
 * which needs a second record of each tar to give back identical bytes on save. */

#include "base/err.h"

#define IMAGE_ROOT_DEFAULT "/var/lib/coracle"

typedef struct ImageStore ImageStore;

/* Opens the store below `root` (NULL: IMAGE_ROOT_DEFAULT), creating what is missing when the caller may write
 * there; reaps abandoned temporary files. Cheap: no scan of images. -EACCES etc. with a message. */
int image_store_open(const char *root, ImageStore **ret, Err *err);
ImageStore *image_store_close(ImageStore *s);
DEFINE_CLEANUP(ImageStore *, image_store_close)
const char *image_store_root(const ImageStore *s);

/* The OCI config's "config" object. Lists are NULL when absent or empty. */
typedef struct ImageConfig {
        char **entrypoint;
        char **cmd;
        char **env;           /* K=V, in the image's order */
        char *user;           /* NULL or "" = root; "user|uid[:group|gid]", unresolved */
        char *working_dir;    /* NULL = / */
        char **volumes;       /* absolute paths, sorted */
        char **exposed_ports; /* "80/tcp", sorted */
        char *stop_signal;    /* NULL = SIGTERM; "SIGQUIT", "QUIT" or "3" */
        char **labels;        /* K=V, sorted by key */
        char **shell;
        char **healthcheck_test; /* NULL = none given; {"NONE"}, {"CMD", …} or {"CMD-SHELL", command} */
        int64_t healthcheck_interval_nsec, healthcheck_timeout_nsec, healthcheck_start_period_nsec;
        int64_t healthcheck_retries;
} ImageConfig;

typedef struct ImageHistory {
        int64_t created_nsec; /* since 1970; 0 = unknown */
        char *created_by, *comment, *author;
        bool empty_layer;
        int64_t size; /* of the unpacked layer's files, 0 for an empty one */
} ImageHistory;

typedef struct Image {
        char *id;             /* 64 hex digits: sha256 of the config */
        char **repo_tags;     /* as users write them: "nginx:latest", "127.0.0.1:5000/x:1"; sorted */
        char **repo_digests;  /* "nginx@sha256:…" */
        char *architecture, *os, *variant, *author, *comment, *docker_version; /* may be NULL */
        int64_t created_nsec; /* since 1970; 0 = unknown */
        int64_t size;         /* bytes of file content in all layers */
        char **diff_ids;      /* 64 hex digits each, lowest layer first */
        char **chain_ids;     /* likewise */
        char **lowerdirs;     /* absolute short paths, TOPMOST first: join with ':' for overlayfs. No layers: NULL */
        ImageConfig config;
        ImageHistory *history; /* n_history of them, oldest first */
        size_t n_history;
} Image;

Image *image_free(Image *i);
DEFINE_CLEANUP(Image *, image_free)

/* Finds an image by full id, "sha256:"id, reference, or unique id prefix, in the order of spec A.3.
 * -ENOENT "No such image: X"; -ENOTUNIQ for an ambiguous prefix; -EINVAL for an impossible name. */
int image_resolve(ImageStore *s, const char *name, Image **ret, Err *err);
/* Every image, newest first. *ret: array of n owned pointers, itself owned. */
int image_list(ImageStore *s, Image ***ret, size_t *ret_n, Err *err);

/* Writes `container_dir`/image, which keeps `rmi` from deleting the image from then on. Under the lock the
 * image is looked up again: -ENOENT when it was deleted since image_resolve(). Unpin by deleting the folder. */
int image_pin(ImageStore *s, const char *image_id, const char *container_dir, Err *err);
/* The pinned image of a container folder, 64 hex digits, owned by the caller. */
int image_pinned(const char *container_dir, char **ret_id);

/* ---- pulling ---- */

typedef struct ImageEvent {
        const char *id;     /* "2ca6347424c0", or the tag for "Pulling from …"; NULL for a plain status line */
        const char *status; /* "Downloading", "Pull complete", "Digest: sha256:…", … (spec B.5) */
        uint64_t current;   /* bytes; 0 with total 0 = no progress to show */
        uint64_t total;
} ImageEvent;
typedef void (*ImageEventFn)(const ImageEvent *e, void *userdata);

typedef struct PullOptions {
        ImageEventFn event; /* NULL = silent */
        void *userdata;
        bool all_tags;
        const char *platform;   /* "linux/arm64[/v8]"; NULL = this machine */
        const char *auth;       /* base64 JSON of X-Registry-Auth; NULL = ~/.docker/config.json */
        const char *authfile;   /* instead of ~/.docker/config.json; NULL = that */
        const char *daemon_json; /* for "insecure-registries"; NULL = /etc/docker/daemon.json */
} PullOptions;

/* Fetches `reference` (user form, e.g. "nginx:1") from its registry and unpacks it. *ret_id (may be NULL): 64
 * hex digits, owned. Network code and unpacking run in confined children. -ENOENT: the registry does not have
 * it, message as docker's ("manifest for X not found: …"). */
int image_pull(ImageStore *s, const char *reference, const PullOptions *options, char **ret_id, Err *err);

/* An event sink that draws docker's progress: bars that redraw on a terminal, plain lines otherwise. `fd` is
 * where to write. Free when the pull is over. */
typedef struct ImageProgress ImageProgress;
ImageProgress *image_progress_new(int fd);
void image_progress_event(const ImageEvent *e, void *progress);
ImageProgress *image_progress_free(ImageProgress *p);
DEFINE_CLEANUP(ImageProgress *, image_progress_free)

/* ---- archives ---- */

/* `docker load`: reads a docker archive or an OCI layout (tar, compressed or not) from fd, which may be a pipe.
 * *ret_lines: strv of "Loaded image: x:y" and "Loaded image ID: sha256:…". `event` may be NULL. */
int image_load_archive(ImageStore *s, int fd, ImageEventFn event, void *userdata, char ***ret_lines, Err *err);
/* `docker save`: writes an OCI layout that is a docker archive as well (both kinds of readers take it). A name
 * that is a reference is written with its tag, an id without one. */
int image_save_archive(ImageStore *s, char *const *names, int fd, Err *err);
/* `docker import`: a root file system as a tar becomes a one-layer image. `changes` are Dockerfile lines (CMD,
 * ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR); reference and message may be NULL. */
int image_import_tar(ImageStore *s, int fd, const char *reference, const char *message, char *const *changes,
                     char **ret_id, Err *err);
/* `docker tag`. */
int image_tag(ImageStore *s, const char *source, const char *target, Err *err);

/* ---- removing ---- */

typedef struct RemoveReport {
        char **untagged; /* user forms */
        char **deleted;  /* "sha256:…": the image, then its layers from the top */
} RemoveReport;

void remove_report_done(RemoveReport *r);
/* `docker rmi`: -ENOENT "No such image: X", -EBUSY with docker's "conflict: …" messages. */
int image_remove(ImageStore *s, const char *name, bool force, RemoveReport *ret, Err *err);

/* ---- for `docker inspect` and the API ---- */

struct JsonOut;
/* One image as the object of GET /images/X/json (spec B.7), written at the writer's current place. */
void image_write_inspect(const ImageStore *s, const Image *i, struct JsonOut *j);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The image store from inside: shared by the files of this folder only. See image.h for what is where on
 * disk and which invariants hold. */

#include "base/buf.h"
#include "container/image/image.h"
#include "container/image/manifest.h"
#include "container/image/reference.h"

#include <sys/types.h>

struct ImageStore {
        char *root; /* owned, absolute */
        bool writable;
};

#define STORE_LAYER_JSON_MAX 4096
#define STORE_NAMES_MAX (16U << 20)
#define STORE_BLOB_BYTES_MAX (UINT64_C(32) << 30) /* one layer as it comes */

/* ROOT joined with the formatted rest; owned. */
char *store_path(const ImageStore *s, const char *fmt, ...) _printf_(2, 3);
/* flock on ROOT/<file>; *ret is closed to unlock. op: LOCK_SH or LOCK_EX, with LOCK_NB: -EWOULDBLOCK. */
int store_lock(const ImageStore *s, const char *file, int op, int *ret, Err *err);
/* -EROFS with advice when the store cannot be written (no root). */
int store_check_writable(const ImageStore *s, Err *err);

/* ---- names: ROOT/repositories.json ---- */

typedef struct NameEntry {
        char *name; /* owned: "docker.io/library/x:tag" or "…@sha256:…" */
        char *id;   /* owned: 64 hex digits */
} NameEntry;

typedef struct Names {
        NameEntry *items; /* sorted by name */
        size_t n, cap;
} Names;

void names_done(Names *n);
int names_load(const ImageStore *s, Names *ret, Err *err);
int names_save(const ImageStore *s, const Names *n, Err *err); /* under LOCK_EX */
const char *names_get(const Names *n, const char *name);        /* the id, weak, or NULL */
void names_set(Names *n, const char *name, const char *id);
bool names_remove(Names *n, const char *name);

/* ---- layers ---- */

typedef struct LayerInfo {
        char diff_id[65], blob[65]; /* blob: the layer as it arrived */
        char *media_type;           /* owned, of the blob; "" unknown */
        uint64_t blob_bytes, tar_bytes, bytes;
        bool opaque_root;
        char *link;                 /* owned: name in ROOT/l */
} LayerInfo;

void layer_info_done(LayerInfo *l);
int layer_load(const ImageStore *s, const char *chain_id, LayerInfo *ret, Err *err); /* -ENOENT: not there */
bool layer_exists(const ImageStore *s, const char *chain_id);
/* For image.c: loads images/<id>.json and all it refers to. -ENOENT when there is no such image. */
int image_load(ImageStore *s, const Names *names, const char *id, Image **ret, Err *err);
/* image_resolve() for a caller that holds the lock. */
int image_resolve_locked(ImageStore *s, const Names *names, const char *name, Image **ret, Err *err);
int image_ids(const ImageStore *s, char ***ret, Err *err);

/* ---- bringing things in ---- */

/* One pull, load or import. Holds ingest.lock shared and a work folder of its own in ROOT/tmp. */
typedef struct Ingest {
        ImageStore *store; /* weak */
        char *work;        /* owned: the folder */
        int lock_fd, work_fd;
} Ingest;

int ingest_begin(ImageStore *s, Ingest *ret, Err *err);
void ingest_end(Ingest *g); /* removes the work folder; sweeps when nobody else is at work */
bool blob_exists(const ImageStore *s, const char *hex);
char *blob_path(const ImageStore *s, const char *hex);
int blob_read(const ImageStore *s, const char *hex, size_t limit, Buf *ret, Err *err);
/* Stores bytes whose digest the caller has verified (or computes it when hex is NULL). ret_hex may be NULL. */
int ingest_blob_bytes(Ingest *g, const void *p, size_t n, char **ret_hex, Err *err);
/* Moves a complete file, whose digest was verified to be `hex`, to its place. */
int ingest_blob_file(Ingest *g, const char *path, const char *hex, Err *err);
/* sha256 of a whole file as hex, owned. */
int hash_file(int fd, char **ret_hex, uint64_t *ret_bytes, Err *err);

typedef struct LayerIngest {
        const char *blob;       /* hex; must exist */
        const char *media_type; /* may be NULL */
        const char *diff_id;    /* expected; NULL = whatever it is, for the lowest layer of an import */
        const char *chain_id;   /* NULL with diff_id NULL */
        char *ret_diff_id;      /* char[65] that receives it, or NULL */
        char *const *below;     /* chain ids of the layers below, lowest first */
        size_t n_below;
        void (*tick)(uint64_t bytes_read, void *userdata); /* progress; may be NULL */
        void *userdata;
} LayerIngest;

/* Unpacks, checks the diff id, and puts the layer into place. 0 also when it is there already. */
int ingest_layer(Ingest *g, const LayerIngest *l, Err *err);
/* Makes an image of a stored config whose layers are all in place. `manifest` (hex of a stored blob) may be
 * NULL. Under the lock also sets the given names (full forms; strv, may be NULL). */
int ingest_image(Ingest *g, const char *id, const char *manifest, char *const *names, Err *err);

/* ---- taking things out ---- */

/* Deletes what no image refers to, unless something is being pulled or loaded. */
int store_sweep(ImageStore *s, Err *err);

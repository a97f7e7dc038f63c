/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Registry documents: manifests, indexes and configs of OCI and Docker (spec C.1). Pure.
 *
 * A document that could be read as two kinds at once is refused (type confusion: CVE-2021-41190), sizes and
 * counts are limited, a digest is sha256 or it is refused, and "urls" of layers are not even read. */

#include "base/err.h"
#include "container/image/image.h"

#define MANIFEST_BYTES_MAX (4U << 20)
#define CONFIG_BYTES_MAX (8U << 20)
#define MANIFEST_LAYERS_MAX 500 /* what overlayfs can stack */
#define INDEX_ENTRIES_MAX 1000
#define CONFIG_HISTORY_MAX 5000
#define CONFIG_LIST_MAX 10000 /* environment, labels, ports, … */

#define MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

typedef struct Descriptor {
        char *media_type; /* NULL when absent */
        char *hex;        /* of the sha256 digest, 64 digits */
        uint64_t size;
        char *os, *architecture, *variant; /* of an index's entries; NULL when absent */
        char *ref_name;   /* annotation: the tag or reference of an OCI layout's entry */
} Descriptor;

typedef struct Manifest {
        bool index;          /* then `items` are manifests, else layers, lowest first */
        Descriptor config;   /* of a manifest */
        Descriptor *items;
        size_t n_items;
} Manifest;

void descriptor_done(Descriptor *d);
void manifest_done(Manifest *m);
/* `content_type` (NULL = unknown) must not contradict the content. */
int manifest_parse(const void *p, size_t n, const char *content_type, Manifest *ret, Err *err);
/* "linux/arm64/v8" etc.; NULL = the machine this was compiled for. The entry of an index, or NULL. */
const Descriptor *manifest_choose(const Manifest *index, const char *platform);
const char *platform_default(void);

/* Fills what an Image takes from its config: everything but id, names, size, chains and lowerdirs. Checks that
 * diff ids are sha256 and that there are no more than MANIFEST_LAYERS_MAX. */
int config_parse(const void *p, size_t n, Image *ret, Err *err);
/* C1 = d1, Cn = sha256("sha256:Cn-1 sha256:dn") as hex; strv of the same length. */
char **chain_ids(char *const *diff_ids);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Image references: [HOST[:PORT]/]PATH[:TAG][@ALGORITHM:HEX] (spec/containers.md A.5). Pure.
 *
 * A reference is kept in its full form ("docker.io", "library/nginx"); reference_familiar() gives the short
 * form that users write and see. */

#include "base/err.h"

#define REFERENCE_NAME_MAX 255
#define REFERENCE_TAG_MAX 128

typedef struct Reference {
        char *domain; /* "docker.io", "127.0.0.1:5000", "[::1]:5000" */
        char *path;   /* "library/nginx" */
        char *tag;    /* NULL when none was written and a digest was */
        char *digest; /* "sha256:…", or NULL */
} Reference;

void reference_done(Reference *r);
/* Parses what a user wrote and fills in the defaults (docker.io, library/, latest when there is neither tag
 * nor digest). -EINVAL with docker's wording. */
int reference_parse(const char *s, Reference *ret, Err *err);
/* "docker.io/library/nginx": the key of the store. Owned. */
char *reference_name(const Reference *r);
/* "nginx", "127.0.0.1:5000/x". Owned. */
char *reference_familiar_name(const Reference *r);
/* With ":tag" and "@digest" as far as they are there. Owned. */
char *reference_full(const Reference *r);
char *reference_familiar(const Reference *r);

/* "sha256:<64 lower-case hex>": where the hex digits begin, else NULL. The only algorithm we verify. */
const char *digest_sha256(const char *digest);
bool hex64_valid(const char *s);
bool reference_tag_valid(const char *tag);

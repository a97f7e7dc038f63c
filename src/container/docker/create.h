/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From a client's wishes to a container on disk: what `docker create` and `docker run` do before the start. */

#include "container/image/image.h"
#include "container/run/store.h"

typedef struct CreateRequest {
        ContainerSpec *spec; /* config and host as the client wants them; id and mounts are filled in here */
        bool entrypoint_set; /* --entrypoint was given (perhaps empty): the image's Cmd does not apply */
        char **volumes;      /* -v words */
        char **mounts;       /* --mount words */
} CreateRequest;

/* Merges the image's configuration in (spec C.4), resolves volumes, writes the container. -ENOENT when the image
 * is absent: pull it and call again. On success *ret_lock holds the container's lock. */
int container_create_from_image(Store *s, ImageStore *images, CreateRequest *r, int *ret_lock, Err *err);

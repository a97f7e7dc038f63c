/* SPDX-License-Identifier: Apache-2.0 */

/* coracle-docker is `docker` once more, from the same sources (programs/docker), linked dynamically: it has the
 * registry client and sd-bus, which the static `docker` lacks and calls this program for. See docker.h.
 *
 * docker.h declares those functions weak, and a weak reference takes nothing out of an archive: this table asks
 * for them by name. Without it the twin would call itself for ever. */

#include "container/image/image.h"
#include "container/run/engine.h"

extern const void *const docker_needs_network[];
__attribute__((used, retain)) const void *const docker_needs_network[] = { (const void *) image_pull,
                                                                            (const void *) scope_start };

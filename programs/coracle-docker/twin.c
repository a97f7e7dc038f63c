/* SPDX-License-Identifier: Apache-2.0 */

/* coracle-docker is `docker` once more, from the same sources (programs/docker), linked dynamically: it has the
 * registry client and sd-bus, which the static `docker` lacks and calls this program for. See docker.h. */
extern const char docker_is_dynamic[];
const char docker_is_dynamic[] = "coracle-docker";

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A container as clients see it (spec B.7). */

#include "container/run/store.h"

/* The object of GET /containers/X/json and `docker inspect`, field by field as dockerd has it. */
void container_write_inspect(const Store *s, const Container *c, JsonOut *j);
/* "Up 3 seconds", "Exited (137) 4 minutes ago", "Created", "Up 2 hours (Paused)"; owned. */
char *container_status_text(const Container *c, int64_t now_nsec);
/* "0.0.0.0:8081->80/tcp, [::]…, 443/tcp"; ranges folded; owned. */
char *container_ports_text(const Container *c);
/* go-units' HumanDuration: "Less than a second", "5 minutes", "About an hour"; owned. */
char *human_duration(int64_t seconds);
/* The row that `docker ps --format` templates see. */
json_t *container_ps_row(const Container *c, int64_t now_nsec, bool no_trunc);

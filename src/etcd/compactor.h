/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Automatic compaction (--auto-compaction-mode, --auto-compaction-retention), by the leader only. Periodic: keeps
 * what is younger than the retention, judged by samples of the revision taken each tenth of it.
 * Revision: keeps the last N revisions, looked at every five minutes. */

#include "base/time.h"

typedef struct EtcdServer EtcdServer;
typedef struct Compactor Compactor;

Compactor *compactor_new(EtcdServer *s);
Compactor *compactor_free(Compactor *c);
Usec compactor_deadline(const Compactor *c);
void compactor_run(Compactor *c, Usec now);

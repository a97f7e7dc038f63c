/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/compactor.h"
#include "base/alloc.h"
#include "etcd/server.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdlib.h>

#define SAMPLES 11U /* one retention and the tenth that is under way */
#define REVISION_PAUSE (300 * USEC_PER_SEC)

struct Compactor {
        EtcdServer *server; /* weak */
        Usec next, pause;
        int64_t samples[SAMPLES]; /* oldest first */
        size_t n;
};

Compactor *compactor_new(EtcdServer *s) {
        Compactor *c = xnew(Compactor, 1);
        Usec pause = REVISION_PAUSE;
        if (s->config->compaction_usec) {
                pause = (Usec) s->config->compaction_usec / (SAMPLES - 1);
                pause = MAX(pause, USEC_PER_MSEC);
        }
        *c = (Compactor){ .server = s, .pause = pause, .next = now_monotonic() + pause };
        return c;
}

Compactor *compactor_free(Compactor *c) {
        free(c);
        return NULL;
}

Usec compactor_deadline(const Compactor *c) {
        return c->next;
}

static int64_t oldest_sample(Compactor *c, int64_t revision) {
        int64_t keep_from = 0;
        if (c->n == SAMPLES) {
                keep_from = c->samples[0];
                memmove(c->samples, c->samples + 1, sizeof(*c->samples) * (c->n - 1));
                c->n--;
        }
        c->samples[c->n++] = revision;
        return keep_from;
}

static void compacted(EtcdWait *w, int error, EtcdResult *res) {
        if (error == 0 && res && res->apply.error == STORE_OK)
                log_debug("automatic compaction done");
}

void compactor_run(Compactor *c, Usec now) {
        EtcdServer *s = c->server;
        if (now < c->next)
                return;
        c->next = now + c->pause;
        int64_t revision = store_revision(s->store), to;
        if (s->config->compaction_usec)
                to = oldest_sample(c, revision);
        else
                to = revision - (int64_t) MIN(s->config->compaction_revisions, (uint64_t) INT64_MAX);
        if (to <= store_compact_revision(s->store) || to <= 0 || !etcd_is_leader(s) || s->compact_wait.id)
                return;
        Command cmd = { .kind = CMD_COMPACT, .compact = { .revision = to } };
        etcd_propose(s, &s->compact_wait, &cmd, compacted);
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What must hold at every moment, whatever breaks: the checkers see every node from outside and remember
 * across crashes. Each finding ends the run. */

#include "base/hash.h"
#include "raft/raft.h"

/* What was applied at an index, by whoever came first. */
typedef struct Applied {
        uint64_t term, content, state;
        uint64_t known; /* the term of the node that applied it first: it was committed in that term or
                           before */
} Applied;

typedef struct Checks {
        Applied *applied; /* by index; owned */
        size_t n_applied, cap_applied;
        Map leaders;    /* term: member id */
        Map uids;       /* request: index */
        uint64_t acked; /* highest index of an answered proposal */
} Checks;

struct Sim;
void checks_done(Checks *c);
/* Node `id`, in term `now`, applied this. */
void check_applied(struct Sim *sim, uint64_t id, uint64_t index, uint64_t term, uint64_t content,
                   uint64_t uid, uint64_t state, uint64_t now);
/* Looks at a node after a step: one leader per term, a new leader has everything that was committed. */
void check_node(struct Sim *sim, unsigned n);
/* Compares the logs of all nodes that are up. */
void check_logs(struct Sim *sim);
/* After the calm: everybody is well, and nothing that was acknowledged is missing. */
void check_end(struct Sim *sim);

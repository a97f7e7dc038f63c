/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the clients did and saw, and whether a single copy of the data could have answered so:
 * linearizability after Wing and Gong, with Lowe's memory of configurations seen, one key at a time. */

#include "base/time.h"
#include "sim/machine.h"

typedef struct Operation {
        MachineOp op;
        unsigned client;
        Usec invoked;
        Usec returned; /* USEC_NEVER: nobody knows whether it happened */
        MachineResult result;
        bool dropped; /* certainly did not happen, or was a read that nobody saw */
} Operation;

typedef struct History {
        Operation *ops; /* owned */
        size_t n, cap;
} History;

void history_done(History *h);
/* Its number. */
size_t history_invoke(History *h, unsigned client, const MachineOp *op, Usec now);
void history_return(History *h, size_t i, const MachineResult *result, Usec now);
void history_drop(History *h, size_t i);

typedef enum Verdict { LINEARIZABLE, NOT_LINEARIZABLE, UNDECIDED } Verdict;
/* *ret_key: where it fails. *ret_undecided: keys given up because they have too many interleavings. */
Verdict history_check(const History *h, uint32_t *ret_key, uint64_t *ret_undecided);
/* The operations on a key, for people. */
void history_print(const History *h, uint32_t key);

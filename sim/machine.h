/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The state machine of the simulated nodes: the production store behind a few registers.  */

#include "base/buf.h"
#include "base/err.h"
#include "etcd/replica/replica.h"

#define MACHINE_KEYS_MAX 16U

typedef enum OpCode { OP_CODE_PUT = 1, OP_CODE_CAS, OP_CODE_GET, _OP_CODE_MAX } OpCode;

/* What a client asks for. Values are unique numbers; 0 = the key does not exist. */
typedef struct MachineOp {
        OpCode code;
        uint32_t key;
        uint64_t value, expected;
        uint64_t uid; /* of this request; never used again */
} MachineOp;

typedef struct MachineResult {
        bool ok;       /* CAS: it was equal */
        uint64_t seen; /* the value before (CAS), or read */
} MachineResult;

typedef struct Machine Machine;
typedef struct MachineView MachineView;

/* Called for every entry that is applied: the checkers' window. */
typedef void (*MachineWatch)(void *ctx, uint64_t index, uint64_t term, uint64_t content, uint64_t uid,
                             uint64_t state);

Machine *machine_new(MachineWatch watch, void *ctx);
Machine *machine_free(Machine *m);
ReplicaMachine machine_interface(Machine *m);
void machine_op_encode(const MachineOp *op, Buf *to);
/* A compaction of what is older; false when there is nothing to compact. */
bool machine_compact_encode(Machine *m, uint64_t uid, Buf *to);
uint64_t machine_read(Machine *m, uint32_t key);
uint64_t machine_applied(const Machine *m);
uint64_t machine_hash(const Machine *m);

/* The next piece of the view: 1 while there is more, 0 after the last. */
int machine_view_next(MachineView *v, Buf *to);
MachineView *machine_view_free(MachineView *v);
/* Replaces the whole state by pieces, from (NULL, 0) to end with (NULL, 0) again. */
void machine_restore_begin(Machine *m);
int machine_restore_add(Machine *m, const void *p, size_t n);
int machine_restore_end(Machine *m);

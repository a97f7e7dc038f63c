/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Commands: what is proposed through raft and applied by every node, and their binary form.
 *
 * Invariants: a command carries everything its outcome depends on besides the store itself, so the
 * proposer's wall time travels inside it; encoding is canonical (same command, same bytes); decoding is
 * bounded in size, count and depth and never trusts a length. The form is versioned: a node that does not
 * know the version or the kind answers STORE_BAD_COMMAND and changes nothing, on every node alike. The form:
 * version byte, kind byte, proposer and sequence as varints, then the fields of the kind, integers as
 * varints (signed ones zig-zag), byte strings as varint length and bytes.
 * Rejected: the protobuf messages of the client API. Their encoding is not canonical, and enums of clients
 * would stand in our log for ever. */

#include "base/arena.h"
#include "base/buf.h"
#include "etcd/store/types.h"

#define CMD_VERSION 1
#define CMD_BYTES_MAX ((size_t) 16 << 20) /* a whole command; the server's own request limits are lower */
#define CMD_OPS_MAX 65536                 /* operations or compares in one command, all branches together */
#define CMD_DEPTH_MAX 16                  /* nested txns */
#define TXN_OPS_DEFAULT 128               /* --max-txn-ops */

typedef enum CmdKind {
        CMD_NOOP, /* applies to nothing */
        CMD_PUT,
        CMD_DELETE_RANGE,
        CMD_TXN,
        CMD_COMPACT,
        CMD_LEASE_GRANT,
        CMD_LEASE_REVOKE, /* by a client: one id, an unknown one is an error */
        CMD_LEASE_EXPIRE, /* by the leader's clock: many ids, unknown ones are skipped */
        CMD_LEASE_CHECKPOINT,
        CMD_V2,
        CMD_V2_SYNC, /* expires every v2 node whose time is not after `wall_nsec` */
        CMD_ATTR,    /* member attributes, cluster version, anything small that is replicated */
        CMD_ALARM,
        _CMD_MAX,
} CmdKind;

typedef struct PutReq {
        Bytes key, value;
        int64_t lease;
        bool prev_kv, ignore_value, ignore_lease;
} PutReq;

typedef struct DeleteReq {
        Bytes key, range_end; /* range_end as in spec b.3: empty = one key, "\0" = everything from key on */
        bool prev_kv;
} DeleteReq;

typedef enum SortOrder { SORT_NONE, SORT_ASCEND, SORT_DESCEND, _SORT_ORDER_MAX } SortOrder;
typedef enum SortTarget {
        SORT_KEY,
        SORT_VERSION,
        SORT_CREATE,
        SORT_MOD,
        SORT_VALUE,
        _SORT_TARGET_MAX
} SortTarget;

typedef struct RangeReq {
        Bytes key, range_end;
        int64_t limit;    /* 0: none */
        int64_t revision; /* <= 0: the newest */
        SortOrder order;
        SortTarget target;
        bool serializable, keys_only, count_only;
        int64_t min_mod, max_mod, min_create, max_create; /* 0: no filter */
} RangeReq;

typedef enum CompareResult {
        CMP_EQUAL,
        CMP_GREATER,
        CMP_LESS,
        CMP_NOT_EQUAL,
        _CMP_RESULT_MAX
} CompareResult;
typedef enum CompareTarget {
        CMP_VERSION,
        CMP_CREATE,
        CMP_MOD,
        CMP_VALUE,
        CMP_LEASE,
        _CMP_TARGET_MAX,
} CompareTarget;

typedef struct CompareReq {
        CompareResult result;
        CompareTarget target;
        Bytes key, range_end;
        int64_t number; /* version, create, mod or lease */
        Bytes value;    /* for CMP_VALUE */
} CompareReq;

typedef struct OpReq OpReq;
typedef struct TxnReq {
        CompareReq *compares; /* weak, as the two below */
        size_t n_compares;
        OpReq *success, *failure;
        size_t n_success, n_failure;
} TxnReq;

typedef enum OpKind { OP_RANGE, OP_PUT, OP_DELETE_RANGE, OP_TXN, _OP_MAX } OpKind;
struct OpReq {
        OpKind kind;
        union {
                RangeReq range;
                PutReq put;
                DeleteReq del;
                TxnReq txn;
        };
};

/* ---- v2 (spec a.2): the parameters as parsed; which verb they mean is decided when they are applied ----
 */
typedef enum V2Method { V2_PUT, V2_POST, V2_DELETE, _V2_METHOD_MAX } V2Method;
typedef enum V2Exist { V2_EXIST_ANY, V2_EXIST_FALSE, V2_EXIST_TRUE, _V2_EXIST_MAX } V2Exist;

typedef struct V2Req {
        V2Method method;
        Bytes path; /* clean, begins with "/", as v2_path_clean() makes it */
        Bytes value;
        Bytes prev_value;    /* empty: no condition */
        uint64_t prev_index; /* 0: no condition */
        V2Exist prev_exist;
        bool dir, recursive, refresh;
        int64_t expire_nsec; /* since 1970: wall time of the proposer plus the ttl; 0: permanent */
        int64_t wall_nsec;   /* the proposer's time, for the ttl that the answer and the event show */
} V2Req;

typedef struct Command {
        CmdKind kind;
        uint64_t proposer, seq; /* who waits for the outcome: the store hands them through and never looks */
        union {
                PutReq put;
                DeleteReq del;
                TxnReq txn;
                struct {
                        int64_t revision;
                } compact;
                struct {
                        int64_t id, ttl; /* both already chosen: id != 0, ttl in seconds after clamping */
                } grant;
                struct {
                        int64_t *ids; /* weak; exactly one for CMD_LEASE_REVOKE */
                        size_t n_ids;
                } revoke; /* and CMD_LEASE_EXPIRE */
                struct {
                        int64_t *ids, *remaining; /* weak; seconds */
                        size_t n_ids;
                } checkpoint;
                V2Req v2;
                struct {
                        int64_t wall_nsec;
                } v2_sync;
                struct {
                        Bytes key, value;
                        bool remove;
                        bool v2_event; /* takes one v2 index, as member and version records of stock etcd do
                                        */
                } attr;
                struct {
                        uint64_t member;
                        uint32_t alarm; /* 1 NOSPACE, 2 CORRUPT */
                        bool activate;
                } alarm;
        };
} Command;

/* Appends the binary form to `out`. The command must be within the limits above (asserted). */
void cmd_encode(const Command *c, Buf *out);
/* Fills *ret with views into `p` and arrays from the arena. 0; -EBADMSG on anything malformed,
 * -EPROTONOSUPPORT on an unknown version or kind. Nothing is written to *ret on failure. */
int cmd_decode(const void *p, size_t n, Arena *arena, Command *ret);
/* Only kind, proposer and seq: cheap. */
int cmd_peek(const void *p, size_t n, CmdKind *ret_kind, uint64_t *ret_proposer, uint64_t *ret_seq);

/* Checks that etcd does before proposing: empty keys, enums, put with ignore_*, number of operations, the
 * same key written twice in a txn (spec b.3). store_apply() repeats them. max_ops 0 = TXN_OPS_DEFAULT. */
StoreError put_check(const PutReq *r);
StoreError delete_check(const DeleteReq *r);
StoreError range_check(const RangeReq *r);
StoreError txn_check(const TxnReq *r, size_t max_ops);
/* True when no branch writes: such a txn is answered by store_txn_read() without the log. */
bool txn_is_read_only(const TxnReq *r);
/* True when read only and every range in it is serializable. */
bool txn_is_serializable(const TxnReq *r);

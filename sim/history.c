/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/history.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <stdio.h>

#define STEPS_MAX 2000000U

void history_done(History *h) {
        free(h->ops);
        *h = (History){};
}

size_t history_invoke(History *h, unsigned client, const MachineOp *op, Usec now) {
        GROW(h->ops, h->cap, h->n + 1);
        h->ops[h->n] = (Operation){ .op = *op, .client = client, .invoked = now, .returned = USEC_NEVER };
        return h->n++;
}

void history_return(History *h, size_t i, const MachineResult *result, Usec now) {
        assert(i < h->n && h->ops[i].returned == USEC_NEVER);
        h->ops[i].returned = now;
        h->ops[i].result = *result;
}

void history_drop(History *h, size_t i) {
        assert(i < h->n);
        h->ops[i].dropped = true;
}

/* ---- one key ---- */

typedef struct Check {
        const Operation **ops; /* by invocation */
        size_t n;
        uint64_t *done; /* bit per operation: linearized */
        size_t words;
        Map seen;         /* configurations: done bits and value */
        size_t *stack;    /* the order so far */
        uint64_t *values; /* before each of the stack */
        size_t depth;
        uint64_t steps;
} Check;

static bool is_done(const Check *c, size_t i) {
        return c->done[i / 64] >> (i % 64) & 1;
}

static bool observes(const Operation *o, uint64_t value) {
        bool known = o->returned != USEC_NEVER;
        if (o->op.code == OP_CODE_PUT)
                return false;
        return known ? o->result.seen == value : o->op.expected == value;
}

/* A write whose end nobody knows and whose value nobody saw may be taken not to have happened; without this
 * the search drowns in them. Repeats until nothing changes, since such a CAS may have been the only witness.
 */
static void drop_unseen(Check *c) {
        for (bool again = true; again;) {
                again = false;
                for (size_t i = 0; i < c->n; i++) {
                        bool seen = c->ops[i]->returned != USEC_NEVER;
                        for (size_t k = 0; k < c->n && !seen; k++)
                                seen = k != i && observes(c->ops[k], c->ops[i]->op.value);
                        if (seen)
                                continue;
                        memmove(c->ops + i, c->ops + i + 1, (--c->n - i) * sizeof(*c->ops));
                        i--;
                        again = true;
                }
        }
}

/* Whether o may happen when the register holds *value, and what it then holds. */
static bool step(const Operation *o, uint64_t *value) {
        bool known = o->returned != USEC_NEVER;
        switch (o->op.code) {
        case OP_CODE_PUT:
                *value = o->op.value;
                return true;
        case OP_CODE_GET:
                return o->result.seen == *value;
        case OP_CODE_CAS:
                if (!known) {
                        if (*value == o->op.expected)
                                *value = o->op.value;
                        return true;
                }
                if (o->result.seen != *value || o->result.ok != (*value == o->op.expected))
                        return false;
                if (o->result.ok)
                        *value = o->op.value;
                return true;
        case _OP_CODE_MAX:
                break;
        }
        return false;
}

static bool remember(Check *c, uint64_t value) {
        c->done[c->words] = value;
        size_t n = (c->words + 1) * sizeof(uint64_t);
        if (map_has(&c->seen, c->done, n))
                return false;
        (void) map_put(&c->seen, c->done, n, c);
        return true;
}

static bool all_known_done(const Check *c) {
        for (size_t i = 0; i < c->n; i++)
                if (!is_done(c, i) && c->ops[i]->returned != USEC_NEVER)
                        return false;
        return true;
}

/* The next operation from i on that may come first among those that are left; n: none. */
static size_t candidate(const Check *c, size_t i, Usec first_return) {
        for (; i < c->n; i++)
                if (!is_done(c, i))
                        return c->ops[i]->invoked <= first_return ? i : c->n;
        return c->n;
}

static Usec first_return(const Check *c) {
        Usec at = USEC_NEVER;
        for (size_t i = 0; i < c->n; i++)
                if (!is_done(c, i)) {
                        if (c->ops[i]->invoked > at)
                                break;
                        at = MIN(at, c->ops[i]->returned);
                }
        return at;
}

static Verdict search(Check *c) {
        uint64_t value = 0;
        size_t i = 0;
        Usec limit = first_return(c);
        while (!all_known_done(c)) {
                if (++c->steps > STEPS_MAX)
                        return UNDECIDED;
                bool moved = false;
                for (i = candidate(c, i, limit); i < c->n && !moved; i = candidate(c, i + 1, limit)) {
                        uint64_t next = value;
                        if (!step(c->ops[i], &next))
                                continue;
                        c->done[i / 64] |= UINT64_C(1) << (i % 64);
                        if (remember(c, next)) {
                                c->stack[c->depth] = i;
                                c->values[c->depth++] = value;
                                value = next;
                                moved = true;
                                break;
                        }
                        c->done[i / 64] &= ~(UINT64_C(1) << (i % 64));
                }
                if (moved) {
                        i = 0;
                        limit = first_return(c);
                        continue;
                }
                if (c->depth == 0)
                        return NOT_LINEARIZABLE;
                i = c->stack[--c->depth];
                value = c->values[c->depth];
                c->done[i / 64] &= ~(UINT64_C(1) << (i % 64));
                i++;
                limit = first_return(c);
        }
        return LINEARIZABLE;
}

static Verdict check_key(const History *h, uint32_t key) {
        Check c = { .ops = xnew(const Operation *, h->n + 1) };
        for (size_t i = 0; i < h->n; i++) {
                const Operation *o = &h->ops[i];
                bool unseen = o->returned == USEC_NEVER && o->op.code == OP_CODE_GET;
                if (o->op.key == key && !o->dropped && !unseen)
                        c.ops[c.n++] = o;
        }
        drop_unseen(&c);
        c.words = c.n / 64 + 1;
        c.done = xnew(uint64_t, c.words + 1);
        c.stack = xnew(size_t, c.n + 1);
        c.values = xnew(uint64_t, c.n + 1);
        Verdict v = search(&c);
        map_done(&c.seen);
        free(c.ops);
        free(c.done);
        free(c.stack);
        free(c.values);
        return v;
}

Verdict history_check(const History *h, uint32_t *ret_key, uint64_t *ret_undecided) {
        Verdict result = LINEARIZABLE;
        for (uint32_t key = 0; key < MACHINE_KEYS_MAX; key++) {
                Verdict v = check_key(h, key);
                if (v == NOT_LINEARIZABLE) {
                        *ret_key = key;
                        return v;
                }
                if (v == UNDECIDED) {
                        ++*ret_undecided;
                        result = v;
                }
        }
        return result;
}

void history_print(const History *h, uint32_t key) {
        static const char *const names[] = { "?", "put", "cas", "get" };
        for (size_t i = 0; i < h->n; i++) {
                const Operation *o = &h->ops[i];
                if (o->op.key != key || o->dropped)
                        continue;
                printf("  client %u  %s(%" PRIu64 ", if %" PRIu64 ")  %" PRIu64 " .. ", o->client,
                       names[o->op.code % ELEMENTSOF(names)], o->op.value, o->op.expected, o->invoked);
                if (o->returned == USEC_NEVER)
                        printf("?\n");
                else
                        printf("%" PRIu64 "  saw %" PRIu64 "%s\n", o->returned, o->result.seen,
                               o->op.code == OP_CODE_CAS ? o->result.ok ? " yes" : " no" : "");
        }
}

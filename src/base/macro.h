/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The few macros everything uses: cleanup attributes, ownership transfer, small arithmetic helpers.
 * assert() stays on in every build; never put a side effect into one. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))
#define _warn_unused_ __attribute__((warn_unused_result))

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define MAX(a, b)                                                                                           \
        ({                                                                                                  \
                __typeof__(a) _max_a = (a);                                                                 \
                __typeof__(b) _max_b = (b);                                                                 \
                _max_a > _max_b ? _max_a : _max_b;                                                          \
        })
#define MIN(a, b)                                                                                           \
        ({                                                                                                  \
                __typeof__(a) _min_a = (a);                                                                 \
                __typeof__(b) _min_b = (b);                                                                 \
                _min_a < _min_b ? _min_a : _min_b;                                                          \
        })
#define container_of(ptr, type, member) ((type *) ((char *) (ptr) -offsetof(type, member)))

/* Hand a pointer (or fd) over to a new owner: the variable is cleared so that its cleanup does nothing. */
#define TAKE_PTR(p)                                                                                         \
        ({                                                                                                  \
                __typeof__(p) *_take_pp = &(p);                                                             \
                __typeof__(p) _take_p = *_take_pp;                                                          \
                *_take_pp = NULL;                                                                           \
                _take_p;                                                                                    \
        })
#define TAKE_FD(fd)                                                                                         \
        ({                                                                                                  \
                int *_take_fdp = &(fd);                                                                     \
                int _take_fd = *_take_fdp;                                                                  \
                *_take_fdp = -EBADF;                                                                        \
                _take_fd;                                                                                   \
        })

/* Defines x_freep() for use as _cleanup_(x_freep) Type *x = NULL; */
#define DEFINE_CLEANUP(type, func)                                                                          \
        static inline _unused_ void func##p(type *p) {                                                      \
                if (*p)                                                                                     \
                        (void) func(*p);                                                                    \
        }

/* libc's "-1 and errno" turned into our "negative errno". */
#define RET_NERRNO(call)                                                                                    \
        ({                                                                                                  \
                __typeof__(call) _ret_r = (call);                                                           \
                _ret_r < 0 ? (__typeof__(call)) -errno : _ret_r;                                            \
        })

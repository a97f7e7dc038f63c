/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The unit-test harness: TEST(name) registers itself, the ASSERT_* macros print both values, the program
 * speaks TAP. A test file needs nothing else; main() lives in tests/test-main.c. */

#include "base/macro.h"

typedef struct TestCase TestCase;
struct TestCase {
        const char *name;
        void (*run)(void);
        TestCase *next;
};
void test_register(TestCase *t);
_noreturn_ void test_fail(const char *file, int line, const char *fmt, ...) _printf_(3, 4);
void test_skip(const char *why); /* marks the running test as skipped; return after it */
extern bool test_update;          /* --update was given: rewrite expected transcripts instead of comparing */
/* A file below tests/ (TEST_DATA_DIR), e.g. test_data("data/x.json"); the result is valid for ever. */
const char *test_data(const char *relative);

#define TEST(n)                                                                                             \
        static void test_##n(void);                                                                         \
        static TestCase case_##n = { .name = #n, .run = test_##n };                                         \
        __attribute__((constructor)) static void register_##n(void) {                                       \
                test_register(&case_##n);                                                                   \
        }                                                                                                   \
        static void test_##n(void)

#define ASSERT_TRUE(x)                                                                                      \
        do {                                                                                                \
                if (!(x))                                                                                   \
                        test_fail(__FILE__, __LINE__, "%s is false", #x);                                   \
        } while (0)
#define ASSERT_FALSE(x) ASSERT_TRUE(!(x))
#define ASSERT_OK(x)                                                                                        \
        ({                                                                                                  \
                __typeof__(x) _t_r = (x);                                                                   \
                if (_t_r < 0)                                                                               \
                        test_fail(__FILE__, __LINE__, "%s failed: %s (%lld)", #x, strerror((int) -_t_r),    \
                                  (long long) _t_r);                                                        \
                _t_r;                                                                                       \
        })
/* For integers of any kind, shown as signed numbers. */
#define ASSERT_EQ(a, b)                                                                                     \
        do {                                                                                                \
                long long _t_a = (long long) (a), _t_b = (long long) (b);                                   \
                if (_t_a != _t_b)                                                                           \
                        test_fail(__FILE__, __LINE__, "%s == %s: got %lld and %lld", #a, #b, _t_a, _t_b);   \
        } while (0)
#define ASSERT_NE(a, b)                                                                                     \
        do {                                                                                                \
                long long _t_a = (long long) (a), _t_b = (long long) (b);                                   \
                if (_t_a == _t_b)                                                                           \
                        test_fail(__FILE__, __LINE__, "%s != %s: both are %lld", #a, #b, _t_a);             \
        } while (0)
#define ASSERT_STREQ(a, b)                                                                                  \
        do {                                                                                                \
                const char *_t_a = (a), *_t_b = (b);                                                        \
                if (!_t_a || !_t_b || strcmp(_t_a, _t_b) != 0)                                              \
                        test_fail(__FILE__, __LINE__, "%s and %s differ:\n  got  %s\n  want %s", #a, #b,    \
                                  _t_a ? _t_a : "(null)", _t_b ? _t_b : "(null)");                          \
        } while (0)
#define ASSERT_NULL(p) ASSERT_TRUE((p) == NULL)
#define ASSERT_NOT_NULL(p) ASSERT_TRUE((p) != NULL)

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static TestCase *first, **last = &first;
static jmp_buf failed;
static const char *skipped;
bool test_update;

void test_register(TestCase *t) {
        *last = t;
        last = &t->next;
}

void test_fail(const char *file, int line, const char *fmt, ...) {
        va_list ap;
        va_start(ap, fmt);
        _cleanup_free_ char *msg = NULL;
        if (vasprintf(&msg, fmt, ap) < 0)
                abort();
        va_end(ap);
        fflush(stdout);
        fprintf(stderr, "%s:%d: %s\n", file, line, msg);
        longjmp(failed, 1);
}

void test_skip(const char *why) {
        skipped = why;
}

const char *test_data(const char *relative) {
        static char path[8][512];
        static unsigned at;
        char *p = path[at++ % 8];
        (void) snprintf(p, sizeof(path[0]), "%s/%s", TEST_DATA_DIR, relative);
        return p;
}

/* With arguments, only the tests they name. --update: tests rewrite the transcripts they compare with. */
static bool wanted(const char *name, int argc, char **argv) {
        int names = 0;
        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--update") == 0) {
                        test_update = true;
                        continue;
                }
                names++;
                if (strcmp(argv[i], name) == 0)
                        return true;
        }
        return names == 0;
}

int main(int argc, char **argv) {
        static volatile int n, bad;
        setvbuf(stdout, NULL, _IOLBF, 0);
        for (TestCase *volatile t = first; t; t = t->next) {
                if (!wanted(t->name, argc, argv))
                        continue;
                n++;
                skipped = NULL;
                if (setjmp(failed) == 0) {
                        t->run();
                        printf("ok %d - %s%s%s\n", n, t->name, skipped ? " # SKIP " : "",
                               skipped ? skipped : "");
                } else {
                        bad++;
                        printf("not ok %d - %s\n", n, t->name);
                }
        }
        printf("1..%d\n", n);
        return bad > 0;
}

/* SPDX-License-Identifier: Apache-2.0 */

/* Runs a fuzz target over files and folders of inputs: the corpus as an ordinary test. Besides each input as
 * it is, every prefix of it (in steps) is tried, which finds short-read mistakes for nothing. */

#include "base/alloc.h"
#include "base/str.h"
#include "sys/fs.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_inputs;

static void run(const char *data, size_t n) {
        /* An exact-size copy, so that the address sanitizer sees a read past the end. */
        _cleanup_free_ uint8_t *copy = xmemdup(data, n);
        (void) LLVMFuzzerTestOneInput(copy, n);
}

static int run_file(const char *path) {
        _cleanup_(buf_done) Buf b = {};
        int r = read_file(path, 64U << 20, &b);
        if (r < 0) {
                fprintf(stderr, "%s: %s\n", path, strerror(-r));
                return r;
        }
        size_t step = b.len / 16 + 1;
        for (size_t n = 0; n < b.len; n += step)
                run(buf_str(&b), n);
        run(buf_str(&b), b.len);
        n_inputs++;
        return 0;
}

static int run_dir(const char *path) {
        DIR *d = opendir(path);
        if (!d)
                return run_file(path);
        int r = 0;
        for (struct dirent *e; r >= 0 && (e = readdir(d));) {
                if (e->d_name[0] == '.')
                        continue;
                _cleanup_free_ char *p = path_join(path, e->d_name);
                r = run_file(p);
        }
        (void) closedir(d);
        return r;
}

int main(int argc, char **argv) {
        for (int i = 1; i < argc; i++)
                if (run_dir(argv[i]) < 0)
                        return 1;
        printf("%u inputs\n", n_inputs);
        return n_inputs == 0;
}

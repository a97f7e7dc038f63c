/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/fs.h"
#include "test.h"

#include <stdlib.h>

TEST(atomic_write_read_remove) {
        char dir[] = "/tmp/coracle-test-XXXXXX";
        ASSERT_NOT_NULL(mkdtemp(dir));
        _cleanup_free_ char *sub = path_join(dir, "/a/b/c");
        ASSERT_OK(mkdir_p(sub, 0755));
        _cleanup_free_ char *f = path_join(sub, "f");
        ASSERT_OK(write_file_atomic(f, "one\ntwo\n", 8, 0600));
        ASSERT_OK(write_file_atomic(f, "three\nfour\n", 11, 0600));
        _cleanup_free_ char *line = NULL;
        ASSERT_OK(read_line_file(f, &line));
        ASSERT_STREQ(line, "three");
        _cleanup_(buf_done) Buf b = {};
        ASSERT_EQ(read_file(f, 4, &b), -EFBIG);
        _cleanup_free_ char *link = path_join(dir, "link");
        ASSERT_OK(symlink("/etc", link));
        ASSERT_OK(rm_rf(dir));
        ASSERT_EQ(access("/etc/passwd", F_OK), 0);
        ASSERT_EQ(read_file(f, 100, &b), -ENOENT);
}

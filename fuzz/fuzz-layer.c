/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/extract.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t source(void *userdata, void *buf, size_t n, Err *err) {
        Rd *rd = userdata;
        n = MIN(n, rd->left);
        return rd_copy(rd, buf, n) < 0 ? -EIO : (int64_t) n;
}

/* Checksums would keep a fuzzer out: they are mended here. */
static uint8_t *with_checksums(const uint8_t *data, size_t size) {
        uint8_t *p = xmemdup(size ? data : (const uint8_t *) "", MAX(size, (size_t) 1));
        for (size_t at = 0; at + 512 <= size; at += 512) {
                unsigned sum = 0;
                char text[8];
                if (memcmp(p + at + 257, "ustar", 5) != 0)
                        continue;
                memset(p + at + 148, ' ', 8);
                for (size_t i = 0; i < 512; i++)
                        sum += p[at + i];
                (void) snprintf(text, sizeof(text), "%06o", sum & 0777777);
                memcpy(p + at + 148, text, 7);
        }
        return p;
}

/* Whatever the archive holds, nothing beside the target may change: no new name, the canary as it was. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char top[] = "/tmp/fuzz-layer-XXXXXX";
        if (!mkdtemp(top))
                abort();
        _cleanup_free_ char *target = path_join(top, "layer"), *canary = path_join(top, "canary");
        if (mkdir(target, 0755) < 0 || write_file_atomic(canary, "alive", 5, 0600) < 0)
                abort();
        _cleanup_close_ int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        static const ExtractLimits limits = { .bytes_max = 1 << 20, .entries_max = 1000, .depth_max = 64 };
        _cleanup_free_ uint8_t *mended = with_checksums(data, size);
        Rd rd = rd_new(mended, size);
        TarReader t = { .source = source, .userdata = &rd };
        _cleanup_(extract_result_done) ExtractResult result = {};
        (void) extract_layer(&t, fd, &limits, &result, NULL);

        struct stat a, b;
        _cleanup_(buf_done) Buf content = {};
        if (stat(top, &a) < 0 || a.st_nlink != 3 || lstat(canary, &b) < 0 || b.st_mode != (S_IFREG | 0600) ||
            b.st_nlink != 1 || read_file(canary, 100, &content) < 0 || !streq(buf_str(&content), "alive"))
                abort();
        if (rm_rf(top) < 0)
                abort();
        return 0;
}

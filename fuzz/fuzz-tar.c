/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t source(void *userdata, void *buf, size_t n, Err *err) {
        Rd *rd = userdata;
        n = MIN(n, rd->left);
        return rd_copy(rd, buf, n) < 0 ? -EIO : (int64_t) n;
}

/* What was read can be written, and reads back the same. */
static void check(const TarEntry *e) {
        if (!*e->path || strlen(e->path) > TAR_PATH_MAX || strlen(e->link) > TAR_PATH_MAX || e->mode > 07777)
                abort();
        _cleanup_(buf_done) Buf b = {};
        tar_write_header(&b, e);
        if (b.len % TAR_BLOCK != 0)
                abort();
        Rd rd = rd_new(b.data, b.len);
        TarReader t = { .source = source, .userdata = &rd };
        _cleanup_(tar_entry_done) TarEntry again = {};
        if (tar_next(&t, &again, NULL) != 1 || !streq(e->path, again.path) || !streq(e->link, again.link) ||
            e->type != again.type || e->size != again.size || e->uid != again.uid || e->gid != again.gid ||
            e->mtime_sec != again.mtime_sec || e->mtime_nsec != again.mtime_nsec || e->n_xattrs != again.n_xattrs)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Rd rd = rd_new(data, size);
        TarReader t = { .source = source, .userdata = &rd };
        for (;;) {
                _cleanup_(tar_entry_done) TarEntry e = {};
                if (tar_next(&t, &e, NULL) != 1)
                        return 0;
                check(&e);
        }
}

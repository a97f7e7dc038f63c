/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "container/image/store-internal.h"
#include "sys/fs.h"

#include <sys/file.h>

int image_tag(ImageStore *s, const char *source, const char *target, Err *err) {
        _cleanup_(reference_done) Reference ref = {};
        int r = store_check_writable(s, err);
        if (r >= 0)
                r = reference_parse(target, &ref, err);
        if (r < 0)
                return r;
        if (ref.digest)
                return err_set(err, -EINVAL, "refusing to create a tag with a digest reference");
        _cleanup_close_ int lock = -EBADF;
        _cleanup_(names_done) Names names = {};
        _cleanup_(image_freep) Image *image = NULL;
        r = store_lock(s, "lock", LOCK_EX, &lock, err);
        if (r >= 0)
                r = names_load(s, &names, err);
        if (r >= 0)
                r = image_resolve_locked(s, &names, source, &image, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *key = reference_full(&ref);
        names_set(&names, key, image->id);
        return names_save(s, &names, err);
}

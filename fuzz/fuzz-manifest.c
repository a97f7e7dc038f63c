/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/manifest.h"
#include "container/image/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(manifest_done) Manifest m = {};
        if (manifest_parse(data, size, NULL, &m, NULL) >= 0) {
                for (size_t i = 0; i < m.n_items; i++)
                        if (!hex64_valid(m.items[i].hex))
                                abort();
                if (m.n_items > INDEX_ENTRIES_MAX || (!m.index && !hex64_valid(m.config.hex)))
                        abort();
                (void) manifest_choose(&m, "linux/arm64/v8");
        }
        _cleanup_(image_freep) Image *i = xnew(Image, 1);
        if (config_parse(data, size, i, NULL) >= 0) {
                _cleanup_strv_ char **chains = chain_ids(i->diff_ids);
                STRV_FOREACH(c, chains)
                        if (!hex64_valid(*c))
                                abort();
        }
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "codec/jsonin.h"
#include "container/docker/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A template from anywhere, over a value with every kind of member. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char json[] = "{\"A\":{\"B\":\"b\",\"N\":7},\"L\":[\"x\",1,null],\"T\":true,\"Z\":null}";
        _cleanup_json_ json_t *v = NULL;
        if (ji_parse(json, sizeof(json) - 1, 0, &v, NULL) < 0)
                abort();
        _cleanup_free_ char *text = xstrndup((const char *) data, size);
        _cleanup_(template_freep) Template *t = NULL;
        _cleanup_(buf_done) Buf b = {};
        if (size < 4096 && template_parse(text, &t, NULL) >= 0)
                (void) template_run(t, v, &b, NULL);
        return 0;
}

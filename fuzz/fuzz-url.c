/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "codec/grpc.h"
#include "codec/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* URLs and forms; what is encoded must decode to itself. Also gRPC framing, which is too small for a fuzzer
 * of its own: the first byte decides nothing, every parser sees every input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size > (64U << 10))
                return 0;
        _cleanup_free_ char *text = xstrndup((const char *) data, size);
        _cleanup_(url_done) Url u = {};
        if (url_parse(text, &u, NULL) >= 0)
                free(url_host_port(&u));
        _cleanup_(url_params_done) UrlParams p = {};
        if (url_params_parse((const char *) data, size, &p) >= 0)
                (void) url_params_get(&p, "a");
        _cleanup_(buf_done) Buf coded = {}, back = {};
        url_encode(&coded, data, size, "/");
        if (url_decode(&back, buf_str(&coded), coded.len, false) < 0 || back.len != size ||
            memcmp(buf_str(&back), data, size) != 0)
                abort();
        _cleanup_(buf_done) Buf message = {}, plain = {};
        grpc_message_encode(&message, text);
        grpc_message_decode(&plain, buf_str(&message));
        if (strcmp(buf_str(&plain), text) != 0)
                abort();
        const void *m;
        size_t n, used;
        if (grpc_parse(data, size, 1000, &m, &n, &used) > 0 && used > size)
                abort();
        Usec t;
        (void) grpc_timeout_parse(text, &t);
        return 0;
}

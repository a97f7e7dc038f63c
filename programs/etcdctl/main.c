/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"
#include "ctl.h"
#include "sys/clock.h"
#include "sys/log.h"

/* One command, one process: requests and answers live until its end, and nobody frees them one by one. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
        return "detect_leaks=0";
}

int main(int argc, char **argv) {
        const char *api = getenv("ETCDCTL_API");
        uint8_t key[16];
        random_bytes(key, sizeof(key));
        hash_seed(key);
        log_open("etcdctl");
        if (api && streq(api, "2"))
                return v2_main(argc, argv);
        if (api && *api && !streq(api, "3")) {
                fprintf(stderr, "Error: unsupported API version \"%s\" in ETCDCTL_API (2 or 3)\n", api);
                return CTL_ERROR;
        }
        return v3_main(argc, argv);
}

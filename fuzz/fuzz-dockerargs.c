/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "container/docker/parse.h"
#include "container/run/leases.h"
#include "container/run/units.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every text form of an option; the first byte chooses. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 1)
                return 0;
        _cleanup_free_ char *s = xstrndup((const char *) data + 1, size - 1);
        _cleanup_(container_spec_freep) ContainerSpec *spec = container_spec_new();
        _cleanup_strv_ char **list = NULL;
        int64_t n;
        switch (data[0] % 8) {
        case 0:
                (void) parse_publish(s, &spec->host, NULL);
                break;
        case 1:
                (void) parse_expose(s, &list, NULL);
                break;
        case 2:
                (void) parse_volume(s, container_spec_add_mount(spec), NULL);
                break;
        case 3:
                (void) parse_mount(s, container_spec_add_mount(spec), NULL);
                break;
        case 4:
                spec->host.devices = xnew(DeviceSpec, 1);
                spec->host.n_devices = parse_device(s, spec->host.devices, NULL) >= 0;
                break;
        case 5:
                spec->host.ulimits = xnew(UlimitSpec, 1);
                spec->host.n_ulimits = parse_ulimit(s, spec->host.ulimits, NULL) >= 0;
                break;
        case 6:
                (void) parse_env_file(s, NULL, &list, NULL);
                break;
        default: {
                _cleanup_(leases_done) Leases l = {};
                leases_parse(s, &l);
                (void) parse_bytes(s, &n);
                (void) parse_signal(s);
        }
        }
        return 0;
}

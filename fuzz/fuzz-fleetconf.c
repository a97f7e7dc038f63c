/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "fleet/fleet.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever the file says, every value stays one that the daemon can live with. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        FleetConfig c;
        _cleanup_strv_ char **problems = NULL;

        fleet_config_defaults(&c);
        fleet_config_parse(&c, (const char *) data, size, &problems);
        if (!c.prefix || c.prefix[0] != '/' || c.agent_ttl < USEC_PER_SEC || c.token_limit == 0 ||
            c.token_limit > 65535 || c.etcd_timeout == 0)
                abort();
        fleet_config_done(&c);
        return 0;
}

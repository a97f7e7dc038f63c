/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "cloudinit/config/cloudconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What -validate finds nothing wrong with must also make a plan. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size > (64U << 10))
                return 0;
        _cleanup_(buf_done) Buf report = {}, text = {};
        const Substitutions s = { .public_ipv4 = "192.0.2.1", .private_ipv4 = "10.0.0.1" };
        substitute(&text, (const char *) data, size, &s);
        unsigned findings = validate_user_data(buf_str(&text), text.len, &report);
        _cleanup_(cloud_plan_done) CloudPlan plan = {};
        const CloudPlanInput in = { .ssh_key_name = "k", .hostname = "h", .addresses = s };
        bool config = user_data_kind(buf_str(&text), text.len) == USER_DATA_CONFIG;
        if (cloud_plan_from_config(&plan, buf_str(&text), text.len, &in, NULL) < 0 && config && findings == 0)
                abort();
        return 0;
}

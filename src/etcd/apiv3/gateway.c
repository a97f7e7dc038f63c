/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "etcd/apiv2/apiv2.h"
#include "etcd/apiv3/apiv3.h"

/* The JSON gateway: the same calls with messages as JSON (spec b.4). */
void apiv3_gateway(HttpReq *q, void *user) {
        http_go_error(q, 404, "404 page not found");
}

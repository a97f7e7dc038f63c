/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Carries out a cloud-config plan on this machine, in order; the first failure stops it (spec os.md A.6).
 * `root` is put before every path (NULL = "/"): with a root other than "/" only files are written and no
 * program is run, which is how an image is prepared and how tests look at results. */

#include "cloudinit/config/cloudconfig.h"

int cloud_plan_apply(const CloudPlan *plan, const char *root, Err *err);

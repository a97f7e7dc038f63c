/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl.h"
int v2_main(int argc, char **argv) {
        return 1;
}

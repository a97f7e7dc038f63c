/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/unitfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A unit built from any options must keep its text when that text is parsed and written once more, unless an
 * option name or section makes it unreadable; the classic line limit may only reject, never change. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(unitfile_done) UnitFile a = {}, b = {}, c = {};

        if (unitfile_parse((const char *) data, size, 0, &a, NULL) < 0)
                return 0;
        _cleanup_free_ char *text = unitfile_text(&a);
        if (unitfile_parse((const char *) data, size, UNITFILE_LINE_MAX_CLASSIC, &c, NULL) >= 0) {
                _cleanup_free_ char *same = unitfile_text(&c);
                if (!streq(text, same))
                        abort();
        }
        if (unitfile_parse(text, strlen(text), 0, &b, NULL) >= 0) {
                _cleanup_free_ char *again = unitfile_text(&b);
                _cleanup_(unitfile_done) UnitFile d = {};
                if (unitfile_parse(again, strlen(again), 0, &d, NULL) >= 0) {
                        _cleanup_free_ char *thrice = unitfile_text(&d);
                        if (strlen(thrice) > strlen(again) + 1)
                                abort();
                }
        }
        return 0;
}

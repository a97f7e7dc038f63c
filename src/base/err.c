/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

static char *format(const char *fmt, va_list ap) {
        char *s = NULL;
        if (vasprintf(&s, fmt, ap) < 0)
                abort();
        return s;
}

int err_set(Err *err, int code, const char *fmt, ...) {
        assert(code < 0);
        if (!err || err->msg)
                return code;
        va_list ap;
        va_start(ap, fmt);
        err->msg = format(fmt, ap);
        va_end(ap);
        err->code = code;
        return code;
}

int err_errno(Err *err, int code, const char *fmt, ...) {
        assert(code < 0);
        if (!err || err->msg)
                return code;
        va_list ap;
        va_start(ap, fmt);
        _cleanup_free_ char *s = format(fmt, ap);
        va_end(ap);
        err->msg = xasprintf("%s: %s", s, strerror(-code));
        err->code = code;
        return code;
}

int err_wrap(Err *err, int code, const char *fmt, ...) {
        assert(code < 0);
        if (!err)
                return code;
        va_list ap;
        va_start(ap, fmt);
        _cleanup_free_ char *s = format(fmt, ap);
        va_end(ap);
        char *msg = xasprintf("%s: %s", s, err->msg ? err->msg : strerror(-code));
        free(err->msg);
        err->msg = msg;
        err->code = code;
        return code;
}

const char *err_msg(const Err *err) {
        if (err && err->msg)
                return err->msg;
        return err && err->code < 0 ? strerror(-err->code) : "unknown error";
}

void err_done(Err *err) {
        if (!err)
                return;
        free(err->msg);
        *err = (Err){};
}

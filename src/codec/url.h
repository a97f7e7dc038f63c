/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* URLs (RFC 3986) as far as we use them, and application/x-www-form-urlencoded. All pure. */

#include "base/buf.h"
#include "base/err.h"

#define URL_BYTES_MAX (32U << 10)
#define URL_PARAMS_MAX 1000U

typedef struct Url {
        char *scheme;   /* lower case: "http", "https", "unix" */
        char *userinfo; /* "user:password" as written, or NULL */
        char *host;     /* lower case, without the brackets of an IPv6 address; "" for unix */
        char *path;     /* as written; "" when absent. For unix: the socket's path, decoded */
        char *query;    /* as written, without '?'; NULL when absent */
        uint16_t port;  /* 0 when absent: see url_port() */
        bool ipv6;
} Url;

/* Parses "scheme://[userinfo@]host[:port][/path][?query][#fragment]" and "unix:///path". -EINVAL with a
 * message. */
int url_parse(const char *s, Url *ret, Err *err);
void url_done(Url *u);
uint16_t url_port(const Url *u); /* the port, or the scheme's: 80, 443 */
/* "host:port" with brackets where needed; owned. */
char *url_host_port(const Url *u);

/* Percent-decodes s[0..n) into b; with `plus`, '+' is a space. -EINVAL on a bad escape (b is then
 * unchanged). */
int url_decode(Buf *b, const char *s, size_t n, bool plus);
/* Percent-encodes everything but unreserved characters and those in `keep` (may be NULL). */
void url_encode(Buf *b, const void *p, size_t n, const char *keep);
/* Adds "name=value" in form encoding, with '&' before it if b is not empty. */
void url_form_add(Buf *b, const char *name, const char *value);

/* The pairs of a query or form body, in order. A pair with a bad escape is -EINVAL. */
typedef struct UrlParam {
        char *name, *value;
        size_t value_len;
} UrlParam;
typedef struct UrlParams {
        UrlParam *params; /* owned */
        size_t n, cap;
} UrlParams;
int url_params_parse(const char *s, size_t n, UrlParams *ret);
const char *url_params_get(const UrlParams *p, const char *name); /* first value, or NULL */
void url_params_done(UrlParams *p);

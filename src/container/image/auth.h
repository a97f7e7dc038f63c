/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What registries ask before they answer (spec C.2): challenges, credentials, and who may see them. Pure, but
 * for auth_load() and insecure_load(), which read the user's and the engine's configuration. */

#include "base/err.h"

typedef struct Challenge {
        bool bearer, basic; /* which schemes were offered */
        char *realm, *service; /* of Bearer; NULL when absent */
} Challenge;

void challenge_done(Challenge *c);
/* Parses one WWW-Authenticate header's value. -EINVAL when it makes no sense. */
int challenge_parse(const char *header, Challenge *ret);

typedef struct Credentials {
        char *user, *password;
        char *identity_token; /* OAuth2 refresh token instead of a password */
        char *helper;         /* name of a credential helper that would have them; not run */
} Credentials;

void credentials_done(Credentials *c);
/* From a docker config.json's text for a registry's domain. Nothing found is no error. */
int credentials_parse(const char *json, size_t n, const char *domain, Credentials *ret, Err *err);
/* From X-Registry-Auth: base64 of {"username","password","identitytoken"}. */
int credentials_parse_header(const char *base64, Credentials *ret, Err *err);

/* May the credentials of `registry` ("quay.io", "127.0.0.1:5000") be sent to the token server `realm`? To the
 * registry's own host, or over https to a host under the same last two labels (registry-1.docker.io and
 * auth.docker.io); anybody else could be collecting passwords. */
bool realm_trusted(const char *registry, const char *realm, bool plain_http);

/* "127.0.0.1:5000", "localhost", "[::1]:5000": a registry on this machine, which may speak plain HTTP. */
bool domain_is_loopback(const char *domain);
/* Is the domain listed in daemon.json's "insecure-registries" (host, host:port, or CIDR)? */
bool insecure_listed(const char *json, size_t n, const char *domain);
/* daemon.json's "registry-mirrors": a strv of URLs, or NULL. */
char **mirrors_listed(const char *json, size_t n);

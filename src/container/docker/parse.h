/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text forms of docker's options that are more than a word. Pure parsers. */

#include "container/run/spec.h"

/* "[IP:][HOST[-HOST]:]CTR[-CTR][/tcp|udp|sctp]", appended to `h`; IPv6 addresses in []. */
int parse_publish(const char *s, HostConfig *h, Err *err);
/* "80", "80/udp", "80-82/tcp" appended to *list as "80/tcp" words. */
int parse_expose(const char *s, char ***list, Err *err);
/* "SRC:DST[:opts]", "NAME:DST", "DST" (spec A.2); the volume's folder is filled in later. */
int parse_volume(const char *s, MountSpec *m, Err *err);
/* "type=bind,src=/a,dst=/b,readonly" */
int parse_mount(const char *s, MountSpec *m, Err *err);
/* "SRC[:DST[:rwm]]" */
int parse_device(const char *s, DeviceSpec *d, Err *err);
/* "nofile=1024[:2048]" */
int parse_ulimit(const char *s, UlimitSpec *u, Err *err);
/* One --env-file: appends to *env what it says; `caller` is environ. */
int parse_env_file(const char *text, char *const *caller, char ***env, Err *err);
/* -e "K=V" or "K" (from `caller`, dropped when unset there). */
int add_env(const char *s, char *const *caller, char ***env, Err *err);

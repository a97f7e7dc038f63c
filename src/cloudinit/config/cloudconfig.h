/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* cloud-config, the pure part: user-data text in, a list of actions out, in the order in which
 * coreos-cloudinit carries them out (spec os.md A.6). Nothing is touched here; apply.h does what the list
 * says, and a dry run only prints it. The whole text is understood before the first action is carried out.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"

#include <sys/types.h>

#define USER_DATA_MAX (4U << 20)
#define GUNZIPPED_MAX (64U << 20)

typedef enum UserDataKind {
        USER_DATA_EMPTY,
        USER_DATA_SCRIPT,
        USER_DATA_CONFIG,
        USER_DATA_IGNITION,
        USER_DATA_UNKNOWN
} UserDataKind;
UserDataKind user_data_kind(const char *text, size_t n);

/* Addresses for $private_ipv4 and its three siblings; NULL counts as empty. A.4. */
typedef struct Substitutions {
        const char *public_ipv4, *private_ipv4, *public_ipv6, *private_ipv6;
} Substitutions;
void substitute(Buf *out, const char *text, size_t n, const Substitutions *s);

typedef enum ActionKind {
        ACTION_HOSTNAME, /* name */
        ACTION_USER,     /* name, argv of useradd; argument = password hash or NULL */
        ACTION_SSH_KEYS, /* name = user, argument = key set, content = lines */
        ACTION_FILE,     /* path, content, mode, owner */
        ACTION_SETTINGS, /* path, content = K=V lines to merge into it; argument = file to start from, or
                            NULL */
        ACTION_MASK,     /* name, runtime */
        ACTION_UNMASK,   /* name, runtime */
        ACTION_ENABLE,   /* name */
        ACTION_RELOAD,   /* systemd reads its units again */
        ACTION_COMMAND,  /* name, argument = start, stop, restart ... */
        _ACTION_KIND_MAX,
} ActionKind;

typedef struct Action Action;
struct Action {
        ActionKind kind;
        const char *name, *path, *argument, *owner;
        const char *content;
        size_t content_len;
        mode_t mode;
        bool runtime;
        char **argv; /* owned strv; freed by cloud_plan_done() */
        LIST_LINK(Action) link;
};

typedef struct CloudPlan {
        Arena arena;
        LIST_HEAD(Action) actions;
        bool units_written;
} CloudPlan;

typedef struct CloudPlanInput {
        const char *ssh_key_name; /* key set of the top-level keys */
        Substitutions addresses;  /* for /etc/environment */
        const char *hostname;     /* of the running system, for manage_etc_hosts without `hostname` */
} CloudPlanInput;

/* Reads a #cloud-config text (already substituted) into a plan. -EINVAL with "line N: error: ..." */
int cloud_plan_from_config(CloudPlan *plan, const char *text, size_t n, const CloudPlanInput *in, Err *err);
void cloud_plan_done(CloudPlan *plan);
/* One line per action, for people. */
void cloud_plan_print(const CloudPlan *plan, Buf *out);

/* -validate (A.10): "line N: error|warning|info: message" lines appended to `out`; returns how many. */
unsigned validate_user_data(const char *text, size_t n, Buf *out);

/* Merges K=V lines into a file's text: a line that sets the key is replaced, the rest is appended. */
void settings_merge(Buf *out, const char *old, const char *lines);

/* ---- between the files of this folder ---- */
typedef struct YamlNode YamlNode;
/* Decodes write_files content: NULL/"" plain, base64, gzip, or both; -EINVAL for another or a broken one. */
int decode_content(const char *encoding, const char *content, size_t n, Buf *ret);
int gunzip(const void *p, size_t n, size_t limit, Buf *ret);

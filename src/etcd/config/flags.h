/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The table of flags behind config.h. */

#include "etcd/config/config.h"

typedef enum EtcdFlagType {
        FLAG_BOOL,
        FLAG_STR,
        FLAG_UINT,
        FLAG_DURATION,
        FLAG_UNBUILT_BOOL, /* only false is accepted */
        FLAG_UNBUILT,      /* only the values of `accepted` (separated by '|') are */
        FLAG_HEADING,      /* a line of --help */
} EtcdFlagType;

typedef struct EtcdFlag {
        const char *name;
        EtcdFlagType type;
        size_t offset;        /* into EtcdConfig */
        const char *initial;  /* the default, as text */
        const char *help;     /* NULL: not shown */
        const char *accepted; /* FLAG_UNBUILT; also "" for the empty value */
} EtcdFlag;

extern const EtcdFlag etcd_flags[]; /* ends with a NULL name */

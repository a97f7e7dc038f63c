/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/caps.h"
#include "base/str.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const names[] = {
        "CAP_CHOWN",          "CAP_DAC_OVERRIDE",    "CAP_DAC_READ_SEARCH", "CAP_FOWNER",
        "CAP_FSETID",         "CAP_KILL",            "CAP_SETGID",          "CAP_SETUID",
        "CAP_SETPCAP",        "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
        "CAP_NET_ADMIN",      "CAP_NET_RAW",         "CAP_IPC_LOCK",        "CAP_IPC_OWNER",
        "CAP_SYS_MODULE",     "CAP_SYS_RAWIO",       "CAP_SYS_CHROOT",      "CAP_SYS_PTRACE",
        "CAP_SYS_PACCT",      "CAP_SYS_ADMIN",       "CAP_SYS_BOOT",        "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE",   "CAP_SYS_TIME",        "CAP_SYS_TTY_CONFIG",  "CAP_MKNOD",
        "CAP_LEASE",          "CAP_AUDIT_WRITE",     "CAP_AUDIT_CONTROL",   "CAP_SETFCAP",
        "CAP_MAC_OVERRIDE",   "CAP_MAC_ADMIN",       "CAP_SYSLOG",          "CAP_WAKE_ALARM",
        "CAP_BLOCK_SUSPEND",  "CAP_AUDIT_READ",      "CAP_PERFMON",         "CAP_BPF",
        "CAP_CHECKPOINT_RESTORE",
};

int cap_from_name(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strcasecmp(name, names[i]) == 0 || strcasecmp(name, names[i] + 4) == 0)
                        return (int) i;
        return -EINVAL;
}

const char *cap_name(unsigned cap) {
        return cap < ELEMENTSOF(names) ? names[cap] : NULL;
}

uint64_t caps_all(void) {
        uint64_t all = 0;
        for (unsigned i = 0; i < 64 && prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
                all |= UINT64_C(1) << i;
        return all;
}

static int parse_caps(char *const *list, const char *flag, uint64_t *ret, bool *ret_all, Err *err) {
        *ret = 0;
        *ret_all = false;
        STRV_FOREACH(c, list) {
                if (strcasecmp(*c, "ALL") == 0) {
                        *ret_all = true;
                        continue;
                }
                int cap = cap_from_name(*c);
                if (cap < 0)
                        return err_set(err, -EINVAL, "invalid %s: unknown capability: \"%s\"", flag, *c);
                *ret |= UINT64_C(1) << cap;
        }
        return 0;
}

int caps_compute(bool privileged, char *const *add, char *const *drop, uint64_t *ret, Err *err) {
        uint64_t plus, minus;
        bool all_plus, all_minus;
        int r = parse_caps(add, "CapAdd", &plus, &all_plus, err);
        if (r >= 0)
                r = parse_caps(drop, "CapDrop", &minus, &all_minus, err);
        if (r < 0)
                return r;
        uint64_t base = privileged || all_plus ? UINT64_MAX : all_minus ? 0 : CAPS_DEFAULT;
        *ret = privileged ? base : ((base & ~minus) | plus);
        return 0;
}

/* capset() cannot give what the caller lacks; the bounding set of a nested engine may lack some. */
static uint64_t permitted(void) {
        struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct d[2] = {};
        if (syscall(SYS_capget, &h, d) < 0)
                return 0;
        return d[0].permitted | (uint64_t) d[1].permitted << 32;
}

int caps_bound(uint64_t mask) {
        for (unsigned i = 0; i < 64; i++)
                if (!(mask >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
                        if (errno == EINVAL)
                                break; /* beyond the kernel's last one */
                        return -errno;
                }
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
                return -errno;
        return 0;
}

int caps_set(uint64_t mask) {
        mask &= permitted();
        struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct d[2] = {
                { .effective = (uint32_t) mask, .permitted = (uint32_t) mask },
                { .effective = (uint32_t) (mask >> 32), .permitted = (uint32_t) (mask >> 32) },
        };
        return RET_NERRNO((int) syscall(SYS_capset, &h, d));
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a container is to be (ContainerSpec, written once at `create`) and what has become of it
 * (ContainerState, written by its shim), with their JSON forms. Config and HostConfig have exactly the fields,
 * names and order of the Engine API, because `inspect`, the files on disk and a later API server share them. */

#include "base/alloc.h"
#include "base/err.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"

#include <sys/types.h>

typedef struct PortBinding {
        char *host_ip;      /* NULL or "" = every address */
        uint16_t host_port; /* 0 = one that is free */
        uint16_t port;
        char proto[5]; /* "tcp", "udp", "sctp" */
} PortBinding;

typedef struct MountSpec {
        char *type;        /* "bind", "volume", "tmpfs" */
        char *name;        /* of the volume, NULL otherwise */
        char *source;      /* host path; "" for tmpfs */
        char *destination; /* absolute path inside */
        char *mode;        /* the options as given */
        char *propagation; /* "rprivate", "rslave", …, or "" */
        bool rw;
        bool anonymous; /* a volume that rm -v takes along */
        bool no_copy;   /* do not fill a new volume from the image */
        bool make_source;
} MountSpec;

typedef struct DeviceSpec {
        char *host, *path, *permissions;
} DeviceSpec;

typedef struct UlimitSpec {
        char *name;
        int64_t soft, hard; /* -1 = unlimited */
} UlimitSpec;

typedef struct ContainerConfig {
        char *hostname, *domainname, *user;
        bool attach_stdin, attach_stdout, attach_stderr, tty, open_stdin, stdin_once;
        char **exposed_ports; /* "80/tcp" */
        char **env, **cmd;
        char *image; /* the name as given */
        char **volumes;
        char *working_dir;
        char **entrypoint;
        char **labels; /* K=V */
        char *stop_signal;
        int64_t stop_timeout; /* seconds, 0 = the default of 10 */
} ContainerConfig;

typedef struct HostConfig {
        char **binds;
        char *cid_file;
        char *log_driver;
        char **log_options; /* K=V */
        char *network_mode; /* "default", "bridge", "host", "none", "container:<id>" */
        PortBinding *ports;
        size_t n_ports;
        char *restart_policy;
        bool auto_remove;
        char **volumes_from, **cap_add, **cap_drop, **dns, **dns_options, **dns_search, **extra_hosts, **group_add;
        char *ipc_mode, *pid_mode, *uts_mode, *userns_mode;
        char **links; /* "/target:/me/alias" */
        int64_t oom_score_adj;
        bool privileged, publish_all, readonly_rootfs;
        char **security_opt;
        char **tmpfs;   /* "PATH=options" */
        char **sysctls; /* K=V */
        int64_t shm_size;
        int64_t cpu_shares, memory, nano_cpus, cpu_period, cpu_quota, memory_reservation, memory_swap, pids_limit;
        char *cpuset_cpus, *cpuset_mems;
        DeviceSpec *devices;
        size_t n_devices;
        UlimitSpec *ulimits;
        size_t n_ulimits;
        bool init;
} HostConfig;

typedef struct ContainerSpec {
        char *id;   /* 64 hex digits */
        char *name; /* without the slash */
        int64_t created_nsec;
        char *image;      /* 64 hex digits, or NULL with rootfs */
        char *rootfs;     /* a folder to run in directly, instead of layers (tests, rkt fly); or NULL */
        char **lowerdirs; /* topmost first */
        char *path;       /* the program */
        char **args;
        MountSpec *mounts;
        size_t n_mounts;
        ContainerConfig config;
        HostConfig host;
} ContainerSpec;

ContainerSpec *container_spec_new(void);
ContainerSpec *container_spec_free(ContainerSpec *s);
DEFINE_CLEANUP(ContainerSpec *, container_spec_free)

/* Appends the whole file config.json. */
void container_spec_write(const ContainerSpec *s, Buf *b);
int container_spec_parse(const void *p, size_t n, ContainerSpec **ret, Err *err);
void container_config_write(const ContainerConfig *c, JsonOut *j);
void host_config_write(const HostConfig *h, JsonOut *j);
void mounts_write(const ContainerSpec *s, JsonOut *j);
/* The lists of paths that an unprivileged container does not see or may not write. */
extern const char *const masked_paths[];
extern const char *const readonly_paths[];

/* Adds a zeroed element and returns it. */
PortBinding *host_config_add_port(HostConfig *h);
MountSpec *container_spec_add_mount(ContainerSpec *s);

typedef struct NetState {
        char *ip, *gateway, *mac; /* NULL without a network of its own */
        unsigned prefix;
        PortBinding *ports; /* what is really published */
        size_t n_ports;
} NetState;

typedef struct ContainerState {
        bool running;   /* as the shim wrote it: only true while its lock is held, see store.h */
        bool paused;
        pid_t pid;
        uint64_t pid_start; /* start time of pid in clock ticks: a reused pid has another */
        int64_t started_nsec, finished_nsec; /* 0 = never */
        int exit_code;
        bool oom_killed;
        char *error;
        char **cgroups; /* folders of the container's control groups */
        NetState net;
} ContainerState;

void container_state_done(ContainerState *s);
void container_state_write(const ContainerState *s, Buf *b);
int container_state_parse(const void *p, size_t n, ContainerState *ret, Err *err);
void net_state_done(NetState *n);

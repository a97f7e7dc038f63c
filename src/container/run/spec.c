/* SPDX-License-Identifier: Apache-2.0 */
#include "container/run/spec.h"
#include "base/str.h"
#include "container/run/fields.h"

#include <stdio.h>

#define CONFIG_FILE_MAX (4U << 20)

const char *const masked_paths[] = { "/proc/asound",       "/proc/acpi",        "/proc/kcore",      "/proc/keys",
                                     "/proc/latency_stats", "/proc/timer_list",  "/proc/timer_stats", "/proc/sched_debug",
                                     "/proc/scsi",          "/sys/firmware",     "/proc/interrupts",
                                     "/sys/devices/virtual/powercap", NULL };
const char *const readonly_paths[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
                                       NULL };

static void strings_free(char **const *list, size_t n) {
        for (size_t i = 0; i < n; i++)
                *list[i] = xfree(*list[i]);
}

/* ---- ports ---- */

PortBinding *host_config_add_port(HostConfig *h) {
        h->ports = xrealloc(h->ports, (h->n_ports + 1) * sizeof(*h->ports));
        h->ports[h->n_ports] = (PortBinding){};
        return &h->ports[h->n_ports++];
}

static void ports_free(PortBinding *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(p[i].host_ip);
        free(p);
}

static void write_bindings(const PortBinding *p, size_t n, JsonOut *j) {
        jo_obj(j);
        for (size_t i = 0; i < n; i++) {
                bool seen = false;
                for (size_t k = 0; k < i; k++)
                        seen |= p[k].port == p[i].port && streq(p[k].proto, p[i].proto);
                if (seen)
                        continue;
                char key[16];
                (void) snprintf(key, sizeof(key), "%u/%s", p[i].port, p[i].proto);
                jo_key(j, key);
                jo_arr(j);
                for (size_t k = i; k < n; k++) {
                        if (p[k].port != p[i].port || !streq(p[k].proto, p[i].proto))
                                continue;
                        char port[8] = "";
                        if (p[k].host_port)
                                (void) snprintf(port, sizeof(port), "%u", p[k].host_port);
                        jo_obj(j);
                        jo_kstr(j, "HostIp", strempty(p[k].host_ip));
                        jo_kstr(j, "HostPort", port);
                        jo_end(j);
                }
                jo_end(j);
        }
        jo_end(j);
}

static size_t read_bindings(const json_t *v, PortBinding **ret) {
        PortBinding *ports = NULL;
        size_t n = 0, cap = 0;
        const char *key;
        json_t *list;
        json_object_foreach((json_t *) v, key, list) {
                const char *slash = strchr(key, '/');
                _cleanup_free_ char *number = slash ? xstrndup(key, (size_t) (slash - key)) : xstrdup(key);
                uint32_t port = 0;
                if (parse_u32(number, &port) < 0 || port > UINT16_MAX)
                        continue;
                for (size_t i = 0; i < json_array_size(list); i++) {
                        const json_t *b = json_array_get(list, i);
                        uint32_t host_port = 0;
                        const char *text = ji_str(b, "HostPort");
                        if (!isempty(text) && (parse_u32(text, &host_port) < 0 || host_port > UINT16_MAX))
                                continue;
                        GROW(ports, cap, n + 1);
                        PortBinding *p = &ports[n++];
                        *p = (PortBinding){ .port = (uint16_t) port, .host_port = (uint16_t) host_port };
                        const char *ip = ji_str(b, "HostIp");
                        p->host_ip = isempty(ip) ? NULL : xstrdup(ip);
                        (void) snprintf(p->proto, sizeof(p->proto), "%s", slash ? slash + 1 : "tcp");
                }
        }
        *ret = ports;
        return n;
}

static void ports_write(const void *o, JsonOut *j) {
        const HostConfig *h = o;
        write_bindings(h->ports, h->n_ports, j);
}

static void ports_read(void *o, const json_t *v) {
        HostConfig *h = o;
        ports_free(h->ports, h->n_ports);
        h->n_ports = read_bindings(v, &h->ports);
}

/* ---- the other compound fields of HostConfig ---- */

static const Field log_fields[] = {
        { "Type", FIELD_STR, offsetof(HostConfig, log_driver) },
        { "Config", FIELD_MAP, offsetof(HostConfig, log_options) },
        {},
};

static void log_write(const void *o, JsonOut *j) {
        fields_write(log_fields, o, j);
}

static void log_read(void *o, const json_t *v) {
        fields_read(log_fields, o, v);
}

static void restart_write(const void *o, JsonOut *j) {
        const HostConfig *h = o;
        jo_obj(j);
        jo_kstr(j, "Name", isempty(h->restart_policy) ? "no" : h->restart_policy);
        jo_kint(j, "MaximumRetryCount", 0);
        jo_end(j);
}

static void restart_read(void *o, const json_t *v) {
        HostConfig *h = o;
        free(h->restart_policy);
        h->restart_policy = xstrdup(strempty(ji_str(v, "Name")));
}

static void devices_write(const void *o, JsonOut *j) {
        const HostConfig *h = o;
        jo_arr(j);
        for (size_t i = 0; i < h->n_devices; i++) {
                jo_obj(j);
                jo_kstr(j, "PathOnHost", h->devices[i].host);
                jo_kstr(j, "PathInContainer", h->devices[i].path);
                jo_kstr(j, "CgroupPermissions", h->devices[i].permissions);
                jo_end(j);
        }
        jo_end(j);
}

static void devices_read(void *o, const json_t *v) {
        HostConfig *h = o;
        h->n_devices = json_array_size(v);
        h->devices = h->n_devices ? xnew(DeviceSpec, h->n_devices) : NULL;
        for (size_t i = 0; i < h->n_devices; i++) {
                const json_t *d = json_array_get(v, i);
                h->devices[i] = (DeviceSpec){ .host = xstrdup(strempty(ji_str(d, "PathOnHost"))),
                                              .path = xstrdup(strempty(ji_str(d, "PathInContainer"))),
                                              .permissions = xstrdup(strempty(ji_str(d, "CgroupPermissions"))) };
        }
}

static void ulimits_write(const void *o, JsonOut *j) {
        const HostConfig *h = o;
        jo_arr(j);
        for (size_t i = 0; i < h->n_ulimits; i++) {
                jo_obj(j);
                jo_kstr(j, "Name", h->ulimits[i].name);
                jo_kint(j, "Hard", h->ulimits[i].hard);
                jo_kint(j, "Soft", h->ulimits[i].soft);
                jo_end(j);
        }
        jo_end(j);
}

static void ulimits_read(void *o, const json_t *v) {
        HostConfig *h = o;
        h->n_ulimits = json_array_size(v);
        h->ulimits = h->n_ulimits ? xnew(UlimitSpec, h->n_ulimits) : NULL;
        for (size_t i = 0; i < h->n_ulimits; i++) {
                const json_t *u = json_array_get(v, i);
                h->ulimits[i] = (UlimitSpec){ .name = xstrdup(strempty(ji_str(u, "Name"))),
                                              .hard = ji_int(u, "Hard", 0), .soft = ji_int(u, "Soft", 0) };
        }
}

static void write_paths(JsonOut *j, const char *const *list) {
        jo_arr(j);
        for (; *list; list++)
                jo_str(j, *list);
        jo_end(j);
}

static void masked_write(const void *o, JsonOut *j) {
        const HostConfig *h = o;
        h->privileged ? jo_null(j) : write_paths(j, masked_paths);
}

static void readonly_write(const void *o, JsonOut *j) {
        const HostConfig *h = o;
        h->privileged ? jo_null(j) : write_paths(j, readonly_paths);
}

static void read_nothing(void *o _unused_, const json_t *v _unused_) {}

#define C(name, form, member, ...) { name, form, offsetof(ContainerConfig, member), __VA_ARGS__ }
static const Field config_fields[] = {
        C("Hostname", FIELD_STR, hostname),
        C("Domainname", FIELD_STR, domainname),
        C("User", FIELD_STR, user),
        C("AttachStdin", FIELD_BOOL, attach_stdin),
        C("AttachStdout", FIELD_BOOL, attach_stdout),
        C("AttachStderr", FIELD_BOOL, attach_stderr),
        C("ExposedPorts", FIELD_SET, exposed_ports, .omit_empty = true),
        C("Tty", FIELD_BOOL, tty),
        C("OpenStdin", FIELD_BOOL, open_stdin),
        C("StdinOnce", FIELD_BOOL, stdin_once),
        C("Env", FIELD_LIST0, env),
        C("Cmd", FIELD_LIST, cmd),
        C("Image", FIELD_STR, image),
        C("Volumes", FIELD_SET, volumes),
        C("WorkingDir", FIELD_STR, working_dir),
        C("Entrypoint", FIELD_LIST, entrypoint),
        { "OnBuild", FIELD_RAW, .raw = "null" },
        C("Labels", FIELD_MAP, labels),
        C("StopSignal", FIELD_STR, stop_signal, .omit_empty = true),
        C("StopTimeout", FIELD_INT, stop_timeout, .omit_empty = true),
        {},
};
#undef C

#define H(name, form, member, ...) { name, form, offsetof(HostConfig, member), __VA_ARGS__ }
#define RAW(name, text) { name, FIELD_RAW, .raw = text }
#define CALL(name, w, r) { name, FIELD_CALL, .write = w, .read = r }
static const Field host_fields[] = {
        H("Binds", FIELD_LIST, binds),
        H("ContainerIDFile", FIELD_STR, cid_file),
        CALL("LogConfig", log_write, log_read),
        H("NetworkMode", FIELD_STR, network_mode),
        CALL("PortBindings", ports_write, ports_read),
        CALL("RestartPolicy", restart_write, restart_read),
        H("AutoRemove", FIELD_BOOL, auto_remove),
        RAW("VolumeDriver", "\"\""),
        H("VolumesFrom", FIELD_LIST, volumes_from),
        H("CapAdd", FIELD_LIST, cap_add),
        H("CapDrop", FIELD_LIST, cap_drop),
        RAW("CgroupnsMode", "\"host\""),
        H("Dns", FIELD_LIST0, dns),
        H("DnsOptions", FIELD_LIST0, dns_options),
        H("DnsSearch", FIELD_LIST0, dns_search),
        H("ExtraHosts", FIELD_LIST, extra_hosts),
        H("GroupAdd", FIELD_LIST, group_add),
        H("IpcMode", FIELD_STR, ipc_mode),
        RAW("Cgroup", "\"\""),
        H("Links", FIELD_LIST, links),
        H("OomScoreAdj", FIELD_INT, oom_score_adj),
        H("PidMode", FIELD_STR, pid_mode),
        H("Privileged", FIELD_BOOL, privileged),
        H("PublishAllPorts", FIELD_BOOL, publish_all),
        H("ReadonlyRootfs", FIELD_BOOL, readonly_rootfs),
        H("SecurityOpt", FIELD_LIST, security_opt),
        H("Tmpfs", FIELD_MAP, tmpfs, .omit_empty = true),
        H("UTSMode", FIELD_STR, uts_mode),
        H("UsernsMode", FIELD_STR, userns_mode),
        H("ShmSize", FIELD_INT, shm_size),
        H("Sysctls", FIELD_MAP, sysctls, .omit_empty = true),
        RAW("Runtime", "\"coracle\""),
        RAW("ConsoleSize", "[0,0]"),
        RAW("Isolation", "\"\""),
        H("CpuShares", FIELD_INT, cpu_shares),
        H("Memory", FIELD_INT, memory),
        H("NanoCpus", FIELD_INT, nano_cpus),
        RAW("CgroupParent", "\"\""),
        RAW("BlkioWeight", "0"),
        RAW("BlkioWeightDevice", "[]"),
        RAW("BlkioDeviceReadBps", "[]"),
        RAW("BlkioDeviceWriteBps", "[]"),
        RAW("BlkioDeviceReadIOps", "[]"),
        RAW("BlkioDeviceWriteIOps", "[]"),
        H("CpuPeriod", FIELD_INT, cpu_period),
        H("CpuQuota", FIELD_INT, cpu_quota),
        RAW("CpuRealtimePeriod", "0"),
        RAW("CpuRealtimeRuntime", "0"),
        H("CpusetCpus", FIELD_STR, cpuset_cpus),
        H("CpusetMems", FIELD_STR, cpuset_mems),
        CALL("Devices", devices_write, devices_read),
        RAW("DeviceCgroupRules", "null"),
        RAW("DeviceRequests", "null"),
        RAW("KernelMemory", "0"),
        RAW("KernelMemoryTCP", "0"),
        H("MemoryReservation", FIELD_INT, memory_reservation),
        H("MemorySwap", FIELD_INT, memory_swap),
        RAW("MemorySwappiness", "null"),
        RAW("OomKillDisable", "false"),
        H("PidsLimit", FIELD_INT_NULL, pids_limit),
        CALL("Ulimits", ulimits_write, ulimits_read),
        RAW("CpuCount", "0"),
        RAW("CpuPercent", "0"),
        RAW("IOMaximumIOps", "0"),
        RAW("IOMaximumBandwidth", "0"),
        H("Init", FIELD_BOOL, init, .omit_empty = true),
        CALL("MaskedPaths", masked_write, read_nothing),
        CALL("ReadonlyPaths", readonly_write, read_nothing),
        {},
};
#undef H

/* ---- mounts ---- */

static const Field mount_fields[] = {
        { "Type", FIELD_STR, offsetof(MountSpec, type) },
        { "Name", FIELD_STR, offsetof(MountSpec, name), .omit_empty = true },
        { "Source", FIELD_STR, offsetof(MountSpec, source) },
        { "Destination", FIELD_STR, offsetof(MountSpec, destination) },
        { "Mode", FIELD_STR, offsetof(MountSpec, mode) },
        { "RW", FIELD_BOOL, offsetof(MountSpec, rw) },
        { "Propagation", FIELD_STR, offsetof(MountSpec, propagation) },
        { "Anonymous", FIELD_BOOL, offsetof(MountSpec, anonymous), .omit_empty = true },
        { "NoCopy", FIELD_BOOL, offsetof(MountSpec, no_copy), .omit_empty = true },
        { "MakeSource", FIELD_BOOL, offsetof(MountSpec, make_source), .omit_empty = true },
        {},
};

MountSpec *container_spec_add_mount(ContainerSpec *s) {
        s->mounts = xrealloc(s->mounts, (s->n_mounts + 1) * sizeof(*s->mounts));
        s->mounts[s->n_mounts] = (MountSpec){};
        return &s->mounts[s->n_mounts++];
}

void mounts_write(const ContainerSpec *s, JsonOut *j) {
        jo_arr(j);
        for (size_t i = 0; i < s->n_mounts; i++)
                fields_write(mount_fields, &s->mounts[i], j);
        jo_end(j);
}

static void spec_mounts_write(const void *o, JsonOut *j) {
        mounts_write(o, j);
}

static void spec_mounts_read(void *o, const json_t *v) {
        for (size_t i = 0; i < json_array_size(v); i++)
                fields_read(mount_fields, container_spec_add_mount(o), json_array_get(v, i));
}

/* ---- the whole ---- */

void container_config_write(const ContainerConfig *c, JsonOut *j) {
        fields_write(config_fields, c, j);
}

void host_config_write(const HostConfig *h, JsonOut *j) {
        fields_write(host_fields, h, j);
}

static void config_write(const void *o, JsonOut *j) {
        container_config_write(&((const ContainerSpec *) o)->config, j);
}

static void config_read(void *o, const json_t *v) {
        fields_read(config_fields, &((ContainerSpec *) o)->config, v);
}

static void host_write(const void *o, JsonOut *j) {
        host_config_write(&((const ContainerSpec *) o)->host, j);
}

static void host_read(void *o, const json_t *v) {
        fields_read(host_fields, &((ContainerSpec *) o)->host, v);
}

static const Field spec_fields[] = {
        { "Id", FIELD_STR, offsetof(ContainerSpec, id) },
        { "Name", FIELD_STR, offsetof(ContainerSpec, name) },
        { "CreatedNsec", FIELD_INT, offsetof(ContainerSpec, created_nsec) },
        { "Image", FIELD_STR, offsetof(ContainerSpec, image) },
        { "Rootfs", FIELD_STR, offsetof(ContainerSpec, rootfs), .omit_empty = true },
        { "LowerDirs", FIELD_LIST, offsetof(ContainerSpec, lowerdirs) },
        { "Path", FIELD_STR, offsetof(ContainerSpec, path) },
        { "Args", FIELD_LIST0, offsetof(ContainerSpec, args) },
        CALL("Mounts", spec_mounts_write, spec_mounts_read),
        CALL("Config", config_write, config_read),
        CALL("HostConfig", host_write, host_read),
        {},
};

ContainerSpec *container_spec_new(void) {
        ContainerSpec *s = xnew(ContainerSpec, 1);
        s->host.shm_size = 64 << 20;
        s->host.log_driver = xstrdup("json-file");
        s->host.network_mode = xstrdup("default");
        s->host.ipc_mode = xstrdup("private");
        return s;
}

ContainerSpec *container_spec_free(ContainerSpec *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_mounts; i++)
                fields_free(mount_fields, &s->mounts[i]);
        free(s->mounts);
        HostConfig *h = &s->host;
        ports_free(h->ports, h->n_ports);
        for (size_t i = 0; i < h->n_devices; i++)
                strings_free((char **const[]){ &h->devices[i].host, &h->devices[i].path,
                                               &h->devices[i].permissions }, 3);
        free(h->devices);
        for (size_t i = 0; i < h->n_ulimits; i++)
                free(h->ulimits[i].name);
        free(h->ulimits);
        free(h->restart_policy);
        fields_free(log_fields, h);
        fields_free(host_fields, h);
        fields_free(config_fields, &s->config);
        fields_free(spec_fields, s);
        free(s);
        return NULL;
}

void container_spec_write(const ContainerSpec *s, Buf *b) {
        JsonOut j = { .buf = b };
        fields_write(spec_fields, s, &j);
}

int container_spec_parse(const void *p, size_t n, ContainerSpec **ret, Err *err) {
        _cleanup_json_ json_t *j = NULL;
        int r = ji_parse(p, n, CONFIG_FILE_MAX, &j, err);
        if (r < 0)
                return r;
        _cleanup_(container_spec_freep) ContainerSpec *s = container_spec_new();
        fields_read(spec_fields, s, j);
        if (isempty(s->id) || !s->name || isempty(s->path))
                return err_set(err, -EINVAL, "a container's configuration needs Id, Name and Path");
        *ret = TAKE_PTR(s);
        return 0;
}

/* ---- state ---- */

static void state_ports_write(const void *o, JsonOut *j) {
        const ContainerState *s = o;
        write_bindings(s->net.ports, s->net.n_ports, j);
}

static void state_ports_read(void *o, const json_t *v) {
        ContainerState *s = o;
        ports_free(s->net.ports, s->net.n_ports);
        s->net.n_ports = read_bindings(v, &s->net.ports);
}

static void numbers_write(const void *o, JsonOut *j) {
        const ContainerState *s = o;
        jo_arr(j);
        jo_int(j, s->pid);
        jo_uint(j, s->pid_start);
        jo_int(j, s->exit_code);
        jo_uint(j, s->net.prefix);
        jo_end(j);
}

static void numbers_read(void *o, const json_t *v) {
        ContainerState *s = o;
        s->pid = (pid_t) json_integer_value(json_array_get(v, 0));
        s->pid_start = (uint64_t) json_integer_value(json_array_get(v, 1));
        s->exit_code = (int) json_integer_value(json_array_get(v, 2));
        s->net.prefix = (unsigned) json_integer_value(json_array_get(v, 3));
}

static const Field state_fields[] = {
        { "Running", FIELD_BOOL, offsetof(ContainerState, running) },
        { "Paused", FIELD_BOOL, offsetof(ContainerState, paused) },
        { "OOMKilled", FIELD_BOOL, offsetof(ContainerState, oom_killed) },
        { "StartedNsec", FIELD_INT, offsetof(ContainerState, started_nsec) },
        { "FinishedNsec", FIELD_INT, offsetof(ContainerState, finished_nsec) },
        { "Error", FIELD_STR, offsetof(ContainerState, error), .omit_empty = true },
        { "Cgroups", FIELD_LIST, offsetof(ContainerState, cgroups), .omit_empty = true },
        { "IPAddress", FIELD_STR, offsetof(ContainerState, net.ip), .omit_empty = true },
        { "Gateway", FIELD_STR, offsetof(ContainerState, net.gateway), .omit_empty = true },
        { "MacAddress", FIELD_STR, offsetof(ContainerState, net.mac), .omit_empty = true },
        CALL("PidStartExitPrefix", numbers_write, numbers_read),
        CALL("Ports", state_ports_write, state_ports_read),
        {},
};

void net_state_done(NetState *n) {
        ports_free(n->ports, n->n_ports);
        strings_free((char **const[]){ &n->ip, &n->gateway, &n->mac }, 3);
        *n = (NetState){};
}

void container_state_done(ContainerState *s) {
        ports_free(s->net.ports, s->net.n_ports);
        fields_free(state_fields, s);
        *s = (ContainerState){};
}

void container_state_write(const ContainerState *s, Buf *b) {
        JsonOut j = { .buf = b };
        fields_write(state_fields, s, &j);
}

int container_state_parse(const void *p, size_t n, ContainerState *ret, Err *err) {
        _cleanup_json_ json_t *j = NULL;
        int r = ji_parse(p, n, CONFIG_FILE_MAX, &j, err);
        if (r < 0)
                return r;
        container_state_done(ret);
        fields_read(state_fields, ret, j);
        return 0;
}

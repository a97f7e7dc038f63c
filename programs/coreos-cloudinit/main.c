/* SPDX-License-Identifier: Apache-2.0 */

/* coreos-cloudinit: one YAML file tells a machine who it is. */

#include "base/alloc.h"
#include "base/options.h"
#include "base/str.h"
#include "cloudinit/apply.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "sys/log.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char *arg_from_file, *arg_workspace, *arg_key_name, *arg_root;
static bool arg_validate, arg_version, arg_help, arg_ignore_failure, arg_dry_run;

static int unbuilt_source(const char *name, const char *value, Err *err) {
        return err_set(err, -EOPNOTSUPP,
                       "-%s is not built yet; fetch the user-data yourself and give it with -from-file",
                       name);
}

#define UNBUILT(n, meta)                                                                                    \
        { n, 0, OPT_CALL, NULL, meta, NULL, unbuilt_source }

static const Option options[] = {
        { "from-file", 0, OPT_STR, &arg_from_file, "PATH", "Read user-data from this file", NULL },
        { "validate", 0, OPT_BOOL, &arg_validate, NULL,
          "Only check the user-data; exit 1 if anything is found", NULL },
        { "dry-run", 0, OPT_BOOL, &arg_dry_run, NULL, "Only print what would be done, in order", NULL },
        { "root", 0, OPT_STR, &arg_root, "DIR", "Write files below DIR and start nothing", NULL },
        { "workspace", 0, OPT_STR, &arg_workspace, "DIR",
          "State folder (default: /var/lib/coreos-cloudinit)", NULL },
        { "ssh-key-name", 0, OPT_STR, &arg_key_name, "NAME",
          "Name of the key set (default: coreos-cloudinit)", NULL },
        { "ignore-failure", 0, OPT_BOOL, &arg_ignore_failure, NULL,
          "Exit 0 although the user-data is malformed", NULL },
        { "version", 0, OPT_BOOL, &arg_version, NULL, "Print the version", NULL },
        { "help", 'h', OPT_BOOL, &arg_help, NULL, "Show this help", NULL },
        UNBUILT("from-configdrive", "DIR"),
        UNBUILT("from-waagent", "DIR"),
        UNBUILT("from-metadata-service", NULL),
        UNBUILT("from-ec2-metadata", "URL"),
        UNBUILT("from-gce-metadata", "URL"),
        UNBUILT("from-digitalocean-metadata", "URL"),
        UNBUILT("from-packet-metadata", "URL"),
        UNBUILT("from-cloudsigma-metadata", NULL),
        UNBUILT("from-vmware-guestinfo", NULL),
        UNBUILT("from-vmware-ovf-env", "PATH"),
        UNBUILT("from-url", "URL"),
        UNBUILT("from-proc-cmdline", NULL),
        UNBUILT("oem", "NAME"),
        UNBUILT("convert-netconf", "KIND"),
        {},
};

static int read_user_data(Buf *ret, Err *err) {
        _cleanup_(buf_done) Buf raw = {};
        int r = read_file(arg_from_file, USER_DATA_MAX, &raw);
        if (r < 0)
                return err_errno(err, r, "cannot read %s", arg_from_file);
        if (raw.len >= 2 && (uint8_t) raw.data[0] == 0x1f && (uint8_t) raw.data[1] == 0x8b) {
                r = gunzip(raw.data, raw.len, USER_DATA_MAX, ret);
                return r < 0 ? err_errno(err, r, "cannot unpack %s", arg_from_file) : 0;
        }
        *ret = raw;
        raw = (Buf){};
        return 0;
}

static Substitutions addresses(void) {
        return (Substitutions){ .public_ipv4 = getenv("COREOS_PUBLIC_IPV4"),
                                .private_ipv4 = getenv("COREOS_PRIVATE_IPV4"),
                                .public_ipv6 = getenv("COREOS_PUBLIC_IPV6"),
                                .private_ipv6 = getenv("COREOS_PRIVATE_IPV6") };
}

/* A script runs as a transient unit of its own and is not waited for (A.3). */
static int run_script(const char *text, size_t n, Err *err) {
        _cleanup_free_ char *dir = path_join(arg_workspace, "scripts"),
                            *name = xasprintf("%016" PRIx64, random_u64()), *path = path_join(dir, name),
                            *unit = xasprintf("coreos-cloudinit-%s.service", name),
                            *note = path_join(dir, "unit-name");
        int r = mkdir_p(dir, 0700);
        if (r >= 0)
                r = write_file_atomic(path, text, n, 0744);
        if (r >= 0)
                r = write_file_atomic(note, unit, strlen(unit), 0644);
        if (r < 0)
                return err_errno(err, r, "cannot store the script in %s", dir);
        if (arg_root || arg_dry_run)
                return 0;
        _cleanup_free_ char *option = xasprintf("--unit=%s", unit);
        execlp("systemd-run", "systemd-run", "--quiet", "--no-block", option, "/bin/bash", path, NULL);
        return err_errno(err, -errno, "cannot start systemd-run");
}

static int apply_config(const Buf *text, Err *err) {
        char host[256] = "localhost";
        (void) gethostname(host, sizeof(host) - 1);
        const CloudPlanInput in = { .ssh_key_name = arg_key_name,
                                    .addresses = addresses(),
                                    .hostname = host };
        _cleanup_(cloud_plan_done) CloudPlan plan = {};
        int r = cloud_plan_from_config(&plan, buf_str(text), text->len, &in, err);
        if (r < 0)
                return r;
        if (!arg_dry_run)
                return cloud_plan_apply(&plan, arg_root, err);
        _cleanup_(buf_done) Buf b = {};
        cloud_plan_print(&plan, &b);
        fputs(buf_str(&b), stdout);
        return 0;
}

static int process(const Buf *raw, Err *err) {
        const Substitutions s = addresses();
        _cleanup_(buf_done) Buf text = {};
        substitute(&text, buf_str(raw), raw->len, &s);
        switch (user_data_kind(buf_str(&text), text.len)) {
        case USER_DATA_EMPTY:
                return 0;
        case USER_DATA_SCRIPT:
                return run_script(buf_str(&text), text.len, err);
        case USER_DATA_CONFIG:
                return apply_config(&text, err);
        case USER_DATA_IGNITION:
                log_notice("this is an Ignition config: nothing to do");
                return 0;
        case USER_DATA_UNKNOWN:
                break;
        }
        return err_set(err, -EINVAL,
                       "Unrecognized user-data format: the first line must be \"#cloud-config\" or "
                       "begin with \"#!\"");
}

static int run(Err *err) {
        _cleanup_(buf_done) Buf raw = {}, report = {};
        int r = read_user_data(&raw, err);
        if (r < 0)
                return r;
        unsigned n = validate_user_data(buf_str(&raw), raw.len, &report);
        fputs(buf_str(&report), stderr);
        if (arg_validate)
                return n > 0 ? err_set(err, -EINVAL, "%u finding%s", n, n == 1 ? "" : "s") : 0;
        return process(&raw, err);
}

int main(int argc, char **argv) {
        _cleanup_free_ char **rest = NULL;
        _cleanup_(err_done) Err err = {};
        log_open("coreos-cloudinit");
        int r = options_parse(options, OPTIONS_SINGLE_DASH_LONG, argc, argv, &rest, &err);
        if (r < 0 || (rest[0] && (r = err_set(&err, -EINVAL, "unexpected argument: %s", rest[0])) < 0)) {
                fprintf(stderr, "coreos-cloudinit: %s\n", err_msg(&err));
                return 2;
        }
        if (arg_version || arg_help) {
                _cleanup_free_ char *help = options_help(options);
                printf("coreos-cloudinit " CORACLE_VERSION "\n%s", arg_version ? "" : help);
                return 0;
        }
        if (!arg_from_file) {
                fprintf(stderr, "coreos-cloudinit: no source of user-data: give -from-file PATH\n");
                return 2;
        }
        if (!arg_workspace)
                arg_workspace = xstrdup("/var/lib/coreos-cloudinit");
        if (!arg_key_name)
                arg_key_name = xstrdup("coreos-cloudinit");
        r = run(&err);
        if (r < 0)
                fprintf(stderr, "coreos-cloudinit: %s\n", err_msg(&err));
        free(arg_from_file);
        free(arg_workspace);
        free(arg_key_name);
        free(arg_root);
        return r < 0 && !(arg_ignore_failure && r == -EINVAL && !arg_validate);
}

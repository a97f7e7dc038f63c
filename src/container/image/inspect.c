/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "base/time.h"
#include "codec/jsonout.h"
#include "container/image/store-internal.h"

/* The object of `docker inspect IMAGE` and GET /images/X/json, in Docker 20.10's field order. */

static void list(JsonOut *j, const char *key, char *const *l, bool null_when_empty) {
        jo_key(j, key);
        if (!l && null_when_empty) {
                jo_null(j);
                return;
        }
        jo_arr(j);
        STRV_FOREACH(i, l)
                jo_str(j, *i);
        jo_end(j);
}

/* {"80/tcp":{}}; left out when empty. */
static void set(JsonOut *j, const char *key, char *const *l) {
        if (!l)
                return;
        jo_key(j, key);
        jo_obj(j);
        STRV_FOREACH(i, l) {
                jo_key(j, *i);
                jo_obj(j);
                jo_end(j);
        }
        jo_end(j);
}

static void labels(JsonOut *j, char *const *l) {
        jo_key(j, "Labels");
        if (!l) {
                jo_null(j);
                return;
        }
        jo_obj(j);
        STRV_FOREACH(i, l) {
                const char *eq = strchr(*i, '=');
                _cleanup_free_ char *key = xstrndup(*i, (size_t) (eq - *i));
                jo_kstr(j, key, eq + 1);
        }
        jo_end(j);
}

static void healthcheck(JsonOut *j, const ImageConfig *c) {
        if (!c->healthcheck_test)
                return;
        jo_key(j, "Healthcheck");
        jo_obj(j);
        list(j, "Test", c->healthcheck_test, false);
        if (c->healthcheck_interval_nsec)
                jo_kint(j, "Interval", c->healthcheck_interval_nsec);
        if (c->healthcheck_timeout_nsec)
                jo_kint(j, "Timeout", c->healthcheck_timeout_nsec);
        if (c->healthcheck_start_period_nsec)
                jo_kint(j, "StartPeriod", c->healthcheck_start_period_nsec);
        if (c->healthcheck_retries)
                jo_kint(j, "Retries", c->healthcheck_retries);
        jo_end(j);
}

/* Docker's container.Config, of which an image uses a part. */
static void config(JsonOut *j, const Image *i) {
        const ImageConfig *c = &i->config;
        jo_obj(j);
        jo_kstr(j, "Hostname", "");
        jo_kstr(j, "Domainname", "");
        jo_kstr(j, "User", strempty(c->user));
        jo_kbool(j, "AttachStdin", false);
        jo_kbool(j, "AttachStdout", false);
        jo_kbool(j, "AttachStderr", false);
        set(j, "ExposedPorts", c->exposed_ports);
        jo_kbool(j, "Tty", false);
        jo_kbool(j, "OpenStdin", false);
        jo_kbool(j, "StdinOnce", false);
        list(j, "Env", c->env, true);
        list(j, "Cmd", c->cmd, true);
        healthcheck(j, c);
        jo_kstr(j, "Image", "");
        jo_key(j, "Volumes");
        if (!c->volumes)
                jo_null(j);
        else {
                jo_obj(j);
                STRV_FOREACH(v, c->volumes) {
                        jo_key(j, *v);
                        jo_obj(j);
                        jo_end(j);
                }
                jo_end(j);
        }
        jo_kstr(j, "WorkingDir", strempty(c->working_dir));
        list(j, "Entrypoint", c->entrypoint, true);
        jo_key(j, "OnBuild");
        jo_null(j);
        labels(j, c->labels);
        if (c->stop_signal)
                jo_kstr(j, "StopSignal", c->stop_signal);
        if (c->shell)
                list(j, "Shell", c->shell, false);
        jo_end(j);
}

static void graph_driver(const ImageStore *s, const Image *i, JsonOut *j) {
        jo_key(j, "GraphDriver");
        jo_obj(j);
        jo_key(j, "Data");
        jo_obj(j);
        size_t n = strv_len(i->chain_ids);
        if (n > 1) {
                _cleanup_strv_ char **lower = NULL;
                for (size_t k = n - 1; k-- > 0;)
                        strv_push(&lower, store_path(s, "layers/%s/fs", i->chain_ids[k]));
                _cleanup_free_ char *joined = strv_join(lower, ":");
                jo_kstr(j, "LowerDir", joined);
        }
        if (n > 0) {
                _cleanup_free_ char *top = store_path(s, "layers/%s/fs", i->chain_ids[n - 1]);
                jo_kstr(j, "UpperDir", top);
        }
        jo_end(j);
        jo_kstr(j, "Name", "overlay2");
        jo_end(j);
}

static void root_fs(const Image *i, JsonOut *j) {
        jo_key(j, "RootFS");
        jo_obj(j);
        jo_kstr(j, "Type", "layers");
        if (strv_len(i->diff_ids) > 0) {
                jo_key(j, "Layers");
                jo_arr(j);
                STRV_FOREACH(d, i->diff_ids) {
                        _cleanup_free_ char *digest = xasprintf("sha256:%s", *d);
                        jo_str(j, digest);
                }
                jo_end(j);
        }
        jo_end(j);
}

void image_write_inspect(const ImageStore *s, const Image *i, JsonOut *j) {
        char created[40];
        _cleanup_free_ char *id = xasprintf("sha256:%s", i->id);
        jo_obj(j);
        jo_kstr(j, "Id", id);
        list(j, "RepoTags", i->repo_tags, false);
        list(j, "RepoDigests", i->repo_digests, false);
        jo_kstr(j, "Parent", "");
        jo_kstr(j, "Comment", strempty(i->comment));
        jo_kstr(j, "Created", i->created_nsec ? format_rfc3339(created, i->created_nsec, 9, true) : "0001-01-01T00:00:00Z");
        jo_kstr(j, "Container", "");
        jo_kstr(j, "DockerVersion", strempty(i->docker_version));
        jo_kstr(j, "Author", strempty(i->author));
        jo_key(j, "Config");
        config(j, i);
        jo_kstr(j, "Architecture", strempty(i->architecture));
        if (i->variant)
                jo_kstr(j, "Variant", i->variant);
        jo_kstr(j, "Os", strempty(i->os));
        jo_kint(j, "Size", i->size);
        jo_kint(j, "VirtualSize", i->size);
        graph_driver(s, i, j);
        root_fs(i, j);
        jo_key(j, "Metadata");
        jo_obj(j);
        jo_kstr(j, "LastTagTime", "0001-01-01T00:00:00Z");
        jo_end(j);
        jo_end(j);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"
#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "sys/fs.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define CLUSTER_FILE_MAX (64U << 10)

void cluster_init(Cluster *c, unsigned n_nodes) {
        *c = (Cluster){ .name = xstrdup(arg_name),
                        .home = xstrdup(arg_home),
                        .dir = path_join(arg_home, arg_name),
                        .subnet = xstrdup(arg_subnet ? arg_subnet : "10.99.0"),
                        .n_nodes = n_nodes };
}

void cluster_done(Cluster *c) {
        free(c->name);
        free(c->home);
        free(c->dir);
        free(c->subnet);
        *c = (Cluster){};
}

char *cluster_gateway(const Cluster *c) {
        return xasprintf("%s.1", c->subnet);
}

int cluster_save(const Cluster *c, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b };
        jo_obj(&j);
        jo_kint(&j, "nodes", c->n_nodes);
        jo_kstr(&j, "subnet", c->subnet);
        jo_end(&j);
        buf_addc(&b, '\n');
        _cleanup_free_ char *path = path_join(c->dir, "cluster.json");
        int r = mkdir_p(c->dir, 0755);
        if (r >= 0)
                r = write_file_atomic(path, b.data, b.len, 0644);
        return r < 0 ? err_errno(err, r, "cannot write %s", path) : 0;
}

int cluster_load(Cluster *c, Err *err) {
        _cleanup_free_ char *path = xasprintf("%s/%s/cluster.json", arg_home, arg_name);
        _cleanup_(buf_done) Buf b = {};
        int r = read_file(path, CLUSTER_FILE_MAX, &b);
        if (r == -ENOENT)
                return err_set(err, r, "there is no cluster named %s; `coracle up` starts one", arg_name);
        if (r < 0)
                return err_errno(err, r, "cannot read %s", path);
        _cleanup_json_ json_t *j = NULL;
        r = ji_parse(b.data, b.len, CLUSTER_FILE_MAX, &j, err);
        if (r < 0)
                return err_wrap(err, r, "%s", path);
        int64_t n = ji_int(j, "nodes", 0);
        const char *subnet = ji_str(j, "subnet");
        if (n < 1 || n > CLUSTER_NODES_MAX || !subnet)
                return err_set(err, -EINVAL, "%s does not describe a cluster", path);
        cluster_init(c, (unsigned) n);
        free(c->subnet);
        c->subnet = xstrdup(subnet);
        return 0;
}

/* The folder of this program, and with it of the build tree or of the installation. */
static char *exe_dir(void) {
        char exe[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
        if (n <= 0)
                return xstrdup(".");
        exe[n] = 0;
        *strrchr(exe, '/') = 0;
        return xstrdup(exe);
}

static int first_existing(char *const *candidates, const char *what, char **ret, Err *err) {
        STRV_FOREACH(p, candidates)
                if (access(*p, F_OK) == 0) {
                        char *real = realpath(*p, NULL);
                        if (!real)
                                continue;
                        *ret = real;
                        return 0;
                }
        _cleanup_free_ char *list = strv_join(candidates, ", ");
        return err_set(err, -ENOENT, "cannot find %s (looked for %s); `make layer` makes it", what, list);
}

int find_layer(char **ret, Err *err) {
        _cleanup_free_ char *dir = exe_dir();
        _cleanup_strv_ char **l = NULL;
        const char *env = getenv("CORACLE_LAYER");
        if (env)
                strv_add(&l, env);
        strv_addf(&l, "%s/../../layer", dir);
        strv_addf(&l, "%s/../lib/coracle/layer", dir);
        return first_existing(l, "the layer with the nodes' programs", ret, err);
}

int find_tool(const char *name, char **ret, Err *err) {
        _cleanup_free_ char *dir = exe_dir();
        _cleanup_strv_ char **l = NULL;
        strv_addf(&l, "%s/../../../tools/%s", dir, name);
        strv_addf(&l, "%s/../lib/coracle/%s", dir, name);
        return first_existing(l, name, ret, err);
}

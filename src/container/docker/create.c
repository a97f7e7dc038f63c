/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker/create.h"
#include "base/str.h"
#include "container/docker/parse.h"
#include "container/run/caps.h"
#include "container/run/log.h"
#include "container/run/network.h"
#include "container/run/units.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <sys/stat.h>

#define MEMORY_MIN (6 << 20)

/* ---- the image's configuration ---- */

/* The image's environment first, then what the client sets. */
static void merge_env(ContainerConfig *c, char *const *image_env) {
        char **env = strv_copy(image_env);
        STRV_FOREACH(e, c->env)
                (void) add_env(*e, NULL, &env, NULL);
        strv_free(c->env);
        c->env = env;
        bool has_path = false;
        STRV_FOREACH(e, env)
                has_path |= startswith(*e, "PATH=") != NULL;
        if (!has_path)
                strv_add(&c->env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

static void merge_labels(ContainerConfig *c, char *const *image_labels) {
        STRV_FOREACH(l, image_labels) {
                size_t key = strcspn(*l, "=");
                bool set = false;
                STRV_FOREACH(own, c->labels)
                        set |= strncmp(*own, *l, key + 1) == 0;
                if (!set)
                        strv_add(&c->labels, *l);
        }
        strv_sort(c->labels);
}

static int merge_command(ContainerSpec *s, const ImageConfig *i, bool entrypoint_set, Err *err) {
        ContainerConfig *c = &s->config;
        if (!entrypoint_set) {
                c->entrypoint = strv_copy(i->entrypoint);
                if (!c->cmd)
                        c->cmd = strv_copy(i->cmd);
        }
        _cleanup_strv_ char **all = strv_copy(c->entrypoint);
        STRV_FOREACH(w, c->cmd)
                strv_add(&all, *w);
        if (!all || isempty(all[0]))
                return err_set(err, -EINVAL, "No command specified");
        s->path = xstrdup(all[0]);
        for (char **w = all + 1; *w; w++)
                strv_add(&s->args, *w);
        return 0;
}

static int merge_image(ContainerSpec *s, const Image *image, bool entrypoint_set, Err *err) {
        const ImageConfig *i = &image->config;
        ContainerConfig *c = &s->config;
        s->image = xstrdup(image->id);
        s->lowerdirs = strv_copy(image->lowerdirs);
        merge_env(c, i->env);
        merge_labels(c, i->labels);
        if (!c->user && i->user)
                c->user = xstrdup(i->user);
        if (!c->working_dir && i->working_dir)
                c->working_dir = xstrdup(i->working_dir);
        if (!c->stop_signal && i->stop_signal)
                c->stop_signal = xstrdup(i->stop_signal);
        STRV_FOREACH(p, i->exposed_ports) {
                int r = parse_expose(*p, &c->exposed_ports, err);
                if (r < 0)
                        return r;
        }
        for (size_t k = 0; k < s->host.n_ports; k++) {
                _cleanup_free_ char *word = xasprintf("%u/%s", s->host.ports[k].port, s->host.ports[k].proto);
                if (!strv_contains(c->exposed_ports, word))
                        strv_add(&c->exposed_ports, word);
        }
        strv_sort(c->exposed_ports);
        if (s->host.publish_all)
                STRV_FOREACH(p, c->exposed_ports) {
                        bool have = false;
                        for (size_t k = 0; k < s->host.n_ports; k++) {
                                _cleanup_free_ char *w = xasprintf("%u/%s", s->host.ports[k].port, s->host.ports[k].proto);
                                have |= streq(w, *p);
                        }
                        if (!have && parse_publish(*p, &s->host, err) < 0)
                                return -EINVAL;
                }
        return merge_command(s, i, entrypoint_set, err);
}

/* ---- volumes ---- */

static bool has_destination(const ContainerSpec *s, const char *path) {
        for (size_t i = 0; i < s->n_mounts; i++)
                if (streq_ptr(s->mounts[i].destination, path))
                        return true;
        return false;
}

static void copy_mount(ContainerSpec *s, const MountSpec *from, bool rw) {
        MountSpec *m = container_spec_add_mount(s);
        m->type = xstrdup(from->type);
        m->name = from->name ? xstrdup(from->name) : NULL;
        m->source = xstrdup(from->source);
        m->destination = xstrdup(from->destination);
        m->mode = xstrdup(strempty(from->mode));
        m->propagation = xstrdup(strempty(from->propagation));
        m->rw = from->rw && rw;
}

static int add_volumes_from(Store *store, ContainerSpec *s, const char *word, Err *err) {
        const char *colon = strchr(word, ':');
        _cleanup_free_ char *name = colon ? xstrndup(word, (size_t) (colon - word)) : xstrdup(word);
        if (colon && !streq(colon, ":ro") && !streq(colon, ":rw") && !streq(colon, ":z"))
                return err_set(err, -EINVAL, "invalid mode for volumes-from: %s", colon + 1);
        _cleanup_(container_freep) Container *c = NULL;
        int r = container_get(store, name, &c, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->spec->n_mounts; i++)
                if (!streq(c->spec->mounts[i].type, "tmpfs") && !has_destination(s, c->spec->mounts[i].destination))
                        copy_mount(s, &c->spec->mounts[i], !colon || !streq(colon, ":ro"));
        return 0;
}

/* Gives volumes their folder, anonymous ones their name. */
static int resolve_volumes(Store *store, ContainerSpec *s, Err *err) {
        for (size_t i = 0; i < s->n_mounts; i++) {
                MountSpec *m = &s->mounts[i];
                if (!streq(m->type, "volume") || m->source)
                        continue;
                if (!m->name) {
                        m->name = container_new_id();
                        m->anonymous = true;
                }
                bool made;
                int r = volume_make(store, m->name, &m->source, &made, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --mount type=bind does not make its source; -v does, unless the store itself would be meant. */
static int check_bind(const MountSpec *m, Err *err) {
        /* A folder in the socket's place would be no use to anybody, and in the way of a later API server. */
        if (streq(m->type, "bind") && endswith(m->source, "/docker.sock") && access(m->source, F_OK) < 0)
                return err_set(err, -ENOENT, "nothing listens on %s: this engine has no daemon and no API server yet "
                               "(see docs/compat/docker.md)", m->source);
        if (!streq(m->type, "bind") || m->make_source || access(m->source, F_OK) >= 0)
                return 0;
        return err_set(err, -ENOENT, "invalid mount config for type \"bind\": bind source path does not exist: %s",
                       m->source);
}

static int add_tmpfs(ContainerSpec *s, const char *word) {
        const char *eq = strchr(word, '=');
        MountSpec *m = container_spec_add_mount(s);
        m->type = xstrdup("tmpfs");
        m->source = xstrdup("");
        m->destination = xstrndup(word, (size_t) (eq - word));
        m->mode = xstrdup(eq + 1);
        m->rw = true;
        return 0;
}

static int add_mounts(Store *store, CreateRequest *q, char *const *image_volumes, Err *err) {
        ContainerSpec *s = q->spec;
        int r = 0;
        for (char *const *v = q->volumes; r >= 0 && v && *v; v++) {
                r = parse_volume(*v, container_spec_add_mount(s), err);
                if (r >= 0 && strchr(*v, ':'))
                        strv_add(&s->host.binds, *v);
                else if (r >= 0)
                        strv_add(&s->config.volumes, s->mounts[s->n_mounts - 1].destination);
                if (r >= 0)
                        r = check_bind(&s->mounts[s->n_mounts - 1], err);
        }
        for (char *const *v = q->mounts; r >= 0 && v && *v; v++) {
                r = parse_mount(*v, container_spec_add_mount(s), err);
                if (r >= 0)
                        r = check_bind(&s->mounts[s->n_mounts - 1], err);
        }
        for (size_t i = 0; r >= 0 && i < s->n_mounts; i++)
                for (size_t k = 0; k < i; k++)
                        if (streq(s->mounts[i].destination, s->mounts[k].destination))
                                return err_set(err, -EINVAL, "Duplicate mount point: %s", s->mounts[i].destination);
        STRV_FOREACH(t, s->host.tmpfs)
                if (!has_destination(s, *t))
                        (void) add_tmpfs(s, *t);
        for (char *const *v = s->host.volumes_from; r >= 0 && v && *v; v++)
                r = add_volumes_from(store, s, *v, err);
        for (char *const *v = image_volumes; r >= 0 && v && *v; v++) {
                if (!strv_contains(s->config.volumes, *v))
                        strv_add(&s->config.volumes, *v);
                if (!has_destination(s, *v))
                        r = parse_volume(*v, container_spec_add_mount(s), err);
        }
        return r < 0 ? r : resolve_volumes(store, s, err);
}

/* ---- checks ---- */

/* "container:NAME" is kept as "container:<id>", so that a later rename does not matter. */
static int resolve_mode(Store *store, char **mode, Err *err) {
        const char *name = startswith(strempty(*mode), "container:");
        if (!name)
                return 0;
        _cleanup_free_ char *id = NULL;
        int r = container_find(store, name, &id, err);
        if (r < 0)
                return r;
        free(*mode);
        *mode = xasprintf("container:%s", id);
        return 0;
}

static int resolve_links(Store *store, ContainerSpec *s, Err *err) {
        STRV_FOREACH(l, s->host.links) {
                const char *colon = strchr(*l, ':');
                _cleanup_free_ char *name = colon ? xstrndup(*l, (size_t) (colon - *l)) : xstrdup(*l);
                _cleanup_free_ char *id = NULL;
                int r = container_find(store, name, &id, NULL);
                if (r < 0)
                        return err_set(err, -EINVAL, "could not get container for %s: No such container: %s", name, name);
        }
        if (s->host.links && network_mode(s->host.network_mode) != NETWORK_OWN_BRIDGE)
                return err_set(err, -EINVAL, "conflicting options: links need the bridge network");
        return 0;
}

static int check(Store *store, ContainerSpec *s, Err *err) {
        HostConfig *h = &s->host;
        uint64_t caps;
        if (network_mode(h->network_mode) == NETWORK_UNKNOWN)
                return err_set(err, -EINVAL, "network %s not found: this engine has bridge, host, none and "
                               "container:NAME", h->network_mode);
        if (h->n_ports > 0 && network_mode(h->network_mode) == NETWORK_CONTAINER)
                return err_set(err, -EINVAL, "conflicting options: port publishing and the container type network mode");
        if (h->memory > 0 && h->memory < MEMORY_MIN)
                return err_set(err, -EINVAL, "Minimum memory limit allowed is 6MB");
        if (h->memory_swap > 0 && h->memory == 0)
                return err_set(err, -EINVAL, "You should always set the Memory limit when using Memoryswap limit");
        if (h->memory_swap > 0 && h->memory_swap < h->memory)
                return err_set(err, -EINVAL, "Minimum memoryswap limit should be larger than memory limit");
        if (h->cpu_shares < 0)
                return err_set(err, -EINVAL, "invalid CPU shares (%" PRId64 ")", h->cpu_shares);
        if (h->oom_score_adj < -1000 || h->oom_score_adj > 1000)
                return err_set(err, -EINVAL, "Invalid value %" PRId64 ", range for oom score adj is [-1000, 1000]",
                               h->oom_score_adj);
        if (s->config.stop_signal && parse_signal(s->config.stop_signal) < 0)
                return err_set(err, -EINVAL, "Invalid signal: %s", s->config.stop_signal);
        int r = caps_compute(h->privileged, h->cap_add, h->cap_drop, &caps, err);
        if (r >= 0)
                r = log_driver_check(h->log_driver, h->log_options, err);
        if (r >= 0)
                r = resolve_mode(store, &h->network_mode, err);
        if (r >= 0)
                r = resolve_mode(store, &h->pid_mode, err);
        if (r >= 0)
                r = resolve_mode(store, &h->ipc_mode, err);
        return r < 0 ? r : resolve_links(store, s, err);
}

static void default_hostname(ContainerSpec *s) {
        if (s->config.hostname)
                return;
        NetworkMode mode = network_mode(s->host.network_mode);
        char name[256] = "";
        if ((mode == NETWORK_HOST || streq_ptr(s->host.uts_mode, "host")) && gethostname(name, sizeof(name) - 1) >= 0)
                s->config.hostname = xstrdup(name);
        else
                s->config.hostname = xstrndup(s->id, 12);
}

int container_create_from_image(Store *store, ImageStore *images, CreateRequest *q, int *ret_lock, Err *err) {
        ContainerSpec *s = q->spec;
        _cleanup_(image_freep) Image *image = NULL;
        int r = image_resolve(images, s->config.image, &image, err);
        if (r >= 0)
                r = check(store, s, err);
        if (r >= 0)
                r = merge_image(s, image, q->entrypoint_set, err);
        if (r < 0)
                return r;
        s->id = container_new_id();
        s->created_nsec = now_wall_nsec();
        default_hostname(s);
        r = add_mounts(store, q, image->config.volumes, err);
        if (r < 0)
                return r;
        _cleanup_close_ int lock = -EBADF;
        r = container_create(store, s, &lock, err);
        if (r < 0)
                return r;
        _cleanup_free_ char *dir = container_store_path(store, "containers/%s", s->id);
        r = image_pin(images, image->id, dir, err);
        if (r < 0) {
                (void) rm_rf(dir);
                return r;
        }
        r = container_publish(store, s, err);
        if (r >= 0)
                *ret_lock = TAKE_FD(lock);
        return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/server.h"

#include "base/alloc.h"
#include "base/str.h"
#include "codec/jsonout.h"
#include "fleet/address.h"
#include "fleet/agent.h"
#include "fleet/api.h"
#include "fleet/engine.h"
#include "fleet/presence.h"
#include "fleet/release.h"
#include "sys/fs.h"
#include "sys/log.h"

#include <systemd/sd-daemon.h>

#define ADDRESS_INTERVAL (60 * USEC_PER_SEC)
#define ADDRESS_INTERVAL_NONE (2 * USEC_PER_SEC) /* while there is none yet */
#define LEAVE_PATIENCE (80 * USEC_PER_SEC)       /* systemd's default for stopping a service is 90 s */

struct Server {
        sd_event *event;
        FleetConfig config;
        char *machine_id, *address;
        TlsContext *tls;
        EtcdClient *etcd;
        Registry *registry;
        Presence *presence;
        Agent *agent;
        Engine *engine; /* NULL when disabled */
        Api *api;
        HttpServer *http;
        sd_event_source *address_timer;
        Release *release;
        bool stopping;
};

/* ---- sessions ---- */

static void on_session(int64_t lease, void *user) {
        Server *s = user;
        (void) sd_notifyf(false, "STATUS=machine %s is part of the cluster", s->machine_id);
        api_set_ready(s->api, true);
        agent_session(s->agent, lease);
        if (s->engine)
                engine_session(s->engine, lease);
}

static void on_lost(void *user) {
        Server *s = user;
        (void) sd_notifyf(false, "STATUS=no contact with the cluster; units go on running");
        api_set_ready(s->api, false);
        agent_session_lost(s->agent);
        if (s->engine)
                engine_session_lost(s->engine);
}

/* ---- this machine ---- */

static char *find_address(const Server *s) {
        return s->config.public_ip ? xstrdup(s->config.public_ip) : address_of_machine();
}

static int on_address(sd_event_source *source, uint64_t usec, void *user);

static void refresh_address(Server *s) {
        free(s->address);
        s->address = find_address(s);
        if (s->presence)
                presence_update(s->presence, s->address, &s->config.metadata);
        s->address_timer = sd_event_source_disable_unref(s->address_timer);
        (void) sd_event_add_time_relative(s->event, &s->address_timer, CLOCK_MONOTONIC,
                                          *s->address ? ADDRESS_INTERVAL : ADDRESS_INTERVAL_NONE, 1, on_address, s);
}

static int on_address(sd_event_source *source, uint64_t usec, void *user) {
        refresh_address(user);
        return 0;
}

static int read_id(const char *path, char **ret, Err *err) {
        _cleanup_free_ char *line = NULL;
        int r = read_line_file(path, &line);
        if (r < 0)
                return err_errno(err, r, "cannot read %s", path);
        char *id = strstrip(line);
        if (!*id)
                return err_set(err, -EINVAL, "%s is empty: this machine has no id", path);
        *ret = xstrdup(id);
        return 0;
}

/* ---- building ---- */

static int make_etcd(Server *s, Err *err) {
        const FleetConfig *c = &s->config;
        TlsClientConfig tls = { .ca_file = c->etcd_cafile, .cert_file = c->etcd_certfile, .key_file = c->etcd_keyfile };
        int r;

        if (c->etcd_cafile || c->etcd_certfile) {
                r = tls_client_context_new(&tls, &s->tls, err);
                if (r < 0)
                        return err_wrap(err, r, "etcd's certificates");
        }
        EtcdClientConfig config = { .event = s->event,
                                    .endpoints = c->etcd_servers,
                                    .tls = s->tls,
                                    .timeout = c->etcd_timeout,
                                    .require_leader = true };
        r = etcd_client_new(&config, &s->etcd, err);
        return r < 0 ? err_wrap(err, r, "etcd_servers") : 0;
}

static int make_listeners(Server *s, const int *fds, size_t n, Err *err) {
        HttpServerConfig config = { .event = s->event, .handler = api_handle, .user = s->api };

        s->http = http_server_new(&config);
        for (size_t i = 0; i < n; i++) {
                int r = http_server_listen_fd(s->http, fds[i], NULL, err);
                if (r < 0)
                        return err_wrap(err, r, "socket %d from systemd", fds[i]);
        }
        if (n > 0)
                return 0;
        STRV_FOREACH(url, s->config.listen) {
                int r = http_server_listen(s->http, *url, NULL, err);
                if (r < 0)
                        return err_wrap(err, r, "listen on %s", *url);
        }
        return 0;
}

static int make_parts(Server *s, Err *err) {
        const FleetConfig *c = &s->config;
        _cleanup_free_ char *boot = NULL;
        int r = read_id("/proc/sys/kernel/random/boot_id", &boot, err);
        if (r < 0)
                return r;

        s->registry = registry_new(s->etcd, c->prefix, c->agent_ttl);
        if (!c->disable_engine)
                s->engine = engine_new(s->event, s->registry, s->machine_id);
        AgentConfig agent = { .event = s->event,
                              .registry = s->registry,
                              .machine_id = s->machine_id,
                              .units_directory = c->units_directory,
                              .systemd_user = c->systemd_user,
                              .metadata = &c->metadata };
        s->agent = agent_new(&agent);
        ApiConfig api = { .registry = s->registry, .engine = s->engine, .token_limit = c->token_limit };
        s->api = api_new(&api);

        refresh_address(s);
        MachineRecord self = { .id = s->machine_id, .ip = s->address, .version = (char *) CORACLE_VERSION,
                               .boot = boot, .metadata = c->metadata, .engine_disabled = c->disable_engine };
        PresenceConfig presence = { .event = s->event, .registry = s->registry, .self = &self, .ttl = c->agent_ttl,
                                    .on_session = on_session, .on_lost = on_lost, .user = s };
        s->presence = presence_new(&presence);
        return 0;
}

int server_new(sd_event *event, FleetConfig *config, const int *fds, size_t n, Server **ret, Err *err) {
        _cleanup_(server_freep) Server *s = xnew(Server, 1);

        s->event = sd_event_ref(event);
        s->config = *config;
        *config = (FleetConfig){};
        int r = read_id("/etc/machine-id", &s->machine_id, err);
        if (r >= 0)
                r = make_etcd(s, err);
        if (r >= 0)
                r = make_parts(s, err);
        if (r >= 0)
                r = make_listeners(s, fds, n, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;
        sd_event_source_disable_unref(s->address_timer);
        s->http = http_server_free(s->http);
        s->api = api_free(s->api);
        s->release = release_free(s->release);
        s->presence = presence_free(s->presence);
        s->agent = agent_free(s->agent);
        s->engine = engine_free(s->engine);
        s->registry = registry_free(s->registry);
        s->etcd = etcd_client_free(s->etcd);
        tls_context_unref(s->tls);
        fleet_config_done(&s->config);
        free(s->machine_id);
        free(s->address);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

/* ---- reload ---- */

static bool same_list(char **a, char **b) {
        _cleanup_free_ char *x = strv_join(a, "\n"), *y = strv_join(b, "\n");
        return streq(x, y);
}

static void name_unchangeable(const FleetConfig *old, const FleetConfig *new) {
        const struct {
                bool changed;
                const char *name;
        } keys[] = {
                { !streq_ptr(old->etcd_cafile, new->etcd_cafile), "etcd_cafile" },
                { !streq_ptr(old->etcd_certfile, new->etcd_certfile), "etcd_certfile" },
                { !streq_ptr(old->etcd_keyfile, new->etcd_keyfile), "etcd_keyfile" },
                { !streq_ptr(old->prefix, new->prefix), "etcd_key_prefix" },
                { old->etcd_timeout != new->etcd_timeout, "etcd_request_timeout" },
                { old->agent_ttl != new->agent_ttl, "agent_ttl" },
                { !streq_ptr(old->units_directory, new->units_directory), "units_directory" },
                { old->systemd_user != new->systemd_user, "systemd_user" },
                { old->disable_engine != new->disable_engine, "disable_engine" },
                { !same_list(old->listen, new->listen), "listen" },
        };
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (keys[i].changed)
                        log_warning("%s takes effect when fleetd is restarted (which does not disturb units)",
                                    keys[i].name);
}

void server_reload(Server *s, FleetConfig *config) {
        _cleanup_(fleet_config_done) FleetConfig old = s->config;
        _cleanup_(err_done) Err err = {};

        name_unchangeable(&old, config);
        s->config = *config;
        *config = (FleetConfig){};
        if (!same_list(old.etcd_servers, s->config.etcd_servers) &&
            etcd_client_set_endpoints(s->etcd, s->config.etcd_servers, &err) < 0)
                log_error("etcd_servers: %s", err_msg(&err));
        log_set_level(s->config.debug ? LOG_DEBUG : LOG_INFO);
        api_set_token_limit(s->api, s->config.token_limit);
        agent_set_configured_metadata(s->agent, &s->config.metadata);
        refresh_address(s);
        log_info("configuration read again");
}

/* ---- the end ---- */

static void leave_done(void *user) {
        Server *s = user;
        (void) sd_event_exit(s->event, 0);
}

/* After the lease has gone: otherwise the engine could put them here once more. */
static void leave_units(void *user) {
        Server *s = user;
        s->release = release_begin(s->registry, s->machine_id, leave_done, s);
}

static void leave_cluster(void *user) {
        Server *s = user;
        bool member = presence_lease(s->presence) != 0;
        presence_leave(s->presence, member ? leave_units : leave_done, s);
}

static void leave_engine(void *user) {
        Server *s = user;
        if (s->engine)
                engine_leave(s->engine, leave_cluster, s);
        else
                leave_cluster(s);
}

static void on_stopping_known(bool machine_stopping, void *user) {
        Server *s = user;

        if (machine_stopping || s->config.unload_on_stop) {
                log_info(machine_stopping ? "the machine is going down: leaving the cluster once its units have stopped" :
                                            "stopping and removing all units");
                agent_leave(s->agent, machine_stopping, LEAVE_PATIENCE, leave_engine, s);
                return;
        }
        log_info("stopping; %zu units are left running", agent_count(s->agent));
        if (s->engine)
                engine_leave(s->engine, leave_done, s);
        else
                leave_done(s);
}

void server_stop(Server *s) {
        if (s->stopping) {
                leave_done(s);
                return;
        }
        s->stopping = true;
        (void) sd_notify(false, "STOPPING=1");
        agent_machine_stopping(s->agent, on_stopping_known, s);
}

char *server_dump(const Server *s) {
        Buf b = {};
        JsonOut o = { .buf = &b };

        jo_obj(&o);
        jo_kstr(&o, "version", CORACLE_VERSION);
        jo_kstr(&o, "machineID", s->machine_id);
        jo_kstr(&o, "publicIP", s->address);
        jo_kint(&o, "lease", presence_lease(s->presence));
        jo_kstr(&o, "problem", presence_problem(s->presence));
        jo_kbool(&o, "leader", s->engine && engine_is_leader(s->engine));
        jo_kuint(&o, "units", agent_count(s->agent));
        jo_kstr(&o, "etcd", strempty(etcd_client_current(s->etcd)));
        jo_kuint(&o, "connections", http_server_connections(s->http));
        jo_end(&o);
        return buf_take(&b);
}

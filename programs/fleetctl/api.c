/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetctl.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "http/client.h"
#include "http/tls.h"

#include <stdio.h>
#include <stdlib.h>

#define BASE "/fleet/v1/"
#define PAGES_MAX 100000
#define RETRY_FOR_USEC (3 * USEC_PER_SEC) /* fleetd may just be starting */

static char *api_url;    /* "http://host" in front of the path; owned */
static char *api_socket; /* owned; NULL = TCP */
static TlsContext *api_tls;

/* ---- the endpoint ---- */

static int open_unix(const char *rest, Err *err) {
        const char *slash = strchr(rest, '/');
        size_t host = slash ? (size_t) (slash - rest) : strlen(rest);

        if (host > 0)
                return err_set(err, -EINVAL, "unable to connect to host \"%.*s\" with scheme \"unix\"", (int) host,
                               rest);
        if (!slash)
                return err_set(err, -EINVAL, "endpoint has no path to a socket");
        api_url = xstrdup("http://domain-sock");
        return arg_tunnel ? tunnel_open(NULL, slash, &api_socket, err) : (api_socket = xstrdup(slash), 0);
}

static int open_tls(Err *err) {
        TlsClientConfig config = { .ca_file = arg_ca_file, .cert_file = arg_cert_file, .key_file = arg_key_file };
        if (!arg_ca_file && !arg_cert_file)
                return 0;
        return tls_client_context_new(&config, &api_tls, err);
}

int api_open(Err *err) {
        if (!streq(arg_driver, "API")) {
                if (streq(arg_driver, "etcd"))
                        return err_set(err, -EINVAL, "driver \"etcd\" is not available: give a fleetd by --endpoint");
                return err_set(err, -EINVAL, "unrecognized driver \"%s\"", arg_driver);
        }
        _cleanup_strv_ char **endpoints = strv_split(arg_endpoint, ",", false);
        const char *e = endpoints ? endpoints[0] : "";
        if (strv_len(endpoints) > 1)
                say_error("WARNING: only the first endpoint is used: %s", e);

        const char *rest = strstr(e, "://");
        if (!rest)
                return err_set(err, -EINVAL, "URL scheme undefined");
        rest += 3;
        if (startswith(e, "unix://") || startswith(e, "file://"))
                return open_unix(rest, err);
        if (!startswith(e, "http://") && !startswith(e, "https://"))
                return err_set(err, -EINVAL, "unrecognized URL scheme in endpoint \"%s\"", e);
        size_t n = strlen(e);
        while (n > 0 && e[n - 1] == '/')
                n--;
        api_url = xstrndup(e, n);
        int r = open_tls(err);
        if (r >= 0 && arg_tunnel) {
                _cleanup_free_ char *host = xstrndup(rest, strcspn(rest, "/"));
                r = tunnel_open(host, NULL, &api_socket, err);
        }
        return r;
}

void api_close(void) {
        tunnel_close();
        tls_context_unref(api_tls);
        free(api_url);
        free(api_socket);
}

/* ---- calls ---- */

static int call_once(const HttpCallConfig *config, int *ret_status, json_t **ret_body, Err *err) {
        _cleanup_(http_result_done) HttpResult result = {};

        int r = http_fetch(config, api_tls, &result, err);
        if (r < 0)
                return r;
        *ret_status = result.status;
        if (ret_body) {
                *ret_body = NULL;
                if (result.call && result.call->body.len > 0)
                        (void) ji_parse(result.call->body.data, result.call->body.len, HTTP_CLIENT_BODY_MAX, ret_body,
                                        NULL);
        }
        return 0;
}

int api_call(const char *method, const char *path, const char *body, int *ret_status, json_t **ret_body, Err *err) {
        _cleanup_free_ char *url = xasprintf("%s" BASE "%s", api_url, path);
        const HttpHeader headers[] = { { "User-Agent", "fleetctl/" CORACLE_VERSION },
                                       { "Content-Type", "application/json" } };
        HttpCallConfig config = { .method = method,
                                  .url = url,
                                  .unix_path = api_socket,
                                  .headers = headers,
                                  .n_headers = body ? 2 : 1,
                                  .body = body,
                                  .body_size = body ? strlen(body) : 0 };
        Usec waited = 0;

        if (arg_debug)
                say_error("DEBUG %s %s %s", method, url, strempty(body));
        for (;;) {
                _cleanup_(err_done) Err failed = {};
                int r = call_once(&config, ret_status, ret_body, &failed);
                bool again = r < 0 ? r == -ECONNREFUSED || r == -ENOENT : *ret_status == 503;
                if (r >= 0 && (!again || waited >= RETRY_FOR_USEC))
                        return 0;
                if (r < 0 && (!again || waited >= RETRY_FOR_USEC))
                        return err_set(err, r, "%s", err_msg(&failed));
                if (r >= 0 && ret_body) {
                        json_decref(*ret_body);
                        *ret_body = NULL;
                }
                pause_usec(100 * USEC_PER_MSEC);
                waited += 100 * USEC_PER_MSEC;
        }
}

int api_request(const char *method, const char *path, const char *body, json_t **ret_body, Err *err) {
        _cleanup_json_ json_t *answer = NULL;
        int status = 0;

        int r = api_call(method, path, body, &status, &answer, err);
        if (r < 0)
                return r;
        if (status < 200 || status > 299) {
                const json_t *e = answer ? ji_obj(answer, "error") : NULL;
                const char *message = e ? ji_str(e, "message") : NULL;
                int code = status == 404 ? -ENOENT : -EREMOTE;
                if (!isempty(message))
                        return err_set(err, code, "googleapi: Error %d: %s", status, message);
                _cleanup_free_ char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
                return err_set(err, code, "googleapi: got HTTP response code %d with body: %s", status, strempty(text));
        }
        if (ret_body)
                *ret_body = TAKE_PTR(answer);
        return 0;
}

int api_list(const char *path, const char *key, json_t **ret, Err *err) {
        _cleanup_json_ json_t *all = json_array();
        _cleanup_free_ char *token = NULL;

        for (int page = 0; page < PAGES_MAX; page++) {
                _cleanup_json_ json_t *answer = NULL;
                _cleanup_free_ char *p = xasprintf("%s?alt=json%s%s", path, token ? "&nextPageToken=" : "",
                                                   strempty(token));
                int r = api_request("GET", p, NULL, &answer, err);
                if (r < 0)
                        return r;
                json_t *items = answer ? ji_arr(answer, key) : NULL;
                if (items)
                        (void) json_array_extend(all, items);
                const char *next = answer ? ji_str(answer, "nextPageToken") : NULL;
                if (isempty(next))
                        break;
                free(token);
                token = xstrdup(next);
        }
        *ret = TAKE_PTR(all);
        return 0;
}

char *api_unit_path(const char *collection, const char *name) {
        Buf b = {};
        buf_addf(&b, "%s/", collection);
        for (const char *c = name; *c; c++)
                if (strchr("-_.~:", *c) || (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
                    (*c >= 'a' && *c <= 'z'))
                        buf_addc(&b, *c);
                else
                        buf_addf(&b, "%%%02X", (unsigned char) *c);
        return buf_take(&b);
}

/* ---- units ---- */

void unit_done(Unit *u) {
        free(u->name);
        free(u->machine);
        unitfile_done(&u->options);
        xfleet_done(&u->req);
        *u = (Unit){};
}

int unit_from_json(const json_t *o, Unit *ret, Err *err) {
        const char *name = ji_str(o, "name"), *machine = ji_str(o, "machineID");
        size_t i;
        json_t *option;

        if (isempty(name))
                return err_set(err, -EBADMSG, "fleetd sent a unit without a name");
        *ret = (Unit){ .name = xstrdup(name), .machine = isempty(machine) ? NULL : xstrdup(machine) };
        UnitState current = unit_state_from_string(ji_str(o, "currentState"));
        UnitState desired = unit_state_from_string(ji_str(o, "desiredState"));
        ret->has_current = current >= 0;
        ret->current = current >= 0 ? current : UNIT_INACTIVE;
        ret->desired = desired >= 0 ? desired : UNIT_INACTIVE;
        json_array_foreach(ji_arr(o, "options"), i, option)
                unitfile_add(&ret->options, strempty(ji_str(option, "section")), strempty(ji_str(option, "name")),
                             strempty(ji_str(option, "value")));
        xfleet_read(&ret->options, name, &ret->req);
        return 0;
}

int unit_get(const char *name, Unit *ret, Err *err) {
        _cleanup_json_ json_t *o = NULL;
        _cleanup_free_ char *path = api_unit_path("units", name);
        _cleanup_(err_done) Err failed = {};

        int r = api_request("GET", path, NULL, &o, &failed);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return err_set(err, r, "%s", err_msg(&failed));
        r = unit_from_json(o, ret, err);
        return r < 0 ? r : 1;
}

static void write_options(JsonOut *o, const UnitFile *options) {
        jo_key(o, "options");
        jo_arr(o);
        for (size_t i = 0; i < options->n; i++) {
                jo_obj(o);
                jo_kstr(o, "name", options->options[i].name);
                jo_kstr(o, "section", options->options[i].section);
                jo_kstr(o, "value", options->options[i].value);
                jo_end(o);
        }
        jo_end(o);
}

static int put_unit(const char *name, const UnitFile *options, const char *state, Err *err) {
        _cleanup_(buf_done) Buf b = {};
        JsonOut o = { .buf = &b };
        _cleanup_free_ char *path = api_unit_path("units", name);

        jo_obj(&o);
        if (state)
                jo_kstr(&o, "desiredState", state);
        jo_kstr(&o, "name", name);
        if (options)
                write_options(&o, options);
        jo_end(&o);
        return api_request("PUT", path, b.data, NULL, err);
}

int unit_create(const char *name, const UnitFile *options, Err *err) {
        return put_unit(name, options, NULL, err);
}

int unit_set_state(const char *name, UnitState state, Err *err) {
        return put_unit(name, NULL, unit_state_to_string(state), err);
}

int unit_destroy(const char *name, Err *err) {
        _cleanup_free_ char *path = api_unit_path("units", name);
        _cleanup_(err_done) Err failed = {};

        int r = api_request("DELETE", path, NULL, NULL, &failed);
        if (r == -ENOENT)
                return 0;
        return r < 0 ? err_set(err, r, "%s", err_msg(&failed)) : 1;
}

/* ---- machines ---- */

void machines_done(Machines *m) {
        for (size_t i = 0; i < m->n; i++) {
                free(m->list[i].id);
                free(m->list[i].ip);
                metadata_done(&m->list[i].metadata);
        }
        free(m->list);
        *m = (Machines){};
}

int machines_get(Machines *ret, Err *err) {
        _cleanup_json_ json_t *all = NULL;
        size_t i;
        json_t *o, *value;
        const char *key;

        int r = api_list("machines", "machines", &all, err);
        if (r < 0)
                return r;
        *ret = (Machines){ .list = xnew(Machine, json_array_size(all) + 1) };
        json_array_foreach(all, i, o) {
                Machine *m = &ret->list[ret->n++];
                m->id = xstrdup(strempty(ji_str(o, "id")));
                m->ip = xstrdup(strempty(ji_str(o, "primaryIP")));
                json_object_foreach(ji_obj(o, "metadata"), key, value)
                        metadata_set(&m->metadata, key, strempty(json_string_value(value)));
        }
        return 0;
}

const Machine *machines_find(const Machines *m, const char *id) {
        for (size_t i = 0; i < m->n; i++)
                if (streq(m->list[i].id, id))
                        return &m->list[i];
        return NULL;
}

char *machine_label(const Machines *machines, const char *id, bool full) {
        const Machine *m = machines_find(machines, id);
        _cleanup_free_ char *shown = full ? xstrdup(id) : xasprintf("%.8s...", id);

        if (!m || isempty(m->ip))
                return TAKE_PTR(shown);
        return xasprintf("%s/%s", shown, m->ip);
}

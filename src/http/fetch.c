/* SPDX-License-Identifier: Apache-2.0 */

/* One call with a loop of its own, for command-line programs. */

#include "base/alloc.h"
#include "http/client.h"

typedef struct Fetch {
        sd_event *event;
        HttpResult *result;
        Err *err;
        const char *url;
        int r;
} Fetch;

/* The call is about to be freed: its owner may keep what it learned by taking it over. */
static void on_done(HttpCall *call, int r, void *user) {
        Fetch *f = user;
        f->r = r;
        if (r < 0) {
                (void) err_set(f->err, r, "%s: %s", f->url, http_call_error(call));
        } else {
                HttpCall *keep = xnew(HttpCall, 1);
                *keep = *call;
                call->body = (Buf){};
                call->arena = (Arena){};
                keep->priv = NULL;
                f->result->call = keep;
                f->result->status = keep->status;
        }
        (void) sd_event_exit(f->event, 0);
}

int http_fetch(const HttpCallConfig *config, TlsContext *tls, HttpResult *ret, Err *err) {
        HttpResult result = {};
        Fetch f = { .result = &result, .err = err, .url = config->url };
        HttpCall *call;
        assert(!config->on_done && !config->on_data && !(config->flags & HTTP_CALL_STREAM_REQUEST));
        int r = sd_event_new(&f.event);
        if (r < 0)
                return err_errno(err, r, "cannot make an event loop");
        HttpClientConfig client_config = { .event = f.event, .tls = tls };
        HttpClient *client = http_client_new(&client_config);
        HttpCallConfig copy = *config;
        copy.on_done = on_done;
        copy.user = &f;
        r = client ? http_call(client, &copy, &call, err) : err_errno(err, -EMFILE, "cannot make a client");
        if (r >= 0)
                r = sd_event_loop(f.event);
        http_client_free(client);
        sd_event_unref(f.event);
        if (r < 0 || f.r < 0)
                return r < 0 ? r : f.r;
        *ret = result;
        return 0;
}

void http_result_done(HttpResult *r) {
        if (r->call) {
                buf_done(&r->call->body);
                arena_done(&r->call->arena);
                free(r->call);
        }
        *r = (HttpResult){};
}

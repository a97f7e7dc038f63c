/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/agent-internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/log.h"

/* What the registry should have for this unit; false = nothing. */
static bool wanted_record(const Local *l, StateRecord *ret) {
        const AgentUnit *u = agent_unit(&l->agent->plan, l->name);
        bool here = u && u->present;
        const char *trouble = !u ? NULL : u->error ? u->error : u->wanted && !u->global ? u->refused : NULL;

        if (!u || (!here && !trouble))
                return false;
        *ret = (StateRecord){ .name = xstrdup(l->name),
                              .machine = xstrdup(l->agent->machine_id),
                              .hash = xstrdup(here ? u->hash : strempty(u->want_hash)),
                              .load = xstrdup(here ? l->load ? l->load : "loaded" : "error"),
                              .active = xstrdup(here && l->active ? l->active : "inactive"),
                              .sub = xstrdup(here && l->sub ? l->sub : "dead"),
                              .error = trouble ? xstrdup(trouble) : NULL,
                              .current = here ? agent_reported(u) : UNIT_INACTIVE };
        return true;
}

static int on_publish_timer(sd_event_source *s, uint64_t usec, void *user) {
        Agent *a = user;
        a->publish_timer = sd_event_source_disable_unref(a->publish_timer);
        publish_all(a);
        return 0;
}

static void publish_later(Agent *a, Usec after) {
        if (!a->publish_timer)
                (void) sd_event_add_time_relative(a->event, &a->publish_timer, CLOCK_MONOTONIC, after, 1,
                                                  on_publish_timer, a);
}

static void on_published(const EtcdResult *r, void *user) {
        Local *l = user;
        Agent *a = l->agent;

        l->call = NULL;
        if (r->error < 0) {
                /* A lease that is gone is the keeper's business; everything else is tried again. */
                log_debug("cannot publish the state of %s: %s", l->name, r->message);
                state_done(&l->sending);
                l->dirty = true;
                publish_later(a, PUBLISH_RETRY);
                return;
        }
        state_done(&l->record);
        l->published = l->sending.name != NULL;
        l->record = l->sending;
        l->sending = (StateRecord){};
        publish(l);
}

static bool may_send(Local *l) {
        Usec now = now_monotonic();
        if (usec_sub(now, l->window) >= PUBLISH_WINDOW) {
                l->window = now;
                l->burst = 0;
        }
        if (l->burst < PUBLISH_BURST) {
                l->burst++;
                return true;
        }
        l->dirty = true;
        publish_later(l->agent, usec_sub(l->window + PUBLISH_WINDOW, now) + 1);
        return false;
}

void publish(Local *l) {
        Agent *a = l->agent;
        StateRecord want = {};

        if (!a->lease || !a->synced || l->call) {
                l->dirty = true;
                return;
        }
        bool any = wanted_record(l, &want);
        l->dirty = false;
        if ((!any && !l->published) || (any && l->published && state_equal(&want, &l->record))) {
                state_done(&want);
                local_forget_if_idle(a, l->name);
                return;
        }
        if (!may_send(l)) {
                state_done(&want);
                return;
        }
        _cleanup_free_ char *key = registry_key(a->registry, "state/%s/%s", a->machine_id, l->name);
        if (any) {
                _cleanup_free_ char *value = state_encode(&want);
                l->call = etcd_put_key(registry_etcd(a->registry), key, value, strlen(value), a->lease, on_published,
                                       l);
        } else
                l->call = etcd_delete_key(registry_etcd(a->registry), key, on_published, l);
        l->sending = want;
}

void publish_all(Agent *a) {
        _cleanup_strv_ char **names = NULL; /* publishing may forget units */
        for (MapIter i = {}; map_next(&a->locals, &i);)
                strv_add(&names, i.key);
        STRV_FOREACH(n, names) {
                Local *l = local_get(a, *n);
                if (l)
                        publish(l);
        }
}

void publish_done(Local *l) {
        l->call = etcd_call_cancel(l->call);
        state_done(&l->record);
        state_done(&l->sending);
        l->published = false;
}

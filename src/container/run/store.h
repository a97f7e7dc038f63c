/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Containers on disk. There is no daemon: every command works on these files, from any process, at any time.
 *
 *   ROOT/containers/<id>/config.json     the ContainerSpec, complete before the name exists
 *                        lock            flock LOCK_EX: held by the shim as long as the container runs, and by
 *                                        whoever creates, starts or removes it; the kernel drops it at any death
 *                        state.json      the ContainerState, replaced by rename
 *                        diff/, work/    the writable layer
 *                        shim            the shim's unix socket (shim.h)
 *                        <id>-json.log   what it printed (log.h)
 *                        hosts, hostname, resolv.conf
 *                        image           image_pin()
 *   ROOT/names/<name>                    symlink whose text is the id: symlink(2) makes names unique
 *   ROOT/volumes/<name>/_data            named and anonymous volumes
 *   ROOT/network/                        network.h
 *   ROOT/cache/                          compiled seccomp filters
 *   ROOT/skel/                           the lower layer with the places to mount on
 *   ROOT/mnt                             empty; each container mounts its root there, in its own namespace
 *
 * Invariants: a folder whose name link does not lead back to it is garbage as soon as its lock is free. A state
 * that says "running" while the lock is free means the shim was killed: whoever reads it first repairs it.
 * Nothing is fsynced: after a power cut no container runs, and a half-written one is garbage by the first rule.
 *
 * Rejected: a database (needs recovery and a writer), pid files (pids are reused; locks are not), a per-boot
 * state folder in /run (a second place to clean up). */

#include "container/run/spec.h"

typedef struct Store {
        char *root;
} Store;

/* `root` is made absolute. Makes the folders when missing. */
int container_store_open(const char *root, Store **ret, Err *err);
Store *container_store_close(Store *s);
DEFINE_CLEANUP(Store *, container_store_close)
char *container_store_path(const Store *s, const char *fmt, ...) _printf_(2, 3);

typedef struct Container {
        char *id, *dir;
        ContainerSpec *spec;
        ContainerState state;
        bool alive; /* the lock is held: running, or just being started or removed */
} Container;

Container *container_free(Container *c);
DEFINE_CLEANUP(Container *, container_free)
/* "created", "running", "paused", "exited" */
const char *container_status(const Container *c);
static inline bool container_running(const Container *c) {
        return c->alive && c->state.running;
}

/* Full id, exact name, unique id prefix, in this order (spec A.3). -ENOENT "No such container: X". */
int container_find(Store *s, const char *name, char **ret_id, Err *err);
/* By full id; repairs what a killed shim left (and then removes an AutoRemove container: -ENOENT). */
int container_load(Store *s, const char *id, Container **ret, Err *err);
/* find and load */
int container_get(Store *s, const char *name, Container **ret, Err *err);
/* All containers, newest first; *ret is an array of *ret_n owned pointers. Also clears garbage away. */
int container_list(Store *s, Container ***ret, size_t *ret_n, Err *err);
void container_list_free(Container **l, size_t n);

/* Makes the folder of a new container. spec->id must be set; spec->name is chosen when NULL. On success the
 * container is locked by *ret_lock and not yet visible: fill the folder, then container_publish(). */
int container_create(Store *s, ContainerSpec *spec, int *ret_lock, Err *err);
/* Writes config.json and takes the name: -EEXIST with docker's message when that is in use (the folder is
 * removed then). */
int container_publish(Store *s, ContainerSpec *spec, Err *err);
int container_rename(Store *s, Container *c, const char *name, Err *err);
/* Tries to lock for `msec` milliseconds: -EBUSY when somebody else keeps it. */
int container_lock(Store *s, const char *id, unsigned msec);
int container_is_alive(const Store *s, const char *id);
/* Removes folder and name; the caller holds the lock. `volumes`: its anonymous volumes too. */
int container_delete(Store *s, const ContainerSpec *spec, bool volumes, Err *err);
int container_state_save(const Store *s, const char *id, const ContainerState *state);

bool container_name_ok(const char *name);
char *container_new_id(void);

/* The folder of a volume, made when missing; *ret_new tells whether it was. */
int volume_make(const Store *s, const char *name, char **ret_path, bool *ret_new, Err *err);
int volume_remove(const Store *s, const char *name, Err *err);
/* The start time of a process, in clock ticks since boot; -ESRCH. */
int process_start_time(pid_t pid, uint64_t *ret);

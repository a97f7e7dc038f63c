/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim-disk.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"

typedef enum ChangeKind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_ALLOCATE } ChangeKind;

/* Something that happened to a file since it was last synced. */
typedef struct Change {
        ChangeKind kind;
        uint64_t offset; /* or the new size */
        Buf data;
} Change;

typedef struct Inode {
        unsigned id;
        Buf now, durable;
        Change *changes; /* owned */
        size_t n_changes, cap_changes;
} Inode;

/* What a name meant after an operation on it; NULL = nothing. */
typedef struct NameChange {
        char *name;
        Inode *inode; /* weak */
} NameChange;

typedef struct Name {
        char *name;
        Inode *inode; /* weak */
} Name;

typedef struct Names {
        Name *list;
        size_t n, cap;
} Names;

struct SimDisk {
        Disk disk;
        Rng rng;
        Inode **inodes; /* owned */
        size_t n_inodes, cap_inodes;
        Names now, durable;
        /* Every operation on names may be several changes (a rename is two) that count as one. */
        NameChange *changes;
        size_t n_changes, cap_changes;
        uint64_t ops, cut_at, fail_at;
        int fail_error;
        bool fail_again, off, failed;
        uint32_t enospc_ppm, eio_ppm;
};

typedef struct SimFile {
        DiskFile file;
        Inode *inode;
        bool read_only;
} SimFile;

static SimDisk *sim_disk(Disk *d) {
        return container_of(d, SimDisk, disk);
}

static SimFile *sim_file(DiskFile *f) {
        return container_of(f, SimFile, file);
}

static void buf_resize(Buf *b, uint64_t size) {
        if (size <= b->len) {
                if (b->data)
                        buf_truncate(b, size);
                return;
        }
        size_t extra = size - b->len;
        buf_reserve(b, extra + 1);
        memset(b->data + b->len, 0, extra + 1);
        b->len = size;
}

static void buf_poke(Buf *b, uint64_t offset, const char *p, size_t n) {
        if (offset + n > b->len)
                buf_resize(b, offset + n);
        memcpy(b->data + offset, p, n);
}

static Name *names_find(const Names *l, const char *name) {
        for (size_t i = 0; i < l->n; i++)
                if (streq(l->list[i].name, name))
                        return &l->list[i];
        return NULL;
}

static void names_set(Names *l, const char *name, Inode *inode) {
        Name *at = names_find(l, name);
        if (at && inode) {
                at->inode = inode;
        } else if (at) {
                free(at->name);
                *at = l->list[--l->n];
        } else if (inode) {
                GROW(l->list, l->cap, l->n + 1);
                l->list[l->n++] = (Name){ .name = xstrdup(name), .inode = inode };
        }
}

static void names_done(Names *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->list[i].name);
        free(l->list);
        *l = (Names){};
}

static void names_copy(Names *to, const Names *from, Inode *const *inodes) {
        names_done(to);
        for (size_t i = 0; i < from->n; i++)
                names_set(to, from->list[i].name,
                          inodes ? inodes[from->list[i].inode->id] : from->list[i].inode);
}

static void change_name(SimDisk *d, const char *name, Inode *inode) {
        GROW(d->changes, d->cap_changes, d->n_changes + 1);
        d->changes[d->n_changes++] = (NameChange){ .name = xstrdup(name), .inode = inode };
        names_set(&d->now, name, inode);
}

static void forget_name_changes(SimDisk *d) {
        for (size_t i = 0; i < d->n_changes; i++)
                free(d->changes[i].name);
        d->n_changes = 0;
}

static void apply_change(Buf *b, const Change *c) {
        if (c->kind == CHANGE_WRITE)
                buf_poke(b, c->offset, c->data.data, c->data.len);
        else if (c->kind == CHANGE_TRUNCATE || c->offset > b->len)
                buf_resize(b, c->offset);
}

static void change_file(Inode *inode, ChangeKind kind, uint64_t offset, const void *p, size_t n) {
        GROW(inode->changes, inode->cap_changes, inode->n_changes + 1);
        Change *c = &inode->changes[inode->n_changes++];
        *c = (Change){ .kind = kind, .offset = offset };
        buf_add(&c->data, p ?: "", n);
        apply_change(&inode->now, c);
}

static void forget_changes(Inode *inode) {
        for (size_t i = 0; i < inode->n_changes; i++)
                buf_done(&inode->changes[i].data);
        inode->n_changes = 0;
}

static Inode *inode_free(Inode *inode) {
        forget_changes(inode);
        free(inode->changes);
        buf_done(&inode->now);
        buf_done(&inode->durable);
        free(inode);
        return NULL;
}

/* Every operation begins here: counts, and decides what goes wrong. 0, an injected error, or -ENODEV. After
 * -ENODEV with *ret_half the operation happened, as far as nobody can tell. */
static int begin(SimDisk *d, bool writes, bool *ret_half) {
        *ret_half = false;
        if (d->off)
                return -ENODEV;
        d->ops++;
        if (d->cut_at > 0 && d->ops >= d->cut_at) {
                d->off = true;
                *ret_half = true;
                return -ENODEV;
        }
        int r = 0;
        if (d->fail_at > 0 && (d->ops == d->fail_at || (d->fail_again && d->ops > d->fail_at)))
                r = d->fail_error;
        else if (writes && rng_ppm(&d->rng, d->eio_ppm))
                r = -EIO;
        else if (writes && rng_ppm(&d->rng, d->enospc_ppm))
                r = -ENOSPC;
        d->failed |= r < 0;
        return r;
}

static Inode *inode_new(SimDisk *d) {
        Inode *inode = xnew(Inode, 1);
        GROW(d->inodes, d->cap_inodes, d->n_inodes + 1);
        inode->id = (unsigned) d->n_inodes;
        d->inodes[d->n_inodes++] = inode;
        return inode;
}

static int sim_open(Disk *disk, const char *name, DiskOpenFlags flags, DiskFile **ret) {
        SimDisk *d = sim_disk(disk);
        bool half;
        int r = begin(d, flags & DISK_OPEN_CREATE, &half);
        if (r < 0 && !half)
                return r;
        Name *at = names_find(&d->now, name);
        Inode *inode = at ? at->inode : NULL;
        if (!inode && !(flags & DISK_OPEN_CREATE))
                return r ?: -ENOENT;
        if (!inode) {
                inode = inode_new(d);
                change_name(d, name, inode);
        } else if (flags & DISK_OPEN_CREATE) {
                change_file(inode, CHANGE_TRUNCATE, 0, NULL, 0);
        }
        if (r < 0)
                return r;
        SimFile *f = xnew(SimFile, 1);
        *f = (SimFile){ .file.disk = disk, .inode = inode, .read_only = flags & DISK_OPEN_READONLY };
        *ret = &f->file;
        return 0;
}

static void sim_close(DiskFile *f) {
        free(sim_file(f));
}

static ssize_t sim_pread(DiskFile *f, void *p, size_t n, uint64_t offset) {
        bool half;
        int r = begin(sim_disk(f->disk), false, &half);
        if (r < 0)
                return r;
        const Buf *b = &sim_file(f)->inode->now;
        if (offset >= b->len)
                return 0;
        n = MIN(n, b->len - offset);
        memcpy(p, b->data + offset, n);
        return (ssize_t) n;
}

static int sim_pwrite(DiskFile *f, const void *p, size_t n, uint64_t offset) {
        SimDisk *d = sim_disk(f->disk);
        if (sim_file(f)->read_only)
                return -EBADF;
        bool half;
        int r = begin(d, true, &half);
        /* An error in the middle leaves a part written, up to the end of a sector. */
        if (r < 0 && !half) {
                n = rng_below(&d->rng, n + 1);
                size_t tail = (size_t) ((offset + n) % DISK_SECTOR);
                n -= MIN(n, tail);
        }
        if (n > 0 && (r == 0 || half || r == -EIO || r == -ENOSPC))
                change_file(sim_file(f)->inode, CHANGE_WRITE, offset, p, n);
        return r;
}

static int sim_fdatasync(DiskFile *f) {
        SimDisk *d = sim_disk(f->disk);
        bool half;
        int r = begin(d, true, &half);
        if (r == -ENOSPC) /* delayed allocation is an error of the sync */
                r = -EIO;
        if (r < 0)
                return r;
        Inode *inode = sim_file(f)->inode;
        for (size_t i = 0; i < inode->n_changes; i++)
                apply_change(&inode->durable, &inode->changes[i]);
        forget_changes(inode);
        return 0;
}

static int change_size(DiskFile *f, ChangeKind kind, uint64_t size) {
        if (sim_file(f)->read_only)
                return -EBADF;
        bool half;
        int r = begin(sim_disk(f->disk), kind == CHANGE_ALLOCATE, &half);
        if (r == 0 || half)
                change_file(sim_file(f)->inode, kind, size, NULL, 0);
        return r;
}

static int sim_fallocate(DiskFile *f, uint64_t size) {
        return change_size(f, CHANGE_ALLOCATE, size);
}

static int sim_truncate(DiskFile *f, uint64_t size) {
        return change_size(f, CHANGE_TRUNCATE, size);
}

static int sim_size(DiskFile *f, uint64_t *ret) {
        bool half;
        int r = begin(sim_disk(f->disk), false, &half);
        if (r == 0)
                *ret = sim_file(f)->inode->now.len;
        return r;
}

static int sim_rename(Disk *disk, const char *from, const char *to) {
        SimDisk *d = sim_disk(disk);
        bool half;
        int r = begin(d, false, &half);
        if (r < 0 && !half)
                return r;
        Name *at = names_find(&d->now, from);
        if (!at)
                return r ?: -ENOENT;
        Inode *inode = at->inode;
        change_name(d, to, inode);
        change_name(d, from, NULL);
        return r;
}

static int sim_unlink(Disk *disk, const char *name) {
        SimDisk *d = sim_disk(disk);
        bool half;
        int r = begin(d, false, &half);
        if (r < 0 && !half)
                return r;
        if (!names_find(&d->now, name))
                return r ?: -ENOENT;
        change_name(d, name, NULL);
        return r;
}

static int sim_list(Disk *disk, char ***ret) {
        SimDisk *d = sim_disk(disk);
        bool half;
        int r = begin(d, false, &half);
        if (r < 0)
                return r;
        char **names = NULL;
        for (size_t i = 0; i < d->now.n; i++)
                strv_add(&names, d->now.list[i].name);
        strv_sort(names);
        *ret = names;
        return 0;
}

static int sim_fsyncdir(Disk *disk) {
        SimDisk *d = sim_disk(disk);
        bool half;
        int r = begin(d, true, &half);
        if (r < 0)
                return r == -ENOSPC ? -EIO : r;
        names_copy(&d->durable, &d->now, NULL);
        forget_name_changes(d);
        return 0;
}

static void sim_disk_leave(Disk *disk) {
        (void) disk;
}

static const DiskOps sim_ops = {
        .open = sim_open,
        .close = sim_close,
        .pread = sim_pread,
        .pwrite = sim_pwrite,
        .fdatasync = sim_fdatasync,
        .fallocate = sim_fallocate,
        .truncate = sim_truncate,
        .size = sim_size,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .list = sim_list,
        .fsyncdir = sim_fsyncdir,
        .free = sim_disk_leave,
};

SimDisk *sim_disk_new(Rng rng) {
        SimDisk *d = xnew(SimDisk, 1);
        d->disk.ops = &sim_ops;
        d->rng = rng;
        return d;
}

SimDisk *sim_disk_free(SimDisk *d) {
        if (!d)
                return NULL;
        forget_name_changes(d);
        free(d->changes);
        for (size_t i = 0; i < d->n_inodes; i++)
                inode_free(d->inodes[i]);
        free(d->inodes);
        names_done(&d->now);
        names_done(&d->durable);
        free(d);
        return NULL;
}

Disk *sim_disk_ops(SimDisk *d) {
        return &d->disk;
}

void sim_disk_cut_at(SimDisk *d, uint64_t op) {
        d->cut_at = op > 0 ? d->ops + op : 0;
}

void sim_disk_fail_at(SimDisk *d, uint64_t op, int error, bool again) {
        d->fail_at = op > 0 ? d->ops + op : 0;
        d->fail_error = error;
        d->fail_again = again;
}

void sim_disk_fail_chance(SimDisk *d, uint32_t enospc_ppm, uint32_t eio_ppm) {
        d->enospc_ppm = enospc_ppm;
        d->eio_ppm = eio_ppm;
}

uint64_t sim_disk_operations(const SimDisk *d) {
        return d->ops;
}

bool sim_disk_is_off(const SimDisk *d) {
        return d->off;
}

bool sim_disk_has_failed(const SimDisk *d) {
        return d->failed;
}

void sim_disk_detach(SimDisk *d, bool detached) {
        d->off = detached;
        if (detached)
                return;
        d->failed = false;
        d->cut_at = d->fail_at = 0;
}

/* Which of the changes since the last sync a file keeps. A sector is written as it was in memory at some
 * moment, so it holds the first so many of the writes to it; other sectors may be older or newer. */
typedef struct Tear {
        SimDiskCut how;
        unsigned luck;   /* percent of sectors that are up to date */
        uint64_t budget; /* SIM_CUT_PREFIX: how many sectors were written before the end */
        size_t *limits;  /* SIM_CUT_TEAR, by sector: how many changes of the file it has seen */
        size_t n_limits;
} Tear;

static void tear_write(Inode *inode, size_t number, Tear *t) {
        const Change *c = &inode->changes[number];
        for (size_t at = 0; at < c->data.len;) {
                uint64_t sector = (c->offset + at) / DISK_SECTOR;
                size_t n = MIN((size_t) ((sector + 1) * DISK_SECTOR - c->offset - at), c->data.len - at);
                bool keep = t->how == SIM_CUT_KEEP;
                if (t->how == SIM_CUT_TEAR)
                        keep = number < t->limits[sector];
                else if (t->how == SIM_CUT_PREFIX && t->budget > 0)
                        keep = t->budget-- > 0;
                if (keep)
                        buf_poke(&inode->durable, c->offset + at, c->data.data + at, n);
                at += n;
        }
}

static void tear_choose(SimDisk *d, const Inode *inode, SimDiskCut how, Tear *t) {
        static const unsigned lucks[] = { 10, 50, 90 };
        uint64_t end = 0, sectors = 1;
        for (size_t i = 0; i < inode->n_changes; i++) {
                const Change *c = &inode->changes[i];
                end = MAX(end, c->offset + c->data.len);
                sectors += c->data.len / DISK_SECTOR + 2;
        }
        *t = (Tear){ .how = how, .luck = lucks[rng_below(&d->rng, ELEMENTSOF(lucks))] };
        t->budget = rng_below(&d->rng, sectors);
        if (how != SIM_CUT_TEAR)
                return;
        t->n_limits = (size_t) (end / DISK_SECTOR + 1);
        t->limits = xnew(size_t, t->n_limits);
        for (size_t i = 0; i < t->n_limits; i++)
                t->limits[i] = rng_below(&d->rng, 100) < t->luck ? SIZE_MAX
                                                                 : rng_below(&d->rng, inode->n_changes + 1);
}

static void tear_file(SimDisk *d, Inode *inode, SimDiskCut how) {
        Tear t;
        tear_choose(d, inode, how, &t);
        for (size_t i = 0; i < inode->n_changes; i++) {
                const Change *c = &inode->changes[i];
                if (c->kind == CHANGE_WRITE) {
                        tear_write(inode, i, &t);
                        continue;
                }
                bool keep = how == SIM_CUT_KEEP ||
                            (how == SIM_CUT_TEAR && rng_below(&d->rng, 100) < t.luck) ||
                            (how == SIM_CUT_PREFIX && t.budget > 0);
                if (keep)
                        apply_change(&inode->durable, c);
        }
        free(t.limits);
        forget_changes(inode);
        buf_clear(&inode->now);
        buf_add(&inode->now, inode->durable.data ?: "", inode->durable.len);
}

void sim_disk_power_cut(SimDisk *d, SimDiskCut how) {
        assert(how < _SIM_CUT_MAX);
        for (size_t i = 0; i < d->n_inodes; i++)
                if (d->inodes[i]->n_changes > 0)
                        tear_file(d, d->inodes[i], how);
        size_t keep = how == SIM_CUT_LOSE   ? 0
                      : how == SIM_CUT_KEEP ? d->n_changes
                                            : rng_below(&d->rng, d->n_changes + 1);
        /* A rename is two changes, the new name first: never stop between them. */
        while (keep > 0 && keep < d->n_changes && !d->changes[keep].inode && d->changes[keep - 1].inode)
                keep--;
        for (size_t i = 0; i < keep; i++)
                names_set(&d->durable, d->changes[i].name, d->changes[i].inode);
        forget_name_changes(d);
        names_copy(&d->now, &d->durable, NULL);
        d->off = d->failed = false;
        d->cut_at = d->fail_at = 0;
}

static void buf_copy(Buf *to, const Buf *from) {
        buf_clear(to);
        buf_add(to, from->data ?: "", from->len);
}

SimDisk *sim_disk_copy(const SimDisk *d, Rng rng) {
        SimDisk *to = sim_disk_new(rng);
        for (size_t i = 0; i < d->n_inodes; i++) {
                const Inode *from = d->inodes[i];
                Inode *inode = inode_new(to);
                buf_copy(&inode->now, &from->now);
                buf_copy(&inode->durable, &from->durable);
                for (size_t k = 0; k < from->n_changes; k++) {
                        GROW(inode->changes, inode->cap_changes, k + 1);
                        inode->changes[k] = from->changes[k];
                        inode->changes[k].data = (Buf){};
                        buf_copy(&inode->changes[k].data, &from->changes[k].data);
                }
                inode->n_changes = from->n_changes;
        }
        names_copy(&to->now, &d->now, to->inodes);
        names_copy(&to->durable, &d->durable, to->inodes);
        for (size_t i = 0; i < d->n_changes; i++) {
                GROW(to->changes, to->cap_changes, i + 1);
                Inode *inode = d->changes[i].inode ? to->inodes[d->changes[i].inode->id] : NULL;
                to->changes[i] = (NameChange){ .name = xstrdup(d->changes[i].name), .inode = inode };
        }
        to->n_changes = d->n_changes;
        return to;
}

uint8_t *sim_disk_bytes(SimDisk *d, const char *name, size_t *ret_len) {
        Name *at = names_find(&d->now, name);
        if (!at)
                return NULL;
        Inode *inode = at->inode;
        assert(inode->n_changes == 0 && inode->now.len == inode->durable.len);
        *ret_len = inode->now.len;
        return (uint8_t *) inode->now.data;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/disk/disk.h"

#include "base/alloc.h"
#include "base/str.h"
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct RealDisk {
        Disk disk;
        int fd; /* the folder; carries the lock */
} RealDisk;

typedef struct RealFile {
        DiskFile file;
        int fd;
} RealFile;

static RealDisk *real_disk(Disk *d) {
        return container_of(d, RealDisk, disk);
}

static RealFile *real_file(DiskFile *f) {
        return container_of(f, RealFile, file);
}

static int real_open(Disk *d, const char *name, DiskOpenFlags flags, DiskFile **ret) {
        assert(!strchr(name, '/'));
        int how = O_CLOEXEC | O_NOFOLLOW;
        how |= (flags & DISK_OPEN_READONLY) ? O_RDONLY : O_RDWR;
        how |= (flags & DISK_OPEN_CREATE) ? O_CREAT | O_TRUNC : 0;
        int fd = RET_NERRNO(openat(real_disk(d)->fd, name, how, 0600));
        if (fd < 0)
                return fd;
        RealFile *f = xnew(RealFile, 1);
        f->file.disk = d;
        f->fd = fd;
        *ret = &f->file;
        return 0;
}

static void real_close(DiskFile *f) {
        (void) safe_close(real_file(f)->fd);
        free(real_file(f));
}

static ssize_t real_pread(DiskFile *f, void *p, size_t n, uint64_t offset) {
        size_t done = 0;
        while (done < n) {
                ssize_t r = pread(real_file(f)->fd, (char *) p + done, n - done, (off_t) (offset + done));
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                if (r == 0)
                        break;
                done += (size_t) r;
        }
        return (ssize_t) done;
}

static int real_pwrite(DiskFile *f, const void *p, size_t n, uint64_t offset) {
        size_t done = 0;
        while (done < n) {
                ssize_t r = pwrite(real_file(f)->fd, (const char *) p + done, n - done,
                                   (off_t) (offset + done));
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                done += (size_t) r;
        }
        return 0;
}

static int real_fdatasync(DiskFile *f) {
        return RET_NERRNO(fdatasync(real_file(f)->fd));
}

static int real_fallocate(DiskFile *f, uint64_t size) {
        int r = RET_NERRNO(fallocate(real_file(f)->fd, 0, 0, (off_t) size));
        if (r != -EOPNOTSUPP)
                return r;
        /* A file system without extents: a sparse file is right too, only slower and later to say ENOSPC. */
        struct stat st;
        if (fstat(real_file(f)->fd, &st) < 0)
                return -errno;
        return (uint64_t) st.st_size >= size ? 0 : RET_NERRNO(ftruncate(real_file(f)->fd, (off_t) size));
}

static int real_truncate(DiskFile *f, uint64_t size) {
        return RET_NERRNO(ftruncate(real_file(f)->fd, (off_t) size));
}

static int real_size(DiskFile *f, uint64_t *ret) {
        struct stat st;
        if (fstat(real_file(f)->fd, &st) < 0)
                return -errno;
        *ret = (uint64_t) st.st_size;
        return 0;
}

static int real_rename(Disk *d, const char *from, const char *to) {
        int fd = real_disk(d)->fd;
        return RET_NERRNO(renameat(fd, from, fd, to));
}

static int real_unlink(Disk *d, const char *name) {
        return RET_NERRNO(unlinkat(real_disk(d)->fd, name, 0));
}

static int real_list(Disk *d, char ***ret) {
        int fd = RET_NERRNO(openat(real_disk(d)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (fd < 0)
                return fd;
        DIR *dir = fdopendir(fd);
        if (!dir) {
                int r = -errno;
                (void) safe_close(fd);
                return r;
        }
        _cleanup_strv_ char **names = NULL;
        errno = 0;
        for (struct dirent *e; (e = readdir(dir)); errno = 0)
                if (e->d_type != DT_DIR)
                        strv_add(&names, e->d_name);
        int r = -errno;
        (void) closedir(dir);
        if (r < 0)
                return r;
        strv_sort(names);
        *ret = TAKE_PTR(names);
        return 0;
}

static int real_fsyncdir(Disk *d) {
        return RET_NERRNO(fsync(real_disk(d)->fd));
}

static void real_free(Disk *d) {
        (void) safe_close(real_disk(d)->fd);
        free(real_disk(d));
}

static const DiskOps real_ops = {
        .open = real_open,
        .close = real_close,
        .pread = real_pread,
        .pwrite = real_pwrite,
        .fdatasync = real_fdatasync,
        .fallocate = real_fallocate,
        .truncate = real_truncate,
        .size = real_size,
        .rename = real_rename,
        .unlink = real_unlink,
        .list = real_list,
        .fsyncdir = real_fsyncdir,
        .free = real_free,
};

int disk_open_folder(const char *path, Disk **ret, Err *err) {
        int r = mkdir_p(path, 0700);
        if (r < 0)
                return err_errno(err, r, "cannot make the data folder %s", path);
        _cleanup_close_ int fd = RET_NERRNO(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (fd < 0)
                return err_errno(err, fd, "cannot open the data folder %s", path);
        r = RET_NERRNO(flock(fd, LOCK_EX | LOCK_NB));
        if (r == -EWOULDBLOCK)
                return err_set(err, -EBUSY,
                               "the data folder %s is in use by another process; stop that one first", path);
        if (r < 0)
                return err_errno(err, r, "cannot lock the data folder %s", path);
        RealDisk *d = xnew(RealDisk, 1);
        d->disk.ops = &real_ops;
        d->fd = TAKE_FD(fd);
        *ret = &d->disk;
        return 0;
}

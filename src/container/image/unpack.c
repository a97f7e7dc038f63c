/* SPDX-License-Identifier: Apache-2.0 */
#include "container/image/unpack.h"
#include "base/alloc.h"
#include "base/str.h"
#include "codec/digest.h"
#include "codec/expand.h"
#include "container/image/confine.h"
#include "container/image/extract.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define STREAM_BYTES (512U << 10)
#define TICK_MS 100

/* The uncompressed stream, hashed as it passes; tar headers are read 512 bytes at a time, so it is buffered. */
typedef struct LayerStream {
        Expander *expander; /* weak */
        Digest *digest;     /* weak */
        uint8_t *buf;       /* weak */
        size_t at, len;
        uint64_t total;
} LayerStream;

static int64_t blob_source(void *userdata, void *buf, size_t n, Err *err) {
        for (;;) {
                ssize_t k = read(*(int *) userdata, buf, n);
                if (k >= 0)
                        return k;
                if (errno != EINTR)
                        return err_errno(err, -errno, "layer file");
        }
}

static int64_t stream_source(void *userdata, void *to, size_t n, Err *err) {
        LayerStream *s = userdata;
        size_t done = 0;
        while (done < n) {
                if (s->at == s->len) {
                        int64_t k = expander_read(s->expander, s->buf, STREAM_BYTES, err);
                        if (k < 0)
                                return k;
                        if (k == 0)
                                break;
                        digest_add(s->digest, s->buf, (size_t) k);
                        s->total += (uint64_t) k;
                        s->at = 0;
                        s->len = (size_t) k;
                }
                size_t k = MIN(n - done, s->len - s->at);
                memcpy((uint8_t *) to + done, s->buf + s->at, k);
                s->at += k;
                done += k;
        }
        return (int64_t) done;
}

/* What lies behind the archive's end still counts in the diff id (spec C.3). */
static int drain(LayerStream *s, Err *err) {
        for (;;) {
                int64_t k = expander_read(s->expander, s->buf, STREAM_BYTES, err);
                if (k <= 0)
                        return (int) k;
                digest_add(s->digest, s->buf, (size_t) k);
                s->total += (uint64_t) k;
        }
}

typedef struct Job {
        int blob, root;
} Job;

static void put_list(Buf *b, char *const *l) {
        buf_add_varint(b, strv_len(l));
        STRV_FOREACH(i, l)
                buf_add_bytes(b, *i, strlen(*i));
}

/* In the child. */
static int unpack_confined(void *userdata, Buf *reply, Err *err) {
        Job *job = userdata;
        static const ExpandLimits limits = {
                .bytes_max = EXTRACT_BYTES_MAX + EXTRACT_ENTRIES_MAX * UINT64_C(2048),
                .ratio_max = LAYER_RATIO_MAX,
                .ratio_from = LAYER_RATIO_FROM,
        };
        _cleanup_(expander_freep) Expander *expander = expander_new(blob_source, &job->blob, &limits);
        _cleanup_(digest_freep) Digest *digest = digest_new(DIGEST_SHA256);
        _cleanup_free_ uint8_t *buf = xmalloc(STREAM_BYTES);
        LayerStream stream = { .expander = expander, .digest = digest, .buf = buf };
        TarReader tar = { .source = stream_source, .userdata = &stream };
        _cleanup_(extract_result_done) ExtractResult result = {};
        int r = extract_layer(&tar, job->root, NULL, &result, err);
        if (r >= 0)
                r = drain(&stream, err);
        if (r < 0)
                return r;
        uint8_t sum[DIGEST_BYTES_MAX];
        digest_finish(digest, sum);
        buf_add(reply, sum, 32);
        buf_add_le64(reply, result.bytes);
        buf_add_le64(reply, stream.total);
        buf_add_le64(reply, result.entries);
        buf_add_le64(reply, result.devices_skipped);
        buf_addc(reply, result.opaque_root);
        put_list(reply, result.opaque);
        put_list(reply, result.implicit);
        return 0;
}

/* ---- in the parent, with the reply of a child that may have been taken over ---- */

static int get_list(Rd *rd, char ***ret) {
        uint64_t n;
        if (rd_varint(rd, &n) < 0 || n > rd->left)
                return -EBADMSG;
        char **l = xnew(char *, (size_t) n + 1);
        for (uint64_t i = 0; i < n; i++) {
                const void *p;
                size_t len;
                if (rd_bytes(rd, &p, &len) < 0 || memchr(p, 0, len)) {
                        strv_free(l);
                        return -EBADMSG;
                }
                l[i] = xstrndup(p, len);
        }
        *ret = l;
        return 0;
}

static int parse_reply(const Buf *reply, LayerResult *ret, ExtractResult *lists) {
        Rd rd = rd_new(reply->data, reply->len);
        uint8_t sum[32], opaque_root;
        if (rd_copy(&rd, sum, sizeof(sum)) < 0 || rd_le64(&rd, &ret->bytes) < 0 || rd_le64(&rd, &ret->tar_bytes) < 0 ||
            rd_le64(&rd, &ret->entries) < 0 || rd_le64(&rd, &ret->devices_skipped) < 0 || rd_u8(&rd, &opaque_root) < 0 ||
            get_list(&rd, &lists->opaque) < 0 || get_list(&rd, &lists->implicit) < 0)
                return -EBADMSG;
        _cleanup_free_ char *hex = hex_encode(sum, sizeof(sum));
        memcpy(ret->diff_id, hex, sizeof(ret->diff_id));
        ret->opaque_root = opaque_root;
        return 0;
}

static int mark_opaque(int root, char *const *paths, Err *err) {
        STRV_FOREACH(i, paths) {
                _cleanup_close_ int fd = open_beneath(root, *i, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
                if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
                        continue; /* a later entry took its place */
                if (fd < 0)
                        return err_errno(err, fd, "%s", *i);
                if (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
                        return err_errno(err, -errno, "%s: cannot mark it opaque (is the store on a file system with "
                                         "extended attributes?)", *i);
        }
        return 0;
}

/* The topmost lower layer that has the path as a folder. */
static int open_lower(char *const *lower, const char *path) {
        STRV_FOREACH(i, lower) {
                _cleanup_close_ int root = open(*i, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (root < 0)
                        continue;
                int fd = open_beneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
                if (fd != -ENOENT)
                        return fd; /* the folder, or something else that hides what is below */
        }
        return -ENOENT;
}

static int adopt_metadata(int root, char *const *paths, char *const *lower, Err *err) {
        STRV_FOREACH(i, paths) {
                _cleanup_close_ int from = open_lower(lower, *i);
                _cleanup_close_ int to = open_beneath(root, *i, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
                struct stat st;
                if (from < 0 || to < 0 || fstat(from, &st) < 0)
                        continue;
                struct timespec times[2] = { st.st_atim, st.st_mtim };
                if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0 ||
                    futimens(to, times) < 0)
                        return err_errno(err, -errno, "%s", *i);
        }
        return 0;
}

static void tick_until_reply(const LayerUnpack *u, const Confined *child) {
        struct pollfd p = { .fd = child->pipe, .events = POLLIN };
        while (u->tick) {
                int n = poll(&p, 1, TICK_MS);
                if (n > 0 || (n < 0 && errno != EINTR))
                        return;
                u->tick(u->userdata);
        }
}

int layer_unpack(const LayerUnpack *u, LayerResult *ret, Err *err) {
        if (mkdir(u->target, 0755) < 0)
                return err_errno(err, -errno, "%s", u->target);
        _cleanup_close_ int root = open(u->target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (root < 0 || fchmod(root, 0755) < 0)
                return err_errno(err, -errno, "%s", u->target);
        Job job = { .blob = u->blob_fd, .root = root };
        Confine c = { .kind = CONFINE_FILES, .root_fd = root, .fds = &u->blob_fd, .n_fds = 1 };
        Confined child;
        int r = confine_start(&c, unpack_confined, &job, &child, err);
        if (r < 0)
                return r;
        tick_until_reply(u, &child);
        _cleanup_(buf_done) Buf reply = {};
        r = confine_finish(&child, &reply, err);
        if (r < 0)
                return r;
        _cleanup_(extract_result_done) ExtractResult lists = {};
        LayerResult result = {};
        r = parse_reply(&reply, &result, &lists);
        if (r < 0)
                return err_set(err, -EPROTO, "malformed reply of the unpacking process");
        r = mark_opaque(root, lists.opaque, err);
        if (r >= 0)
                r = adopt_metadata(root, lists.implicit, u->lower, err);
        if (r < 0)
                return r;
        *ret = result;
        return 0;
}

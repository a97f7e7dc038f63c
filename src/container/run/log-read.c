/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/run/log.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define LINE_BYTES_MAX (256U << 10) /* 16 KiB of text, every byte escaped, and room */
#define READ_BYTES (64U << 10)

int log_parse_line(const char *p, size_t n, unsigned *stream, int64_t *nsec, char **text, size_t *text_n) {
        if (n > LINE_BYTES_MAX)
                return -EBADMSG;
        json_error_t e;
        _cleanup_json_ json_t *j = json_loadb(p, n, JSON_ALLOW_NUL, &e);
        json_t *log = json_object_get(j, "log");
        const char *s = ji_str(j, "stream"), *time = ji_str(j, "time");
        if (!json_is_string(log) || !s || !time || parse_rfc3339(time, nsec) < 0)
                return -EBADMSG;
        *stream = streq(s, "stderr") ? 2 : 1;
        *text_n = json_string_length(log);
        *text = xmemdup(json_string_value(log), *text_n + 1);
        return 0;
}

typedef struct Reader {
        const LogReadOptions *o;
        LogLineFn fn;
        void *userdata;
        Buf rest; /* an unfinished line */
} Reader;

static int give_line(Reader *r, const char *p, size_t n) {
        unsigned stream;
        int64_t nsec;
        _cleanup_free_ char *text = NULL;
        size_t text_n;
        if (log_parse_line(p, n, &stream, &nsec, &text, &text_n) < 0)
                return 0; /* torn by a crash */
        if (!(stream == 1 ? r->o->out : r->o->err) || (r->o->since_nsec && nsec < r->o->since_nsec))
                return 0;
        if (r->o->until_nsec && nsec > r->o->until_nsec)
                return -ECANCELED;
        LogLine line = { .stream = stream, .nsec = nsec, .text = text, .n = text_n };
        return r->fn(&line, r->userdata);
}

static int give_lines(Reader *r) {
        size_t at = 0;
        int k = 0;
        for (char *nl; k >= 0 && at < r->rest.len && (nl = memchr(r->rest.data + at, '\n', r->rest.len - at));) {
                size_t n = (size_t) (nl - (r->rest.data + at));
                k = give_line(r, r->rest.data + at, n);
                at += n + 1;
        }
        buf_consume(&r->rest, at);
        if (r->rest.len > LINE_BYTES_MAX)
                buf_clear(&r->rest);
        return k;
}

static int read_rest(int fd, Reader *r) {
        for (;;) {
                char part[READ_BYTES];
                ssize_t n = read(fd, part, sizeof(part));
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                buf_add(&r->rest, part, (size_t) n);
                int k = give_lines(r);
                if (k < 0)
                        return k;
        }
}

/* Where the last `lines` lines of the file begin: read backwards in blocks. */
static off_t tail_offset(int fd, int64_t lines) {
        off_t at = lseek(fd, 0, SEEK_END);
        char block[READ_BYTES];
        int64_t seen = 0;
        bool end = true;
        while (at > 0) {
                size_t n = (size_t) MIN(at, (off_t) sizeof(block));
                if (pread(fd, block, n, at - (off_t) n) != (ssize_t) n)
                        return 0;
                for (size_t i = n; i-- > 0;) {
                        if (block[i] != '\n' || end) {
                                end = false;
                                continue;
                        }
                        if (++seen == lines)
                                return at - (off_t) n + (off_t) i + 1;
                }
                at -= (off_t) n;
        }
        return 0;
}

/* Rotated files first, oldest first; with a tail that the newest file holds they are not needed. */
static int read_rotated(const char *path, Reader *r) {
        unsigned n = 0;
        for (; n < 100; n++) {
                _cleanup_free_ char *older = xasprintf("%s.%u", path, n + 1);
                if (access(older, F_OK) < 0)
                        break;
        }
        int k = 0;
        for (; n > 0 && k >= 0; n--) {
                _cleanup_free_ char *older = xasprintf("%s.%u", path, n);
                _cleanup_close_ int fd = open(older, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
                if (fd >= 0)
                        k = read_rest(fd, r);
                buf_clear(&r->rest);
        }
        return k;
}

static void await_change(int notify) {
        struct pollfd p = { .fd = notify, .events = POLLIN };
        char events[4096];
        if (poll(&p, 1, notify < 0 ? 100 : 500) > 0)
                (void) !read(notify, events, sizeof(events));
}

static int follow_file(const char *dir, const char *path, int fd, Reader *r, bool (*alive)(void *)) {
        _cleanup_close_ int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (notify >= 0)
                (void) inotify_add_watch(notify, dir, IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_DELETE_SELF);
        _cleanup_close_ int reopened = -EBADF;
        for (;;) {
                bool over = !alive(r->userdata);
                int k = fd >= 0 ? read_rest(fd, r) : 0;
                if (k < 0)
                        return k;
                struct stat here, there;
                bool replaced = stat(path, &there) >= 0 &&
                                (fd < 0 || fstat(fd, &here) < 0 || here.st_ino != there.st_ino ||
                                 there.st_size < lseek(fd, 0, SEEK_CUR));
                if (replaced) {
                        (void) safe_close(reopened);
                        fd = reopened = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
                        continue;
                }
                if (over)
                        return 0;
                await_change(notify);
        }
}

int log_read(const char *dir, const char *id, const LogReadOptions *o, LogLineFn fn, bool (*alive)(void *),
             void *userdata, Err *err) {
        _cleanup_free_ char *path = xasprintf("%s/%s-json.log", dir, id);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno != ENOENT)
                return err_errno(err, -errno, "cannot open %s", path);
        Reader r = { .o = o, .fn = fn, .userdata = userdata };
        int k = 0;
        if (fd >= 0 && o->tail == 0)
                (void) lseek(fd, 0, SEEK_END);
        else if (fd >= 0) {
                off_t at = o->tail > 0 ? tail_offset(fd, o->tail) : 0;
                if (at == 0 && o->tail < 0)
                        k = read_rotated(path, &r);
                (void) lseek(fd, at, SEEK_SET);
        }
        if (k >= 0 && fd >= 0)
                k = read_rest(fd, &r);
        if (k >= 0 && o->follow)
                k = follow_file(dir, path, fd, &r, alive);
        buf_done(&r.rest);
        return k == -ECANCELED || k == -EPIPE ? 0 : k < 0 ? err_errno(err, k, "cannot read %s", path) : 0;
}

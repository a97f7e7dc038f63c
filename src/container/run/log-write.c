/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "container/run/log.h"
#include "container/run/units.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

static const char *option(char *const *options, const char *key) {
        STRV_FOREACH(o, options) {
                const char *v = startswith(*o, key);
                if (v && *v == '=')
                        return v + 1;
        }
        return NULL;
}

static int driver_of(const char *name) {
        if (isempty(name) || streq(name, "json-file"))
                return LOG_JSON_FILE;
        return streq(name, "journald") ? LOG_JOURNALD : streq(name, "none") ? LOG_NONE : -EINVAL;
}

int log_driver_check(const char *driver, char *const *options, Err *err) {
        if (driver_of(driver) < 0)
                return err_set(err, -EINVAL,
                               "logger: no log driver named '%s' is registered (there are json-file, journald, none)",
                               driver);
        STRV_FOREACH(o, options) {
                static const char *const known[] = { "max-size", "max-file", "tag" };
                bool ok = false;
                for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                        const char *v = startswith(*o, known[i]);
                        ok |= v && *v == '=';
                }
                if (!ok)
                        return err_set(err, -EINVAL, "unknown log opt '%s' for %s log driver", *o, driver);
        }
        int64_t size = 0;
        uint64_t files = 1;
        const char *s = option(options, "max-size"), *f = option(options, "max-file");
        if ((s && !streq(s, "-1") && parse_bytes(s, &size) < 0) || (f && (parse_u64(f, &files) < 0 || files < 1)))
                return err_set(err, -EINVAL, "invalid max-size or max-file of the log driver");
        return 0;
}

int log_writer_init(LogWriter *w, const char *dir, const ContainerSpec *spec, Err *err) {
        char *const *options = spec->host.log_options;
        int r = log_driver_check(spec->host.log_driver, options, err);
        if (r < 0)
                return r;
        int64_t size = 0;
        uint64_t files = 1;
        const char *v = option(options, "max-size");
        if (v && parse_bytes(v, &size) < 0)
                size = 0;
        if ((v = option(options, "max-file")))
                (void) parse_u64(v, &files);
        const char *tag = option(options, "tag");
        *w = (LogWriter){ .driver = (LogDriver) driver_of(spec->host.log_driver),
                          .path = xasprintf("%s/%s-json.log", dir, spec->id),
                          .id = xstrdup(spec->id),
                          .name = xstrdup(spec->name),
                          .tag = tag ? xstrdup(tag) : xstrndup(spec->id, 12),
                          .max_size = (uint64_t) size,
                          .max_file = (unsigned) MIN(files, (uint64_t) 100),
                          .fd = -EBADF };
        return 0;
}

static void rotate(LogWriter *w) {
        w->fd = safe_close(w->fd);
        w->size = 0;
        if (w->max_file < 2) {
                (void) truncate(w->path, 0);
                return;
        }
        for (unsigned i = w->max_file - 1; i >= 1; i--) {
                _cleanup_free_ char *from = i == 1 ? xstrdup(w->path) : xasprintf("%s.%u", w->path, i - 1);
                _cleanup_free_ char *to = xasprintf("%s.%u", w->path, i);
                (void) rename(from, to);
        }
}

/* A full disk must not stop the container: such lines are lost, as with every other log. */
static void flush_file(LogWriter *w) {
        if (w->max_size > 0 && w->size > 0 && w->size + w->out.len > w->max_size)
                rotate(w);
        if (w->fd < 0) {
                w->fd = open(w->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
                off_t end = w->fd < 0 ? 0 : lseek(w->fd, 0, SEEK_END);
                w->size = end > 0 ? (uint64_t) end : 0;
        }
        if (w->fd >= 0 && write_all(w->fd, w->out.data, w->out.len) >= 0)
                w->size += w->out.len;
        buf_clear(&w->out);
}

static void add_json_line(LogWriter *w, unsigned stream, const char *p, size_t n, int64_t now) {
        char time[36];
        JsonOut j = { .buf = &w->out };
        jo_obj(&j);
        jo_key(&j, "log");
        jo_strn(&j, p, n);
        jo_kstr(&j, "stream", stream == 1 ? "stdout" : "stderr");
        jo_kstr(&j, "time", format_rfc3339(time, now, 9, true));
        jo_end(&j);
        buf_addc(&w->out, '\n');
        if (w->max_size > 0 && w->size + w->out.len > w->max_size)
                flush_file(w);
}

static void journal_field(Buf *b, const char *key, const char *p, size_t n) {
        buf_addf(b, "%s\n", key);
        buf_add_le64(b, n);
        buf_add(b, p, n);
        buf_addc(b, '\n');
}

static void send_journal_line(LogWriter *w, unsigned stream, const char *p, size_t n) {
        if (w->fd < 0) {
                struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
                w->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
                if (w->fd < 0 || connect(w->fd, (struct sockaddr *) &a, sizeof(a)) < 0) {
                        w->fd = safe_close(w->fd);
                        return;
                }
        }
        _cleanup_(buf_done) Buf b = {};
        n -= n > 0 && p[n - 1] == '\n';
        journal_field(&b, "MESSAGE", p, n);
        buf_addf(&b, "PRIORITY=%d\nCONTAINER_ID=%.12s\nCONTAINER_ID_FULL=%s\nCONTAINER_NAME=%s\nCONTAINER_TAG=%s\n"
                     "SYSLOG_IDENTIFIER=%s\n",
                 stream == 1 ? 6 : 3, w->id, w->id, w->name, w->tag, w->tag);
        (void) send(w->fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void emit(LogWriter *w, unsigned stream, const char *p, size_t n, int64_t now) {
        if (w->driver == LOG_JSON_FILE)
                add_json_line(w, stream, p, n, now);
        else
                send_journal_line(w, stream, p, n);
}

void log_write(LogWriter *w, unsigned stream, const char *p, size_t n) {
        assert(stream == 1 || stream == 2);
        if (w->driver == LOG_NONE)
                return;
        Buf *pending = &w->pending[stream - 1];
        int64_t now = now_wall_nsec();
        while (n > 0) {
                const char *nl = memchr(p, '\n', n);
                size_t part = MIN(nl ? (size_t) (nl - p) + 1 : n, (size_t) LOG_LINE_MAX - pending->len);
                bool whole = p[part - 1] == '\n' || pending->len + part >= LOG_LINE_MAX;
                if (whole && pending->len == 0)
                        emit(w, stream, p, part, now);
                else {
                        buf_add(pending, p, part);
                        if (whole) {
                                emit(w, stream, pending->data, pending->len, now);
                                buf_clear(pending);
                        }
                }
                p += part;
                n -= part;
        }
        if (w->out.len > 0)
                flush_file(w);
}

void log_writer_done(LogWriter *w) {
        for (unsigned i = 0; i < 2; i++) {
                if (w->pending[i].len > 0)
                        emit(w, i + 1, w->pending[i].data, w->pending[i].len, now_wall_nsec());
                buf_done(&w->pending[i]);
        }
        if (w->out.len > 0)
                flush_file(w);
        buf_done(&w->out);
        w->fd = safe_close(w->fd);
        free(w->path);
        free(w->id);
        free(w->name);
        free(w->tag);
        *w = (LogWriter){ .fd = -EBADF };
}

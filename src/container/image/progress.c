/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "container/image/format.h"
#include "container/image/image.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <sys/ioctl.h>

/* One line per id, redrawn in place on a terminal (spec B.5, as docker draws it); elsewhere only the changes
 * of state are printed, one per line. */

#define BAR_WIDTH 50
#define REDRAW_USEC (50 * USEC_PER_MSEC)

typedef struct Line {
        char *id;     /* owned */
        char *status; /* owned: the last one shown */
        Usec drawn;
} Line;

struct ImageProgress {
        int fd;
        bool tty;
        unsigned columns;
        Line *lines; /* owned */
        size_t n, cap;
};

ImageProgress *image_progress_new(int fd) {
        ImageProgress *p = xnew(ImageProgress, 1);
        struct winsize w;
        p->fd = fd;
        p->tty = isatty(fd);
        p->columns = p->tty && ioctl(fd, TIOCGWINSZ, &w) >= 0 && w.ws_col > 0 ? w.ws_col : 200;
        return p;
}

ImageProgress *image_progress_free(ImageProgress *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n; i++) {
                free(p->lines[i].id);
                free(p->lines[i].status);
        }
        free(p->lines);
        return xfree(p);
}

static Line *find_line(ImageProgress *p, const char *id, bool *ret_new) {
        for (size_t i = 0; i < p->n; i++)
                if (streq(p->lines[i].id, id))
                        return &p->lines[i];
        GROW(p->lines, p->cap, p->n + 1);
        p->lines[p->n] = (Line){ .id = xstrdup(id) };
        *ret_new = true;
        return &p->lines[p->n++];
}

static void add_bar(Buf *b, const ImageEvent *e, unsigned columns) {
        char current[32], total[32];
        format_size(current, (int64_t) e->current);
        format_size(total, (int64_t) e->total);
        if (columns > 110) {
                unsigned filled = e->total ? (unsigned) (MIN(e->current, e->total) * BAR_WIDTH / e->total) : 0;
                buf_addc(b, '[');
                for (unsigned i = 0; i < BAR_WIDTH; i++)
                        buf_addc(b, i < filled ? '=' : i == filled ? '>' : ' ');
                buf_adds(b, "]  ");
        }
        buf_addf(b, "%s/%s", current, total);
}

/* The cursor always stands on the line below the last. */
static void draw(ImageProgress *p, const Line *l, const ImageEvent *e, bool is_new) {
        _cleanup_(buf_done) Buf b = {};
        size_t up = p->n - (size_t) (l - p->lines);
        if (!is_new)
                buf_addf(&b, "\033[%zuA\033[2K\r", up);
        buf_addf(&b, "%s: %s ", l->id, e->status);
        if (e->total > 0)
                add_bar(&b, e, p->columns);
        buf_addc(&b, '\n');
        if (!is_new && up > 1)
                buf_addf(&b, "\033[%zuB", up - 1);
        (void) write_all(p->fd, b.data, b.len);
}

void image_progress_event(const ImageEvent *e, void *progress) {
        ImageProgress *p = progress;
        if (!e->id) {
                _cleanup_free_ char *line = xasprintf("%s\n", e->status);
                (void) write_all(p->fd, line, strlen(line));
                return;
        }
        bool is_new = false;
        Line *l = find_line(p, e->id, &is_new);
        bool changed = !streq_ptr(l->status, e->status);
        Usec now = now_monotonic();
        if (p->tty ? !changed && e->current < e->total && now - l->drawn < REDRAW_USEC : !changed || e->total > 0)
                return;
        if (changed) {
                free(l->status);
                l->status = xstrdup(e->status);
        }
        l->drawn = now;
        if (p->tty) {
                draw(p, l, e, is_new);
                return;
        }
        _cleanup_free_ char *line = xasprintf("%s: %s\n", e->id, e->status);
        (void) write_all(p->fd, line, strlen(line));
}

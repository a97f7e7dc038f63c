/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/unitfile.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/str.h"
#include "codec/digest.h"

typedef struct Scan {
        const char *p, *end, *start; /* weak; start of the whole text */
        size_t line_max;
        UnitFile *out; /* weak */
        char *section; /* owned; NULL before the first section */
        Err *err;
} Scan;

static bool is_space(char c) {
        return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim(const char **s, size_t *n) {
        while (*n > 0 && is_space(**s)) {
                (*s)++;
                (*n)--;
        }
        while (*n > 0 && is_space((*s)[*n - 1]))
                (*n)--;
}

/* The rest of the physical line without its end; the scan moves behind the newline. */
static int take_line(Scan *s, const char **ret, size_t *ret_n, bool *ret_eof) {
        const char *nl = memchr(s->p, '\n', (size_t) (s->end - s->p));
        const char *stop = nl ? nl : s->end, *line = s->p;

        while (line > s->start && line[-1] != '\n')
                line--;

        *ret = s->p;
        *ret_n = (size_t) (stop - s->p);
        if (ret_eof)
                *ret_eof = !nl;
        if ((size_t) (stop - line) > s->line_max)
                return err_set(s->err, -EINVAL, "line too long (max %zu bytes)", s->line_max + 1);
        if (nl && *ret_n > 0 && nl[-1] == '\r')
                (*ret_n)--;
        s->p = nl ? nl + 1 : s->end;
        return 0;
}

static int skip_comment(Scan *s) {
        const char *line;
        size_t n;

        do {
                int r = take_line(s, &line, &n, NULL);
                if (r < 0)
                        return r;
        } while (n > 0 && line[n - 1] == '\\' && s->p < s->end);
        return 0;
}

/* Behind a "[": the name up to "]", then nothing but white space up to the end of the line. */
static int scan_section(Scan *s) {
        const char *close = memchr(s->p, ']', (size_t) (s->end - s->p)), *line;
        size_t n;

        if (!close)
                return err_set(s->err, -EINVAL, "unable to find end of section");
        free(s->section);
        s->section = xstrndup(s->p, (size_t) (close - s->p));
        s->p = close + 1;
        int r = take_line(s, &line, &n, NULL);
        if (r < 0)
                return r;
        trim(&line, &n);
        if (n > 0)
                return err_set(s->err, -EINVAL, "found garbage after section name %s: %.*s", s->section,
                               (int) MIN(n, (size_t) 80), line);
        return 0;
}

/* The value goes to the end of the line, and on while lines end in a backslash; a blank line ends it too. */
static int scan_value(Scan *s, Buf *value) {
        for (;;) {
                const char *line, *bare;
                size_t n, bare_n;
                bool eof;
                int r = take_line(s, &line, &n, &eof);
                if (r < 0)
                        return r;
                bare = line;
                bare_n = n;
                trim(&bare, &bare_n);
                if (bare_n == 0)
                        return 0;
                buf_add(value, line, n);
                if (line[n - 1] != '\\' || eof)
                        return 0;
                buf_addc(value, '\n');
        }
}

static int scan_option(Scan *s) {
        const char *name = s->p, *text;
        size_t n, text_n;

        while (s->p < s->end && *s->p != '=' && *s->p != '\n' && *s->p != '\r')
                s->p++;
        if (s->p == s->end)
                return err_set(s->err, -EINVAL, "unexpected end of file while parsing option name");
        if (*s->p != '=')
                return err_set(s->err, -EINVAL, "unexpected newline encountered while parsing option name");
        if (s->out->n >= UNITFILE_OPTIONS_MAX)
                return err_set(s->err, -E2BIG, "unit file has more than %d options", UNITFILE_OPTIONS_MAX);
        n = (size_t) (s->p - name);
        trim(&name, &n);
        s->p++;

        _cleanup_(buf_done) Buf value = {};
        int r = scan_value(s, &value);
        if (r < 0)
                return r;
        bool newline = value.len > 0 && value.data[value.len - 1] == '\n';
        text = buf_str(&value);
        text_n = value.len;
        trim(&text, &text_n);

        _cleanup_free_ char *key = xstrndup(name, n);
        _cleanup_free_ char *v = xasprintf("%.*s%s", (int) text_n, text, newline ? "\n" : "");
        unitfile_add(s->out, s->section, key, v);
        return 0;
}

static int scan_all(Scan *s) {
        int r = 0;

        while (r >= 0 && s->p < s->end) {
                char c = *s->p;
                if (c == '[') {
                        s->p++;
                        r = scan_section(s);
                } else if (c == '#' || c == ';')
                        r = skip_comment(s);
                else if (!s->section || is_space(c))
                        s->p++; /* before the first section everything is skipped, byte by byte */
                else
                        r = scan_option(s);
        }
        return r;
}

int unitfile_parse(const char *text, size_t n, size_t line_max, UnitFile *ret, Err *err) {
        assert(text || n == 0);
        assert(ret && ret->n == 0);

        if (n > UNITFILE_BYTES_MAX)
                return err_set(err, -E2BIG, "unit file too large (max %u bytes)", UNITFILE_BYTES_MAX);
        if (n == 0)
                return 0;
        if (memchr(text, 0, n))
                return err_set(err, -EINVAL, "unit file contains a NUL byte");

        Scan s = { .p = text, .end = text + n, .start = text, .line_max = line_max ? line_max : UNITFILE_LINE_MAX,
                   .out = ret, .err = err };
        int r = scan_all(&s);
        free(s.section);
        if (r < 0)
                unitfile_done(ret);
        return r;
}

void unitfile_add(UnitFile *u, const char *section, const char *name, const char *value) {
        assert(u && section && name && value);
        GROW(u->options, u->cap, u->n + 1);
        u->options[u->n++] = (UnitOption){ xstrdup(section), xstrdup(name), xstrdup(value) };
}

void unitfile_done(UnitFile *u) {
        for (size_t i = 0; i < u->n; i++) {
                free(u->options[i].section);
                free(u->options[i].name);
                free(u->options[i].value);
        }
        free(u->options);
        *u = (UnitFile){};
}

void unitfile_copy(const UnitFile *from, UnitFile *ret) {
        assert(ret->n == 0);
        for (size_t i = 0; i < from->n; i++)
                unitfile_add(ret, from->options[i].section, from->options[i].name, from->options[i].value);
}

const char *unitfile_get(const UnitFile *u, const char *section, const char *name) {
        for (size_t i = 0; i < u->n; i++)
                if (streq(u->options[i].section, section) && streq(u->options[i].name, name))
                        return u->options[i].value;
        return NULL;
}

bool unitfile_has_section(const UnitFile *u, const char *section) {
        for (size_t i = 0; i < u->n; i++)
                if (streq(u->options[i].section, section))
                        return true;
        return false;
}

/* Sections in the order of their first option; options of one section keep their order. */
char *unitfile_text(const UnitFile *u) {
        _cleanup_(map_done) Map index = {};  /* section to 1 + its place in `body` */
        _cleanup_free_ Buf *body = xnew(Buf, u->n + 1);
        Buf all = {};
        size_t n = 0;

        for (size_t i = 0; i < u->n; i++) {
                const UnitOption *o = &u->options[i];
                uintptr_t at = (uintptr_t) map_gets(&index, o->section);
                if (at == 0) {
                        at = ++n;
                        (void) map_puts(&index, o->section, (void *) at);
                        buf_addf(&body[at - 1], "[%s]\n", o->section);
                }
                buf_addf(&body[at - 1], "%s=%s\n", o->name, o->value);
        }
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        buf_addc(&all, '\n');
                buf_add(&all, body[i].data, body[i].len);
                buf_done(&body[i]);
        }
        return buf_take(&all);
}

char *unitfile_hash(const UnitFile *u) {
        _cleanup_free_ char *text = unitfile_text(u);
        return digest_hex(DIGEST_SHA1, text, strlen(text));
}

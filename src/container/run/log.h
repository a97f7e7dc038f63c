/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a container prints: one JSON object per line, {"log":"text\n","stream":"stdout","time":"…Z"}, in the file
 * <id>-json.log of its folder, which other programs (log shippers) know how to read; or lines to the journal. */

#include "container/run/spec.h"
#include "base/time.h"

#define LOG_LINE_MAX (16U << 10) /* longer lines are split, as docker does */

typedef enum LogDriver { LOG_JSON_FILE, LOG_JOURNALD, LOG_NONE } LogDriver;
/* -EINVAL for a driver or option that this engine does not have, with a message that names those it has. */
int log_driver_check(const char *driver, char *const *options, Err *err);

typedef struct LogWriter {
        LogDriver driver;
        char *path, *id, *name, *tag;
        uint64_t max_size; /* bytes, 0 = unlimited */
        unsigned max_file;
        int fd; /* file or journal socket; opened at the first line */
        uint64_t size;
        Buf pending[2]; /* the unfinished line of stdout and stderr */
        Buf out;        /* encoded, not yet written: one write for many lines */
} LogWriter;

int log_writer_init(LogWriter *w, const char *dir, const ContainerSpec *spec, Err *err);
/* stream 1 = stdout, 2 = stderr */
void log_write(LogWriter *w, unsigned stream, const char *p, size_t n);
void log_writer_done(LogWriter *w); /* writes unfinished lines too */

typedef struct LogReadOptions {
        bool follow, timestamps, out, err;
        int64_t tail;                     /* lines, -1 = all */
        int64_t since_nsec, until_nsec; /* 0 = no bound */
} LogReadOptions;
typedef struct LogLine {
        unsigned stream;
        int64_t nsec;
        const char *text;
        size_t n;
} LogLine;
typedef int (*LogLineFn)(const LogLine *line, void *userdata);
/* Calls fn for each line, oldest first. With follow it goes on until `alive` says false and the file is at its
 * end, or fn returns a negative errno. */
int log_read(const char *dir, const char *id, const LogReadOptions *o, LogLineFn fn, bool (*alive)(void *),
             void *userdata, Err *err);
/* One line of the file. -EBADMSG. *text is owned by the caller. */
int log_parse_line(const char *p, size_t n, unsigned *stream, int64_t *nsec, char **text, size_t *text_n);

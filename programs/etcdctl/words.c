/* SPDX-License-Identifier: Apache-2.0 */

/* Words and numbers: what etcdctl says about bad ones, lines split with quotes, standard input, programs. */

#include "ctl.h"
#include "sys/fs.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int64_t ctl_parse_i64(const char *s, int64_t *ret, unsigned base, char **ret_error) {
        const char *digits = *s == '-' || *s == '+' ? s + 1 : s;
        uint64_t v;
        int r = parse_u64_base(digits, base, &v);
        if (r >= 0 && v > (uint64_t) INT64_MAX + (*s == '-'))
                r = -ERANGE;
        if (r < 0) {
                *ret_error = xasprintf("strconv.ParseInt: parsing \"%s\": %s", s,
                                       r == -ERANGE ? "value out of range" : "invalid syntax");
                return r;
        }
        *ret = *s == '-' ? (int64_t) -v : (int64_t) v;
        return 0;
}

int64_t ctl_lease_id(const char *s) {
        int64_t id;
        _cleanup_free_ char *error = NULL;
        if (ctl_parse_i64(s, &id, 16, &error) < 0)
                ctl_die(CTL_BAD_ARGS, "bad lease ID arg (%s), expecting ID in Hex", error);
        return id;
}

char *ctl_read_stdin(size_t *ret_n) {
        Buf b = {};
        char tmp[65536];
        for (ssize_t n; (n = read(STDIN_FILENO, tmp, sizeof(tmp))) > 0;) {
                if (b.len > CTL_STDIN_MAX)
                        ctl_die(CTL_BAD_ARGS, "standard input is larger than %u MiB", CTL_STDIN_MAX >> 20);
                buf_add(&b, tmp, (size_t) n);
        }
        *ret_n = b.len;
        return buf_take(&b);
}

ProtobufCBinaryData ctl_bytes(const char *s) {
        return (ProtobufCBinaryData){ strlen(s), (uint8_t *) s };
}

char **ctl_parse_words(const Option *options, char **words, const char *what) {
        _cleanup_(err_done) Err err = {};
        char **rest;
        if (options_parse(options, 0, (int) strv_len(words), words, &rest, &err) < 0)
                ctl_die(CTL_INVALID_INPUT, "%s: %s", what, err_msg(&err));
        return rest;
}

/* One escape of a double-quoted word; returns the bytes read. */
static size_t unescape(const char *s, Buf *word) {
        static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
        uint8_t byte;
        const char *i = s[1] ? strchr(from, s[1]) : NULL;
        if (i) {
                buf_addc(word, to[i - from]);
                return 2;
        }
        if (s[1] == 'x' && s[2] && s[3] && hex_decode(s + 2, 2, &byte) >= 0) {
                buf_addc(word, (char) byte);
                return 4;
        }
        buf_addc(word, s[0]);
        return 1;
}

char **ctl_split_words(const char *line) {
        char **words = NULL;
        for (const char *s = line;;) {
                s += strspn(s, " \t");
                if (!*s)
                        return words;
                Buf word = {};
                if (*s == '"') {
                        for (s++; *s && *s != '"';)
                                s += *s == '\\' ? unescape(s, &word) : (buf_addc(&word, *s), (size_t) 1);
                        s += *s == '"';
                } else if (*s == '\'') {
                        size_t n = strcspn(s + 1, "'");
                        buf_add(&word, s + 1, n);
                        s += n + 1 + (s[n + 1] == '\'');
                } else {
                        size_t n = strcspn(s, " \t");
                        buf_add(&word, s, n);
                        s += n;
                }
                strv_push(&words, buf_take(&word));
        }
}

int ctl_exec(char **argv, char **extra_env) {
        (void) fflush(stdout);
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                sigset_t none;
                (void) sigemptyset(&none);
                (void) sigprocmask(SIG_SETMASK, &none, NULL);
                STRV_FOREACH(e, extra_env)
                        (void) putenv(*e);
                execvp(argv[0], argv);
                fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
                _exit(127);
        }
        int status;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "base/time.h"
#include "codec/digest.h"
#include "codec/jsonin.h"
#include "codec/jsonout.h"
#include "container/image/store-internal.h"
#include "sys/clock.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <strings.h>

/* docker import: a tar of a root file system becomes an image of one layer. */

#define COPY_BYTES (256U << 10)

/* ---- --change: single lines of a Dockerfile ---- */

/* Splits `A=b C="d e"` at blanks outside quotes; quotes and backslashes are taken away. */
static int split_words(const char *s, char ***ret, Err *err) {
        _cleanup_strv_ char **words = NULL;
        while (*(s += strspn(s, " \t"))) {
                _cleanup_(buf_done) Buf word = {};
                char quote = 0;
                for (; *s && (quote || !strchr(" \t", *s)); s++) {
                        if (quote ? *s == quote : *s == '"' || *s == '\'')
                                quote = quote ? 0 : *s;
                        else if (*s == '\\' && s[1] && quote != '\'')
                                buf_addc(&word, *++s);
                        else
                                buf_addc(&word, *s);
                }
                if (quote)
                        return err_set(err, -EINVAL, "a quote is not closed");
                strv_push(&words, buf_take(&word));
        }
        *ret = TAKE_PTR(words);
        return 0;
}

/* ["a","b"], or a command for the shell. */
static int set_command(char ***target, const char *value, Err *err) {
        *target = strv_free(*target);
        if (*value != '[') {
                strv_add(target, "/bin/sh");
                strv_add(target, "-c");
                strv_add(target, value);
                return 0;
        }
        _cleanup_json_ json_t *j = NULL;
        int r = ji_parse(value, strlen(value), 0, &j, err);
        for (size_t i = 0; r >= 0 && i < json_array_size(j); i++) {
                const char *s = json_string_value(json_array_get(j, i));
                if (!s)
                        return err_set(err, -EINVAL, "only strings may stand in %s", value);
                strv_add(target, s);
        }
        return r;
}

/* Puts "K=V" in place of an earlier value of K. */
static void set_pair(char ***list, const char *pair) {
        size_t n = strcspn(pair, "=") + 1;
        for (char **i = *list; i && *i; i++)
                if (strncmp(*i, pair, n) == 0) {
                        free(*i);
                        *i = xstrdup(pair);
                        return;
                }
        strv_add(list, pair);
}

/* K=V K2=V2, or the old form "K the rest". */
static int set_pairs(char ***list, const char *value, Err *err) {
        _cleanup_strv_ char **words = NULL;
        int r = split_words(value, &words, err);
        if (r < 0)
                return r;
        if (strv_len(words) == 0)
                return err_set(err, -EINVAL, "a name is missing");
        if (!strchr(words[0], '=')) {
                size_t n = strcspn(value, " \t");
                if (!value[n])
                        return err_set(err, -EINVAL, "\"%s\" has no value", value);
                _cleanup_free_ char *pair = xasprintf("%.*s=%s", (int) n, value, value + n + strspn(value + n, " \t"));
                set_pair(list, pair);
                return 0;
        }
        STRV_FOREACH(i, words) {
                if (!strchr(*i, '='))
                        return err_set(err, -EINVAL, "\"%s\" has no value", *i);
                set_pair(list, *i);
        }
        return 0;
}

static int add_ports(char ***ports, const char *value, Err *err) {
        _cleanup_strv_ char **words = NULL;
        int r = split_words(value, &words, err);
        STRV_FOREACH(i, words) {
                uint32_t port;
                size_t n = strcspn(*i, "/");
                _cleanup_free_ char *number = xstrndup(*i, n);
                const char *protocol = (*i)[n] ? *i + n + 1 : "tcp";
                if (parse_u32(number, &port) < 0 || port < 1 || port > 65535 ||
                    (!streq(protocol, "tcp") && !streq(protocol, "udp") && !streq(protocol, "sctp")))
                        return err_set(err, -EINVAL, "\"%s\" is no port", *i);
                strv_addf(ports, "%u/%s", port, protocol);
        }
        return r;
}

static int add_volumes(char ***volumes, const char *value, Err *err) {
        _cleanup_strv_ char **list = NULL;
        int r = *value == '[' ? set_command(&list, value, err) : split_words(value, &list, err);
        STRV_FOREACH(i, list) {
                if (**i != '/')
                        return err_set(err, -EINVAL, "volume \"%s\" must be an absolute path", *i);
                strv_add(volumes, *i);
        }
        return r;
}

static int set_string(char **target, const char *value) {
        free(*target);
        *target = xstrdup(value);
        return 0;
}

static int apply_change(ImageConfig *c, const char *line, Err *err) {
        line += strspn(line, " \t");
        size_t n = strcspn(line, " \t");
        _cleanup_free_ char *word = xstrndup(line, n), *rest = xstrdup(line + n + strspn(line + n, " \t"));
        const char *value = strstrip(rest);
        if (!*value)
                return err_set(err, -EINVAL, "%s needs an argument", word);
        if (strcasecmp(word, "CMD") == 0)
                return set_command(&c->cmd, value, err);
        if (strcasecmp(word, "ENTRYPOINT") == 0)
                return set_command(&c->entrypoint, value, err);
        if (strcasecmp(word, "ENV") == 0)
                return set_pairs(&c->env, value, err);
        if (strcasecmp(word, "LABEL") == 0)
                return set_pairs(&c->labels, value, err);
        if (strcasecmp(word, "EXPOSE") == 0)
                return add_ports(&c->exposed_ports, value, err);
        if (strcasecmp(word, "VOLUME") == 0)
                return add_volumes(&c->volumes, value, err);
        if (strcasecmp(word, "USER") == 0)
                return set_string(&c->user, value);
        if (strcasecmp(word, "WORKDIR") == 0)
                return set_string(&c->working_dir, value);
        if (strcasecmp(word, "STOPSIGNAL") == 0)
                return set_string(&c->stop_signal, value);
        return err_set(err, -EINVAL, "%s is not a valid change command", word);
}

/* ---- the config ---- */

static void put_list(JsonOut *j, const char *key, char *const *l) {
        if (!l)
                return;
        jo_key(j, key);
        jo_arr(j);
        STRV_FOREACH(i, l)
                jo_str(j, *i);
        jo_end(j);
}

static void put_set(JsonOut *j, const char *key, char *const *l) {
        if (!l)
                return;
        jo_key(j, key);
        jo_obj(j);
        STRV_FOREACH(i, l) {
                jo_key(j, *i);
                jo_obj(j);
                jo_end(j);
        }
        jo_end(j);
}

static void put_config(JsonOut *j, const ImageConfig *c) {
        jo_key(j, "config");
        jo_obj(j);
        if (c->user)
                jo_kstr(j, "User", c->user);
        put_set(j, "ExposedPorts", c->exposed_ports);
        put_list(j, "Env", c->env);
        put_list(j, "Entrypoint", c->entrypoint);
        put_list(j, "Cmd", c->cmd);
        put_set(j, "Volumes", c->volumes);
        if (c->working_dir)
                jo_kstr(j, "WorkingDir", c->working_dir);
        if (c->labels) {
                jo_key(j, "Labels");
                jo_obj(j);
                STRV_FOREACH(i, c->labels) {
                        size_t n = strcspn(*i, "=");
                        _cleanup_free_ char *key = xstrndup(*i, n);
                        jo_kstr(j, key, *i + n + 1);
                }
                jo_end(j);
        }
        if (c->stop_signal)
                jo_kstr(j, "StopSignal", c->stop_signal);
        jo_end(j);
}

static void write_config(Buf *b, const ImageConfig *c, const char *diff_id, const char *message) {
        char created[40];
        JsonOut j = { .buf = b };
        format_rfc3339(created, now_wall_nsec(), 9, true);
        _cleanup_strv_ char **platform = strv_split(platform_default(), "/", false);
        _cleanup_free_ char *digest = xasprintf("sha256:%s", diff_id);
        jo_obj(&j);
        jo_kstr(&j, "architecture", platform[1]);
        put_config(&j, c);
        jo_kstr(&j, "created", created);
        jo_key(&j, "history");
        jo_arr(&j);
        jo_obj(&j);
        jo_kstr(&j, "created", created);
        jo_kstr(&j, "comment", message);
        jo_end(&j);
        jo_end(&j);
        jo_kstr(&j, "os", platform[0]);
        if (platform[2])
                jo_kstr(&j, "variant", platform[2]);
        jo_key(&j, "rootfs");
        jo_obj(&j);
        jo_kstr(&j, "type", "layers");
        jo_key(&j, "diff_ids");
        jo_arr(&j);
        jo_str(&j, digest);
        jo_end(&j);
        jo_end(&j);
        jo_end(&j);
}

/* ---- the layer ---- */

/* Copies what comes, a pipe perhaps, to a blob. */
static int take_input(Ingest *g, int fd, char **ret_hex, Err *err) {
        _cleanup_free_ char *path = path_join(g->work, "input");
        _cleanup_close_ int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (to < 0)
                return err_errno(err, -errno, "%s", path);
        _cleanup_free_ char *buf = xmalloc(COPY_BYTES), *hex = NULL;
        for (uint64_t total = 0;;) {
                ssize_t n = read(fd, buf, COPY_BYTES);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_errno(err, -errno, "read");
                if (n == 0)
                        break;
                total += (uint64_t) n;
                if (total > STORE_BLOB_BYTES_MAX)
                        return err_set(err, -EFBIG, "the tar is larger than %" PRIu64 " bytes", STORE_BLOB_BYTES_MAX);
                int r = write_all(to, buf, (size_t) n);
                if (r < 0)
                        return err_errno(err, r, "%s", path);
        }
        int r = hash_file(to, &hex, NULL, err);
        if (r >= 0)
                r = ingest_blob_file(g, path, hex, err);
        if (r >= 0)
                *ret_hex = TAKE_PTR(hex);
        return r;
}

typedef struct Import {
        Ingest ingest;
        Image *image; /* owned: carries the config being built */
        char **names; /* owned */
} Import;

static int import_begun(Import *im, int fd, const char *message, char **ret_id, Err *err) {
        _cleanup_free_ char *blob = NULL, *id = NULL;
        char diff_id[65];
        int r = take_input(&im->ingest, fd, &blob, err);
        if (r < 0)
                return r;
        LayerIngest l = { .blob = blob, .ret_diff_id = diff_id };
        r = ingest_layer(&im->ingest, &l, err);
        if (r < 0)
                return r;
        _cleanup_(buf_done) Buf config = {};
        write_config(&config, &im->image->config, diff_id, message ? message : "Imported from -");
        r = ingest_blob_bytes(&im->ingest, config.data, config.len, &id, err);
        if (r >= 0)
                r = ingest_image(&im->ingest, id, NULL, im->names, err);
        if (r >= 0)
                *ret_id = TAKE_PTR(id);
        return r;
}

int image_import_tar(ImageStore *s, int fd, const char *reference, const char *message, char *const *changes,
                     char **ret_id, Err *err) {
        Import im = { .image = xnew(Image, 1) };
        _cleanup_(reference_done) Reference ref = {};
        int r = reference ? reference_parse(reference, &ref, err) : 0;
        if (r >= 0 && ref.digest)
                r = err_set(err, -EINVAL, "cannot import to a digest reference");
        if (r >= 0 && reference)
                strv_push(&im.names, reference_full(&ref));
        STRV_FOREACH(i, changes)
                if (r >= 0)
                        r = apply_change(&im.image->config, *i, err);
        if (r >= 0)
                r = ingest_begin(s, &im.ingest, err);
        if (r >= 0) {
                r = import_begun(&im, fd, message, ret_id, err);
                ingest_end(&im.ingest);
        }
        image_free(im.image);
        strv_free(im.names);
        return r;
}

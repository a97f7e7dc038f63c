/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/tar.h"
#include "base/alloc.h"
#include "base/str.h"

/* Offsets in a header block (POSIX.1-2001 ustar; the GNU and v7 forms share them as far as we read them). */
enum {
        H_NAME = 0,
        H_MODE = 100,
        H_UID = 108,
        H_GID = 116,
        H_SIZE = 124,
        H_MTIME = 136,
        H_CHECKSUM = 148,
        H_TYPE = 156,
        H_LINK = 157,
        H_MAGIC = 257,
        H_DEV_MAJOR = 329,
        H_DEV_MINOR = 337,
        H_PREFIX = 345,
};
#define SIZE_MAX_ALLOWED ((uint64_t) INT64_MAX - TAR_BLOCK)

/* What extended headers said about the entry to come. Unset strings are NULL. */
typedef struct Extra {
        char *path, *link;
        bool has_size, has_uid, has_gid, has_mtime;
        TarEntry values; /* only the numbers and xattrs are used */
} Extra;

static void extra_done(Extra *x) {
        free(x->path);
        free(x->link);
        tar_entry_done(&x->values);
        *x = (Extra){};
}

static void xattr_clear(TarXattr *x) {
        free(x->name);
        free(x->value);
        *x = (TarXattr){};
}

void tar_entry_done(TarEntry *e) {
        free(e->path);
        free(e->link);
        for (size_t i = 0; i < e->n_xattrs; i++)
                xattr_clear(&e->xattrs[i]);
        free(e->xattrs);
        *e = (TarEntry){};
}

static int read_exact(TarReader *t, void *buf, size_t n, Err *err) {
        int64_t k = t->source(t->userdata, buf, n, err);
        if (k < 0)
                return (int) k;
        if ((size_t) k < n)
                return err_set(err, -EBADMSG, "the tar archive is cut short");
        return 0;
}

static int skip_bytes(TarReader *t, uint64_t n, Err *err) {
        char buf[16384];
        while (n > 0) {
                size_t k = (size_t) MIN(n, (uint64_t) sizeof(buf));
                int r = read_exact(t, buf, k, err);
                if (r < 0)
                        return r;
                n -= k;
        }
        return 0;
}

/* ---- numbers ---- */

static int parse_base256(const uint8_t *p, size_t n, int64_t *ret) {
        bool negative = p[0] & 0x40;
        uint64_t v = negative ? UINT64_MAX : 0;
        for (size_t i = 0; i < n; i++) {
                uint8_t byte = i == 0 ? (uint8_t) (negative ? p[0] | 0x80 : p[0] & 0x7f) : p[i];
                if ((v >> 55) != (negative ? 0x1ff : 0))
                        return -EBADMSG;
                v = v << 8 | byte;
        }
        *ret = (int64_t) v;
        return 0;
}

/* Octal with spaces before and a space or NUL behind, or base-256 when the top bit is set. */
static int parse_number(const uint8_t *p, size_t n, int64_t *ret) {
        if (p[0] & 0x80)
                return parse_base256(p, n, ret);
        size_t i = 0;
        while (i < n && (p[i] == ' ' || p[i] == 0))
                i++;
        uint64_t v = 0;
        for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
                if (v >> 60)
                        return -EBADMSG;
                v = v << 3 | (uint64_t) (p[i] - '0');
        }
        for (; i < n; i++)
                if (p[i] != ' ' && p[i] != 0)
                        return -EBADMSG;
        *ret = (int64_t) v;
        return 0;
}

static int field_number(const uint8_t *block, size_t at, size_t n, const char *what, int64_t *ret, Err *err) {
        int r = parse_number(block + at, n, ret);
        return r < 0 ? err_set(err, r, "malformed %s in a tar header", what) : 0;
}

static int field_u32(const uint8_t *block, size_t at, size_t n, const char *what, uint32_t *ret, Err *err) {
        int64_t v;
        int r = field_number(block, at, n, what, &v, err);
        if (r < 0)
                return r;
        if (v < 0 || v > UINT32_MAX)
                return err_set(err, -EBADMSG, "%s %" PRId64 " in a tar header is out of range", what, v);
        *ret = (uint32_t) v;
        return 0;
}

static int check_sum(const uint8_t *block, Err *err) {
        int64_t want;
        int64_t unsigned_sum = 0, signed_sum = 0;
        for (size_t i = 0; i < TAR_BLOCK; i++) {
                uint8_t c = i >= H_CHECKSUM && i < H_CHECKSUM + 8 ? ' ' : block[i];
                unsigned_sum += c;
                signed_sum += (int8_t) c;
        }
        if (parse_number(block + H_CHECKSUM, 8, &want) < 0 || (want != unsigned_sum && want != signed_sum))
                return err_set(err, -EBADMSG, "wrong checksum in a tar header");
        return 0;
}

/* ---- pax ---- */

/* "1700000000.123456789", also negative; digits beyond nanoseconds are dropped. */
static int parse_pax_time(const char *s, int64_t *ret_sec, uint32_t *ret_nsec) {
        _cleanup_free_ char *whole = xstrdup(s);
        char *dot = strchr(whole, '.');
        uint32_t nsec = 0;
        if (dot) {
                *dot++ = 0;
                uint32_t scale = 100000000;
                for (; *dot; dot++) {
                        if (*dot < '0' || *dot > '9')
                                return -EBADMSG;
                        nsec += scale * (uint32_t) (*dot - '0');
                        scale /= 10;
                }
        }
        int64_t sec;
        if (parse_i64(whole, &sec) < 0)
                return -EBADMSG;
        if (nsec > 0 && whole[0] == '-') {
                if (sec == INT64_MIN)
                        return -EBADMSG;
                sec--;
                nsec = 1000000000 - nsec;
        }
        *ret_sec = sec;
        *ret_nsec = nsec;
        return 0;
}

static int pax_string(char **target, const char *key, const char *value, size_t n, Err *err) {
        if (memchr(value, 0, n))
                return err_set(err, -EBADMSG, "NUL in the %s of a pax header", key);
        if (n > TAR_PATH_MAX)
                return err_set(err, -ENAMETOOLONG, "%s of %zu bytes in a pax header; at most %d", key, n, TAR_PATH_MAX);
        free(*target);
        *target = n > 0 ? xstrndup(value, n) : NULL;
        return 0;
}

static int pax_number(const char *key, const char *value, uint64_t max, bool *has, uint64_t *ret, Err *err) {
        if (!*value) {
                *has = false;
                return 0;
        }
        if (parse_u64(value, ret) < 0 || *ret > max)
                return err_set(err, -EBADMSG, "malformed %s in a pax header", key);
        *has = true;
        return 0;
}

static int pax_xattr(TarEntry *e, const char *name, const char *value, size_t n, Err *err) {
        TarXattr *x = NULL;
        for (size_t i = 0; i < e->n_xattrs && !x; i++)
                if (streq(e->xattrs[i].name, name))
                        x = &e->xattrs[i];
        if (!x) {
                if (e->n_xattrs >= TAR_XATTRS_MAX)
                        return err_set(err, -E2BIG, "a tar entry has more than %d extended attributes", TAR_XATTRS_MAX);
                if (!e->xattrs)
                        e->xattrs = xnew(TarXattr, TAR_XATTRS_MAX);
                x = &e->xattrs[e->n_xattrs++];
                x->name = xstrdup(name);
        }
        free(x->value);
        x->value = xmalloc(n + 1);
        memcpy(x->value, value, n);
        x->value[n] = 0;
        x->len = n;
        return 0;
}

static int pax_record(Extra *x, const char *key, const char *value, size_t n, Err *err) {
        uint64_t v = 0;
        int r;
        if (streq(key, "path"))
                return pax_string(&x->path, key, value, n, err);
        if (streq(key, "linkpath"))
                return pax_string(&x->link, key, value, n, err);
        if (streq(key, "size")) {
                r = pax_number(key, value, SIZE_MAX_ALLOWED, &x->has_size, &v, err);
                x->values.size = v;
                return r;
        }
        if (streq(key, "uid") || streq(key, "gid")) {
                bool uid = key[0] == 'u';
                r = pax_number(key, value, UINT32_MAX, uid ? &x->has_uid : &x->has_gid, &v, err);
                *(uid ? &x->values.uid : &x->values.gid) = (uint32_t) v;
                return r;
        }
        if (streq(key, "mtime")) {
                x->has_mtime = *value;
                if (*value && parse_pax_time(value, &x->values.mtime_sec, &x->values.mtime_nsec) < 0)
                        return err_set(err, -EBADMSG, "malformed mtime in a pax header");
                return 0;
        }
        if (startswith(key, "GNU.sparse."))
                return err_set(err, -EBADMSG, "the tar archive holds a sparse file, which is not supported");
        const char *xattr = startswith(key, "SCHILY.xattr.");
        return xattr && *xattr ? pax_xattr(&x->values, xattr, value, n, err) : 0;
}

/* Records are "LENGTH key=value\n", LENGTH counting the whole record in decimal. */
static int parse_pax(Extra *x, char *p, size_t n, Err *err) {
        while (n > 0) {
                size_t digits = 0, len = 0;
                while (digits < n && digits < 8 && p[digits] >= '0' && p[digits] <= '9')
                        len = len * 10 + (size_t) (p[digits++] - '0');
                if (digits == 0 || digits >= n || p[digits] != ' ' || len > n || len < digits + 4 || p[len - 1] != '\n')
                        return err_set(err, -EBADMSG, "malformed pax header");
                char *key = p + digits + 1;
                p[len - 1] = 0;
                char *eq = memchr(key, '=', (size_t) (p + len - key));
                if (!eq || eq == key)
                        return err_set(err, -EBADMSG, "malformed pax header");
                *eq = 0;
                if (strlen(key) != (size_t) (eq - key))
                        return err_set(err, -EBADMSG, "NUL in a pax key");
                int r = pax_record(x, key, eq + 1, (size_t) (p + len - 1 - (eq + 1)), err);
                if (r < 0)
                        return r;
                p += len;
                n -= len;
        }
        return 0;
}

/* ---- entries ---- */

/* The content of an L, K, x or g header. */
static int read_header_data(TarReader *t, uint64_t size, char **ret, Err *err) {
        if (size > TAR_HEADER_DATA_MAX)
                return err_set(err, -E2BIG, "a tar header of %" PRIu64 " bytes; at most %u", size, TAR_HEADER_DATA_MAX);
        _cleanup_free_ char *p = try_alloc((size_t) size + 1, TAR_HEADER_DATA_MAX + 1);
        if (!p)
                return -ENOMEM;
        int r = read_exact(t, p, (size_t) size, err);
        if (r >= 0)
                r = skip_bytes(t, -size % TAR_BLOCK, err);
        if (r < 0)
                return r;
        p[size] = 0;
        *ret = TAKE_PTR(p);
        return 0;
}

static int read_long_name(TarReader *t, uint64_t size, char **target, Err *err) {
        _cleanup_free_ char *p = NULL;
        int r = read_header_data(t, size, &p, err);
        if (r < 0)
                return r;
        if (strlen(p) > TAR_PATH_MAX)
                return err_set(err, -ENAMETOOLONG, "a path of %zu bytes in the tar archive; at most %d", strlen(p),
                               TAR_PATH_MAX);
        free_and_replace(*target, p);
        return 0;
}

static int entry_type(char flag, const char *path, TarType *ret, Err *err) {
        switch (flag) {
        case '0':
        case 0:
        case '7':
                *ret = flag == 0 && endswith(path, "/") ? TAR_DIR : TAR_FILE;
                return 0;
        case '1':
                *ret = TAR_HARDLINK;
                return 0;
        case '2':
                *ret = TAR_SYMLINK;
                return 0;
        case '3':
                *ret = TAR_CHAR;
                return 0;
        case '4':
                *ret = TAR_BLOCK_DEVICE;
                return 0;
        case '5':
                *ret = TAR_DIR;
                return 0;
        case '6':
                *ret = TAR_FIFO;
                return 0;
        case 'S':
                return err_set(err, -EBADMSG, "the tar archive holds a sparse file, which is not supported");
        default:
                return err_set(err, -EBADMSG, "unknown type 0x%02x of a tar entry", (unsigned char) flag);
        }
}

static char *header_path(const uint8_t *h) {
        const char *s = (const char *) h;
        bool ustar = memcmp(h + H_MAGIC, "ustar\0", 6) == 0;
        if (ustar && s[H_PREFIX])
                return xasprintf("%.155s/%.100s", s + H_PREFIX, s);
        return xstrndup(s, 100);
}

static int header_numbers(const uint8_t *h, TarEntry *e, int64_t *ret_size, Err *err) {
        uint32_t mode = 0;
        int r = field_u32(h, H_MODE, 8, "mode", &mode, err);
        if (r >= 0)
                r = field_u32(h, H_UID, 8, "uid", &e->uid, err);
        if (r >= 0)
                r = field_u32(h, H_GID, 8, "gid", &e->gid, err);
        if (r >= 0)
                r = field_number(h, H_SIZE, 12, "size", ret_size, err);
        if (r >= 0)
                r = field_number(h, H_MTIME, 12, "mtime", &e->mtime_sec, err);
        if (r < 0)
                return r;
        e->mode = mode & 07777;
        if (*ret_size < 0 || (uint64_t) *ret_size > SIZE_MAX_ALLOWED)
                return err_set(err, -EBADMSG, "size %" PRId64 " in a tar header is out of range", *ret_size);
        return 0;
}

/* Turns the header block and what came before it into *e. */
static int build_entry(TarReader *t, const uint8_t *h, Extra *x, TarEntry *e, Err *err) {
        int64_t size;
        int r = header_numbers(h, e, &size, err);
        if (r < 0)
                return r;
        e->path = x->path ? TAKE_PTR(x->path) : header_path(h);
        e->link = x->link ? TAKE_PTR(x->link) : xstrndup((const char *) h + H_LINK, 100);
        if (!*e->path)
                return err_set(err, -EBADMSG, "a tar entry without a name");
        r = entry_type((char) h[H_TYPE], e->path, &e->type, err);
        if (r >= 0 && (e->type == TAR_CHAR || e->type == TAR_BLOCK_DEVICE)) {
                r = field_u32(h, H_DEV_MAJOR, 8, "device number", &e->dev_major, err);
                if (r >= 0)
                        r = field_u32(h, H_DEV_MINOR, 8, "device number", &e->dev_minor, err);
        }
        if (r < 0)
                return r;
        if (x->has_uid)
                e->uid = x->values.uid;
        if (x->has_gid)
                e->gid = x->values.gid;
        if (e->uid == UINT32_MAX || e->gid == UINT32_MAX)
                return err_set(err, -EBADMSG, "%s: an owner of 4294967295 means \"no change\" and cannot own a file",
                               e->path);
        if (x->has_mtime) {
                e->mtime_sec = x->values.mtime_sec;
                e->mtime_nsec = x->values.mtime_nsec;
        }
        e->xattrs = TAKE_PTR(x->values.xattrs);
        e->n_xattrs = x->values.n_xattrs;
        x->values.n_xattrs = 0;
        if (e->type == TAR_FILE)
                e->size = x->has_size ? x->values.size : (uint64_t) size;
        t->left = e->size;
        t->padding = (uint32_t) (-e->size % TAR_BLOCK);
        return 0;
}

static bool all_zero(const uint8_t *block) {
        for (size_t i = 0; i < TAR_BLOCK; i++)
                if (block[i])
                        return false;
        return true;
}

/* 1 = a header block, 0 = the end: two zero blocks, or the end of the stream at a block boundary. */
static int next_block(TarReader *t, uint8_t block[TAR_BLOCK], Err *err) {
        for (int zeros = 0; zeros < 2; zeros++) {
                int64_t n = t->source(t->userdata, block, TAR_BLOCK, err);
                if (n < 0)
                        return (int) n;
                if (n == 0)
                        return 0;
                if (n < TAR_BLOCK)
                        return err_set(err, -EBADMSG, "the tar archive is cut short");
                if (!all_zero(block)) {
                        if (zeros > 0)
                                return err_set(err, -EBADMSG, "a single zero block inside the tar archive");
                        int r = check_sum(block, err);
                        return r < 0 ? r : 1;
                }
        }
        return 0;
}

/* Reads the L, K, x and g headers' content into *x; 0 = `h` was none of them. */
static int extension(TarReader *t, const uint8_t *h, Extra *x, Err *err) {
        char flag = (char) h[H_TYPE];
        if (!strchr("LKxgXV", flag) || flag == 0)
                return 0;
        int64_t size;
        int r = field_number(h, H_SIZE, 12, "size", &size, err);
        if (r < 0)
                return r;
        if (size < 0)
                return err_set(err, -EBADMSG, "size %" PRId64 " in a tar header is out of range", size);
        if (flag == 'L' || flag == 'K') {
                r = read_long_name(t, (uint64_t) size, flag == 'L' ? &x->path : &x->link, err);
                return r < 0 ? r : 1;
        }
        _cleanup_free_ char *data = NULL;
        r = read_header_data(t, (uint64_t) size, &data, err);
        if (r >= 0 && (flag == 'x' || flag == 'X'))
                r = parse_pax(x, data, (size_t) size, err);
        return r < 0 ? r : 1; /* g: global headers only carry comments in practice; Go ignores them as well */
}

/* 1 = at a block boundary, 0 = the stream ended in the padding: archives that stop right behind the content of
 * the last file exist (umoci's --opaque layers) and Go takes them. */
static int skip_content(TarReader *t, Err *err) {
        char padding[TAR_BLOCK];
        int r = skip_bytes(t, t->left, err);
        if (r < 0)
                return r;
        int64_t n = t->padding > 0 ? t->source(t->userdata, padding, t->padding, err) : 0;
        if (n < 0)
                return (int) n;
        t->ended = n < (int64_t) t->padding;
        t->left = t->padding = 0;
        return !t->ended;
}

#define EXTENSIONS_IN_A_ROW_MAX 64

int tar_next(TarReader *t, TarEntry *ret, Err *err) {
        if (t->ended)
                return 0;
        int r = skip_content(t, err);
        if (r <= 0)
                return r;
        _cleanup_(extra_done) Extra x = {};
        for (int i = 0; i < EXTENSIONS_IN_A_ROW_MAX; i++) {
                uint8_t block[TAR_BLOCK];
                r = next_block(t, block, err);
                if (r <= 0) {
                        t->ended = true;
                        return r;
                }
                r = extension(t, block, &x, err);
                if (r < 0)
                        return r;
                if (r > 0)
                        continue;
                _cleanup_(tar_entry_done) TarEntry e = {};
                r = build_entry(t, block, &x, &e, err);
                if (r < 0)
                        return r;
                *ret = e;
                e = (TarEntry){};
                return 1;
        }
        return err_set(err, -EBADMSG, "more than %d tar headers in a row without a file", EXTENSIONS_IN_A_ROW_MAX);
}

int64_t tar_read(TarReader *t, void *buf, size_t n, Err *err) {
        n = (size_t) MIN((uint64_t) n, t->left);
        if (n == 0)
                return 0;
        int r = read_exact(t, buf, n, err);
        if (r < 0)
                return r;
        t->left -= n;
        return (int64_t) n;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/tar.h"
#include "test.h"

#include <stdio.h>

static int64_t source(void *userdata, void *buf, size_t n, Err *err) {
        Rd *rd = userdata;
        n = MIN(n, rd->left);
        ASSERT_OK(rd_copy(rd, buf, n));
        return (int64_t) n;
}

/* A raw header block; `size` as the 12 bytes of the field. */
static void raw_header(Buf *b, const char *name, char type, const char *size, const char *link) {
        char h[512] = {};
        (void) snprintf(h, 100, "%s", name);
        memcpy(h + 100, "0000644\0000000000\0000000000", 23);
        memcpy(h + 124, size, 12);
        memcpy(h + 136, "00000000000", 11);
        h[156] = type;
        (void) snprintf(h + 157, 100, "%s", link);
        memcpy(h + 257, "ustar\00000", 8);
        memset(h + 148, ' ', 8);
        unsigned sum = 0;
        for (int i = 0; i < 512; i++)
                sum += (uint8_t) h[i];
        (void) snprintf(h + 148, 7, "%06o", sum);
        h[155] = ' ';
        buf_add(b, h, 512);
}

static void raw_data(Buf *b, const char *p, size_t n) {
        buf_add(b, p, n);
        tar_write_padding(b, n);
}

static int first_entry(const Buf *b, TarEntry *e, Err *err) {
        Rd rd = rd_new(b->data, b->len);
        TarReader t = { .source = source, .userdata = &rd };
        return tar_next(&t, e, err);
}

#define ASSERT_REFUSED(b, text)                                                                               \
        do {                                                                                                  \
                _cleanup_(err_done) Err _e = {};                                                              \
                TarEntry _entry = {};                                                                         \
                ASSERT_TRUE(first_entry(b, &_entry, &_e) < 0);                                                \
                if (!strstr(err_msg(&_e), text))                                                              \
                        test_fail(__FILE__, __LINE__, "\"%s\" is not in \"%s\"", text, err_msg(&_e));         \
        } while (0)

TEST(round_trip) {
        char long_path[600];
        memset(long_path, 'p', 599);
        long_path[599] = 0;
        long_path[250] = '/';
        TarXattr xattrs[] = { { .name = (char *) "user.a", .value = (char *) "x\0=\ny", .len = 5 } };
        const TarEntry in[] = {
                { .type = TAR_FILE, .path = (char *) "a/b", .link = (char *) "", .size = 3, .mode = 04755, .uid = 1,
                  .gid = 2, .mtime_sec = 1700000000 },
                { .type = TAR_DIR, .path = long_path, .link = (char *) "", .mode = 0700, .uid = 4000000000, .gid = 3,
                  .mtime_sec = -5, .mtime_nsec = 250000000 },
                { .type = TAR_SYMLINK, .path = (char *) "l", .link = long_path, .mode = 0777, .mtime_sec = 9,
                  .mtime_nsec = 1, .xattrs = xattrs, .n_xattrs = 1 },
                { .type = TAR_CHAR, .path = (char *) "n", .link = (char *) "", .dev_major = 1, .dev_minor = 3 },
                { .type = TAR_HARDLINK, .path = (char *) "h", .link = (char *) "a/b" },
                { .type = TAR_FIFO, .path = (char *) "f", .link = (char *) "" },
        };
        _cleanup_(buf_done) Buf b = {};
        for (size_t i = 0; i < ELEMENTSOF(in); i++) {
                tar_write_header(&b, &in[i]);
                if (in[i].size)
                        raw_data(&b, "abc", 3);
        }
        tar_write_end(&b);
        Rd rd = rd_new(b.data, b.len);
        TarReader t = { .source = source, .userdata = &rd };
        for (size_t i = 0; i < ELEMENTSOF(in); i++) {
                _cleanup_(tar_entry_done) TarEntry e = {};
                ASSERT_EQ(tar_next(&t, &e, NULL), 1);
                ASSERT_STREQ(e.path, in[i].path);
                ASSERT_STREQ(e.link, in[i].link);
                ASSERT_EQ(e.type, in[i].type);
                ASSERT_EQ(e.size, in[i].size);
                ASSERT_EQ(e.mode, in[i].mode);
                ASSERT_EQ(e.uid, in[i].uid);
                ASSERT_EQ(e.gid, in[i].gid);
                ASSERT_EQ(e.mtime_sec, in[i].mtime_sec);
                ASSERT_EQ(e.mtime_nsec, in[i].mtime_nsec);
                ASSERT_EQ(e.dev_minor, in[i].dev_minor);
                ASSERT_EQ(e.n_xattrs, in[i].n_xattrs);
                for (size_t k = 0; k < e.n_xattrs; k++) {
                        ASSERT_EQ(e.xattrs[k].len, 5);
                        ASSERT_EQ(memcmp(e.xattrs[k].value, xattrs[0].value, 5), 0);
                }
                if (i == 0) { /* partly read: the rest is skipped */
                        char c;
                        ASSERT_EQ(tar_read(&t, &c, 1, NULL), 1);
                        ASSERT_EQ(c, 'a');
                }
        }
        TarEntry none = {};
        ASSERT_EQ(tar_next(&t, &none, NULL), 0);
        ASSERT_EQ(tar_next(&t, &none, NULL), 0);
}

TEST(gnu_long_names_and_base256) {
        _cleanup_(buf_done) Buf b = {};
        char name[300];
        memset(name, 'n', 299);
        name[299] = 0;
        raw_header(&b, "././@LongLink", 'L', "00000000454", "");
        raw_data(&b, name, 300);
        raw_header(&b, "././@LongLink", 'K', "00000000003", "");
        raw_data(&b, "to", 3);
        raw_header(&b, "nnn", '2', "\x80\0\0\0\0\0\0\0\0\0\0\0", "t");
        _cleanup_(tar_entry_done) TarEntry e = {};
        ASSERT_EQ(first_entry(&b, &e, NULL), 1);
        ASSERT_STREQ(e.path, name);
        ASSERT_STREQ(e.link, "to");

        _cleanup_(buf_done) Buf big = {};
        raw_header(&big, "big", '0', "\x80\0\0\0\0\0\0\2\0\0\0\0", "");
        _cleanup_(tar_entry_done) TarEntry f = {};
        ASSERT_EQ(first_entry(&big, &f, NULL), 1);
        ASSERT_EQ(f.size, INT64_C(2) << 32);
}

TEST(refuses_bad_numbers) {
        static const struct {
                const char *size, *text;
        } cases[] = {
                { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "out of range" },
                { "\x80\x01\0\0\0\0\0\0\0\0\0\0", "malformed size" },
                { "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", "out of range" },
                { "0000000009x", "malformed size" },
                { "-0000000001", "malformed size" },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(buf_done) Buf b = {};
                raw_header(&b, "f", '0', cases[i].size, "");
                ASSERT_REFUSED(&b, cases[i].text);
        }
}

TEST(refuses_bad_extended_headers) {
        static const struct {
                const char *record, *text;
        } cases[] = {
                { "5 a=b\n", "malformed pax" },      { "999999999 a=b\n", "malformed pax" },
                { "a=b\n", "malformed pax" },        { "6 ab=\n9", "malformed pax" },
                { "5 =x\n", "malformed pax" },       { "12 size=-1\n\n", "malformed" },
                { "11 size=1x\n", "malformed size" }, { "22 GNU.sparse.major=1\n", "sparse" },
                { "27 uid=99999999999999999\n", "malformed" }, { "11 mtime=x\n", "malformed" },
                { "28 size=9223372036854775807\n", "malformed size" },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(buf_done) Buf b = {};
                char size[24];
                (void) snprintf(size, sizeof(size), "%011zo", strlen(cases[i].record));
                raw_header(&b, "x", 'x', size, "");
                raw_data(&b, cases[i].record, strlen(cases[i].record));
                raw_header(&b, "f", '0', "00000000000", "");
                ASSERT_REFUSED(&b, cases[i].text);
        }
        _cleanup_(buf_done) Buf nul = {};
        raw_header(&nul, "x", 'x', "00000000014", "");
        raw_data(&nul, "12 path=a\0b\n", 12);
        raw_header(&nul, "f", '0', "00000000000", "");
        ASSERT_REFUSED(&nul, "NUL in the path");

        _cleanup_(buf_done) Buf huge = {}; /* a pax header of 4 GiB, a long name of 8 GiB */
        raw_header(&huge, "x", 'x', "40000000000", "");
        ASSERT_REFUSED(&huge, "at most");
        _cleanup_(buf_done) Buf name = {};
        raw_header(&name, "x", 'L', "77777777777", "");
        ASSERT_REFUSED(&name, "at most");
}

TEST(refuses_what_it_does_not_understand) {
        static const struct {
                char type;
                const char *text;
        } cases[] = { { 'S', "sparse" }, { 'M', "unknown type" }, { '9', "unknown type" }, { 'Z', "unknown type" } };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(buf_done) Buf b = {};
                raw_header(&b, "f", cases[i].type, "00000000000", "");
                ASSERT_REFUSED(&b, cases[i].text);
        }
        _cleanup_(buf_done) Buf sum = {};
        raw_header(&sum, "f", '0', "00000000000", "");
        sum.data[0] = 'g';
        ASSERT_REFUSED(&sum, "checksum");
        _cleanup_(buf_done) Buf nameless = {};
        raw_header(&nameless, "", '0', "00000000000", "");
        ASSERT_REFUSED(&nameless, "without a name");
        _cleanup_(buf_done) Buf endless = {};
        for (int i = 0; i < 100; i++)
                raw_header(&endless, "g", 'g', "00000000000", "");
        ASSERT_REFUSED(&endless, "in a row");
}

TEST(sees_where_it_is_cut) {
        _cleanup_(buf_done) Buf b = {};
        raw_header(&b, "f", '0', "00000000010", "");
        raw_data(&b, "12345678", 8);
        for (size_t cut = 1; cut < b.len; cut++) {
                Rd rd = rd_new(b.data, cut);
                TarReader t = { .source = source, .userdata = &rd };
                _cleanup_(tar_entry_done) TarEntry e = {}, none = {};
                int r = tar_next(&t, &e, NULL);
                if (cut < 512) {
                        ASSERT_EQ(r, -EBADMSG);
                        continue;
                }
                ASSERT_EQ(r, 1);
                /* Behind the content only padding is missing, which some writers never wrote. */
                ASSERT_EQ(tar_next(&t, &none, NULL), cut < 520 ? -EBADMSG : 0);
        }
        _cleanup_(buf_done) Buf lone = {};
        char zeros[512] = {};
        buf_add(&lone, zeros, 512);
        raw_header(&lone, "f", '0', "00000000000", "");
        ASSERT_REFUSED(&lone, "zero block");
}

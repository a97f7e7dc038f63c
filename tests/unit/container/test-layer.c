/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/digest.h"
#include "codec/tar.h"
#include "container/image/unpack.h"
#include "sys/fs.h"
#include "test.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* The unpack group of spec/containers.md E.3: each attack is a tar made here. Around the layer lie files that
 * no attack may touch; their state is compared after every case. */

static char top[] = "/tmp/test-layer-XXXXXX";
static Buf tar;

static void add_full(TarType type, const char *path, const char *link, const char *data, const TarEntry *more) {
        TarEntry e = more ? *more : (TarEntry){ .mode = type == TAR_DIR ? 0755 : 0644, .mtime_sec = 1000 };
        e.type = type;
        e.path = (char *) path;
        e.link = (char *) link;
        e.size = type == TAR_FILE ? strlen(data) : 0;
        tar_write_header(&tar, &e);
        buf_adds(&tar, type == TAR_FILE ? data : "");
        tar_write_padding(&tar, e.size);
}
static void add_file(const char *path, const char *data) {
        add_full(TAR_FILE, path, "", data, NULL);
}
static void add_dir(const char *path) {
        add_full(TAR_DIR, path, "", "", NULL);
}
static void add_link(TarType type, const char *path, const char *to) {
        add_full(type, path, to, "", NULL);
}
static void add_xattr(TarType type, const char *path, const char *name, const char *value, size_t n) {
        TarXattr x = { .name = (char *) name, .value = (char *) value, .len = n };
        TarEntry e = { .mode = type == TAR_DIR ? 0755 : 0755, .xattrs = &x, .n_xattrs = 1 };
        add_full(type, path, "", "x", &e);
}

static char *under(const char *rest) {
        return path_join(top, rest);
}

/* Everything outside the layer: names, modes, content. */
static Buf seen;
static int look(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        _cleanup_(buf_done) Buf b = {};
        if (S_ISREG(st->st_mode))
                ASSERT_OK(read_file(path, 1000, &b));
        buf_addf(&seen, "%s %o %u %lu %s\n", path, st->st_mode, st->st_uid, (unsigned long) st->st_nlink, buf_str(&b));
        return 0;
}
static char *outside_state(void) {
        _cleanup_free_ char *outside = under("outside");
        buf_clear(&seen);
        ASSERT_EQ(nftw(outside, look, 10, FTW_PHYS), 0);
        return buf_take(&seen);
}

static void set_up(void) {
        if (strstr(top, "XXXXXX")) {
                ASSERT_NOT_NULL(mkdtemp(top));
                _cleanup_free_ char *outside = under("outside"), *file = under("outside/secret");
                ASSERT_OK(mkdir(outside, 0755));
                ASSERT_OK(write_file_atomic(file, "secret", 6, 0600));
        }
        _cleanup_free_ char *layer = under("layer");
        ASSERT_OK(rm_rf(layer));
        buf_clear(&tar);
}

__attribute__((destructor)) static void tear_down(void) {
        if (!strstr(top, "XXXXXX"))
                (void) rm_rf(top);
        buf_done(&tar);
        buf_done(&seen);
}

static int unpack_bytes(const void *p, size_t n, char *const *lower, LayerResult *result, Err *err) {
        _cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC);
        ASSERT_OK(write_all(fd, p, n));
        ASSERT_OK(lseek(fd, 0, SEEK_SET));
        _cleanup_free_ char *layer = under("layer"), *before = outside_state();
        LayerUnpack u = { .blob_fd = fd, .target = layer, .lower = lower };
        int r = layer_unpack(&u, result, err);
        _cleanup_free_ char *after = outside_state();
        ASSERT_STREQ(after, before);
        return r;
}

static LayerResult unpacks(void) {
        _cleanup_(err_done) Err err = {};
        LayerResult result = {};
        tar_write_end(&tar);
        if (unpack_bytes(tar.data, tar.len, NULL, &result, &err) < 0)
                test_fail(__FILE__, __LINE__, "%s", err_msg(&err));
        _cleanup_free_ char *want = digest_hex(DIGEST_SHA256, tar.data, tar.len);
        ASSERT_STREQ(result.diff_id, want);
        ASSERT_EQ(result.tar_bytes, tar.len);
        return result;
}

static void refused(const char *text) {
        _cleanup_(err_done) Err err = {};
        LayerResult result = {};
        tar_write_end(&tar);
        ASSERT_TRUE(unpack_bytes(tar.data, tar.len, NULL, &result, &err) < 0);
        if (!strstr(err_msg(&err), text))
                test_fail(__FILE__, __LINE__, "\"%s\" is not in \"%s\"", text, err_msg(&err));
}

static struct stat state(const char *path) {
        _cleanup_free_ char *in = path_join("layer", path), *full = under(in);
        struct stat st = {};
        if (lstat(full, &st) < 0)
                st.st_mode = 0;
        return st;
}
static bool is_whiteout(const char *path) {
        struct stat st = state(path);
        return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}
static char *xattr_of(const char *path, const char *name) {
        _cleanup_free_ char *in = path_join("layer", path), *full = under(in);
        static char value[256];
        ssize_t n = lgetxattr(full, name, value, sizeof(value) - 1);
        if (n < 0)
                return NULL;
        value[n] = 0;
        return value;
}
static char *content(const char *path) {
        _cleanup_free_ char *in = path_join("layer", path), *full = under(in);
        Buf b = {};
        ASSERT_OK(read_file(full, 1000, &b));
        return buf_take(&b);
}
#define ASSERT_CONTENT(path, want)                                                                            \
        do {                                                                                                  \
                _cleanup_free_ char *_c = content(path);                                                      \
                ASSERT_STREQ(_c, want);                                                                       \
        } while (0)

/* ---- honest layers ---- */

TEST(an_honest_layer) {
        set_up();
        TarEntry setuid = { .mode = 04755, .uid = 12, .gid = 34, .mtime_sec = 1700000000, .mtime_nsec = 5 };
        TarEntry sticky = { .mode = 01777, .uid = 7, .mtime_sec = 1600000000 };
        add_dir("./");
        add_full(TAR_DIR, "tmp/", "", "", &sticky);
        add_full(TAR_FILE, "tmp/su", "", "hello", &setuid);
        add_link(TAR_SYMLINK, "link", "/etc/passwd");
        add_link(TAR_HARDLINK, "hard", "tmp/su");
        add_link(TAR_FIFO, "fifo", "");
        add_xattr(TAR_FILE, "cap", "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
        LayerResult r = unpacks();
        ASSERT_EQ(r.entries, 7);
        ASSERT_EQ(r.bytes, 6);
        struct stat st = state("tmp/su");
        ASSERT_EQ(st.st_mode, S_IFREG | 04755);
        ASSERT_EQ(st.st_uid, 12);
        ASSERT_EQ(st.st_gid, 34);
        ASSERT_EQ(st.st_mtim.tv_sec, 1700000000);
        ASSERT_EQ(st.st_nlink, 2);
        st = state("tmp");
        ASSERT_EQ(st.st_mode, S_IFDIR | 01777);
        ASSERT_EQ(st.st_mtim.tv_sec, 1600000000);
        ASSERT_TRUE(S_ISLNK(state("link").st_mode));
        ASSERT_TRUE(S_ISFIFO(state("fifo").st_mode));
        ASSERT_NOT_NULL(xattr_of("cap", "security.capability"));
        ASSERT_CONTENT("hard", "hello");
}

TEST(the_last_entry_wins) {
        set_up();
        add_file("a", "one");
        add_file("a", "two");
        add_file("b", "file");
        add_dir("b");
        add_file("b/x", "inside");
        add_dir("c/d/e");
        add_file("c", "now a file");
        add_link(TAR_SYMLINK, "d", "/etc");
        add_dir("d");
        add_file("d/x", "not in /etc");
        add_file("e", "one");
        add_link(TAR_HARDLINK, "f", "e");
        add_file("e", "two");
        add_link(TAR_HARDLINK, "e", "e");
        (void) unpacks();
        ASSERT_CONTENT("a", "two");
        ASSERT_CONTENT("b/x", "inside");
        ASSERT_CONTENT("c", "now a file");
        ASSERT_CONTENT("d/x", "not in /etc");
        ASSERT_CONTENT("e", "two");
        ASSERT_CONTENT("f", "one");
}

TEST(folders_without_an_entry_look_like_the_layers_below) {
        set_up();
        _cleanup_free_ char *lower = under("lower"), *dir = under("lower/srv"), *sub = under("lower/srv/data");
        ASSERT_OK(rm_rf(lower));
        ASSERT_OK(mkdir_p(sub, 0755));
        ASSERT_OK(chmod(dir, 0750));
        ASSERT_OK(chown(dir, 5, 6));
        char *layers[] = { lower, NULL };
        add_file("srv/data/x", "");
        add_file("new/x", "");
        tar_write_end(&tar);
        LayerResult r = {};
        ASSERT_OK(unpack_bytes(tar.data, tar.len, layers, &r, NULL));
        ASSERT_EQ(state("srv").st_mode, S_IFDIR | 0750);
        ASSERT_EQ(state("srv").st_uid, 5);
        ASSERT_EQ(state("srv").st_gid, 6);
        ASSERT_EQ(state("new").st_mode, S_IFDIR | 0755);
}

TEST(whiteouts) {
        set_up();
        add_dir("d");
        add_file("d/.wh.gone", "");
        add_file("d/.wh..wh..opq", "");
        add_file("d/.wh..wh.aufs", "");
        add_file(".wh.dir", "");
        add_file("dir/new", "over a whiteout");
        add_file(".wh.late", "");
        add_dir("late");
        add_dir("first");
        add_file(".wh.first", "");
        add_file("kept", "kept");
        add_file(".wh.kept", "");
        (void) unpacks();
        ASSERT_TRUE(is_whiteout("d/gone"));
        ASSERT_STREQ(xattr_of("d", "trusted.overlay.opaque"), "y");
        ASSERT_EQ(state("d/.wh..wh..opq").st_mode, 0);
        ASSERT_EQ(state("d/.wh..wh.aufs").st_mode, 0);
        ASSERT_STREQ(xattr_of("dir", "trusted.overlay.opaque"), "y");
        ASSERT_STREQ(xattr_of("late", "trusted.overlay.opaque"), "y");
        ASSERT_STREQ(xattr_of("first", "trusted.overlay.opaque"), "y");
        ASSERT_CONTENT("kept", "kept");
}

TEST(opaque_at_the_root) {
        set_up();
        add_file(".wh..wh..opq", "");
        add_file("x", "x");
        ASSERT_TRUE(unpacks().opaque_root);
}

/* ---- attacks ---- */

TEST(paths_that_lead_out) {
        static const char *const paths[] = { "../outside/x", "a/../../outside/x", "/../outside/x", "..", "a/..", "./../x" };
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                set_up();
                add_dir("a");
                add_file(paths[i], "evil");
                refused("leads out of the layer");
        }
        set_up(); /* an absolute path is one inside the layer */
        _cleanup_free_ char *absolute = under("outside/secret");
        add_file(absolute, "evil");
        (void) unpacks();
        ASSERT_CONTENT(absolute, "evil");
}

TEST(files_through_symbolic_links) {
        _cleanup_free_ char *outside = under("outside");
        const char *const targets[] = { "../outside", outside, "/", ".", "real" };
        for (size_t i = 0; i < ELEMENTSOF(targets); i++) {
                set_up();
                add_dir("real");
                add_link(TAR_SYMLINK, "l", targets[i]);
                add_file("l/secret", "evil");
                refused("symbolic link");
        }
        set_up(); /* two links in a row */
        add_link(TAR_SYMLINK, "a", "..");
        add_link(TAR_SYMLINK, "a/b", "outside");
        refused("symbolic link");
        set_up(); /* the last name is a link: it is replaced */
        _cleanup_free_ char *secret = under("outside/secret");
        add_link(TAR_SYMLINK, "l", secret);
        add_file("l", "mine");
        (void) unpacks();
        ASSERT_CONTENT("l", "mine");
        ASSERT_TRUE(S_ISREG(state("l").st_mode));
}

TEST(parents_replaced_between_entries) {
        set_up();
        add_dir("a/b");
        add_file("a/b/one", "1");
        add_link(TAR_SYMLINK, "a", "../outside"); /* takes the whole tree away */
        add_file("a/b/two", "2");
        refused("symbolic link");
        set_up(); /* while the extractor still holds the parent open */
        add_file("a/b/one", "1");
        add_link(TAR_SYMLINK, "a/b", "../../outside");
        add_file("a/b/secret", "evil");
        refused("symbolic link");
        set_up();
        add_file("a/b/one", "1");
        add_file("a/b", "a file");
        add_file("a/b/two", "2");
        refused("no folder");
}

TEST(hard_links) {
        static const char *const targets[] = { "../outside/secret", "/../outside/secret" };
        for (size_t i = 0; i < ELEMENTSOF(targets); i++) {
                set_up();
                add_link(TAR_HARDLINK, "h", targets[i]);
                refused("leads out");
        }
        set_up(); /* an absolute target means the layer's root: nothing is there */
        _cleanup_free_ char *absolute = under("outside/secret");
        add_link(TAR_HARDLINK, "h", absolute);
        refused("hard link");
        set_up(); /* through a link */
        add_link(TAR_SYMLINK, "l", "../outside");
        add_link(TAR_HARDLINK, "h", "l/secret");
        refused("hard link");
        set_up(); /* to a symbolic link: shares the link itself; writing to it replaces the name */
        add_link(TAR_SYMLINK, "l", absolute);
        add_link(TAR_HARDLINK, "h", "l");
        add_file("h", "mine");
        (void) unpacks();
        ASSERT_CONTENT("h", "mine");
        set_up();
        add_dir("d");
        add_link(TAR_HARDLINK, "h", "d");
        refused("folder");
        set_up();
        add_file(".wh.w", "");
        add_link(TAR_HARDLINK, "h", "w");
        refused("does not have");
        set_up();
        add_dir("d");
        add_file("d/f", "x");
        add_link(TAR_HARDLINK, "d", "d/f");
        refused("hard link");
}

TEST(bad_whiteouts) {
        static const char *const names[] = { ".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..." };
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                set_up();
                add_dir("d");
                add_file(names[i], "");
                refused("no valid whiteout");
        }
        set_up();
        add_link(TAR_SYMLINK, "l", "../outside");
        add_file("l/.wh.secret", "");
        refused("symbolic link");
        set_up();
        add_link(TAR_SYMLINK, "l", "../outside");
        add_file("l/.wh..wh..opq", "");
        refused("symbolic link");
        set_up();
        add_file(".wh.x/y", "");
        refused("below a whiteout");
}

TEST(device_nodes_are_left_out) {
        set_up();
        TarEntry disk = { .mode = 0666, .dev_major = 8 }, whiteout = { .mode = 0 };
        add_full(TAR_BLOCK_DEVICE, "sda", "", "", &disk);
        add_full(TAR_CHAR, "mem", "", "", &disk);
        add_full(TAR_CHAR, "forged", "", "", &whiteout);
        LayerResult r = unpacks();
        ASSERT_EQ(r.devices_skipped, 3);
        ASSERT_EQ(state("sda").st_mode, 0);
        ASSERT_EQ(state("mem").st_mode, 0);
        ASSERT_EQ(state("forged").st_mode, 0);
        set_up();
        add_link(TAR_FIFO, "f", "");
        add_file("f/x", "");
        refused("no folder");
}

TEST(forged_attributes_are_dropped) {
        static const char *const names[] = { "trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.overlay.metacopy",
                                             "trusted.x", "security.selinux", "security.ima", "user.overlay.opaque" };
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                set_up();
                add_xattr(TAR_DIR, "d", names[i], "y", 1);
                (void) unpacks();
                ASSERT_NULL(xattr_of("d", names[i]));
        }
}

TEST(odd_files) {
        set_up();
        TarEntry owner = { .uid = UINT32_MAX };
        add_full(TAR_FILE, "f", "", "x", &owner);
        refused("no change");
        set_up();
        add_file("./", "the root as a file");
        refused("no folder");
        set_up();
        add_link(TAR_SYMLINK, ".", "/");
        refused("no folder");
        set_up();
        add_link(TAR_SYMLINK, "s", "");
        refused("link to nothing");
        char name[600];
        memset(name, 'n', sizeof(name));
        name[300] = 0;
        set_up();
        add_file(name, "");
        refused("a name of 300 bytes");
}

TEST(deep_trees) {
        _cleanup_(buf_done) Buf path = {};
        for (int i = 0; i < 256; i++)
                buf_adds(&path, "d/");
        set_up();
        add_dir(path.data);
        (void) unpacks();
        set_up();
        buf_adds(&path, "d/");
        add_dir(path.data);
        refused("more than 256 folders");
        set_up(); /* deep, then replaced by a file */
        buf_truncate(&path, 500);
        add_dir(path.data);
        add_file("d", "file");
        (void) unpacks();
        ASSERT_CONTENT("d", "file");
}

TEST(trailing_data_counts_and_cuts_are_seen) {
        set_up();
        add_file("f", "x");
        tar_write_end(&tar);
        buf_adds(&tar, "behind the end");
        _cleanup_free_ char *want = digest_hex(DIGEST_SHA256, tar.data, tar.len);
        LayerResult r = {};
        ASSERT_OK(unpack_bytes(tar.data, tar.len, NULL, &r, NULL));
        ASSERT_STREQ(r.diff_id, want);
        set_up();
        add_file("f", "0123456789");
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(unpack_bytes(tar.data, 515, NULL, &r, &err), -EBADMSG);
        set_up();
        ASSERT_EQ(unpack_bytes("\x1f\x8b\x08garbage", 10, NULL, &r, NULL), -EBADMSG);
        set_up();
        ASSERT_EQ(unpack_bytes("just text, no tar, and long enough for nobody to think so", 57, NULL, &r, NULL), -EBADMSG);
}

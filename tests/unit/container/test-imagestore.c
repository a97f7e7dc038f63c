/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/str.h"
#include "codec/digest.h"
#include "codec/jsonout.h"
#include "codec/tar.h"
#include "container/image/store-internal.h"
#include "sys/clock.h"
#include "sys/fs.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char root[64];

static ImageStore *fresh(void) {
        (void) snprintf(root, sizeof(root), "/tmp/test-store-XXXXXX");
        ASSERT_NOT_NULL(mkdtemp(root));
        ImageStore *s = NULL;
        ASSERT_OK(image_store_open(root, &s, NULL));
        return s;
}
static void drop(ImageStore *s) {
        (void) image_store_close(s);
        ASSERT_OK(rm_rf(root));
}

/* A tar of one file as a memfd. */
static int one_file_tar(const char *name, const char *content) {
        _cleanup_(buf_done) Buf b = {};
        TarEntry e = { .path = (char *) name, .link = (char *) "", .mode = 0644, .size = strlen(content) };
        tar_write_header(&b, &e);
        buf_adds(&b, content);
        tar_write_padding(&b, e.size);
        tar_write_end(&b);
        int fd = memfd_create("tar", MFD_CLOEXEC);
        ASSERT_OK(write_all(fd, b.data, b.len));
        ASSERT_OK(lseek(fd, 0, SEEK_SET));
        return fd;
}

static char *import(ImageStore *s, const char *name, const char *content) {
        _cleanup_close_ int fd = one_file_tar("file", content);
        _cleanup_(err_done) Err err = {};
        char *id = NULL;
        if (image_import_tar(s, fd, name, NULL, NULL, &id, &err) < 0)
                test_fail(__FILE__, __LINE__, "%s", err_msg(&err));
        return id;
}

static size_t entries(const char *folder) {
        _cleanup_free_ char *path = path_join(root, folder);
        DIR *d = opendir(path);
        ASSERT_NOT_NULL(d);
        size_t n = 0;
        while (readdir(d))
                n++;
        (void) closedir(d);
        return n - 2;
}

TEST(finds_an_image_by_all_its_names) {
        ImageStore *s = fresh();
        _cleanup_free_ char *id = import(s, "test/a:1", "content");
        _cleanup_free_ char *with_prefix = xasprintf("sha256:%s", id), *prefix = xstrndup(id, 8);
        const char *const names[] = { id, with_prefix, prefix, "test/a:1", "docker.io/test/a:1" };
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_(image_freep) Image *image = NULL;
                ASSERT_OK(image_resolve(s, names[i], &image, NULL));
                ASSERT_STREQ(image->id, id);
                ASSERT_STREQ(image->repo_tags[0], "test/a:1");
                ASSERT_EQ(image->size, 7);
                ASSERT_EQ(strv_len(image->lowerdirs), 1);
                _cleanup_free_ char *file = path_join(image->lowerdirs[0], "file");
                ASSERT_OK(access(file, R_OK));
                ASSERT_TRUE(strlen(image->lowerdirs[0]) < strlen(root) + 12);
        }
        static const char *const absent[] = { "test/a", "test/a:2", "nosuch", "0000000000",
                                              "0000000000000000000000000000000000000000000000000000000000000000" };
        for (size_t i = 0; i < ELEMENTSOF(absent); i++) {
                _cleanup_(image_freep) Image *image = NULL;
                _cleanup_(err_done) Err err = {};
                ASSERT_EQ(image_resolve(s, absent[i], &image, &err), -ENOENT);
                ASSERT_TRUE(startswith(err_msg(&err), "No such image: ") != NULL);
        }
        _cleanup_(image_freep) Image *image = NULL;
        ASSERT_EQ(image_resolve(s, "../../etc", &image, NULL), -EINVAL);
        drop(s);
}

TEST(a_pinned_image_stays) {
        ImageStore *s = fresh();
        _cleanup_free_ char *id = import(s, "a", "x"), *dir = path_join(root, "containers/c1"), *pinned = NULL;
        ASSERT_OK(mkdir(dir, 0700));
        ASSERT_OK(image_pin(s, id, dir, NULL));
        ASSERT_OK(image_pinned(dir, &pinned));
        ASSERT_STREQ(pinned, id);
        _cleanup_(remove_report_done) RemoveReport report = {}, forced = {};
        _cleanup_(err_done) Err err = {};
        ASSERT_EQ(image_remove(s, id, false, &report, &err), -EBUSY);
        ASSERT_TRUE(strstr(err_msg(&err), "stopped container c1") != NULL);
        /* By force the image goes, and the container keeps its layers. */
        ASSERT_OK(image_remove(s, id, true, &forced, NULL));
        ASSERT_EQ(entries("images"), 0);
        ASSERT_EQ(entries("layers"), 1);
        ASSERT_EQ(entries("l"), 1);
        ASSERT_EQ(image_pin(s, id, dir, NULL), -ENOENT);
        ASSERT_OK(rm_rf(dir));
        ASSERT_OK(store_sweep(s, NULL));
        ASSERT_EQ(entries("layers"), 0);
        ASSERT_EQ(entries("blobs/sha256"), 0);
        ASSERT_EQ(entries("l"), 0);
        drop(s);
}

TEST(shared_layers_go_with_the_last_image) {
        ImageStore *s = fresh();
        _cleanup_free_ char *a = import(s, "a", "same"), *b = import(s, "b", "same");
        ASSERT_FALSE(streq(a, b)); /* their configs have different times */
        ASSERT_EQ(entries("layers"), 1);
        _cleanup_(remove_report_done) RemoveReport first = {}, second = {};
        ASSERT_OK(image_remove(s, "a", false, &first, NULL));
        ASSERT_EQ(strv_len(first.deleted), 1);
        ASSERT_EQ(entries("layers"), 1);
        ASSERT_OK(image_remove(s, "b", false, &second, NULL));
        ASSERT_EQ(strv_len(second.deleted), 2);
        ASSERT_EQ(entries("layers"), 0);
        drop(s);
}

TEST(the_sweep_waits_for_whoever_ingests) {
        ImageStore *s = fresh();
        _cleanup_free_ char *id = import(s, "a", "x");
        Ingest g = {};
        ASSERT_OK(ingest_begin(s, &g, NULL));
        _cleanup_(remove_report_done) RemoveReport report = {};
        ASSERT_OK(image_remove(s, "a", false, &report, NULL));
        ASSERT_EQ(entries("images"), 0);
        ASSERT_EQ(entries("layers"), 1); /* the ingest may be about to use it */
        ingest_end(&g);
        ASSERT_OK(store_sweep(s, NULL));
        ASSERT_EQ(entries("layers"), 0);
        drop(s);
}

TEST(work_folders_of_the_dead_are_reaped) {
        ImageStore *s = fresh();
        Ingest g = {};
        ASSERT_OK(ingest_begin(s, &g, NULL));
        pid_t pid = fork();
        if (pid == 0) { /* dies in the middle of it */
                Ingest other = {};
                _exit(ingest_begin(s, &other, NULL) < 0);
        }
        int status;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        ASSERT_EQ(entries("tmp"), 2);
        _cleanup_(image_store_closep) ImageStore *again = NULL;
        ASSERT_OK(image_store_open(root, &again, NULL));
        ASSERT_EQ(entries("tmp"), 1); /* ours lives */
        ingest_end(&g);
        ASSERT_EQ(entries("tmp"), 0);
        drop(s);
}

TEST(many_processes_at_once) {
        ImageStore *s = fresh();
        enum { N = 6 };
        pid_t pids[N];
        for (int i = 0; i < N; i++) {
                pids[i] = fork();
                if (pids[i] != 0)
                        continue;
                ImageStore *mine = NULL;
                int r = image_store_open(root, &mine, NULL);
                for (int k = 0; k < 5 && r >= 0; k++) {
                        _cleanup_free_ char *name = xasprintf("p%d", i), *text = xasprintf("text %d", k), *id = NULL;
                        _cleanup_close_ int fd = one_file_tar("f", text);
                        _cleanup_(remove_report_done) RemoveReport report = {};
                        r = image_import_tar(mine, fd, name, NULL, NULL, &id, NULL);
                        if (r >= 0 && k < 4)
                                r = image_remove(mine, name, true, &report, NULL);
                }
                _exit(r < 0);
        }
        for (int i = 0; i < N; i++) {
                int status;
                ASSERT_EQ(waitpid(pids[i], &status, 0), pids[i]);
                ASSERT_EQ(status, 0);
        }
        ASSERT_OK(store_sweep(s, NULL));
        Image **l = NULL;
        size_t n = 0;
        ASSERT_OK(image_list(s, &l, &n, NULL));
        ASSERT_EQ(n, N);
        for (size_t i = 0; i < n; i++) {
                ASSERT_EQ(strv_len(l[i]->lowerdirs), 1);
                image_free(l[i]);
        }
        free(l);
        ASSERT_EQ(entries("layers"), 1); /* all end with the same content */
        ASSERT_EQ(entries("blobs/sha256"), N + 1);
        ASSERT_EQ(entries("tmp"), 0);
        drop(s);
}

TEST(killed_at_any_time) {
        ImageStore *s = fresh();
        _cleanup_free_ char *kept = import(s, "kept", "kept");
        for (int i = 0; i < 40; i++) {
                pid_t pid = fork();
                if (pid == 0) {
                        for (int k = 0;; k++) {
                                _cleanup_free_ char *text = xasprintf("%d", k), *id = NULL;
                                _cleanup_close_ int fd = one_file_tar("f", text);
                                RemoveReport report = {};
                                (void) image_import_tar(s, fd, "victim", NULL, NULL, &id, NULL);
                                (void) image_remove(s, "victim", true, &report, NULL);
                        }
                }
                struct timespec pause = { .tv_nsec = (1 + i * 7 % 50) * 1000000L };
                (void) nanosleep(&pause, NULL);
                ASSERT_OK(kill(pid, SIGKILL));
                ASSERT_EQ(waitpid(pid, NULL, 0), pid);
                _cleanup_(image_store_closep) ImageStore *again = NULL;
                _cleanup_(image_freep) Image *image = NULL;
                ASSERT_OK(image_store_open(root, &again, NULL));
                ASSERT_OK(image_resolve(again, "kept", &image, NULL));
                Image **l = NULL;
                size_t n = 0;
                ASSERT_OK(image_list(again, &l, &n, NULL));
                _cleanup_strv_ char **ids = NULL;
                ASSERT_OK(image_ids(again, &ids, NULL));
                ASSERT_EQ(n, strv_len(ids)); /* every record leads to a whole image */
                for (size_t k = 0; k < n; k++)
                        image_free(l[k]);
                free(l);
        }
        /* Unpacking children die with their parent; the last may still be on its way out. */
        for (int i = 0; i < 100 && entries("tmp") > 0; i++) {
                _cleanup_(image_store_closep) ImageStore *again = NULL;
                ASSERT_OK(image_store_open(root, &again, NULL));
                struct timespec pause = { .tv_nsec = 10000000L };
                (void) nanosleep(&pause, NULL);
        }
        RemoveReport report = {};
        if (image_remove(s, "victim", true, &report, NULL) >= 0)
                remove_report_done(&report);
        Image **l = NULL;
        size_t n = 0;
        ASSERT_OK(image_list(s, &l, &n, NULL));
        for (size_t k = 0; k < n; k++) { /* killed between the tag and the image: dangling ones */
                if (!l[k]->repo_tags && image_remove(s, l[k]->id, true, &report, NULL) >= 0)
                        remove_report_done(&report);
                image_free(l[k]);
        }
        free(l);
        ASSERT_OK(store_sweep(s, NULL));
        ASSERT_EQ(entries("images"), 1);
        ASSERT_EQ(entries("layers"), 1);
        ASSERT_EQ(entries("l"), 1);
        ASSERT_EQ(entries("blobs/sha256"), 2);
        ASSERT_EQ(entries("tmp"), 0);
        ASSERT_EQ(entries("."), 10);
        drop(s);
}

TEST(a_damaged_image_hides_no_other) {
        ImageStore *s = fresh();
        _cleanup_free_ char *good = import(s, "good", "1"), *bad = import(s, "bad", "2");
        _cleanup_free_ char *blob = blob_path(s, bad);
        ASSERT_OK(write_file_atomic(blob, "{", 1, 0600));
        Image **l = NULL;
        size_t n = 0;
        ASSERT_OK(image_list(s, &l, &n, NULL));
        ASSERT_EQ(n, 1);
        ASSERT_STREQ(l[0]->id, good);
        image_free(l[0]);
        free(l);
        _cleanup_(image_freep) Image *image = NULL;
        _cleanup_(err_done) Err err = {};
        ASSERT_TRUE(image_resolve(s, "bad", &image, &err) < 0);
        ASSERT_TRUE(strstr(err_msg(&err), "is damaged") != NULL);
        drop(s);
}

TEST(inspect_speaks_dockers_json) {
        ImageStore *s = fresh();
        _cleanup_free_ char *id = import(s, "a:1", "x");
        _cleanup_(image_freep) Image *image = NULL;
        ASSERT_OK(image_resolve(s, "a:1", &image, NULL));
        _cleanup_(buf_done) Buf b = {};
        JsonOut j = { .buf = &b, .indent = 4 };
        image_write_inspect(s, image, &j);
        ASSERT_TRUE(strstr(buf_str(&b), "    \"RepoTags\": [\n        \"a:1\"\n    ],\n") != NULL);
        ASSERT_TRUE(strstr(buf_str(&b), "\"Type\": \"layers\"") != NULL);
        drop(s);
}

TEST(a_bad_root_is_refused) {
        ImageStore *s = NULL;
        ASSERT_EQ(image_store_open("/tmp/a:b", &s, NULL), -EINVAL);
        ASSERT_TRUE(image_store_open("/proc/nosuch", &s, NULL) < 0);
}

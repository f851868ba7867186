/* io_watch_test.c: what counts as a change of a configuration file or folder. */
#include "io/watch.h"

#include "io/timer.h"
#include "spec.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct seen {
    struct io_loop *loop;
    struct io_timer *limit;
    struct io_watch *w;
    char dir[64];
    unsigned calls;
    bool late;
};

static void on_change(void *ud)
{
    struct seen *s = ud;
    s->calls++;
    io_loop_stop(s->loop);
}

static void on_limit(void *ud)
{
    struct seen *s = ud;
    s->late = true;
    io_loop_stop(s->loop);
}

static const char *in(const struct seen *s, const char *name)
{
    static char path[4][256];
    static unsigned at;
    char *p = path[at++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", s->dir, name);
    return p;
}

static void put(const struct seen *s, const char *name, const char *text)
{
    int fd = open(in(s, name), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK_TRUE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void age(const struct seen *s, const char *name, time_t mtime)
{
    struct timespec t[2] = { { .tv_sec = mtime }, { .tv_sec = mtime } };
    CHECK_INT(0, utimensat(AT_FDCWD, in(s, name), t, 0));
}

static void begin(struct seen *s)
{
    *s = (struct seen){ 0 };
    snprintf(s->dir, sizeof s->dir, "/tmp/luaswap-watch-XXXXXX");
    CHECK_TRUE(mkdtemp(s->dir) != NULL);
    s->loop = io_loop_new();
    s->limit = io_timer_new(s->loop, "limit", on_limit, s);
}

static void watch(struct seen *s, enum io_watch_kind kind, const char *name)
{
    struct error e = { 0 };
    s->w = io_watch_new(s->loop, kind, str_c(in(s, name)), on_change, s, &e);
    CHECK_TRUE(s->w != NULL);
    CHECK_FALSE(io_watch_polls(s->w));
}

static void turn(struct seen *s, msec ms)
{
    s->late = false;
    io_timer_set(s->limit, ms);
    while (!s->late && s->calls == 0)
        io_loop_run(s->loop);
    io_timer_clear(s->limit);
}

static void fires(struct seen *s, const char *what)
{
    s->calls = 0;
    turn(s, 5000);
    if (s->calls != 1)
        spec_miss(__FILE__, __LINE__, "no call after: %s", what);
}

/* Longer than it takes to tell. */
static void silent(struct seen *s, const char *what)
{
    s->calls = 0;
    turn(s, 250);
    if (s->calls)
        spec_miss(__FILE__, __LINE__, "a call after: %s", what);
}

static void end(struct seen *s)
{
    char cmd[128];
    io_watch_free(s->w);
    io_timer_free(s->limit);
    io_loop_free(s->loop);
    snprintf(cmd, sizeof cmd, "rm -r %s", s->dir);
    CHECK_INT(0, system(cmd));
}

TEST(a_watched_file_tells_of_change_and_return_but_not_of_removal)
{
    struct seen s;
    begin(&s);
    put(&s, "config.yaml", "one");
    age(&s, "config.yaml", 1000);
    watch(&s, IO_WATCH_FILE, "config.yaml");
    silent(&s, "nothing");
    age(&s, "config.yaml", 2000);
    fires(&s, "a new time");
    put(&s, "config.yaml", "longer");
    age(&s, "config.yaml", 2000);
    fires(&s, "a new size at the same time");
    put(&s, "other.yaml", "x");
    silent(&s, "another file");
    unlink(in(&s, "config.yaml"));
    silent(&s, "removal");
    put(&s, "config.yaml", "longer");
    fires(&s, "return");
    put(&s, "new", "a third text");
    CHECK_INT(0, rename(in(&s, "new"), in(&s, "config.yaml")));
    fires(&s, "replacement by rename");
    end(&s);
}

TEST(a_watched_file_that_is_not_there_yet_is_seen_when_it_comes)
{
    struct seen s;
    begin(&s);
    watch(&s, IO_WATCH_FILE, "deep/down/config.yaml");
    mkdir(in(&s, "deep"), 0755);
    silent(&s, "a folder on the way");
    mkdir(in(&s, "deep/down"), 0755);
    put(&s, "deep/down/config.yaml", "x");
    fires(&s, "the file");
    end(&s);
}

/* As a ConfigMap is mounted: config.yaml -> ..data/config.yaml, ..data -> ..1, and then ..data -> ..2. */
TEST(a_link_on_the_way_that_points_elsewhere_is_a_change)
{
    struct seen s;
    begin(&s);
    mkdir(in(&s, "..1"), 0755);
    mkdir(in(&s, "..2"), 0755);
    put(&s, "..1/config.yaml", "same");
    put(&s, "..2/config.yaml", "same");
    age(&s, "..1/config.yaml", 1000);
    age(&s, "..2/config.yaml", 1000);
    CHECK_INT(0, symlink("..1", in(&s, "..data")));
    CHECK_INT(0, symlink("..data/config.yaml", in(&s, "config.yaml")));
    watch(&s, IO_WATCH_FILE, "config.yaml");
    silent(&s, "nothing");
    CHECK_INT(0, symlink("..2", in(&s, "..tmp")));
    CHECK_INT(0, rename(in(&s, "..tmp"), in(&s, "..data")));
    fires(&s, "the switch");
    put(&s, "..1/config.yaml", "the old one");
    silent(&s, "a change of what is not meant any more");
    put(&s, "..2/config.yaml", "the new one");
    fires(&s, "a change behind the link");
    end(&s);
}

TEST(a_link_into_another_folder_is_followed)
{
    struct seen s;
    begin(&s);
    mkdir(in(&s, "far"), 0755);
    put(&s, "far/real.yaml", "x");
    CHECK_INT(0, symlink(in(&s, "far/real.yaml"), in(&s, "config.yaml")));
    watch(&s, IO_WATCH_FILE, "config.yaml");
    put(&s, "far/real.yaml", "xyz");
    fires(&s, "a change of the real file");
    end(&s);
}

TEST(links_in_a_circle_are_survived)
{
    struct seen s;
    begin(&s);
    CHECK_INT(0, symlink("b", in(&s, "a")));
    CHECK_INT(0, symlink("a", in(&s, "b")));
    watch(&s, IO_WATCH_FILE, "a");
    silent(&s, "nothing");
    unlink(in(&s, "a"));
    put(&s, "a", "x");
    fires(&s, "a file in its place");
    end(&s);
}

TEST(a_watched_folder_tells_of_its_yaml_files_only)
{
    struct seen s;
    begin(&s);
    mkdir(in(&s, "d"), 0755);
    put(&s, "d/a.yaml", "a");
    watch(&s, IO_WATCH_DIR, "d");
    silent(&s, "nothing");
    put(&s, "d/notes.txt", "x");
    silent(&s, "another kind of file");
    put(&s, "d/b.yml", "b");
    fires(&s, "one added");
    put(&s, "d/b.yml", "bb");
    fires(&s, "one changed");
    unlink(in(&s, "d/b.yml"));
    fires(&s, "one of two removed");
    unlink(in(&s, "d/a.yaml"));
    silent(&s, "the last one removed");
    put(&s, "d/a.yaml", "a");
    fires(&s, "content back");
    CHECK_INT(0, rename(in(&s, "d"), in(&s, "gone")));
    silent(&s, "the folder gone");
    CHECK_INT(0, rename(in(&s, "gone"), in(&s, "d")));
    fires(&s, "the folder back");
    mkdir(in(&s, "elsewhere"), 0755);
    put(&s, "elsewhere/real", "1");
    CHECK_INT(0, symlink(in(&s, "elsewhere/real"), in(&s, "d/link.yaml")));
    fires(&s, "a link added");
    put(&s, "elsewhere/real", "22");
    fires(&s, "a change behind the link");
    end(&s);
}

TEST(many_changes_in_a_row_are_one_call_once_it_is_quiet)
{
    struct seen s;
    begin(&s);
    put(&s, "config.yaml", "");
    watch(&s, IO_WATCH_FILE, "config.yaml");
    for (int i = 0; i < 20; i++) {
        char text[64];
        snprintf(text, sizeof text, "%*d", i + 1, i);
        put(&s, "config.yaml", text);
    }
    fires(&s, "many changes");
    silent(&s, "nothing more");
    end(&s);
}

TEST(no_call_comes_after_the_end_of_a_watch)
{
    struct seen s;
    begin(&s);
    put(&s, "config.yaml", "x");
    watch(&s, IO_WATCH_FILE, "config.yaml");
    put(&s, "config.yaml", "xy");
    turn(&s, 20);
    io_watch_free(s.w);
    s.w = NULL;
    silent(&s, "the end");
    struct error e = { 0 };
    CHECK_NULL(io_watch_new(s.loop, IO_WATCH_FILE, S(""), on_change, &s, &e));
    CHECK_INT(ERR_CONFIG, e.code);
    end(&s);
}

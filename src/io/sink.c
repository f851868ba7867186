/* sink.c: see sink.h. */
#include "io/sink.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_MAX (256u * 1024)
#define END_WAIT_MS 200

struct io_sink {
    int fd;
    bool direct;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;  /* something to write, or the end */
    pthread_cond_t quiet; /* everything is written */
    struct strbuf waiting;
    uint64_t dropped;
    bool writing, ending, gone;
};

struct io_sink *io_sink_new(int fd)
{
    struct io_sink *s = mem_zalloc(sizeof *s);
    struct stat st;
    s->fd = fd;
    /* /dev/null is a character device that never blocks; its device number is 1:3 on Linux */
    s->direct = fstat(fd, &st) != 0 || S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == 0x103);
    strbuf_init(&s->waiting, BUFFER_MAX);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    pthread_cond_init(&s->quiet, NULL);
    return s;
}

/* A failing descriptor (EPIPE, full disk) loses this text and nothing else. */
static void write_out(int fd, str t)
{
    while (t.len) {
        ssize_t n = write(fd, t.ptr, t.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        t = str_sub(t, (size_t)n, t.len);
    }
}

static void *writer(void *arg)
{
    struct io_sink *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->waiting.len == 0 && !s->ending)
            pthread_cond_wait(&s->more, &s->lock);
        if (s->waiting.len == 0)
            break;
        struct strbuf batch = s->waiting;
        strbuf_init(&s->waiting, BUFFER_MAX);
        uint64_t dropped = s->dropped;
        s->dropped = 0;
        s->writing = true;
        pthread_mutex_unlock(&s->lock);
        write_out(s->fd, strbuf_str(&batch));
        strbuf_fini(&batch);
        if (dropped) {
            char line[80];
            int n = snprintf(line, sizeof line, "\n\xE2\x80\x94 %llu bytes dropped \xE2\x80\x94\n",
                             (unsigned long long)dropped);
            write_out(s->fd, str_n(line, (size_t)n));
        }
        pthread_mutex_lock(&s->lock);
        s->writing = false;
        if (s->waiting.len == 0)
            pthread_cond_broadcast(&s->quiet);
    }
    s->gone = true;
    pthread_cond_broadcast(&s->quiet);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void io_sink_write(struct io_sink *s, str text)
{
    if (s->direct) {
        write_out(s->fd, text);
        return;
    }
    pthread_mutex_lock(&s->lock);
    if (!s->started) {
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 64u * 1024);
        s->started = pthread_create(&s->thread, &attr, writer, s) == 0;
        pthread_attr_destroy(&attr);
        if (!s->started)
            s->direct = true; /* no thread to be had: better a late log than none */
    }
    bool was_empty = s->waiting.len == 0;
    if (!strbuf_add(&s->waiting, text)) {
        s->waiting.full = false;
        s->dropped += text.len;
    }
    if (was_empty && s->started)
        pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    if (!s->started)
        write_out(s->fd, text);
}

bool io_sink_idle(struct io_sink *s)
{
    pthread_mutex_lock(&s->lock);
    bool idle = s->waiting.len == 0 && !s->writing;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

void io_sink_free(struct io_sink *s)
{
    if (!s)
        return;
    if (s->started) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += END_WAIT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_mutex_lock(&s->lock);
        s->ending = true;
        pthread_cond_signal(&s->more);
        while (!s->gone && pthread_cond_timedwait(&s->quiet, &s->lock, &until) == 0)
            ;
        bool gone = s->gone;
        pthread_mutex_unlock(&s->lock);
        if (!gone) {
            /* stuck in a write to a reader that does not read: leave the object to the thread */
            pthread_detach(s->thread);
            return;
        }
        pthread_join(s->thread, NULL);
    }
    strbuf_fini(&s->waiting);
    pthread_cond_destroy(&s->more);
    pthread_cond_destroy(&s->quiet);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

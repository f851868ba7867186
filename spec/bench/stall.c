/* stall.c: see stall.h. */
#include "stall.h"

#include "benchlib.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define CPUS_MAX 64
#define NOTES_MAX 4096 /* the last ones of all CPUs */
#define NAP_NS 200000u
#define LATE_NS 1000000u

static struct {
    pthread_t threads[CPUS_MAX];
    int n;
    atomic_bool stop;
    pthread_mutex_t lock;
    struct note {
        uint64_t from, to;
    } notes[NOTES_MAX];
    uint64_t n_notes;
} watch = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *watch_cpu(void *ud)
{
    (void)ud;
    uint64_t before = bench_now_ns();
    while (!atomic_load(&watch.stop)) {
        struct timespec nap = { .tv_nsec = NAP_NS };
        clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
        uint64_t now = bench_now_ns();
        if (now - before >= NAP_NS + LATE_NS) {
            pthread_mutex_lock(&watch.lock);
            watch.notes[watch.n_notes++ % NOTES_MAX] = (struct note){ before + NAP_NS, now };
            pthread_mutex_unlock(&watch.lock);
        }
        before = now;
    }
    return NULL;
}

bool stall_begin(void)
{
    struct sched_param above = { .sched_priority = 20 };
    pthread_attr_t attr;
    atomic_store(&watch.stop, false);
    watch.n = 0;
    watch.n_notes = 0;
    for (int cpu = 0; cpu < bench_cpus() && cpu < CPUS_MAX; cpu++) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)cpu, &set);
        pthread_attr_init(&attr);
        pthread_attr_setaffinity_np(&attr, sizeof set, &set);
        pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
        pthread_attr_setschedparam(&attr, &above);
        bool ok = pthread_create(&watch.threads[watch.n], &attr, watch_cpu, NULL) == 0;
        pthread_attr_destroy(&attr);
        if (!ok) {
            stall_end();
            return false;
        }
        watch.n++;
    }
    return true;
}

void stall_end(void)
{
    atomic_store(&watch.stop, true);
    for (int i = 0; i < watch.n; i++)
        pthread_join(watch.threads[i], NULL);
    watch.n = 0;
}

double stall_longest(uint64_t t0, uint64_t t1)
{
    uint64_t most = 0;
    pthread_mutex_lock(&watch.lock);
    uint64_t first = watch.n_notes > NOTES_MAX ? watch.n_notes - NOTES_MAX : 0;
    for (uint64_t i = first; i < watch.n_notes; i++) {
        const struct note *s = &watch.notes[i % NOTES_MAX];
        if (s->from < t1 && s->to > t0 && s->to - s->from > most)
            most = s->to - s->from;
    }
    pthread_mutex_unlock(&watch.lock);
    return (double)most / 1e6;
}

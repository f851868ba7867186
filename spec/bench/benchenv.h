/* benchenv.h: the world of one benchmark run: its folder, the proxies and upstreams in it, the load client.
 *
 * Owns: a temporary folder, removed at the end unless asked to stay; every process is ended by its pid, and dies
 *       with the driver (parent-death signal) when that is killed.
 * Errors: what makes a measurement meaningless ends the run with a message and exit code 2.
 */
#ifndef LUASWAP_BENCH_BENCHENV_H
#define LUASWAP_BENCH_BENCHENV_H

#include "benchlib.h"

struct env {
    const char *luaswap, *nginx, *bin; /* programs; folder of bench_upstream, bench_load, bench_relay */
    const char *scheduler;             /* for the throughput runs */
    int cpu_proxy, cpu_load;           /* -1 = not pinned */
    bool keep;
    char dir[200];
};

struct proxy {
    const char *name;
    pid_t pid;  /* 0 = not running */
    int port, port_stream, port_memory; /* nginx: see env_nginx */
    char dir[256];
};

void env_init(struct env *e);
void env_fini(struct env *e);

pid_t env_spawn(const char *log, int cpu, const char *const argv[]);
/* SIGTERM, then SIGKILL after 10 s; returns the wait status. *pid becomes 0. */
int env_stop(pid_t *pid);
void env_wait_port(int port, pid_t pid, const char *what);

int env_upstream(struct env *e, pid_t *ret_pid); /* returns its port */
/* port: proxy_request_buffering on (default, 16 KiB in memory, the rest goes through a temporary file);
 * port_stream: off; port_memory: on, with a client_body_buffer_size that holds the whole body. */
void env_nginx(struct env *e, int upstream_port, struct proxy *p);
void env_relay(struct env *e, int upstream_port, struct proxy *p);
/* `config` is the whole YAML; waits until it listens unless told not to. */
void env_luaswap(struct env *e, const char *config, bool wait, struct proxy *p);
/* The configuration of the throughput runs: one model "bench". */
void env_bench_config(const struct env *e, const char *scheduler, char *buf, size_t cap);

/* Runs bench_load with these words (split at blanks); its JSON into out. False when it reported errors. */
bool env_load(struct env *e, int port, pid_t pid, const char *words, char *out, size_t cap);
/* The number after "key": in JSON text; NaN when it is not there. */
double env_num(const char *json, const char *key);

/* A blocking POST with this model; returns the status, 0 when the connection failed. */
int env_post(int port, const char *model, char *body, size_t cap);

#endif

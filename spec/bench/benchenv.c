#include "benchenv.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void env_init(struct env *e)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(e->dir, sizeof e->dir, "%s/luaswap-bench-XXXXXX", tmp && strlen(tmp) < 120 ? tmp : "/tmp");
    if (!mkdtemp(e->dir))
        bench_die("%s: %s", e->dir, strerror(errno));
    bench_fd_limit();
    bench_ignore_sigpipe();
}

static void run_wait(const char *const argv[])
{
    int status;
    pid_t pid = env_spawn(NULL, -1, argv);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
}

void env_fini(struct env *e)
{
    const char *const argv[] = { "rm", "-rf", "--", e->dir, NULL };
    if (!e->keep)
        run_wait(argv);
}

pid_t env_spawn(const char *log, int cpu, const char *const argv[])
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        bench_die("fork: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(126);
        signal(SIGPIPE, SIG_DFL);
        bench_pin(cpu);
        if (log) {
            int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
            if (fd >= 0) {
                dup2(fd, 1);
                dup2(fd, 2);
                close(fd);
            }
        }
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    return pid;
}

int env_stop(pid_t *pid)
{
    int status = 0;
    if (*pid <= 0)
        return 0;
    kill(*pid, SIGTERM);
    for (int i = 0; i < 10000; i++) {
        if (waitpid(*pid, &status, WNOHANG) == *pid) {
            *pid = 0;
            return status;
        }
        usleep(1000);
    }
    fprintf(stderr, "bench: process %d ignored SIGTERM for 10 s\n", (int)*pid);
    kill(*pid, SIGKILL);
    waitpid(*pid, &status, 0);
    *pid = 0;
    return status;
}

void env_wait_port(int port, pid_t pid, const char *what)
{
    for (int i = 0; i < 10000; i++) {
        int fd = bench_connect(port), status;
        if (fd >= 0) {
            close(fd);
            return;
        }
        if (waitpid(pid, &status, WNOHANG) == pid)
            bench_die("%s ended before it listened (status %d)", what, status);
        usleep(1000);
    }
    bench_die("%s does not listen on port %d", what, port);
}

/* Text of a number for an argument list; a few rotating buffers are enough for one list. */
static const char *num(int v)
{
    static char buf[16][16];
    static unsigned at;
    at = (at + 1) % 16;
    snprintf(buf[at], sizeof buf[at], "%d", v);
    return buf[at];
}

static const char *program(const struct env *e, const char *name)
{
    static char buf[4][512];
    static unsigned at;
    at = (at + 1) % 4;
    snprintf(buf[at], sizeof buf[at], "%s/%s", e->bin, name);
    return buf[at];
}

int env_upstream(struct env *e, pid_t *ret_pid)
{
    int port = bench_free_ports(1);
    char log[256];
    const char *const argv[] = { program(e, "bench_upstream"), "--port", num(port), NULL };
    snprintf(log, sizeof log, "%s/upstream.log", e->dir);
    *ret_pid = env_spawn(log, e->cpu_load, argv);
    env_wait_port(port, *ret_pid, "bench_upstream");
    return port;
}

static void proxy_dir(struct env *e, struct proxy *p, const char *name)
{
    static int serial;
    memset(p, 0, sizeof *p);
    p->name = name;
    snprintf(p->dir, sizeof p->dir, "%s/%s-%d", e->dir, name, ++serial);
    if (mkdir(p->dir, 0700) != 0)
        bench_die("%s: %s", p->dir, strerror(errno));
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        bench_die("%s: %s", path, strerror(errno));
}

void env_nginx(struct env *e, int upstream_port, struct proxy *p)
{
    static const char server[] = "  server {\n    listen 127.0.0.1:%d backlog=4096;\n    location / {\n"
                                 "      proxy_pass http://up;\n      proxy_http_version 1.1;\n"
                                 "      proxy_set_header Connection \"\";\n      proxy_buffering off;\n"
                                 "      proxy_read_timeout 600s;\n      %s\n    }\n  }\n";
    static const char *const temp[] = { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" };
    char text[8192], path[300], log[300];
    size_t n;
    proxy_dir(e, p, "nginx");
    p->port = bench_free_ports(1);
    p->port_stream = bench_free_ports(1);
    p->port_memory = bench_free_ports(1);
    snprintf(log, sizeof log, "%s/log", p->dir);
    n = (size_t)snprintf(text, sizeof text,
                         "daemon off;\nmaster_process off;\nworker_processes 1;\nworker_rlimit_nofile 16384;\n"
                         "pid %s/pid;\nerror_log %s/error.log warn;\nevents { worker_connections 8192; }\nhttp {\n"
                         "  access_log off;\n  client_max_body_size 0;\n  keepalive_requests 1000000000;\n"
                         "  keepalive_timeout 3600s;\n",
                         p->dir, p->dir);
    for (size_t i = 0; i < sizeof temp / sizeof *temp; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "  %s_temp_path %s/%s;\n", temp[i], p->dir, temp[i]);
    n += (size_t)snprintf(text + n, sizeof text - n,
                          "  upstream up {\n    server 127.0.0.1:%d;\n    keepalive 128;\n"
                          "    keepalive_requests 1000000000;\n  }\n", upstream_port);
    n += (size_t)snprintf(text + n, sizeof text - n, server, p->port, "");
    n += (size_t)snprintf(text + n, sizeof text - n, server, p->port_stream, "proxy_request_buffering off;");
    n += (size_t)snprintf(text + n, sizeof text - n, server, p->port_memory, "client_body_buffer_size 4m;");
    snprintf(text + n, sizeof text - n, "}\n");
    snprintf(path, sizeof path, "%s/nginx.conf", p->dir);
    write_file(path, text);
    const char *const argv[] = { e->nginx, "-p", p->dir, "-c", path, NULL };
    p->pid = env_spawn(log, e->cpu_proxy, argv);
    env_wait_port(p->port_memory, p->pid, "nginx");
}

void env_relay(struct env *e, int upstream_port, struct proxy *p)
{
    char log[300];
    proxy_dir(e, p, "relay");
    p->port = p->port_stream = p->port_memory = bench_free_ports(1);
    snprintf(log, sizeof log, "%s/log", p->dir);
    const char *const argv[] = { program(e, "bench_relay"), "--port", num(p->port), "--to", num(upstream_port), NULL };
    p->pid = env_spawn(log, e->cpu_proxy, argv);
    env_wait_port(p->port, p->pid, "bench_relay");
}

void env_luaswap(struct env *e, const char *config, bool wait, struct proxy *p)
{
    char path[300], log[300], listen[40];
    proxy_dir(e, p, "luaswap");
    p->port = p->port_stream = p->port_memory = bench_free_ports(1);
    snprintf(path, sizeof path, "%s/config.yaml", p->dir);
    snprintf(log, sizeof log, "%s/log", p->dir);
    snprintf(listen, sizeof listen, "127.0.0.1:%d", p->port);
    write_file(path, config);
    const char *const argv[] = { e->luaswap, "--config", path, "--listen", listen, NULL };
    p->pid = env_spawn(log, e->cpu_proxy, argv);
    if (wait)
        env_wait_port(p->port, p->pid, "luaswap");
}

void env_bench_config(const struct env *e, const char *scheduler, char *buf, size_t cap)
{
    char cpu[32] = "";
    if (e->cpu_load >= 0)
        snprintf(cpu, sizeof cpu, " --cpu %d", e->cpu_load);
    snprintf(buf, cap,
             "logLevel: warn\nhealthCheckTimeout: 15\nstartPort: %d\nrouting:\n  scheduler:\n    use: %s\n"
             "    settings:\n      serial:\n        maxQueue: 0\nmodels:\n  bench:\n    cmd: %s/bench_upstream --port "
             "${PORT}%s\n    proxy: http://127.0.0.1:${PORT}\n    concurrencyLimit: 100000\n",
             bench_free_ports(1), scheduler, e->bin, cpu);
}

/* Output of a command, to its end. */
static int capture(const struct env *e, const char *const argv[], char *out, size_t cap)
{
    int p[2], status = -1;
    size_t n = 0;
    ssize_t r;
    pid_t pid;
    if (pipe2(p, O_CLOEXEC) != 0)
        bench_die("pipe: %s", strerror(errno));
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bench_pin(e->cpu_load);
        dup2(p[1], 1);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(p[1]);
    while (n + 1 < cap && (r = read(p[0], out + n, cap - 1 - n)) > 0)
        n += (size_t)r;
    out[n] = 0;
    close(p[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

bool env_load(struct env *e, int port, pid_t pid, const char *words, char *out, size_t cap)
{
    char buf[512], *save = NULL;
    const char *argv[48];
    int n = 0, status;
    argv[n++] = program(e, "bench_load");
    argv[n++] = "--port";
    argv[n++] = num(port);
    if (pid) {
        argv[n++] = "--pid";
        argv[n++] = num((int)pid);
    }
    snprintf(buf, sizeof buf, "%s", words);
    for (char *w = strtok_r(buf, " ", &save); w && n < 47; w = strtok_r(NULL, " ", &save))
        argv[n++] = w;
    argv[n] = NULL;
    status = capture(e, argv, out, cap);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    fprintf(stderr, "bench: load failed (%s, status %d): %s\n", words, status, out);
    return false;
}

double env_num(const char *json, const char *key)
{
    char pattern[80];
    const char *p;
    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    p = strstr(json, pattern);
    return p ? strtod(p + strlen(pattern), NULL) : (double)NAN;
}

int env_post(int port, const char *model, char *body, size_t cap)
{
    char req[1024], buf[16384], json[200];
    int fd = bench_connect(port), m, n;
    size_t got = 0;
    struct bench_head h = { 0 };
    if (fd < 0)
        return 0;
    m = snprintf(json, sizeof json, "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", model);
    n = snprintf(req, sizeof req, "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                                  "Connection: close\r\nContent-Length: %d\r\n\r\n%s", m, json);
    if (write(fd, req, (size_t)n) != n) {
        close(fd);
        return 0;
    }
    for (;;) {
        struct pollfd pf = { .fd = fd, .events = POLLIN };
        ssize_t r;
        if (poll(&pf, 1, 60000) <= 0)
            break;
        r = read(fd, buf + got, sizeof buf - 1 - got);
        if (r <= 0)
            break;
        got += (size_t)r;
        if (bench_head_parse(buf, got, true, &h) > 0 && h.length >= 0 && got >= h.size + (size_t)h.length)
            break;
    }
    buf[got] = 0;
    close(fd);
    if (bench_head_parse(buf, got, true, &h) <= 0)
        return 0;
    if (body)
        snprintf(body, cap, "%s", buf + h.size);
    return h.status;
}

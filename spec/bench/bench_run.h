/* bench_run.h: what the parts of the driver share: the options and the report of one run. For bench.c and bench_swap.c. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "benchenv.h"

#include <stdio.h>

struct bench_run {
    struct env env;
    const char *only;
    size_t pairs;
    bool quick, relay, have_luaswap;
    unsigned missed, failed;
    FILE *json;
    bool json_comma;
};
extern struct bench_run run;

/* One number of the report; target <= 0: for information. */
void line(const char *name, double value, const char *unit, double target, const char *more);
void broken(const char *what);
bool wanted(const char *group);

void group_swap(void);

#endif

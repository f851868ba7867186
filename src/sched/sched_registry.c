#include "sched/ops.h"

/* One line per built-in scheduler. */
static const struct {
    enum sched_kind kind;
    const struct policy_ops *ops;
} rows[] = {
    { SCHED_KIND_SERIAL, &serial_ops },
    { SCHED_KIND_FIFO, &fifo_ops },
};

const struct policy_ops *sched_builtin_ops(enum sched_kind k)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == k)
            return rows[i].ops;
    return &serial_ops;
}

const char *sched_kind_name(enum sched_kind k)
{
    return sched_builtin_ops(k)->name;
}

bool sched_kind_of(str name, enum sched_kind *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!str_eq(name, str_c(rows[i].ops->name)))
            continue;
        *ret = rows[i].kind;
        return true;
    }
    return false;
}

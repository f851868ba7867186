/* error.h: error codes and the detail that travels with them.
 *
 * A function that can fail returns int: 0, or a negative `enum err`. Details go to a trailing
 * `struct error *e`, which may be NULL. Libraries return errors, they never log them; whoever handles an
 * error logs it, once.
 */
#ifndef LUASWAP_BASE_ERROR_H
#define LUASWAP_BASE_ERROR_H

#include "base/mem.h"
#include "base/str.h"

enum err {
    ERR_OK = 0,
#define ERR(name, num, status, text) ERR_##name = -(num),
#include "base/errors.def"
#undef ERR
};

struct error {
    int code;      /* enum err, 0 = none */
    int sys;       /* errno or negative libuv code, 0 = none */
    char msg[240]; /* for people; NUL-ended, cut at a whole character */
};

/* Sets code and message (the code's own text when fmt is NULL); returns code, so that
 * `return error_set(e, ERR_X, ...)` works. e may be NULL. */
int error_set(struct error *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* As error_set, with ": strerror(errnum)" appended and errnum kept in e->sys. */
int error_sys(struct error *e, int code, int errnum, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Puts "text: " before the message that is there; returns e->code. */
int error_wrap(struct error *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

const char *err_name(int code); /* "ERR_NOMODEL"; "ERR_?" for an unknown one */
const char *err_text(int code);
int err_status(int code); /* HTTP status that a client gets for it */

#endif

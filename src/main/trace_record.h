/* trace_record.h: `luaswap trace record`: what a running server remembers of its traffic, as a trace on stdout.
 *
 * Exit: 0; 1 wrong usage; 2 the server cannot be reached, refuses, or remembers nothing.
 */
#ifndef LUASWAP_MAIN_TRACE_RECORD_H
#define LUASWAP_MAIN_TRACE_RECORD_H

#include <stdbool.h>

bool trace_record_wanted(int argc, char **argv); /* argv[0] "trace", argv[1] "record" */
int trace_record_main(int argc, char **argv);

#endif

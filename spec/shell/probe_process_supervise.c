/* probe_process_supervise.c: luaswap-spec plays the supervisor too.
 *
 * Processes under test start /proc/self/exe --supervise. The shell itself knows nothing of it: glibc hands
 * the arguments to constructors, so that this file alone decides, before main().
 */
#include "process/supervise.h"

#include "spec.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor(101))) static void play_supervisor(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--supervise") == 0)
        _exit(supervise_main(argc, argv));
}

/* The constants that specs need. */
static int open_supervise(lua_State *L)
{
    lua_newtable(L);
    lua_pushinteger(L, SUPERVISE_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushinteger(L, SUPERVISE_GRACE_MS);
    lua_setfield(L, -2, "grace_ms");
    lua_pushliteral(L, SUPERVISE_MARK);
    lua_setfield(L, -2, "mark");
    return 1;
}

PROBE(process_supervise, open_supervise);

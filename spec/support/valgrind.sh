#!/bin/sh
# valgrind.sh: stands in for luaswap (LUASWAP_BIN) to run a release build under valgrind; ./dev valgrind uses it.
# An error makes the exit status 99, which the functional specs refuse. Models are not traced.
exec valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect,possible \
    --errors-for-leak-kinds=definite,indirect --track-fds=no --trace-children=no --num-callers=30 \
    "$LUASWAP_VALGRIND_BIN" "$@"

/* policy_cli.h: the commands for authors of policies: check, simulate, policy, trace.
 *
 * argv[0] is the command's name. Writes to stdout and stderr; returns the exit status: 0 fine, 1 warnings (check) or
 * wrong usage, 2 errors.
 */
#ifndef LUASWAP_SIM_POLICY_CLI_H
#define LUASWAP_SIM_POLICY_CLI_H

#include <stdbool.h>

/* True for "check", "simulate", "policy", "trace". */
bool policy_cli_knows(const char *command);
int policy_cli_main(int argc, char **argv);

#endif

/* cli.h: what the commands for authors of policies share; policy_cli.h is what main uses.
 *
 * Each command gets its own arguments with its name in argv[0], and returns the exit status: 0 fine, 1 warnings or wrong
 * usage, 2 errors.
 */
#ifndef LUASWAP_SIM_CLI_H
#define LUASWAP_SIM_CLI_H

#include "config/config.h"
#include "base/strbuf.h"

int cli_check(int argc, char **argv);
int cli_simulate(int argc, char **argv);
int cli_policy(int argc, char **argv);
int cli_trace(int argc, char **argv);

int cli_usage(void); /* prints how; 1 */
int cli_out(struct strbuf *b); /* to stdout, and releases it; 0 or 2 */
/* A file with the limits that a configuration gives by default; both texts borrowed. */
struct config_policy cli_file(const char *path, const char *settings_json);
bool cli_number(const char *text, double lo, double hi, double *ret);
/* The whole file appended to out; false and a line on stderr when it cannot be read. */
bool cli_read(const char *command, const char *path, struct strbuf *out);

#endif

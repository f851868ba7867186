/* supervise.h: the small process between luaswap and each model command.
 *
 * What: `luaswap --supervise LABEL` (same binary). It is the parent of the command and the reaper of all its
 *       descendants (PR_SET_CHILD_SUBREAPER), starts the command in a session of its own, and stops the whole
 *       tree when asked to, or when its line to luaswap ends, however luaswap ended.
 * Not:  readiness, time limits of a stop, log rings: luaswap decides, the supervisor obeys. Only without
 *       luaswap it decides itself: SIGTERM, a grace (1 s), then SIGKILL until nothing is left.
 * Lives: in its own session, deaf to SIGTERM, SIGINT and SIGHUP. A plain poll loop: no libuv, no threads.
 *
 * Descriptors it is started with: 3 is the line to luaswap (a stream socket), 4 the command's stdout and
 * stderr. It closes everything else. When it has given 4 to the command it lets go of it.
 *
 * The protocol is the same over any byte stream (a socket pair now; a named socket would let a later luaswap
 * adopt a running supervisor). Lines end in \n; words are separated by one blank; inside a word the bytes
 * % blank CR LF and NUL are written %XX. A line it does not know is answered `error ...` and changes nothing.
 *
 *   to the supervisor
 *     path P            value of PATH for finding the command and the stopper
 *     env NAME=value    added to its own environment for the command and the stopper; the last one wins
 *     arg WORD          next word of a command line
 *     start             runs the words so far as the command (once)
 *     stopper           runs the words so far as cmdStop: own session, output dropped
 *     term              SIGTERM to the tree: the command's group, and each descendant outside of it
 *     kill              SIGKILL to everything, repeated until nothing is left
 *     killstopper       SIGKILL to the stopper and its descendants
 *     grace MS          from TERM to KILL when the line ends
 *     ping N            answered `pong N STATE` after every exit that came before it was told
 *     status            answered `status STATE PID STOPPER`
 *     bye               end of supervision: as the line ending, without grace when nothing runs
 *
 *   from the supervisor
 *     hello VERSION PID            first line; VERSION is 1
 *     started PID                  the command was executed; PID is its process, group and session
 *     failed ERRNO                 it could not be
 *     exited STATUS | signaled N   the command has ended
 *     gone                         no descendant is left (but the stopper's); once, after the line above
 *     stopper failed ERRNO | stopper exited STATUS | stopper signaled N
 *     pong N STATE, status STATE PID STOPPER   STATE: idle running exited gone
 *     error TEXT
 */
#ifndef LUASWAP_PROCESS_SUPERVISE_H
#define LUASWAP_PROCESS_SUPERVISE_H

#define SUPERVISE_VERSION 1
#define SUPERVISE_LINE_FD 3
#define SUPERVISE_OUTPUT_FD 4
/* From TERM to KILL after luaswap has died. */
#define SUPERVISE_GRACE_MS 1000
/* Set in the environment of each command, with a value of its own for each start: how the processes of a
 * tree are found when its supervisor was killed. */
#define SUPERVISE_MARK "LUASWAP_RUN"

/* For main(), before anything else, when argv[1] is "--supervise". Returns the exit status. */
int supervise_main(int argc, char **argv);

#endif

/* knock.h: is anybody listening on a TCP port of this machine? Cheap enough to ask hundreds of times a second.
 *
 * What: io_listens() looks into the kernel's table of sockets (sock_diag(7)); nobody is disturbed. io_knock()
 *       connects and hangs up without a byte; it also sees what is no socket here (a port that the packet filter
 *       sends elsewhere), at some ten times the price.
 * Not:  other machines, names but "localhost", waiting: those are IO_KNOCK_UNKNOWN (use io/dial.h).
 */
#ifndef LUASWAP_IO_KNOCK_H
#define LUASWAP_IO_KNOCK_H

#include "base/str.h"

enum io_knock { IO_KNOCK_REFUSED, IO_KNOCK_OPEN, IO_KNOCK_UNKNOWN };

/* host: "localhost" (127.0.0.1 and ::1), or an address of the loopback network without brackets. */
enum io_knock io_knock(str host, int port);
enum io_knock io_listens(str host, int port);

#endif

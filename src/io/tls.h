/* tls.h: TLS 1.2 and 1.3 on a stream, as a filter that the stream's user does not notice.
 *
 * What: after one of the two calls below everything said in stream.h holds for the bytes inside the encryption:
 *       what is written before the handshake is over waits for it, data comes after it. io_stream_finish sends
 *       close_notify. A peer that ends the connection without close_notify has cut it: `error` (UV_ECONNRESET), not
 *       `eof`. Bytes that are no TLS, and alerts, are UV_EPROTO. ALPN: http/1.1 only.
 * Owns: the filter belongs to its stream and goes with it.
 * Limits: the handshake has a time limit, 0 = none. Per connection at most one record (16 KiB) of either
 *       direction, and IO_READ_SIZE while reading is off. Renegotiation is refused.
 * OpenSSL is loaded when the first of these functions needs it (tls_lib.h). When it cannot be, a client is told so
 * as of a failed handshake, and there is no server.
 */
#ifndef LUASWAP_IO_TLS_H
#define LUASWAP_IO_TLS_H

#include "io/stream.h"

/* e is NULL when the handshake is done; otherwise the stream is of no use, close it. Called once, later, unless the
 * stream was closed before. */
typedef void io_tls_fn(void *ud, const struct error *e);

/* Client side: the certificate must come from an authority of the system (SSL_CERT_FILE and SSL_CERT_DIR replace
 * it) and name the host, which is a name or a numeric address. */
void io_stream_tls_connect(struct io_stream *s, str host, msec timeout_ms, io_tls_fn *fn, void *ud);

/* Certificate chain and key (PEM files) of a server. */
struct io_tls_server;
struct io_tls_server *io_tls_server_new(const char *cert_file, const char *key_file, struct error *e);
/* Reads the files again; a pair that cannot be used leaves the old one in force. */
int io_tls_server_reload(struct io_tls_server *t, struct error *e);
void io_tls_server_free(struct io_tls_server *t); /* connections may go on */

/* Server side, on a stream that was just accepted. A failed handshake is an `error` of the stream. */
void io_stream_tls_accept(struct io_stream *s, struct io_tls_server *t, msec timeout_ms);

#endif

/* tls_lib.h: OpenSSL's functions as we use them, from a library that is loaded when TLS is first wanted.
 *
 * What: whoever includes this writes plain OpenSSL calls; each goes through a table that tls_lib_load() fills. So a
 *       luaswap without TLS, and above all the supervisor that is started for every model, does not pay for mapping
 *       and binding 5 MB of code, and TLS still follows the system's security updates.
 * Order: tls_lib_load() before any call. Never unloaded: other threads of the library may live until the end.
 * Source: the library's names are those of OpenSSL 3 (OPENSSL_SHLIB_VERSION); LUASWAP_LIBSSL and LUASWAP_LIBCRYPTO
 *       replace them.
 * The only file that includes OpenSSL.
 */
#ifndef LUASWAP_IO_TLS_LIB_H
#define LUASWAP_IO_TLS_LIB_H

#include "base/error.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* X(name): functions of libcrypto, then of libssl. */
#define TLS_LIB_CRYPTO(X)                                                                                              \
    X(BIO_clear_flags)                                                                                                 \
    X(BIO_get_data)                                                                                                    \
    X(BIO_get_new_index)                                                                                               \
    X(BIO_meth_free)                                                                                                   \
    X(BIO_meth_new)                                                                                                    \
    X(BIO_meth_set_ctrl)                                                                                               \
    X(BIO_meth_set_read)                                                                                               \
    X(BIO_meth_set_write)                                                                                              \
    X(BIO_new)                                                                                                         \
    X(BIO_set_data)                                                                                                    \
    X(BIO_set_flags)                                                                                                   \
    X(BIO_set_init)                                                                                                    \
    X(ERR_clear_error)                                                                                                 \
    X(ERR_peek_error)                                                                                                  \
    X(ERR_peek_last_error)                                                                                             \
    X(ERR_reason_error_string)                                                                                         \
    X(X509_VERIFY_PARAM_set1_host)                                                                                     \
    X(X509_VERIFY_PARAM_set1_ip_asc)                                                                                   \
    X(X509_VERIFY_PARAM_set_hostflags)                                                                                 \
    X(X509_verify_cert_error_string)

#define TLS_LIB_SSL(X)                                                                                                 \
    X(SSL_CTX_check_private_key)                                                                                       \
    X(SSL_CTX_ctrl)                                                                                                    \
    X(SSL_CTX_free)                                                                                                    \
    X(SSL_CTX_new)                                                                                                     \
    X(SSL_CTX_set_alpn_protos)                                                                                         \
    X(SSL_CTX_set_alpn_select_cb)                                                                                      \
    X(SSL_CTX_set_default_passwd_cb)                                                                                   \
    X(SSL_CTX_set_default_verify_paths)                                                                                \
    X(SSL_CTX_set_options)                                                                                             \
    X(SSL_CTX_set_verify)                                                                                              \
    X(SSL_CTX_use_PrivateKey_file)                                                                                     \
    X(SSL_CTX_use_certificate_chain_file)                                                                              \
    X(SSL_ctrl)                                                                                                        \
    X(SSL_do_handshake)                                                                                                \
    X(SSL_free)                                                                                                        \
    X(SSL_get0_param)                                                                                                  \
    X(SSL_get_error)                                                                                                   \
    X(SSL_get_verify_result)                                                                                           \
    X(SSL_new)                                                                                                         \
    X(SSL_pending)                                                                                                     \
    X(SSL_read_ex)                                                                                                     \
    X(SSL_select_next_proto)                                                                                           \
    X(SSL_set_accept_state)                                                                                            \
    X(SSL_set_bio)                                                                                                     \
    X(SSL_set_connect_state)                                                                                           \
    X(SSL_shutdown)                                                                                                    \
    X(SSL_write_ex)                                                                                                    \
    X(TLS_client_method)                                                                                               \
    X(TLS_server_method)

struct tls_lib {
#define X(name) __typeof__(name) *fn_##name;
    TLS_LIB_CRYPTO(X)
    TLS_LIB_SSL(X)
#undef X
};

extern struct tls_lib tls_lib;

/* 0, at once when it was loaded before; ERR_SYS with the reason when there is no usable OpenSSL 3. */
int tls_lib_load(struct error *e);

#ifndef TLS_LIB_PLAIN /* the file that fills the table */
#define BIO_clear_flags tls_lib.fn_BIO_clear_flags
#define BIO_get_data tls_lib.fn_BIO_get_data
#define BIO_get_new_index tls_lib.fn_BIO_get_new_index
#define BIO_meth_free tls_lib.fn_BIO_meth_free
#define BIO_meth_new tls_lib.fn_BIO_meth_new
#define BIO_meth_set_ctrl tls_lib.fn_BIO_meth_set_ctrl
#define BIO_meth_set_read tls_lib.fn_BIO_meth_set_read
#define BIO_meth_set_write tls_lib.fn_BIO_meth_set_write
#define BIO_new tls_lib.fn_BIO_new
#define BIO_set_data tls_lib.fn_BIO_set_data
#define BIO_set_flags tls_lib.fn_BIO_set_flags
#define BIO_set_init tls_lib.fn_BIO_set_init
#define ERR_clear_error tls_lib.fn_ERR_clear_error
#define ERR_peek_error tls_lib.fn_ERR_peek_error
#define ERR_peek_last_error tls_lib.fn_ERR_peek_last_error
#define ERR_reason_error_string tls_lib.fn_ERR_reason_error_string
#define X509_VERIFY_PARAM_set1_host tls_lib.fn_X509_VERIFY_PARAM_set1_host
#define X509_VERIFY_PARAM_set1_ip_asc tls_lib.fn_X509_VERIFY_PARAM_set1_ip_asc
#define X509_VERIFY_PARAM_set_hostflags tls_lib.fn_X509_VERIFY_PARAM_set_hostflags
#define X509_verify_cert_error_string tls_lib.fn_X509_verify_cert_error_string
#define SSL_CTX_check_private_key tls_lib.fn_SSL_CTX_check_private_key
#define SSL_CTX_ctrl tls_lib.fn_SSL_CTX_ctrl
#define SSL_CTX_free tls_lib.fn_SSL_CTX_free
#define SSL_CTX_new tls_lib.fn_SSL_CTX_new
#define SSL_CTX_set_alpn_protos tls_lib.fn_SSL_CTX_set_alpn_protos
#define SSL_CTX_set_alpn_select_cb tls_lib.fn_SSL_CTX_set_alpn_select_cb
#define SSL_CTX_set_default_passwd_cb tls_lib.fn_SSL_CTX_set_default_passwd_cb
#define SSL_CTX_set_default_verify_paths tls_lib.fn_SSL_CTX_set_default_verify_paths
#define SSL_CTX_set_options tls_lib.fn_SSL_CTX_set_options
#define SSL_CTX_set_verify tls_lib.fn_SSL_CTX_set_verify
#define SSL_CTX_use_PrivateKey_file tls_lib.fn_SSL_CTX_use_PrivateKey_file
#define SSL_CTX_use_certificate_chain_file tls_lib.fn_SSL_CTX_use_certificate_chain_file
#define SSL_ctrl tls_lib.fn_SSL_ctrl
#define SSL_do_handshake tls_lib.fn_SSL_do_handshake
#define SSL_free tls_lib.fn_SSL_free
#define SSL_get0_param tls_lib.fn_SSL_get0_param
#define SSL_get_error tls_lib.fn_SSL_get_error
#define SSL_get_verify_result tls_lib.fn_SSL_get_verify_result
#define SSL_new tls_lib.fn_SSL_new
#define SSL_pending tls_lib.fn_SSL_pending
#define SSL_read_ex tls_lib.fn_SSL_read_ex
#define SSL_select_next_proto tls_lib.fn_SSL_select_next_proto
#define SSL_set_accept_state tls_lib.fn_SSL_set_accept_state
#define SSL_set_bio tls_lib.fn_SSL_set_bio
#define SSL_set_connect_state tls_lib.fn_SSL_set_connect_state
#define SSL_shutdown tls_lib.fn_SSL_shutdown
#define SSL_write_ex tls_lib.fn_SSL_write_ex
#define TLS_client_method tls_lib.fn_TLS_client_method
#define TLS_server_method tls_lib.fn_TLS_server_method
#endif

#endif

"""A TLS client by OpenSSL itself, in memory: the standard library's C{ssl} cannot ask for new keys."""

from __future__ import annotations

import ctypes
import ctypes.util
import ssl
from typing import Any

__all__ = ["Memory", "OpenSSLClient", "library"]


def library() -> Any:
    """OpenSSL 3 or later; L{None} where there is none."""
    name = ctypes.util.find_library("ssl")
    if name is None:
        return None
    loaded = ctypes.CDLL(name)
    for function in "SSL_CTX_new", "TLS_client_method", "SSL_new", "BIO_new", "BIO_s_mem":
        getattr(loaded, function).restype = ctypes.c_void_p
    return loaded


class Memory:
    """One direction of bytes, as L{ssl.MemoryBIO}."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib
        self.pointer = ctypes.c_void_p(lib.BIO_new(ctypes.c_void_p(lib.BIO_s_mem())))

    def read(self) -> bytes:
        data = b""
        buffer = ctypes.create_string_buffer(1 << 16)
        while (size := self._lib.BIO_read(self.pointer, buffer, len(buffer))) > 0:
            data += buffer.raw[:size]
        return data

    def write(self, data: bytes) -> None:
        self._lib.BIO_write(self.pointer, data, len(data))


class OpenSSLClient:
    """The calls of L{ssl.SSLObject} that tests make, of a client that trusts everybody. Its memory is not freed."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib
        context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
        self._ssl = ctypes.c_void_p(lib.SSL_new(context))
        self.incoming, self.outgoing = Memory(lib), Memory(lib)
        lib.SSL_set_bio(self._ssl, self.incoming.pointer, self.outgoing.pointer)
        lib.SSL_set_connect_state(self._ssl)

    def do_handshake(self) -> None:
        self._check(self._lib.SSL_do_handshake(self._ssl))

    def write(self, data: bytes) -> int:
        return self._check(self._lib.SSL_write(self._ssl, data, len(data)))

    def read(self, size: int) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        count = self._check(self._lib.SSL_read(self._ssl, buffer, size))
        return buffer.raw[:count]

    def updateKeys(self) -> None:
        """Change one's own keys, and ask for the same from the peer, with the next bytes (RFC 8446 section 4.6.3)."""
        self._check(self._lib.SSL_key_update(self._ssl, 1))
        self.do_handshake()

    def _check(self, result: int) -> int:
        if result > 0:
            return result
        error = self._lib.SSL_get_error(self._ssl, result)
        raise {2: ssl.SSLWantReadError, 6: ssl.SSLZeroReturnError}.get(error, ssl.SSLError)(error)

"""Twisted's TLS transport, which can be left: OpenSSL goes on by itself, on the socket.

Twisted keeps OpenSSL away from the socket: what arrives is copied into a buffer, from which OpenSSL decrypts it; what
OpenSSL encrypts into another buffer is copied out of it, and queued. Once the handshake is done and both buffers are
empty, OpenSSL can do without them, on the socket itself::

    handshake, HTTP     socket ◄─► raw transport ◄─► SecureTransport ◄─► two buffers ◄─► OpenSSL
    after leave()       socket ◄─────────────────────────────────────────────────────► OpenSSL

No public call gives a connection another socket: L{_moveOnto} and L{detour} know how pyOpenSSL is made, and leaving
rests on two names inside of Twisted's transport. All of it is tried out when this module is imported. Where that fails,
no transport can be left, and sessions stay with Twisted's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IPullProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from zope.interface import directlyProvides, implementedBy, implementer, providedBy

from wsproxy.ends.transport import isBare, isEmpty, sendAtOnce

__all__ = ["SecureTransport", "detour", "rejoin"]

_PIECE = 1 << 15
"""Bytes taken out of OpenSSL at a time."""

_SHORT = 1 << 13
"""Bytes that are sent at once."""

_leavable = _movable = _alike = False
"""What this Twisted and this pyOpenSSL allow: see below, where it is tried out."""


class SecureTransport(BufferingTLSTransport):
    """For L{TLSMemoryBIOFactory.protocol<twisted.protocols.tls.TLSMemoryBIOFactory>}."""

    transport: Connection  # of one that is leavable; until then whatever a port yields
    _leaving: Callable[[SSL.Connection], None] | None = None
    speaksFirst = True
    """Whether OpenSSL is asked at once what there is to say: a client says hello."""

    _receiving = False
    _greeting = b""

    @property
    def leavable(self) -> bool:
        """Whether there is nothing but a socket under it, and pyOpenSSL is the one we know."""
        return _leavable and _movable and isBare(self.transport)

    def makeConnection(self, transport: Any) -> None:
        """
        As Twisted's, which finds out for each connection what a transport of its kind provides, one interface after the
        other, and asks OpenSSL what a server has to say before there is a client: 30 µs.
        """
        kind: Any = type(transport)
        cls: Any = type(self)
        if not (_alike and providedBy(transport) is implementedBy(kind)):
            super().makeConnection(transport)
            return
        self._tlsConnection = self.factory._creatorCallable(self)
        self._appSendBuffer = []
        self.__provides__ = _standingFor(kind, cls)
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        self.wrappedProtocol.makeConnection(self)
        if self.speaksFirst:
            self._checkHandshakeStatus()

    def _flushSendBIO(self) -> None:
        """
        As Twisted's; but what is short, records of a handshake and the like, does not wait for a round of the reactor.
        What is long does: a peer that has made its receive buffer smaller than a record takes five of them a second
        where each is written by itself, as the kernel sends such a piece whole or not at all until a timer has run out.
        """
        if self._leaving is not None and self._receiving and not self._lostTLSConnection:
            return  # the tickets of a handshake leave with the greeting: one send less, 15 µs
        if not self.leavable:
            super()._flushSendBIO()
            return
        with suppress(SSL.WantReadError):
            data = self._tlsConnection.bio_read(_PIECE)
            if len(data) <= _SHORT:
                sendAtOnce(self.transport, data)
            else:
                self.transport.write(data)

    def leave(self, left: Callable[[SSL.Connection], None], greeting: bytes = b"") -> None:
        """
        Take no further part in the connection, once all that was written is with the kernel.

        What was decrypted by then is still received, and a connection that is lost until then is lost as ever.
        The raw transport keeps the socket, but no longer touches it; closing it remains its task.

        @param greeting: what is still to be sent.
        @param left: called with what reads from the socket and writes to it, without blocking: C{recv} and C{send}
            raise L{SSL.WantReadError} and L{SSL.WantWriteError}. C{send} takes all of its buffer or has to be called
            again with the same bytes. One call of C{recv} for a whole record leaves nothing behind in OpenSSL.
        """
        self._leaving = left
        self._greeting = greeting
        if not self._receiving:
            self._drain()

    def dataReceived(self, data: bytes) -> None:
        self._receiving = True  # from here on Twisted decrypts in a loop, until there is nothing left
        super().dataReceived(data)
        self._receiving = False
        if self._leaving is not None:
            self._drain()

    def _drain(self) -> None:
        raw, connection = self.transport, self.getHandle()
        if raw.disconnecting or not raw.connected:
            return
        self._aggregator.flush()
        greeting, self._greeting = self._greeting, b""
        if greeting:
            self._write(greeting)
        size = _PIECE
        with suppress(SSL.WantReadError):
            while size == _PIECE:
                data = connection.bio_read(_PIECE)
                size = len(data)
                sendAtOnce(raw, data)
        self.unregisterProducer()
        if isEmpty(raw):
            self._drained()
            return
        raw.registerProducer(_Drained(self._drained), False)
        if raw.doWrite() is not None:
            raw.abortConnection()

    def _drained(self) -> None:
        left, self._leaving = self._leaving, None
        raw, connection = self.transport, self.getHandle()
        raw.unregisterProducer()
        if left is not None and not raw.disconnecting:
            _moveOnto(connection, raw.getHandle())
            self._lostTLSConnection = True  # Twisted's way to let it alone
            left(connection)


@lru_cache
def _standingFor(kind: Any, cls: Any) -> Any:
    """What says of a transport of C{cls} that it provides what the one of this kind does that is beneath it."""
    standing = cls.__new__(cls)
    directlyProvides(standing, implementedBy(kind))
    return standing.__provides__


@implementer(IPullProducer)
class _Drained:
    """Is asked for more by a transport once on registration, and again when that has nothing left to send."""

    def __init__(self, drained: Callable[[], None]) -> None:
        self._drained = drained
        self._registered = False

    def resumeProducing(self) -> None:
        if self._registered:
            self._drained()
        self._registered = True

    def stopProducing(self) -> None:
        """The transport is going away."""


def _moveOnto(connection: Any, sock: socket.socket) -> None:
    """
    Make C{connection} what it had been if it was made with this socket, to which OpenSSL then reads and writes.

    Measured, of this side of TLS 1.3 alone in MB per CPU-second, with 128 KiB at a time: 1,900 sent and 2,050
    received; by way of the two buffers 1,300 to 1,600 and 1,850. And the buffers are gone: they keep the size of the
    largest burst, for as long as the session lasts.
    """
    lib: Any = SSL._lib  # type: ignore[attr-defined]  # cryptography's bindings, which have no stubs
    if lib.SSL_set_fd(connection._ssl, sock.fileno()) != 1:
        raise OSError("OpenSSL takes no socket")
    # one call writes many records; else it returns after each
    lib.SSL_clear_mode(connection._ssl, lib.SSL_MODE_ENABLE_PARTIAL_WRITE)
    connection._into_ssl = connection._from_ssl = None  # SSL_set_fd has freed them
    connection._socket = sock


def detour(connection: Any) -> None:
    """
    Have C{connection} go on in memory: what it is in the middle of writing comes out of C{bio_read}, and what it is to
    read goes into C{bio_write}, until it may L{rejoin} its socket. It must have been on one.
    """
    lib: Any = SSL._lib  # type: ignore[attr-defined]
    into, out = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
    lib.SSL_set_bio(connection._ssl, into, out)  # which frees what was there, and owns these
    connection._into_ssl, connection._from_ssl = into, out
    connection._socket = None


def rejoin(connection: Any, sock: socket.socket) -> None:
    """Have C{connection} read and write on its socket again, of which nothing may be left in memory."""
    _moveOnto(connection, sock)


def _tryOut() -> bool:
    """Whether a connection that was made without a socket says hello on one that it was given, and in memory again."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ours.setblocking(False)
            theirs.setblocking(False)
            connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
            connection.set_connect_state()
            _moveOnto(connection, ours)
            with suppress(SSL.WantReadError):
                connection.do_handshake()
            if theirs.recv(1) != b"\x16":  # a handshake record, RFC 8446 section 5.1
                return False
            detour(connection)
            connection.bio_write(b"\x15\x03\x03\x00\x02\x02\x28")  # an alert: the handshake has failed
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                return False
            except SSL.Error:
                rejoin(connection, ours)
                return True
        except Exception:
            pass
    return False


_movable = _tryOut()


class _Trial:
    """Stands in for OpenSSL, and the socket: keeps what it is given to send, and what else it is asked for."""

    def __init__(self) -> None:
        self.sent = b""
        self.asked: list[str] = []

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def bio_read(self, size: int) -> bytes:
        raise SSL.WantReadError

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)  # zope.interface looks for some
        return lambda *_: self.asked.append(name)


def _tryOutTwisted() -> bool:
    """Whether what was written can be had from Twisted's transport at once, and the connection be kept from it."""
    trial = _Trial()

    @implementer(IOpenSSLServerConnectionCreator)
    class Creator:
        def serverConnectionForTLS(self, transport: object) -> Any:
            return trial

    lost: list[object] = []

    class Above(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            lost.append(reason)

    try:
        factory = TLSMemoryBIOFactory(Creator(), False, Factory.forProtocol(Above), Clock())
        factory.protocol = SecureTransport
        transport: Any = factory.buildProtocol(None)
        transport.makeConnection(trial)
        transport.write(b"x")
        transport._aggregator.flush()
        transport._lostTLSConnection = True
        trial.asked.clear()
        transport.connectionLost(connectionDone)
        return trial.sent == b"x" and len(lost) == 1 and not trial.asked
    except Exception:
        return False


_leavable = _tryOutTwisted()


def _tryOutMaking() -> bool:
    """Whether a transport that is made in short is like one that Twisted has made."""

    @implementer(IOpenSSLServerConnectionCreator)
    class Creator:
        def serverConnectionForTLS(self, transport: object) -> Any:
            return _Trial()

    mark: Any = implementer(ITCPTransport)
    kind = mark(type("Raw", (_Trial,), {}))
    try:
        made: list[Any] = []
        for cls in (BufferingTLSTransport, SecureTransport):
            factory = TLSMemoryBIOFactory(Creator(), False, Factory.forProtocol(Protocol), Clock())
            factory.protocol = cls
            made.append(factory.buildProtocol(None))
            made[-1].makeConnection(kind())
        theirs, ours = made
        return vars(theirs).keys() == vars(ours).keys() and [*providedBy(theirs)] == [*providedBy(ours)]
    except Exception:
        return False


_alike = True
_alike = _tryOutMaking()

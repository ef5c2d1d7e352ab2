"""One attempt to reach one IP address, and the transport that comes of it.

On one machine, connect(2) has connected, or been refused, when it returns or when it is called once more. So an attempt
calls it twice before it has the reactor watch the socket: the way to most targets needs neither the next round of the
reactor nor a timer. Twisted's C{connectTCP} takes a connector, two wrappers and eight turns at the epoll set for what
is two system calls here; C{tests/integration/test_work.py} counts those of a whole connection.

::

    socket ─ connect(2) ─┬─ connected ──────────────────────────► Outgoing ─► the factory's protocol
                         └─ in progress ─► reactor: writable ─┬─► failed
                                                 cancelled ───┴─► closed
"""

from __future__ import annotations

import errno
import os
import socket
from functools import lru_cache
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectingCancelledError, NoProtocol, getConnectError
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorFDSet, IWriteDescriptor
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.dialling.reactor import IConnectingReactor

__all__ = ["connectAddress", "isLiteral", "watchesSockets"]

_PENDING = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR)
_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)
_STREAM = socket.SOCK_STREAM | _NONBLOCK
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def isLiteral(host: str) -> bool:
    """Whether C{host} is an IP address, and needs no resolver."""
    return isIPAddress(host) or isIPv6Address(host)


def watchesSockets(reactor: object) -> bool:
    """
    Whether C{reactor} waits for descriptors, as all of Twisted's do but that of Windows.

    To provide C{IReactorFDSet} is no sign of it: L{MemoryReactor<twisted.internet.testing.MemoryReactor>} does, and
    whoever tests with one wants no connections made.
    """
    return isinstance(reactor, PosixReactorBase)


def connectAddress(
    reactor: IConnectingReactor, host: str, port: int, factory: IProtocolFactory, timeout: float
) -> Deferred[IProtocol]:
    """
    Connect to an address, with TCP_NODELAY and keepalive set.

    @param reactor: connects by C{IReactorTCP}, and more slowly, where it is none that L{watchesSockets}.
    @param host: an IP address, with its scope where it needs one.
    @param timeout: seconds after which to give up where it is C{IReactorTCP} that connects; otherwise that is for the
        caller to do.
    @return: fires with the protocol that C{factory} built, at once if that can be; fails with
        L{ConnectError<twisted.internet.error.ConnectError>}. To cancel it is to give up.
    """
    if watchesSockets(reactor):
        return _Attempt(reactor, factory).start(host, port)
    # connectTCP, which this endpoint stands for, takes literal addresses of either family
    connected: Deferred[IProtocol] = TCP4ClientEndpoint(reactor, host, port, timeout).connect(factory)
    return connected.addErrback(_asCancelled)


def _asCancelled(failure: Failure) -> Failure:
    """What an endpoint says of being cancelled, in the words of everybody else."""
    return Failure(CancelledError()) if failure.check(ConnectingCancelledError) else failure


@implementer(IWriteDescriptor)
class _Attempt:
    """A socket on its way."""

    __slots__ = ("_address", "_connected", "_factory", "_reactor", "_socket", "_watched")

    def __init__(self, reactor: IReactorFDSet, factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._factory = factory
        self._watched = False
        self._connected: Deferred[IProtocol] = Deferred(self._cancelled)

    def start(self, host: str, port: int) -> Deferred[IProtocol]:
        connected = self._connected
        self._address: Any = (host, port)
        family = socket.AF_INET
        try:
            if ":" in host:
                family = socket.AF_INET6
                self._address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_NUMERIC)[0][4]
            self._socket = socket.socket(family, _STREAM)
        except OSError as error:
            connected.errback(_failure(error.errno, error.strerror))
            return connected
        try:
            if not _NONBLOCK:
                self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
            code = self._socket.connect_ex(self._address)
        except OSError as error:
            self._fail(_failure(error.errno, error.strerror))
        else:
            if code in _PENDING:
                self.doWrite()
            else:
                self._settle(code)
        return connected

    def doWrite(self) -> None:
        """Ask how it went, which connect(2) tells of a socket that was told to connect before."""
        self._settle(self._socket.connect_ex(self._address))

    def _settle(self, code: int) -> None:
        if code in (0, errno.EISCONN):
            self._succeed()
        elif code not in _PENDING:
            self._fail(_failure(code, os.strerror(code)))
        elif not self._watched:
            self._watched = True
            self._reactor.addWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        """The socket hung up, or the reactor is going down."""
        self.doWrite()
        if not self._connected.called:
            self._fail(reason)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "attempt"

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._reactor.removeWriter(self)

    def _succeed(self) -> None:
        self._unwatch()
        peer = _address(self._address)
        try:
            protocol = self._factory.buildProtocol(peer)
            if protocol is None:
                raise NoProtocol()
        except BaseException:
            self._fail(Failure())
            return
        transport = Outgoing(self._socket, protocol, peer, self._reactor)
        try:
            transport.begin()
        except BaseException:
            transport.abortConnection()
            self._connected.errback(Failure())
        else:
            self._connected.callback(protocol)

    def _fail(self, failure: Failure) -> None:
        self._close()
        self._connected.errback(failure)

    def _cancelled(self, connected: Deferred[IProtocol]) -> None:
        self._close()

    def _close(self) -> None:
        self._unwatch()
        self._socket.close()


def _failure(code: int | None, text: str | None) -> Failure:
    return Failure(getConnectError((code, text)))


class Outgoing(Connection):
    """The transport of a connection that was made from here."""

    logstr = "outgoing"
    _begun = _paused = False
    _tlsClientDefault = True  # Twisted's startTLS asks which side of TLS is ours

    def __init__(self, connected: socket.socket, protocol: IProtocol, peer: IAddress, reactor: IReactorFDSet) -> None:
        super().__init__(connected, protocol, reactor)
        self._peer = peer
        self.connected = 1

    def begin(self) -> None:
        """Begin to serve the protocol; to read, unless it asks not to."""
        self.protocol.makeConnection(self)
        self._begun = True
        if not self._paused:
            self.startReading()

    def pauseProducing(self) -> None:
        self._paused = True
        if self._begun:
            super().pauseProducing()

    def getHost(self) -> IAddress:
        return _address(self.socket.getsockname())

    def getPeer(self) -> IAddress:
        return self._peer


@lru_cache(256)
def _address(name: Any) -> IAddress:
    return IPv4Address("TCP", *name) if len(name) == 2 else IPv6Address("TCP", *name)

"""C{--inetd}: the socket that a service manager has put on stdin, and what becomes of stdout and stderr then.

::

    stdin ─┬─ it listens (SO_ACCEPTCONN) ──► accepted from, like any other port
           └─ it is connected ─────────────► served, this one; then it is over

inetd has the same socket on all three descriptors, and whatever a process prints would go to its client.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from wsproxy.endpoints.adopted import adoptPort
from wsproxy.errors import ConfigError

__all__ = ["Inetd", "sparingStdout"]

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def sparingStdout() -> None:
    """
    From now on, what is written to stdout goes to stderr; and nowhere, where stderr is the socket on stdin. All at the
    level of descriptors: for whatever this process loads or starts, too.
    """
    null = os.open(os.devnull, os.O_RDWR)
    if os.path.sameopenfile(0, 2):
        os.dup2(null, 2)
    os.dup2(2, 1)
    os.close(null)


class Inetd:
    """
    A L{Bindable<wsproxy.endpoints.listen.Bindable>}: the socket on stdin, which is taken: in its place is the null
    device. Else a client would not hear of the end of its connection, and what is started here would inherit it.

    @param ended: called when the client is gone that was on stdin; never where that listens.
    @raise ConfigError: it is no such socket.
    """

    def __init__(self, reactor: Any, ended: Callable[[], object]) -> None:
        self._reactor = reactor
        self._ended = ended
        self._socket = _take(0)
        self._listens = bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def __str__(self) -> str:
        return "--inetd"

    def bind(self, factory: IProtocolFactory) -> Deferred[list[IListeningPort]]:
        """
        @return: fires with the port; with none where there is only this one client. Fails with L{ConfigError} where
            that has gone.
        """
        return execute(self._begin, factory)

    def _begin(self, factory: IProtocolFactory) -> list[IListeningPort]:
        with self._socket:
            if self._listens:
                return [adoptPort(self._reactor, self._socket.fileno(), factory)]
            factory.doStart()
            self._serve(factory)
            return []

    def _serve(self, factory: IProtocolFactory) -> None:
        connection = self._socket
        try:
            client = connection.getpeername()
        except OSError as error:  # it has gone already
            raise ConfigError(f"--inetd: {error.strerror}") from None
        protocol = factory.buildProtocol(_address(connection.family, client))
        if protocol is None:
            raise ConfigError("--inetd: the client is refused")
        if connection.family == socket.AF_UNIX:
            transport: tcp.Server = _UNIXClient(self._ended, connection.dup(), protocol, client, self._reactor)
        else:
            transport = _TCPClient(self._ended, connection.dup(), protocol, client, self._reactor)
        protocol.makeConnection(transport)


class _TCPClient(tcp.Server):
    """Tells when it has gone, which is when its descriptor is closed."""

    def __init__(self, ended: Callable[[], object], *connection: Any) -> None:
        socket, protocol, client, reactor = connection
        nobody: Any = None  # the port that it was accepted from is another process's
        super().__init__(socket, protocol, client, nobody, 0, reactor)
        self._ended = ended

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._ended()


class _UNIXClient(unix.Server):
    """Likewise."""

    def __init__(self, ended: Callable[[], object], *connection: Any) -> None:
        socket, protocol, client, reactor = connection
        super().__init__(socket, protocol, client, None, 0, reactor)
        self._ended = ended

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._ended()


def _take(descriptor: int) -> socket.socket:
    """@return: the socket there, which does not block; the null device takes its place."""
    try:
        taken = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        raise ConfigError("--inetd: stdin is no socket") from None
    if taken.family not in _FAMILIES or taken.type != socket.SOCK_STREAM:
        taken.close()
        raise ConfigError("--inetd: stdin is no stream socket")
    taken.setblocking(False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)
    return taken


def _address(family: int, name: Any) -> IAddress:
    if family == socket.AF_UNIX:
        return UNIXAddress(name or None)
    return (IPv6Address if family == socket.AF_INET6 else IPv4Address)("TCP", *name)

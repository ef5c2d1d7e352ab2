"""Who takes the next connection: one listening socket among several workers, and the memory they have in common.

The kernel wakes every worker that waits on the socket, and gives the connection to whichever asks first. Left at that,
the shares are what chance makes them. So a worker accepts one connection at a time, which leaves the next one to a
worker that is free; and one that has more connections than another gives way to it for L{GIVE_WAY} seconds::

    readable ─► more connections than another worker? ─┬─ no ──► accept one
                                                       └─ yes ─► look away, then accept what is still there
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
from collections.abc import Sized
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.fault import logFault

__all__ = ["GIVE_WAY", "OUT_OF_DESCRIPTORS", "Share", "SharedEndpoint", "SharedPort", "makeShare"]

GIVE_WAY = 0.001
"""Seconds that a worker leaves a connection to those that have fewer."""

OUT_OF_DESCRIPTORS = 0.5
"""Seconds until a worker that has no descriptor left tries again; others may be better off."""

_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_ABSENT = 0


def makeShare(workers: int) -> int:
    """@return: the descriptor of memory for so many workers, all of them absent."""
    descriptor = os.memfd_create("workers", os.MFD_CLOEXEC)
    os.truncate(descriptor, 4 * workers)
    return descriptor


class Share:
    """
    How many connections each worker has. Each writes of itself only; the parent writes of those that have died.

    @param descriptor: of L{makeShare}; it can be closed afterwards.
    """

    def __init__(self, descriptor: int) -> None:
        self._connections = memoryview(mmap.mmap(descriptor, 0)).cast("I")  # an item is written in one piece

    def isFair(self, worker: int, connections: int) -> bool:
        """
        This worker takes connections, and has so many.

        @param worker: from 0.
        @return: whether it may take another one; not so while a worker has fewer.
        """
        self._connections[worker] = connections + 1
        return connections + 1 <= min(filter(None, self._connections))

    def leave(self, worker: int) -> None:
        """This worker takes no connections any more."""
        self._connections[worker] = _ABSENT


class _Factory(IProtocolFactory):
    """A factory that knows what became of its protocols."""

    connections: Sized


@implementer(IStreamServerEndpoint)
class SharedEndpoint:
    """
    A listening socket that other workers listen on, too. What listens needs C{connections}, those that are open.

    @param descriptor: the socket's; the endpoint's own, which it closes with its port.
    @param worker: which one this is, from 0.
    """

    def __init__(self, reactor: Any, descriptor: int, share: Share, worker: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._share = share
        self._worker = worker

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return execute(self._listen, cast(_Factory, protocolFactory))

    def _listen(self, factory: _Factory) -> IListeningPort:
        listener = socket.socket(fileno=self._descriptor)
        port = SharedPort(self._reactor, listener, factory, self._share, self._worker)
        port.startListening()
        return port


@implementer(IListeningPort, IReadDescriptor)
class SharedPort:
    """
    Not a port of Twisted's, which would accept up to 100 connections in a row, and for a socket file set its mode,
    shorten its backlog and delete it in the end: the file is the parent's.
    """

    _log = Logger()

    def __init__(self, reactor: Any, listener: socket.socket, factory: _Factory, share: Share, worker: int) -> None:
        listener.setblocking(False)
        self._reactor = reactor
        self._listener = listener
        self._factory = factory
        self._share = share
        self._worker = worker
        self._away: IDelayedCall | None = None

    def startListening(self) -> None:
        self._factory.doStart()
        self._share.isFair(self._worker, len(self._factory.connections))
        self._reactor.addReader(self)

    def stopListening(self) -> None:
        """Leave the socket to the other workers. At once."""
        self._share.leave(self._worker)
        if self._away is not None:
            self._away.cancel()
        self._reactor.removeReader(self)
        self._listener.close()
        self._factory.doStop()

    def getHost(self) -> IAddress:
        name: Any = self._listener.getsockname()
        if self._listener.family == socket.AF_UNIX:
            return UNIXAddress(name)
        kind = IPv6Address if self._listener.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *name[:2])

    def fileno(self) -> int:
        return self._listener.fileno()

    def logPrefix(self) -> str:
        return "SharedPort"

    def doRead(self) -> None:
        try:
            if self._share.isFair(self._worker, len(self._factory.connections)):
                self._accept()
            else:
                self._lookAway(GIVE_WAY)
        except BaseException:  # raised to the reactor, it would be the last connection that is accepted here
            logFault(self._log, "accepting a client")
            if self._away is None:
                self._lookAway(OUT_OF_DESCRIPTORS)

    def _lookAway(self, seconds: float) -> None:
        self._reactor.removeReader(self)
        self._away = self._reactor.callLater(seconds, self._lookBack)

    def _lookBack(self) -> None:
        self._away = None
        self._reactor.addReader(self)
        self._accept()

    def _accept(self) -> None:
        try:
            connection = self._listener.accept()[0]
        except OSError as error:
            self._unaccepted(error)
            return
        try:
            with connection:
                connection.setblocking(False)
                # the transport takes a duplicate of the descriptor
                self._reactor.adoptStreamConnection(connection.fileno(), connection.family, self._factory)
        except OSError as error:
            self._unaccepted(error)
        except BaseException:
            logFault(self._log, "serving a client")

    def _unaccepted(self, error: OSError) -> None:
        # EAGAIN: another worker was faster. The rest are what the network did to the client: accept(2).
        if error.errno in _SCARCE:
            self._log.warn("Clients have to wait: {error}", error=error.strerror)
            self._lookAway(OUT_OF_DESCRIPTORS)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down."""

"""Listening sockets that somebody else has bound, and goes on to own: systemd, inetd."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["adoptPort"]


def adoptPort(reactor: Any, descriptor: int, factory: IProtocolFactory) -> IListeningPort:
    """
    Listen there; the descriptor stays the caller's. What listens is not shut down in the end, for others may go on.

    @raise OSError: it is no socket.
    """
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        listener.setblocking(False)
        if listener.family != socket.AF_UNIX:
            port: IListeningPort = reactor.adoptStreamPort(listener.fileno(), listener.family, factory)
            return port
        file: Any = _SocketFile(listener.getsockname(), factory, reactor=reactor)
        file.adopt(listener.dup())
        return file  # type: ignore[no-any-return]  # Twisted's have no types


class _SocketFile(unix.Port):
    """
    Twisted's own would open the file to everybody, shorten the backlog to 50, and in the end delete the file and shut
    the socket down, which nobody could accept from any more.
    """

    _log = Logger()
    _shouldShutdown = False

    def adopt(self, listener: socket.socket) -> None:
        self._preexistingSocket = listener
        self.startListening()

    def startListening(self) -> None:
        listener = self._preexistingSocket
        assert listener is not None
        tcp._reservedFD.reserve()  # for when descriptors run out
        self._preexistingSocket = None
        factory: Any = self.factory
        factory.doStart()
        self._log.info("starting on {path}", path=listener.getsockname())
        self.connected = True
        self.socket = listener
        self.fileno = listener.fileno  # type: ignore[method-assign]  # so does Twisted
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        tcp.Port.connectionLost(self, reason)

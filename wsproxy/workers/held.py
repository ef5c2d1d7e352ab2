"""Listening sockets that a parent has from the code before it: it neither binds nor accepts, it only has them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from zope.interface import implementer

__all__ = ["HeldPort", "hold"]


def hold(left: Iterable[tuple[str, int]]) -> list[tuple[str, HeldPort]]:
    """
    @param left: C{--listen} values and descriptors.
    @return: the same, as ports.
    """
    return [(text, HeldPort(descriptor)) for text, descriptor in left]


@implementer(IListeningPort)
class HeldPort:
    """
    @param descriptor: the socket's; the port's own.
    @ivar path: of its file, where that is ours and goes with it.
    """

    factory: IProtocolFactory | None = None

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self.path: str | None = None
        self._socket = socket.socket(fileno=descriptor)

    def startListening(self) -> None:
        """It does already."""

    def stopListening(self) -> None:
        """At once."""
        self._socket.close()
        if self.path is not None:
            with suppress(OSError):
                os.unlink(self.path)

    def getHost(self) -> IAddress:
        name: Any = self._socket.getsockname()
        if self._socket.family == socket.AF_UNIX:
            return UNIXAddress(name)
        kind = IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *name[:2])

    def fileno(self) -> int:
        return self._socket.fileno()

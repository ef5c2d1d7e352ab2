"""C{demo:}, a target without another program: a line server at the far end of a socket pair.

    a session's end ◄── socketpair(2) ──► DemoProtocol

A pair of real sockets rather than a pretended transport, so that a first run goes the same way as any other
session: the same reads, the same backpressure, the same half-close. Both ends are gone when the session is.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from zope.interface import implementer

from wsproxy.dialling.reactor import IAdoptingReactor

__all__ = ["DemoProtocol", "demoSocket"]

_HELP = "Every line comes back with its number and the time of day. 'bye' ends the session."


@implementer(IHalfCloseableProtocol)
class DemoProtocol(LineOnlyReceiver):
    """Greets with one line, then answers each line with one. C{now} gives the time of day as text."""

    delimiter = b"\n"
    MAX_LENGTH = 1024
    transport: Any

    def __init__(self, now: Callable[[], str] = lambda: time.strftime("%H:%M:%S")) -> None:
        self._now = now
        self._count = 0

    def connectionMade(self) -> None:
        # The transport as its own producer: it stops reading while its client does not take the answers.
        self.transport.registerProducer(self.transport, True)
        self._say("Hello! This is the wsproxy demo. Say something, or 'help', or 'bye'.")

    def lineReceived(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self._count += 1
        match text.strip().lower():
            case "help":
                self._say(_HELP)
            case "bye":
                self._leave("Goodbye.")
            case _:
                shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
                self._say(f"{self._count} {self._now()} {shown}")

    def lineLengthExceeded(self, line: bytes) -> None:
        self._leave(f"That line is too long: {self.MAX_LENGTH} bytes are enough.")

    def readConnectionLost(self) -> None:
        self._leave("Goodbye.")

    def writeConnectionLost(self) -> None:
        """Nothing to do: this side closes both directions at once."""

    def _say(self, text: str) -> None:
        self.transport.write(text.encode() + self.delimiter)

    def _leave(self, text: str) -> None:
        self._say(text)
        # a connection with a producer would wait for it to finish
        self.transport.unregisterProducer()
        self.transport.loseConnection()


class _DemoFactory(Factory[DemoProtocol]):
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> DemoProtocol:
        return DemoProtocol()


def demoSocket(reactor: IAdoptingReactor) -> socket.socket:
    """@return: a non-blocking socket, the caller's to close, with a L{DemoProtocol} at its other end."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        # the transport takes a duplicate of the descriptor
        reactor.adoptStreamConnection(theirs.fileno(), socket.AF_UNIX, _DemoFactory())
    return ours

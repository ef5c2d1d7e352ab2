"""An HTTP service that says what a test has it say, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

__all__ = ["Conversation", "Service", "says"]

reactor: Any = _reactor


class Conversation(Protocol):
    """One connection to it."""

    transport: Any
    factory: Service

    def __init__(self) -> None:
        self._received = b""
        self._flood: LoopingCall | None = None

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        self.factory.opened += 1

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self.factory.heads.append(head.decode("latin-1"))
            self.factory.answer(self, unquote(head.split(b" ")[1].decode().rpartition("/")[2]))

    def say(self, status: int, body: bytes, *headers: bytes) -> None:
        """A whole answer."""
        lines = [b"HTTP/1.1 %d So" % status, b"Content-Length: %d" % len(body), *headers, b"", body]
        self.transport.write(b"\r\n".join(lines))

    def flood(self, more: bytes) -> None:
        """This, again and again."""
        self._flood = LoopingCall(self.transport.write, more)
        self._flood.start(0.001)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._flood is not None and self._flood.running:
            self._flood.stop()
        self.factory.connections.discard(self)


class Service(Factory[Conversation]):
    """
    @ivar answer: called with each request's conversation and the last part of its path, decoded.
    @ivar heads: of all requests so far.
    @ivar opened: how many connections there were.
    """

    protocol = Conversation
    noisy = False

    def __init__(self, answer: Callable[[Conversation, str], object]) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.opened = 0
        self.connections: set[Conversation] = set()

    def listen(self) -> int:
        """@return: its port."""
        self._port = reactor.listenTCP(0, self, interface="127.0.0.1")
        port: int = self._port.getHost().port
        return port

    def stop(self) -> Deferred[None]:
        for conversation in tuple(self.connections):
            conversation.transport.abortConnection()
        stopping: Deferred[None] = self._port.stopListening()
        return stopping


def says(status: int, body: bytes, *headers: bytes) -> Callable[[Conversation, str], object]:
    """@return: says the same of every token."""
    return lambda conversation, token: conversation.say(status, body, *headers)

"""A verifier of forward authentication that does as a test says, mostly wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

__all__ = ["GOOD", "Conversation", "Verifier", "says"]

reactor: Any = _reactor

GOOD = b"HTTP/1.1 200 OK\r\nRemote-User: alice\r\nContent-Length: 0\r\n\r\n"


class Conversation(Protocol):
    """One connection to it. C{asked}: the headers of its requests, by lower-case name."""

    transport: Any
    factory: Verifier

    def __init__(self) -> None:
        self._received = b""
        self._flood: LoopingCall | None = None

    def connectionMade(self) -> None:
        self.factory.opened += 1
        self.factory.open.add(self)
        self.factory.most = max(self.factory.most, len(self.factory.open))

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            self.factory.asked.append({":": first, **headers})
            self.factory.answer(headers)(self)

    def flood(self, start: bytes, more: bytes) -> None:
        """Say this, and more and more of that."""
        self.transport.write(start)
        self._flood = LoopingCall(self.transport.write, more)
        self._flood.start(0.001)

    def trickle(self, data: bytes, seconds: float) -> None:
        """A byte at a time."""
        pieces = [data[at : at + 1] for at in range(len(data))]
        self._flood = LoopingCall(lambda: pieces and self.transport.write(pieces.pop(0)))
        self._flood.start(seconds)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._flood is not None and self._flood.running:
            self._flood.stop()
        self.factory.open.discard(self)
        self.factory.change()


def says(answer: bytes, *, then: str = "") -> Callable[[Conversation], None]:
    """@param then: C{"close"} or C{"reset"}."""

    def say(conversation: Conversation) -> None:
        conversation.transport.write(answer)
        if then == "close":
            conversation.transport.loseConnection()
        elif then == "reset":
            reactor.callLater(0.05, conversation.transport.abortConnection)

    return say


class Verifier(Factory[Conversation]):
    """
    @ivar ways: how it answers, by the first part of the path that a request was for.
    @ivar asked: the headers of all requests; the request line by C{":"}.
    @ivar opened: how many connections there were.
    @ivar most: how many there were at a time.
    """

    protocol = Conversation
    noisy = False

    def __init__(self, **ways: Callable[[Conversation], None]) -> None:
        self.ways = ways
        self.asked: list[dict[str, str]] = []
        self.opened = self.most = 0
        self.open: set[Conversation] = set()
        self._waiting: list[Deferred[None]] = []
        self.port = 0
        self._listening: Any = None

    def listen(self) -> int:
        """@return: its port, the same as before."""
        self._listening = reactor.listenTCP(self.port, self, interface="127.0.0.1")
        self.port = self._listening.getHost().port
        return self.port

    async def stop(self) -> None:
        """Be gone, and everybody's connection with it."""
        if self._listening is not None:
            await self._listening.stopListening()
            self._listening = None
        for conversation in tuple(self.open):
            conversation.transport.abortConnection()
        await self.until(lambda: not self.open)

    def answer(self, headers: dict[str, str]) -> Callable[[Conversation], None]:
        self.change()
        return self.ways[re.split("[/?]", headers["x-forwarded-uri"].lstrip("/"))[0]]

    def change(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def until(self, isSo: Callable[[], bool]) -> None:
        """Once this is so after something has been asked, or a connection lost."""
        while not isSo():
            changed: Deferred[None] = Deferred()
            self._waiting.append(changed)
            await changed

"""The target's side of a recording, played to whoever connects.

Each connection is played the whole recording from its start, at its own times; what the client says is read and
forgotten. A client that is slower than the recording gets the rest as fast as it takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from twisted.internet.interfaces import IAddress, IConsumer, IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.recording.format import Entry, RecordingError
from wsproxy.replay.file import readEntries

__all__ = ["Player", "PlayerFactory"]


class _Transport(ITCPTransport, IConsumer):
    """What L{Player} needs of one."""


@implementer(IPushProducer)
class Player(Protocol):
    """
    Plays to one client.

    @param clock: for the times of the entries.
    @param speed: how many times as fast as it was; C{math.inf} for as fast as the client takes it.
    @param failed: called with what went wrong, should the recording turn out to be damaged.
    """

    def __init__(
        self, entries: Iterator[Entry], clock: IReactorTime, speed: float, failed: Callable[[Exception], None]
    ) -> None:
        self._entries = entries
        self._clock = clock
        self._speed = speed
        self._failed = failed
        self._call: IDelayedCall | None = None
        self._paused = False

    def connectionMade(self) -> None:
        self._transport = cast(_Transport, self.transport)
        self._transport.registerProducer(self, True)
        self._started = self._clock.seconds()
        self._advance()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.stopProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._call is None:
            self._advance()

    def stopProducing(self) -> None:
        self._paused = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _advance(self) -> None:
        """Wait for the time of the next entry. One entry each turn of the reactor, so that others have theirs."""
        try:
            entry = next(self._entries, None)
        except (OSError, RecordingError) as error:
            self._failed(error)
            self._transport.abortConnection()
            return
        if entry is None:
            self._transport.unregisterProducer()
            self._transport.loseConnection()
        else:
            due = self._started + entry.milliseconds / 1000 / self._speed
            self._call = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._play, entry)

    def _play(self, entry: Entry) -> None:
        self._call = None
        if not entry.fromClient:
            self._transport.write(entry.data)
        if not self._paused:
            self._advance()


class PlayerFactory(Factory[Player]):
    """Plays the recording at C{path} to each client; the other parameters are those of L{Player}."""

    noisy = False

    def __init__(self, path: str, clock: IReactorTime, speed: float, failed: Callable[[Exception], None]) -> None:
        self._path = path
        self._clock = clock
        self._speed = speed
        self._failed = failed

    def buildProtocol(self, addr: IAddress | None) -> Player:
        return Player(readEntries(self._path), self._clock, self._speed, self._failed)

"""What may watch a tunnel, and how it comes to watch one.

A tap sits on the tunnel, never inside an end: it sees payload, neither frames nor TLS. Each session asks every
L{TapFactory} for a tap of its own; a session that nobody watches pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wsproxy.errors import Close
from wsproxy.tunnel.end import Buffer

__all__ = ["Tap", "TapFactory", "Watched", "joinTaps"]


class Tap(Protocol):
    """Watches one tunnel. Buffers are valid only during the call; a tap must not raise."""

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        """Payload the client sent; C{partial} when the last frame is still incomplete."""

    def toTarget(self, congested: bool) -> None:
        """That payload was written; C{congested} when the target has not taken all of it."""

    def fromTarget(self, data: Buffer) -> None:
        """Bytes the target sent."""

    def toClient(self, congested: bool) -> None:
        """They were written; C{congested} when the client has not taken all of them."""

    def close(self) -> None:
        """The session is over; no call follows."""


@dataclass(frozen=True)
class Watched:
    """A session, as a tap may know it.

    @ivar id: its name in the log.
    @ivar peer: the client's address, printable.
    @ivar target: where it leads.
    @ivar started: when it began, in seconds of the sessions' clock.
    @ivar close: ends it. Not to be called from within a call to a tap or its factory.
    """

    id: str
    peer: str
    target: str
    started: float
    close: Callable[[Close], None]


TapFactory = Callable[[Watched], Tap | None]
"""Asked once for each session, before its first byte; L{None} for one that is of no interest."""


def joinTaps(factories: Sequence[TapFactory], session: Watched) -> Tap | None:
    """The taps that these factories want on C{session}, as one; L{None} for none."""
    taps = [tap for factory in factories if (tap := factory(session)) is not None]
    return taps[0] if len(taps) == 1 else _Taps(taps) if taps else None


class _Taps:
    """Several taps on one tunnel."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._taps = taps

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        for tap in self._taps:
            tap.fromClient(payload, partial)

    def toTarget(self, congested: bool) -> None:
        for tap in self._taps:
            tap.toTarget(congested)

    def fromTarget(self, data: Buffer) -> None:
        for tap in self._taps:
            tap.fromTarget(data)

    def toClient(self, congested: bool) -> None:
        for tap in self._taps:
            tap.toClient(congested)

    def close(self) -> None:
        for tap in self._taps:
            tap.close()

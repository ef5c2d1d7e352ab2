"""What may watch a tunnel, and how it comes to watch one.

A tap sits on the tunnel, never inside an end: it sees payload, neither frames nor TLS. Each session asks every
L{TapFactory} for a tap of its own; a session that nobody watches pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.logger import Logger

from wsproxy.ends.end import Buffer, ignore
from wsproxy.errors import Close

__all__ = ["Tap", "TapFactory", "Watched", "closeTap", "joinTaps"]

_log = Logger()


class Tap(Protocol):
    """Watches one tunnel. Buffers are valid only during the call. A tap that raises ends its session."""

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
    @ivar started: when it began, in seconds since the epoch.
    @ivar close: ends it. Not to be called from within a call to a tap or its factory.
    """

    id: str
    peer: str
    target: str
    started: float
    close: Callable[[Close], None]


TapFactory = Callable[[Watched], Tap | None]
"""Asked once for each session, before its first byte; L{None} for one that is of no interest."""


def joinTaps(
    factories: Sequence[TapFactory], session: Watched, broken: Callable[[], None] = ignore
) -> Tap | None:
    """
    The taps that these factories want on C{session}, as one; L{None} for none.

    @param broken: called for each factory that has raised, which is logged.
    """
    taps: list[Tap] = []
    for factory in factories:
        try:
            tap = factory(session)
        except Exception:
            _log.failure("{session} making a tap", session=session.id)
            broken()
        else:
            taps += () if tap is None else (tap,)
    return taps[0] if len(taps) == 1 else _Taps(taps) if taps else None


def closeTap(tap: Tap, session: str) -> None:
    """Tell a tap that its session is over. What it raises is logged: there is nothing left that could end."""
    for each in tap.taps if isinstance(tap, _Taps) else (tap,):
        try:
            each.close()
        except Exception:
            _log.failure("{session} closing a tap", session=session)


class _Taps:
    """Several taps on one tunnel."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self.taps = taps

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        for tap in self.taps:
            tap.fromClient(payload, partial)

    def toTarget(self, congested: bool) -> None:
        for tap in self.taps:
            tap.toTarget(congested)

    def fromTarget(self, data: Buffer) -> None:
        for tap in self.taps:
            tap.fromTarget(data)

    def toClient(self, congested: bool) -> None:
        for tap in self.taps:
            tap.toClient(congested)

    def close(self) -> None:
        for tap in self.taps:
            tap.close()

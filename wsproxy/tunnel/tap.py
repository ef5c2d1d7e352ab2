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

__all__ = ["Tap", "TapFactory", "Watched", "joinTaps"]


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

    What any of them raises is logged and goes no further: the tunnel is in the middle of something.

    @param broken: called for each that did, from within whatever call that was. It is not asked again.
    """
    taps = _Taps(session.id, broken)
    for factory in factories:
        taps.add(factory, session)
    return taps if taps else None


class _Taps:
    """The taps on one tunnel."""

    _log = Logger()

    def __init__(self, session: str, broken: Callable[[], None]) -> None:
        self._session = session
        self._taps: tuple[Tap, ...] = ()
        self._broken: Callable[[], None] | None = broken

    def __len__(self) -> int:
        return len(self._taps)

    def add(self, factory: TapFactory, session: Watched) -> None:
        try:
            tap = factory(session)
        except Exception:
            self._failed("making a tap")
        else:
            self._taps += () if tap is None else (tap,)

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        for tap in self._taps:
            try:
                tap.fromClient(payload, partial)
            except Exception:
                self._drop(tap)

    def toTarget(self, congested: bool) -> None:
        for tap in self._taps:
            try:
                tap.toTarget(congested)
            except Exception:
                self._drop(tap)

    def fromTarget(self, data: Buffer) -> None:
        for tap in self._taps:
            try:
                tap.fromTarget(data)
            except Exception:
                self._drop(tap)

    def toClient(self, congested: bool) -> None:
        for tap in self._taps:
            try:
                tap.toClient(congested)
            except Exception:
                self._drop(tap)

    def close(self) -> None:
        taps, self._taps = self._taps, ()
        self._broken = None  # it leads back to the session, and so may a tap
        for tap in taps:
            self._close(tap)

    def _drop(self, tap: Tap) -> None:
        self._taps = tuple(each for each in self._taps if each is not tap)
        self._failed("watching")
        self._close(tap)

    def _close(self, tap: Tap) -> None:
        try:
            tap.close()
        except Exception:
            self._log.failure("{session} closing a tap", session=self._session)

    def _failed(self, doing: str) -> None:
        self._log.failure("{session} {doing}", session=self._session, doing=doing)
        if self._broken is not None:
            self._broken()

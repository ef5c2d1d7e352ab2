"""What may watch a tunnel, and how it comes to watch one.

A L{Tap} sits on the tunnel, never inside an end: it sees payload, neither frames nor TLS. Each session asks every
L{TapFactory} for a tap of its own; a session that nobody watches pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.logger import Logger

from wsproxy.ends.end import ignore
from wsproxy.fault import logFault
from wsproxy.interfaces import Buffer, Session, Tap, TapFactory

__all__ = ["closeTap", "joinTaps"]

_log = Logger()


def joinTaps(factories: Sequence[TapFactory], session: Session, broken: Callable[[], None] = ignore) -> Tap | None:
    """
    The taps that these factories want on C{session}, as one; L{None} for none.

    @param broken: called for each factory that has raised, which is logged.
    """
    taps: list[Tap] = []
    for factory in factories:
        try:
            tap = factory(session)
        except BaseException:
            logFault(_log, "{session:.8} making a tap", session=session.id)
            broken()
        else:
            taps += () if tap is None else (tap,)
    return taps[0] if len(taps) == 1 else _Taps(taps) if taps else None


def closeTap(tap: Tap, session: str) -> None:
    """Tell a tap that its session is over. What it raises is logged: there is nothing left that could end."""
    for each in tap.taps if isinstance(tap, _Taps) else (tap,):
        try:
            each.close()
        except BaseException:
            logFault(_log, "{session:.8} closing a tap", session=session)


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

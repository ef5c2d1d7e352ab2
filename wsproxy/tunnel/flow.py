"""How fast one direction of a tunnel goes while its reader is what holds it up, and who is told of it.

The rate counts from one time when the reader had taken all that waited for it to another; until there is one, nobody is
told anything. Both ends keep as much waiting as goes in a moment at that rate. When the reader has held up nobody for
a while, its writer is the slower one, whose end then keeps as much as the kernel likes: how much that needs goes by how
far away it is. The writer of a reader that has been fast from the start is never told anything: the kernel then allows
it what it needs, where any limit of ours would take 5 per cent of 2 GB/s.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wsproxy.ends.end import End
from wsproxy.ends.room import FASTEST

__all__ = ["ENOUGH", "FREE", "WINDOW", "Flow"]

WINDOW = 0.02
"""Seconds that a rate is measured at least,"""

ENOUGH = 1 << 20
"""or bytes, many times what waits between the ends."""

FREE = 1.0
"""Seconds after which a reader that has held up nobody is the faster one."""

_CHANGE = 1.5
"""By how much a rate has to differ to be told."""


class Flow:
    """One direction.

    @param reader: the end whose peer reads.
    @param writer: that whose peer writes, where it is to keep little; clients are too far away.
    @param carried: bytes that went this way so far.
    @param failed: called with the exception of this moment, where the writer raises one behind the tunnel's back.
    """

    __slots__ = ("_bounded", "_carried", "_clock", "_failed", "_rate", "_reader", "_since", "_timer", "_writer")

    def __init__(
        self, clock: IReactorTime, reader: End, writer: End | None, carried: int, failed: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._failed = failed
        self._rate = 0.0
        self._carried = carried
        self._since = clock.seconds()
        self._timer: IDelayedCall | None = None
        self._bounded = False  # whether the writer was ever told

    def drained(self, carried: int) -> None:
        """The reader has taken all that waited for it. @param carried: bytes that went this way so far."""
        now = self._clock.seconds()
        elapsed, size = now - self._since, carried - self._carried
        if elapsed < WINDOW and size < ENOUGH:
            return
        rate = size / elapsed if size < FASTEST * elapsed else FASTEST
        self._since = now
        self._carried = carried
        if not self._rate / _CHANGE < rate < self._rate * _CHANGE:
            self._rate = rate
            self._reader.sendAt(rate)
            self._bound()

    def _bound(self) -> None:
        if self._writer is None or (self._rate >= FASTEST and not self._bounded):
            return
        self._bounded = True
        self._writer.receiveAt(self._rate)
        if self._rate < FASTEST and self._timer is None:
            self._timer = self._clock.callLater(FREE, self._look, self._since)

    def _look(self, since: float) -> None:
        self._timer = None
        if self._rate >= FASTEST:
            return
        if self._since > since:
            self._timer = self._clock.callLater(FREE, self._look, self._since)
            return
        self._rate = 0.0  # to be told again, when it goes on
        if not self._reader.congested:
            self._free()

    def _free(self) -> None:
        assert self._writer is not None
        try:
            self._writer.receiveAt(FASTEST)
        except BaseException:
            self._failed()

    def stop(self) -> None:
        """Nobody is told of anything any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""How fast one direction of a tunnel goes while its reader is what holds it up, and who is told of it.

The rate counts from one time when the reader had taken all that waited for it to another. Both ends keep as much
waiting as goes in a moment at that rate; until there is one, it is taken for slow.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from wsproxy.ends.end import End
from wsproxy.ends.room import FASTEST

__all__ = ["ENOUGH", "WINDOW", "Flow"]

WINDOW = 0.02
"""Seconds that a rate is measured at least,"""

ENOUGH = 2 << 20
"""or bytes: more than what the kernels on the way take at once of what a slow reader reads."""

_CHANGE = 1.5
"""By how much a rate has to differ to be told."""


class Flow:
    """One direction.

    @param reader: the end whose peer reads.
    @param writer: that whose peer writes, where it is to keep little; clients are too far away.
    @param carried: bytes that went this way so far.
    """

    __slots__ = ("_carried", "_clock", "_rate", "_reader", "_settled", "_since", "_writer")

    def __init__(self, clock: IReactorTime, reader: End, writer: End | None, carried: int) -> None:
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._rate = 0.0
        self._settled = True  # whether the writer's end keeps what goes with that rate
        self._carried = carried
        self._since = clock.seconds()

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
            self._settled = False
        if self._writer is not None and not self._settled:
            self._settled = self._writer.receiveAt(self._rate)

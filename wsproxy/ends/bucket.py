"""Tokens, one for each byte that may pass: a bucket of them fills at a rate, for one end or for several.

Who finds none waits, behind whoever waits already. Those are come back to together, a moment later, and have what there
is by then in equal parts, in turn; what one has no use for is the others'. Who is not read, because somebody does not
take what it says, does not wait and costs nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["BURST", "MOMENT", "Bucket", "Waiting"]

MOMENT = 0.05
"""Seconds from one turn of those who wait to the next: the longest that a key waits behind what is big."""

BURST = 0.2
"""Seconds whose tokens a bucket holds, which it begins with, and owes at most: turns may be late."""

LEAST = 1024
"""Bytes of a part, where there are that many: of many who share little, some have their turn later."""

_UNLIMITED = 1e15


class Waiting(Hashable, Protocol):
    """Who has something that there was no token for."""

    def come(self, most: int) -> int:
        """
        Its turn: it may say so much, and waits again where it has more. Raises nothing.

        @return: how much it has said.
        """


class Bucket:
    """
    @param rate: tokens a second; 0: there is no limit, any more.
    """

    __slots__ = ("__weakref__", "_clock", "_rate", "_since", "_timer", "_tokens", "_waiting")

    def __init__(self, clock: IReactorTime, rate: float) -> None:
        self._clock = clock
        self._rate = rate or _UNLIMITED
        self._tokens = self._most
        self._since = clock.seconds()
        self._waiting: dict[Waiting, None] = {}  # in order
        self._timer: IDelayedCall | None = None

    @property
    def rate(self) -> float:
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._fill()
        self._rate = rate or _UNLIMITED
        self._tokens = min(self._tokens, self._most)

    @property
    def _most(self) -> float:
        return max(self._rate * BURST, 1.0)

    def _fill(self) -> float:
        now = self._clock.seconds()
        self._tokens = min(self._tokens + (now - self._since) * self._rate, self._most)
        self._since = now
        return self._tokens

    def take(self, size: int) -> int:
        """@return: for how many of C{size} bytes there are tokens at once, which are spent."""
        if self._waiting:
            return 0
        taken = max(min(size, int(self._fill())), 0)
        self._tokens -= taken
        return taken

    def spend(self, size: int) -> None:
        """So many bytes have passed that could not wait: those to come are waited for the longer."""
        self._tokens = max(self._fill() - size, -self._most)

    def wait(self, end: Waiting) -> None:
        """Come back to C{end} in its turn. Harmless where it waits already."""
        self._waiting[end] = None
        if self._timer is None:
            self._timer = self._clock.callLater(MOMENT, self._turn)

    def leave(self, end: Waiting) -> None:
        """C{end} does not wait. Harmless where it did not."""
        self._waiting.pop(end, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = None
        tokens = int(self._fill())
        part = min(max(tokens // (len(self._waiting) or 1), LEAST), tokens)
        while self._waiting and self._tokens >= part > 0:
            end = next(iter(self._waiting))
            del self._waiting[end]
            self._tokens -= part  # before anybody else takes them, who is read meanwhile
            self._tokens += part - end.come(part)
        if self._waiting and self._timer is None:
            self._timer = self._clock.callLater(MOMENT, self._turn)

"""How long to wait before what has ended is started again: a worker, a wrapped program."""

from __future__ import annotations

__all__ = ["HEALTHY", "LONGEST_DELAY", "SHORTEST_DELAY", "Backoff"]

SHORTEST_DELAY, LONGEST_DELAY = 1.0, 30.0
"""Seconds. Each wait is twice the last one."""

HEALTHY = 10.0
"""Seconds that it must have run for its end to be no sign that it cannot."""


class Backoff:
    """The delays of one thing: 1, 2, 4, … 30 s, and from 1 again after it was well."""

    def __init__(self) -> None:
        self._next = SHORTEST_DELAY

    def delay(self, well: bool) -> float:
        """
        @param well: whether it was of use before it ended, or at least ran for L{HEALTHY} seconds.
        @return: seconds until it may start again.
        """
        delay = SHORTEST_DELAY if well else self._next
        self._next = min(2 * delay, LONGEST_DELAY)
        return delay

"""Sessions counted in one process: for itself, for its workers, or as one of several nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Protocol, TypeAlias

from twisted.internet.defer import Deferred

from wsproxy.limits.subjects import Subject, Subjects

__all__ = ["Counts", "Full", "Give", "Tally", "Unknown"]

Give: TypeAlias = Callable[[], object]
"""What is called, once, when a session has ended."""


class Full(Exception):
    """
    There are as many sessions as there may be.

    @ivar kind: of what.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Unknown(Exception):
    """Nobody can tell: whoever counts does not answer."""


class Tally(Protocol):
    """Who counts, wherever that is. Both may answer later."""

    def take(self, subjects: Subjects) -> Give | Deferred[Give]:
        """
        Count one session for each of these, or for none. Where the Deferred is cancelled, for none.

        @raise Full: there is no room for another one.
        @raise Unknown: see there.
        """

    def look(self, subjects: Subjects) -> Deferred[None] | None:
        """@raise Full: as L{take} would, and L{Unknown}; nothing is counted."""


class Counts:
    """
    A L{Tally} that answers at once.

    @param limits: how many there may be, by kind; it may change. Kinds that are not in there are not limited.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._counts: dict[Subject, int] = {}

    def take(self, subjects: Subjects) -> Give:
        self.look(subjects)
        counts = self._counts
        for subject in subjects:
            counts[subject] = counts.get(subject, 0) + 1
        return partial(self._give, subjects)

    def look(self, subjects: Subjects) -> None:
        counts, limits = self._counts, self._limits
        for subject in subjects:
            if counts.get(subject, 0) >= limits.get(subject[0], inf):
                raise Full(subject[0])

    def _give(self, subjects: Subjects) -> None:
        counts = self._counts
        for subject in subjects:
            left = counts[subject] - 1
            if left:
                counts[subject] = left
            else:
                del counts[subject]

    def __len__(self) -> int:
        """Of how many something is remembered."""
        return len(self._counts)
